//! Which partitions this router owns.
//!
//! Who owns what stands in a record per partition that changes by revision, so that of two who take the
//! same one gets it. When to take is judged by heartbeats. All this is for speed: that two owners never
//! both commit is up to the log.

mod fitness;
mod handover;
mod holdings;
mod keeper;
mod plan;
mod record;
mod records;
mod rendezvous;

use std::sync::Arc;

use stentor_types::Partition;
use tokio::sync::mpsc;

pub(crate) use self::{
    holdings::Holdings,
    keeper::Keeper,
    records::{Records, STREAM as RECORDS_STREAM},
};
use crate::{
    members::{Members, RouterId},
    timings::Timings,
};

/// What a router finds out about a partition while it serves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// It is somebody else's.
    Lost(Partition),
    /// Something in it is for this later version.
    Beyond(Partition, u32),
}

/// Answers whether a partition is this router's. A clone is a handle to the same answers.
#[derive(Clone, Debug)]
pub(crate) struct Owned {
    pub(crate) me: RouterId,
    pub(crate) members: Members,
    pub(crate) holdings: Arc<Holdings>,
    pub(crate) records: Records,
    pub(crate) timings: Timings,
    /// What was found out about partitions. When it is full, the keeper finds out itself.
    pub(crate) found: mpsc::Sender<Found>,
}

// === impl Owned ===

impl Owned {
    /// Whether nobody else can have taken it: a heartbeat that was published a moment ago has come
    /// back, so that nobody counts this router's silence; and since the last time that somebody
    /// could have, the record was read.
    pub(crate) fn holds(&self, partition: Partition) -> bool {
        // In this order: a heartbeat that ends a silence counts after the lapse is counted.
        self.members.is_fresh() && self.holdings.is_sure(partition, self.members.lapses())
    }

    /// Whether it is this router's by the record.
    pub(crate) async fn confirm(&self, partition: Partition) -> bool {
        let Some((term, revision)) = self.holdings.get(partition) else { return false };
        let lapses = self.members.lapses();
        let reading = self.records.read(partition);
        let read = tokio::time::timeout(self.timings.confirm_for, reading).await;
        let Ok(Ok(Some(known))) = read else { return false };
        if known.record.owner.as_ref() == Some(&self.me) {
            self.holdings.sure(partition, lapses);
            return known.record.term == term;
        }
        if known.is_after(revision, term) {
            self.holdings.clear(partition);
            // It is found by the next reading of the records otherwise.
            let _ = self.found.try_send(Found::Lost(partition));
        }
        false
    }

    /// Something in a partition is for a later version than this router has.
    pub(crate) fn is_beyond(&self, partition: Partition, version: u32) {
        // Whoever is asked for it next finds out again.
        let _ = self.found.try_send(Found::Beyond(partition, version));
    }
}
