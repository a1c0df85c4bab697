//! Writing for readers of an older version, as long as there are any.
//!
//! Whatever a version adds to what is written waits until the cluster has left the version before behind:
//! until then every record can be decided from by either.

use std::fmt;

use stentor_cluster::{Log, Ownership};
use stentor_postoffice::Commit;
use stentor_types::Partition;
use stentor_wire::CommitRecord;
use tracing::error;

use crate::{Shared, actor::Trouble};

/// What a version writes that the one before does not know. Asked only once nobody of that version is left.
/// There is nothing of the kind in this version; tests of a fleet of two versions bring some.
pub trait Later: fmt::Debug + Send + Sync + 'static {
    /// Adds events to what was decided.
    fn decided(&self, commit: &mut Commit);

    /// Adds fields to how it is written.
    fn written(&self, record: &mut CommitRecord);
}

impl<L: Log, S, B: Ownership> Shared<L, S, B> {
    /// For readers of which version of the rules this router writes.
    pub(crate) fn min_logic(&self) -> u32 {
        self.logic.min(self.bus.finalized())
    }

    /// What this version adds to what is written, if it may.
    pub(crate) fn later(&self) -> Option<&dyn Later> {
        self.later.as_deref().filter(|_| self.min_logic() >= self.logic)
    }

    /// Gives a partition up in which something needs later rules than this router has. Nothing is written
    /// to it any more: whoever does not know all of a state would write it back without what it does not know.
    pub(crate) fn give_up(&self, partition: Partition, needed: u32) -> Option<Trouble> {
        if !self.bus.is_beyond(partition, needed) {
            return None;
        }
        let has = self.logic;
        self.metrics.newer_record();
        error!(%partition, needed, has, "a record is for a later version of this program; the partition is left to others");
        Some(Trouble::Moved)
    }
}
