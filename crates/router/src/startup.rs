//! Taking up where the last owner left off: sessions with a deadline, an open attempt or connections,
//! and those that changed so late that their place in lists may not have been written.
//! All others are loaded when first asked for.

use std::{collections::BTreeSet, time::Duration};

use stentor_cluster::{Effects, Entity, EntityKind, Fanout, Log};
use stentor_store::Store;
use stentor_types::{Partition, Timestamp};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    actor::Command,
    actors::{Actors, Key},
};

/// Heads read at a time.
const PAGE: usize = 1_000;
/// Sessions taken up at the same time. Others wait for a place.
const LOADING_MAX: usize = 256;

/// A change is in the lists of the store by then, unless the process has ended before.
const LISTED_WITHIN: Duration = Duration::from_secs(60);

/// Wakes every session that something is due for, then cancels `ready`.
pub(crate) async fn take_up<L: Log, S: Store, B: Fanout + Effects>(
    actors: Actors<L, S, B>,
    ready: CancellationToken,
    stop: CancellationToken,
) {
    let mut taken_up = 0_u64;
    let mut newest = Timestamp(0);
    let mut late = BTreeSet::new();
    for partition in Partition::all() {
        let mut after: Option<Entity> = None;
        loop {
            let heads = tokio::select! {
                heads = actors.shared().log.heads(partition, after.clone(), PAGE) => heads,
                () = stop.cancelled() => return,
            };
            let heads = match heads {
                Ok(heads) => heads,
                Err(cause) => {
                    warn!(%partition, cause = crate::metrics::chain(&cause), "heads of a partition could not be read yet");
                    tokio::time::sleep(Duration::from_millis(500)).await;
                    continue;
                }
            };
            let Some((last, _)) = heads.last() else { break };
            after = Some(last.clone());
            for (entity, head) in heads {
                let EntityKind::Session(session) = entity.kind else { continue };
                let key = Key { app: entity.app, session };
                let at = head.header.at;
                newest = newest.max(at);
                if head.header.next_deadline.is_none() && !head.header.attached {
                    late.insert((at, key));
                    while late.first().is_some_and(|(at, _)| at.after(LISTED_WITHIN) < newest) {
                        late.pop_first();
                    }
                    continue;
                }
                wait_for_a_place(&actors).await;
                if actors.send(&key, Command::Tick).is_ok() {
                    taken_up += 1;
                }
            }
        }
    }
    for (_, key) in late {
        wait_for_a_place(&actors).await;
        taken_up += u64::from(actors.send(&key, Command::Tick).is_ok());
    }
    info!(sessions = taken_up, "sessions with something due have been taken up");
    ready.cancel();
}

/// Waits while the actors' mailboxes hold as many sessions as may be loading at once.
async fn wait_for_a_place<L: Log, S: Store, B: Fanout + Effects>(actors: &Actors<L, S, B>) {
    while actors.loading() >= LOADING_MAX {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
