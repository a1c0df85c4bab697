//! What this router owns, for everybody in the process to look at without waiting.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use stentor_types::{PARTITIONS, Partition};

use crate::version::FIRST;

/// What this router owns.
#[derive(Debug)]
pub(crate) struct Holdings {
    slots: Vec<Holding>,
    /// The version that the whole cluster has.
    finalized: AtomicU32,
}

#[derive(Debug, Default)]
struct Holding {
    /// 0 = it is not this router's.
    term: AtomicU64,
    revision: AtomicU64,
    /// How many lapses had been when it was last known for certain.
    sure_at: AtomicU64,
}

// === impl Holdings ===

impl Holdings {
    pub(crate) fn new() -> Self {
        let slots = (0..PARTITIONS).map(|_| Holding::default()).collect();
        Self { slots, finalized: AtomicU32::new(FIRST) }
    }

    /// The version that the whole cluster has, as far as is known: it may have a higher one.
    pub(crate) fn finalized(&self) -> u32 {
        self.finalized.load(Ordering::Acquire)
    }

    /// The whole cluster has this version. It never has a lower one again.
    pub(crate) fn finalize(&self, version: u32) {
        self.finalized.fetch_max(version, Ordering::AcqRel);
    }

    /// It is this router's from now on.
    pub(crate) fn set(&self, partition: Partition, term: u64, revision: u64, lapses: u64) {
        let Some(slot) = self.slot(partition) else { return };
        slot.revision.store(revision, Ordering::Release);
        slot.sure_at.store(lapses, Ordering::Release);
        slot.term.store(term, Ordering::Release);
    }

    /// It is not this router's any more.
    pub(crate) fn clear(&self, partition: Partition) {
        if let Some(slot) = self.slot(partition) {
            slot.term.store(0, Ordering::Release);
        }
    }

    /// It was still this router's after so many lapses.
    pub(crate) fn sure(&self, partition: Partition, lapses: u64) {
        if let Some(slot) = self.slot(partition) {
            slot.sure_at.fetch_max(lapses, Ordering::AcqRel);
        }
    }

    /// Under which term it is this router's, and by which revision of its record.
    pub(crate) fn get(&self, partition: Partition) -> Option<(u64, u64)> {
        let slot = self.slot(partition)?;
        let term = slot.term.load(Ordering::Acquire);
        (term > 0).then(|| (term, slot.revision.load(Ordering::Acquire)))
    }

    /// Whether it is this router's, and was found to be so after the last lapse.
    pub(crate) fn is_sure(&self, partition: Partition, lapses: u64) -> bool {
        let Some(slot) = self.slot(partition) else { return false };
        slot.term.load(Ordering::Acquire) > 0 && slot.sure_at.load(Ordering::Acquire) >= lapses
    }

    fn slot(&self, partition: Partition) -> Option<&Holding> {
        self.slots.get(usize::from(partition.number()))
    }
}
