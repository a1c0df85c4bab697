//! Taking partitions, and giving them up, as the cluster says.

use std::sync::Arc;

use stentor_cluster::{Effects, Fanout, Log, Ownership, OwnershipChange};
use stentor_store::Store;
use stentor_types::Partition;
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, info};

use crate::{actors::Actors, directories::Directories, startup};

/// Follows the changes until told to stop or until there can be no more.
///
/// Inputs of the loop:
/// - changes: a partition is to be taken or given up; closed when whoever knows has ended;
/// - stop: ends the loop.
pub(crate) async fn run<L: Log, S: Store, B: Fanout + Effects + Ownership>(
    actors: Actors<L, S, B>,
    directories: Arc<Directories<L, S, B>>,
    mut changes: mpsc::Receiver<OwnershipChange>,
    stop: CancellationToken,
) {
    let tasks = TaskTracker::new();
    loop {
        let change = tokio::select! {
            change = changes.recv() => change,
            () = stop.cancelled() => return,
        };
        match change {
            Some(OwnershipChange::Take { partition, taken_up }) => {
                debug!(%partition, "taking a partition");
                actors.shared().log.taken(partition);
                actors.shared().trials.take(partition);
                actors.shared().served.set(partition, true);
                if let Some(backlog) = actors.shared().keeping.backlog() {
                    backlog.take(partition);
                }
                let (actors, stop) = (actors.clone(), stop.clone());
                tasks.spawn(async move {
                    if startup::take_up(&actors, partition, &stop).await {
                        // Whoever wanted to know may be gone.
                        let _ = taken_up.send(());
                    }
                });
            }
            Some(OwnershipChange::Release { partition, released }) => {
                info!(%partition, "giving a partition up");
                close(&actors, partition);
                directories.forget(partition);
                let actors = actors.clone();
                tasks.spawn(async move {
                    actors.wait(partition).await;
                    let _ = released.send(());
                });
            }
            Some(OwnershipChange::Lost { partition }) => {
                info!(%partition, "somebody else has taken a partition");
                close(&actors, partition);
                directories.forget(partition);
            }
            None => return,
        }
    }
}

fn close<L: Log, S: Store, B: Fanout + Effects + Ownership>(
    actors: &Actors<L, S, B>,
    partition: Partition,
) {
    actors.close(partition);
    if let Some(backlog) = actors.shared().keeping.backlog() {
        backlog.give_up(partition);
    }
}
