//! Which partitions are served now. All others belong to somebody else: their sessions are not touched.

use std::sync::atomic::{AtomicBool, Ordering};

use stentor_types::{PARTITIONS, Partition};

/// The partitions served now.
#[derive(Debug)]
pub(crate) struct Served([AtomicBool; PARTITIONS as usize]);

// === impl Served ===

impl Served {
    /// Whether a partition is served.
    pub(crate) fn has(&self, partition: Partition) -> bool {
        self.slot(partition).is_some_and(|slot| slot.load(Ordering::SeqCst))
    }

    /// Serves a partition from now on, or no longer.
    pub(crate) fn set(&self, partition: Partition, served: bool) {
        if let Some(slot) = self.slot(partition) {
            slot.store(served, Ordering::SeqCst);
        }
    }

    fn slot(&self, partition: Partition) -> Option<&AtomicBool> {
        self.0.get(usize::from(partition.number()))
    }
}

impl Default for Served {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicBool::new(false)))
    }
}
