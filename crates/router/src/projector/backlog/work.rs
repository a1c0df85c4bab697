//! What is to be written of one session or directory.

use std::{collections::BTreeMap, collections::BTreeSet, time::Duration};

use bytes::Bytes;
use stentor_cluster::Entity;
use stentor_store::SessionRow;
use stentor_types::{Sequence, Timestamp};
use tokio::time::Instant;

use super::{bytes_of, row_bytes};

/// Between a commit and the row that covers it: a busy session writes its row once in this time.
const ROW_AFTER: Duration = Duration::from_secs(2);
/// Before a row that did not come is asked for again.
const ASK_AGAIN: Duration = Duration::from_secs(5);
/// How often a row is asked for, or a write tried, while others succeed.
pub(super) const TRIES_MAX: u32 = 10;
/// Pause after a write that failed, doubled each time.
const PAUSE: Duration = Duration::from_millis(200);
/// The longest such pause.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// Bytes written at once, and records.
const JOB_BYTES: usize = 1 << 20;
const JOB_RECORDS: usize = 256;

/// What is to be written of one entity.
#[derive(Debug)]
pub(super) struct Work {
    /// Not in the store yet.
    records: BTreeMap<Sequence, (Timestamp, Bytes)>,
    /// Not covered by a row yet; those above among them.
    pub(super) open: BTreeSet<Sequence>,
    row: Option<(Sequence, SessionRow)>,
    /// Since when it waits for a row.
    since: Instant,
    asked: Option<Instant>,
    asks: u32,
    /// The job that is under way.
    pub(super) writing: Option<u64>,
    tries: u32,
    /// Writes that had succeeded when the last try was counted.
    successes: u64,
    not_before: Instant,
    /// It is given up on, and holds the cursor.
    pub(super) refused: bool,
}

/// Something to be written.
#[derive(Debug)]
pub(in crate::projector) struct Job {
    pub(in crate::projector) entity: Entity,
    pub(in crate::projector) records: Vec<(Sequence, Timestamp, Bytes)>,
    /// The state after the record that it names.
    pub(in crate::projector) row: Option<(Sequence, SessionRow)>,
    pub(super) id: u64,
}

/// What became of a [`Job`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::projector) enum Ended {
    /// The store has it.
    Written,
    /// It has not, or nobody knows. `successes` counts all writes that have succeeded.
    Failed { successes: u64 },
    /// It never will.
    Refused,
}

// === impl Job ===

impl Job {
    pub(super) fn bytes(&self) -> usize {
        let records = bytes_of(self.records.iter().map(|(.., record)| record));
        records + self.row.as_ref().map_or(0, |(_, row)| row_bytes(row))
    }
}

// === impl Work ===

impl Work {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self {
            records: BTreeMap::new(),
            open: BTreeSet::new(),
            row: None,
            since: now,
            asked: None,
            asks: 0,
            writing: None,
            tries: 0,
            successes: 0,
            not_before: now,
            refused: false,
        }
    }

    pub(super) fn add(&mut self, sequence: Sequence, at: Timestamp, record: Bytes) {
        self.records.insert(sequence, (at, record));
        self.open.insert(sequence);
    }

    /// Bytes held here, those of a job under way not among them.
    pub(super) fn bytes(&self) -> usize {
        let records = bytes_of(self.records.values().map(|(_, record)| record));
        records + self.row.as_ref().map_or(0, |(_, row)| row_bytes(row))
    }

    pub(super) fn wants_to_be_written(&self) -> bool {
        let something = !self.records.is_empty() || self.row.is_some();
        something && self.writing.is_none() && !self.refused && self.not_before <= Instant::now()
    }

    /// Takes a row, unless a later one is there. Returns the row that is no longer needed.
    pub(super) fn offer_row(
        &mut self,
        covers: Sequence,
        row: SessionRow,
    ) -> Option<(Sequence, SessionRow)> {
        self.asks = 0;
        match &self.row {
            Some((known, _)) if *known >= covers => Some((covers, row)),
            _ => self.row.replace((covers, row)),
        }
    }

    /// Takes out what is to be written next. A row goes only behind all records that it covers.
    pub(super) fn take(&mut self, row_may_go: impl FnOnce(Sequence) -> bool) -> Option<Parts> {
        if !self.wants_to_be_written() {
            return None;
        }
        let mut records = Vec::new();
        let mut bytes = 0;
        while records.len() < JOB_RECORDS && bytes < JOB_BYTES {
            let Some((sequence, (at, record))) = self.records.pop_first() else { break };
            bytes += record.len();
            records.push((sequence, at, record));
        }
        let covered = |covers| self.records.keys().next().is_none_or(|first| *first > covers);
        let row = self.row.take_if(|(covers, _)| covered(*covers) && row_may_go(*covers));
        (!records.is_empty() || row.is_some()).then_some((records, row))
    }

    /// Records up to `covered` need nothing more.
    pub(super) fn cover(&mut self, covered: Sequence) -> BTreeSet<Sequence> {
        let later = self.open.split_off(&Sequence(covered.0.saturating_add(1)));
        self.since = Instant::now();
        self.asked = None;
        std::mem::replace(&mut self.open, later)
    }

    /// Lets go of what is open from here on, and returns it. A row covers what is left.
    pub(super) fn let_go(&mut self, from: Sequence) -> BTreeSet<Sequence> {
        self.records.split_off(&from);
        let above = self.open.split_off(&from);
        let last = self.open.last().copied();
        self.row = self.row.take().and_then(|(covers, row)| Some((covers.min(last?), row)));
        above
    }

    /// Nothing is left to do, nor under way.
    pub(super) fn is_done(&self) -> bool {
        self.open.is_empty() && self.writing.is_none()
    }

    pub(super) fn succeeded(&mut self) {
        (self.tries, self.not_before) = (0, Instant::now());
    }

    /// Puts back what could not be written. True if it has been tried often enough. Tries count only while
    /// others succeed: a store that is down refuses nobody.
    pub(super) fn failed(&mut self, (records, row): Parts, successes: u64) -> bool {
        // What was let go of meanwhile is read again.
        let open = records.into_iter().filter(|(sequence, ..)| self.open.contains(sequence));
        for (sequence, at, record) in open {
            self.records.insert(sequence, (at, record));
        }
        if let (Some((covers, row)), Some(last)) = (row, self.open.last()) {
            self.offer_row(covers.min(*last), row);
        }
        if self.tries == 0 || successes > self.successes {
            self.tries += 1;
            self.successes = successes;
        }
        let pause = PAUSE.saturating_mul(2_u32.saturating_pow(self.tries));
        self.not_before = Instant::now() + pause.min(PAUSE_MAX);
        self.tries >= TRIES_MAX
    }

    /// Gives it up. One record is enough to hold the cursor: returns how many bytes are free again, that
    /// record, and the others.
    pub(super) fn refuse(&mut self) -> (usize, Sequence, BTreeSet<Sequence>) {
        let bytes = self.bytes();
        self.refused = true;
        self.records.clear();
        self.row = None;
        let first = self.open.first().copied().unwrap_or_default();
        let rest = self.open.split_off(&Sequence(first.0.saturating_add(1)));
        (bytes, first, rest)
    }

    /// Whether its session has to be asked for its state now; counts the question.
    pub(super) fn asks_for_row(&mut self) -> bool {
        let now = Instant::now();
        let idle = self.records.is_empty() && self.row.is_none() && self.writing.is_none();
        let wanted = idle && !self.refused && now.duration_since(self.since) >= ROW_AFTER;
        if !wanted || self.asked.is_some_and(|asked| now.duration_since(asked) < ASK_AGAIN) {
            return false;
        }
        self.asked = Some(now);
        self.asks += 1;
        true
    }

    /// It was asked for its state so often that it cannot have one.
    pub(super) const fn has_no_row(&self) -> bool {
        self.asks > TRIES_MAX
    }
}

/// Records and a row.
pub(super) type Parts = (Vec<(Sequence, Timestamp, Bytes)>, Option<(Sequence, SessionRow)>);
