//! How far one partition has come.

use std::{collections::BTreeMap, time::Duration};

use stentor_types::{Sequence, Timestamp};
use tokio::time::Instant;

use super::Gap;

/// How long somebody may go on writing unheard: batches that were under way when a partition changed hands,
/// or when their answer was lost.
pub(super) const UNHEARD: Duration = Duration::from_secs(10);

/// A partition that is served.
#[derive(Debug)]
pub(super) struct Part {
    /// Everything before it has been seen, but for what the other fields name.
    pub(super) next: Sequence,
    /// From here on records have to be read from the log.
    pub(super) gap: Option<Gap>,
    /// When the oldest of them that is known of was written.
    pub(super) gap_since: Option<Timestamp>,
    /// The log is being read from the gap on.
    pub(super) scanning: bool,
    /// What did not fit while the log was being read.
    pub(super) missed: Option<Sequence>,
    /// From here on somebody may be writing unheard, until then.
    pub(super) hold: Option<(Sequence, Instant)>,
    /// Records that the store lacks, or a row of it.
    pub(super) open: BTreeMap<Sequence, Timestamp>,
    /// The cursor that was written last.
    pub(super) saved: Sequence,
    /// Which time it was taken.
    pub(super) term: u64,
    /// When something was last heard of it.
    pub(super) touched: Instant,
    /// It has not been read to its end since it was taken.
    pub(super) new: bool,
}

// === impl Part ===

impl Part {
    /// One that was just taken.
    pub(super) fn new(term: u64) -> Self {
        Self {
            next: Sequence(0),
            gap: Some(Gap::Cursor),
            gap_since: None,
            scanning: false,
            missed: None,
            hold: None,
            open: BTreeMap::new(),
            saved: Sequence(0),
            term,
            touched: Instant::now(),
            new: true,
        }
    }

    /// Everything before it is in the store; nothing if that is not known yet.
    pub(super) fn cursor(&self) -> Option<Sequence> {
        let gap = match self.gap {
            Some(Gap::Cursor) => return None,
            Some(Gap::At(from)) => from,
            None => self.next,
        };
        let held = self.hold.map(|(from, _)| from);
        let open = self.open.keys().next().copied();
        let lowest = [self.missed, held, open].into_iter().flatten();
        Some(lowest.fold(self.next.min(gap), Sequence::min))
    }

    /// Whether everything up to a record has been seen.
    pub(super) fn has_seen(&self, sequence: Sequence) -> bool {
        let gap = match self.gap {
            Some(Gap::Cursor) => return false,
            Some(Gap::At(from)) => Some(from),
            None => None,
        };
        gap.into_iter().chain(self.missed).all(|from| from > sequence)
    }

    pub(super) fn miss(&mut self, sequence: Sequence, at: Timestamp) {
        self.gap_since = Some(self.gap_since.map_or(at, |since| since.min(at)));
        if self.scanning {
            self.missed = Some(self.missed.map_or(sequence, |missed| missed.min(sequence)));
            return;
        }
        self.gap = match self.gap {
            Some(Gap::Cursor) => Some(Gap::Cursor),
            Some(Gap::At(from)) => Some(Gap::At(from.min(sequence))),
            None => Some(Gap::At(sequence)),
        };
    }

    pub(super) fn hold(&mut self, from: Sequence) {
        let hold = self.hold.get_or_insert_with(|| (from, Instant::now() + UNHEARD));
        hold.0 = hold.0.min(from);
    }

    /// The records `covered` need nothing more.
    pub(super) fn close(&mut self, covered: impl IntoIterator<Item = Sequence>) -> usize {
        covered.into_iter().filter(|sequence| self.open.remove(sequence).is_some()).count()
    }
}
