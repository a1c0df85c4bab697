//! Snapshots of sessions that are at rest and yet alive: somebody is connected, or a deadline is far away.
//!
//! A shared log forgets by age. Before the last record of such a session is half as old as the log keeps, it
//! gets one of its own that holds its state, so that it can be loaded from the log alone at any time.

use std::time::Duration;

use stentor_cluster::{Effects, Entity, EntityKind, Fanout, Log, Ownership};
use stentor_store::Store;
use stentor_types::Partition;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::{
    actor::Command,
    actors::{Actors, Key},
    rules,
};

/// Heads read at a time.
const PAGE: usize = 500;
/// Between two sessions: a partition with a hundred thousand of them takes minutes.
const PACE: Duration = Duration::from_millis(2);
/// Rounds per retention: a session is looked at often enough between a half and the end of it.
const ROUNDS: u32 = 16;
/// Between two rounds at least.
const EVERY_MIN: Duration = Duration::from_secs(60);

/// Goes round until told to stop.
pub(crate) async fn run<L: Log, S: Store, B: Fanout + Effects + Ownership>(
    actors: &Actors<L, S, B>,
    stop: CancellationToken,
) {
    let shared = actors.shared();
    loop {
        let shortest = shared.apps.borrow().iter().map(|app| app.log_retention).min();
        let every = shortest.map_or(EVERY_MIN, |shortest| (shortest / ROUNDS).max(EVERY_MIN));
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = stop.cancelled() => return,
        }
        for partition in Partition::all().filter(|partition| shared.served.has(*partition)) {
            let wanted = tokio::select! {
                wanted = round(actors, partition) => wanted,
                () = stop.cancelled() => return,
            };
            debug!(%partition, sessions = wanted, "sessions at rest were asked for a snapshot");
        }
    }
}

/// Asks every session of a partition that needs a snapshot for one. Returns how many.
async fn round<L: Log, S: Store, B: Fanout + Effects + Ownership>(
    actors: &Actors<L, S, B>,
    partition: Partition,
) -> u64 {
    let shared = actors.shared();
    let mut wanted = 0;
    let mut after: Option<Entity> = None;
    loop {
        let heads = match shared.log.heads(partition, after.clone(), PAGE).await {
            Ok(heads) => heads,
            Err(cause) => {
                warn!(%partition, cause = crate::metrics::chain(&cause), "heads of a partition could not be read");
                return wanted;
            }
        };
        let Some((last, _)) = heads.last() else { return wanted };
        after = Some(last.clone());
        for (entity, head) in heads {
            let EntityKind::Session(session) = entity.kind else { continue };
            if !head.header.attached && head.header.next_deadline.is_none() {
                continue;
            }
            let age = shared.clock.now().since(head.header.at);
            if age < rules::snapshot_age(&shared.apps.borrow(), &entity.app) {
                continue;
            }
            actors.wait_for_a_place().await;
            let key = Key { app: entity.app, session };
            // One whose mailbox is full is at work, and asked again in the next round.
            wanted += u64::from(actors.send(&key, Command::Snapshot).is_ok());
            tokio::time::sleep(PACE).await;
        }
    }
}
