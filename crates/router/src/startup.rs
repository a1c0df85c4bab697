//! Taking up where the last owner left off: sessions with a deadline, an open attempt or connections,
//! and those that changed so late that their place in lists may not have been written.
//! All others are loaded when first asked for.

use std::{collections::BTreeSet, time::Duration};

use stentor_cluster::{Effects, Entity, EntityKind, Fanout, Header, Log, Ownership};
use stentor_store::Store;
use stentor_types::{Partition, Timestamp};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::{
    actor::Command,
    actors::{Actors, Key},
};

/// Heads read at a time.
const PAGE: usize = 1_000;
/// Before heads that could not be read are read again.
const AGAIN: Duration = Duration::from_millis(500);

/// A change is in the lists of the store and told by then, unless the process has ended before. The same time
/// covers what was committed and perhaps not fanned out.
pub(crate) const LISTED_WITHIN: Duration = Duration::from_secs(60);
/// A deadline that is farther away than this needs no session in memory: it is only noted.
const SOON: Duration = Duration::from_secs(30);

/// Wakes every session of a partition that something is due for. False if there is no need any more.
pub(crate) async fn take_up<L: Log, S: Store, B: Fanout + Effects + Ownership>(
    actors: &Actors<L, S, B>,
    partition: Partition,
    stop: &CancellationToken,
) -> bool {
    let shared = actors.shared();
    let mut taken_up = 0_u64;
    let mut newest = Timestamp(0);
    let mut late = BTreeSet::new();
    let mut after: Option<Entity> = None;
    loop {
        let heads = tokio::select! {
            heads = shared.log.heads(partition, after.clone(), PAGE) => heads,
            () = stop.cancelled() => return false,
        };
        if !shared.served.has(partition) {
            return false;
        }
        let heads = match heads {
            Ok(heads) => heads,
            Err(cause) => {
                warn!(%partition, cause = crate::metrics::chain(&cause), "heads of a partition could not be read yet");
                tokio::time::sleep(AGAIN).await;
                continue;
            }
        };
        let Some((last, _)) = heads.last() else { break };
        after = Some(last.clone());
        for (entity, head) in heads {
            let EntityKind::Session(session) = entity.kind else { continue };
            let key = Key { app: entity.app, session };
            let Header { at, next_deadline, attached, .. } = head.header;
            newest = newest.max(at);
            let soon = shared.clock.now().after(SOON);
            if attached || next_deadline.is_some_and(|deadline| deadline < soon) {
                actors.wait_for_a_place().await;
                taken_up += u64::from(actors.send(&key, Command::Tick).is_ok());
                continue;
            }
            if next_deadline.is_some() {
                shared.timers.set(key.clone(), next_deadline).await;
            }
            late.insert((at, key));
            while late.first().is_some_and(|(at, _)| at.after(LISTED_WITHIN) < newest) {
                late.pop_first();
            }
        }
    }
    for (_, key) in late {
        actors.wait_for_a_place().await;
        taken_up += u64::from(actors.send(&key, Command::Tick).is_ok());
    }
    debug!(%partition, sessions = taken_up, "sessions with something due have been taken up");
    true
}
