//! What a shared log forgets: what is both older than it has to keep and in the store.
//!
//! One router does it for all: the owner of the log's first partition.

use std::time::Duration;

use stentor_cluster::{LogError, Ownership, PartitionLog};
use stentor_store::Store;
use stentor_types::{Partition, Sequence, Timestamp};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::Shared;

/// How often.
const EVERY: Duration = Duration::from_secs(60);

/// Trims until told to stop.
pub(crate) async fn run<L: PartitionLog, S: Store, B: Ownership>(
    shared: &Shared<L, S, B>,
    stop: CancellationToken,
) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = stop.cancelled() => return,
        }
        let Some(first) = Partition::all().next() else { return };
        if !shared.served.has(first) {
            continue;
        }
        match round(shared).await {
            Ok(trimmed) => {
                shared.metrics.records_trimmed(trimmed);
                debug!(messages = trimmed, "the log was trimmed");
            }
            Err(cause) => {
                warn!(cause = crate::metrics::chain(&cause), "the log could not be trimmed");
            }
        }
    }
}

async fn round<L: PartitionLog, S: Store, B: Ownership>(
    shared: &Shared<L, S, B>,
) -> Result<u64, LogError> {
    let retention = shared.apps.borrow().iter().map(|app| app.log_retention).max();
    // Without any app nobody knows for how long to keep what there is.
    let Some(retention) = retention else { return Ok(0) };
    let micros = u64::try_from(retention.as_micros()).unwrap_or(u64::MAX);
    let older_than = Timestamp(shared.clock.now().0.saturating_sub(micros));
    let mut before = Sequence(u64::MAX);
    if shared.keeping.backlog().is_some() {
        for partition in Partition::all() {
            // Nobody has ever looked at one that has no cursor.
            let Some(cursor) = shared.log.cursor(partition).await? else { return Ok(0) };
            before = before.min(cursor);
        }
    }
    shared.log.purge(older_than, before).await
}
