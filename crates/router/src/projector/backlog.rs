//! What is in the log and not yet in the store, as far as it is held in memory; pure bookkeeping.
//!
//! Per partition: `open`, the records that the store does not have or whose session has no row that covers
//! them; and up to two places from which on records may be missing here: a `gap`, which is read from the log
//! as soon as there is room, and a `hold`, from which on somebody may still be writing without being heard of
//! here (an owner before, or a write of unknown outcome), and which becomes a gap after a while. The cursor
//! is the lowest of them all.
//!
//! Bounded in records and bytes. Overflow: the record is left out, and its place becomes a gap. Where that leaves no
//! room for reading, what is held above gaps is let go of.

mod jobs;
mod part;
mod room;
mod work;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use stentor_cluster::{Entity, EntityKind, Record, Scan};
use stentor_store::SessionRow;
use stentor_types::{EventNumber, Partition, Sequence, Timestamp};
use tokio::{sync::Notify, time::Instant};

pub(super) use self::{
    jobs::GivenUp,
    work::{Ended, Job},
};
use self::{part::Part, work::Work};

/// Records that wait: seconds of a busy router, and of its own memory.
const RECORDS_MAX: usize = 10_000;
/// Their bytes.
const BYTES_MAX: usize = 64 << 20;
/// A partition in which nothing has happened for this long is looked at, so that its cursor moves on.
const IDLE: Duration = Duration::from_secs(60);

/// What is to be written to the store.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    inner: Mutex<Inner>,
    changed: Notify,
    down: AtomicBool,
}

/// How far the store is behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lag {
    /// When the oldest record that waits was written.
    pub(crate) since: Option<Timestamp>,
    /// The longest way from a cursor to the end of what is known of its partition.
    pub(crate) sequences: u64,
    /// Records that wait in memory.
    pub(crate) records: usize,
    /// Partitions that have to be read from the log.
    pub(crate) behind: usize,
    /// Sessions and directories that were given up on.
    pub(crate) refused: usize,
}

#[derive(Debug, Default)]
struct Inner {
    parts: BTreeMap<Partition, Part>,
    works: HashMap<Entity, Work>,
    /// Entities that may have something to write.
    ready: VecDeque<Entity>,
    records: usize,
    bytes: usize,
    jobs: u64,
    given_up: Vec<GivenUp>,
    limits: Limits,
}

#[derive(Clone, Copy, Debug)]
struct Limits {
    records: usize,
    bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gap {
    /// Where the last owner was.
    Cursor,
    /// From this record on.
    At(Sequence),
}

/// A part of the log to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) partition: Partition,
    pub(super) from: Gap,
    term: u64,
}

// === impl Backlog ===

impl Backlog {
    #[cfg(test)]
    pub(super) fn with_limits(records: usize, bytes: usize) -> Self {
        let inner = Inner { limits: Limits { records, bytes }, ..Inner::default() };
        Self { inner: Mutex::new(inner), ..Self::default() }
    }

    /// The partition is served from now on.
    pub(crate) fn take(&self, partition: Partition) {
        self.with(|inner| inner.take(partition));
        self.changed.notify_one();
    }

    /// It is served no longer; whoever serves it reads from the log what is left to do.
    pub(crate) fn give_up(&self, partition: Partition) {
        self.with(|inner| inner.give_up(partition));
    }

    /// Forgets everything but which partitions are served.
    pub(super) fn begin_anew(&self) {
        self.with(|inner| {
            let partitions: Vec<_> = inner.parts.keys().copied().collect();
            partitions.into_iter().for_each(|partition| inner.take(partition));
            // What was under way is not coming back.
            inner.bytes = 0;
        });
    }

    /// A record has been written to the log.
    pub(crate) fn committed(&self, entity: &Entity, record: Record) {
        self.with(|inner| inner.add(entity, record));
        self.changed.notify_one();
    }

    /// Something may have been written that nobody here has heard of, after all that has been or at `at`.
    pub(crate) fn doubt(&self, partition: Partition, at: Option<Sequence>) {
        self.with(|inner| inner.doubt(partition, at));
    }

    /// The state of a session after its record `covers`.
    pub(crate) fn row(&self, entity: &Entity, covers: Sequence, row: SessionRow) {
        self.with(|inner| inner.row(entity, covers, row));
        self.changed.notify_one();
    }

    /// The store has not answered lately.
    pub(crate) fn is_down(&self) -> bool {
        self.down.load(Ordering::Relaxed)
    }

    pub(super) fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::Relaxed);
    }

    /// Waits until there may be something new to do.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Time has passed.
    pub(super) fn tick(&self) {
        self.with(Inner::tick);
    }

    /// A part of the log to be read, if there is one and room for it.
    pub(super) fn next_reading(&self) -> Option<Reading> {
        self.with(Inner::next_reading)
    }

    /// What reading it has brought; nothing if it could not be read.
    pub(super) fn read(&self, reading: Reading, scan: Option<Scan>) {
        self.with(|inner| inner.read(reading, scan));
    }

    /// Something to be written.
    pub(super) fn next_job(&self) -> Option<Job> {
        self.with(Inner::next_job)
    }

    /// What became of it.
    pub(super) fn done(&self, job: Job, ended: Ended) {
        self.with(|inner| inner.done(job, ended));
    }

    /// What was given up on since this was asked last.
    pub(super) fn given_up(&self) -> Vec<GivenUp> {
        self.with(|inner| std::mem::take(&mut inner.given_up))
    }

    /// Sessions whose state is wanted, at most `limit`.
    pub(super) fn rows_wanted(&self, limit: usize) -> Vec<Entity> {
        self.with(|inner| inner.rows_wanted(limit))
    }

    /// Cursors that can be moved on.
    pub(super) fn cursors(&self) -> Vec<(Partition, Sequence)> {
        self.with(|inner| {
            let moved = inner.parts.iter().filter_map(|(partition, part)| {
                part.cursor().filter(|cursor| *cursor > part.saved).map(|at| (*partition, at))
            });
            moved.collect()
        })
    }

    /// A cursor has been moved.
    pub(super) fn saved(&self, partition: Partition, cursor: Sequence) {
        self.with(|inner| {
            if let Some(part) = inner.parts.get_mut(&partition) {
                part.saved = part.saved.max(cursor);
            }
        });
    }

    pub(super) fn lag(&self) -> Lag {
        self.with(|inner| inner.lag())
    }

    fn with<T>(&self, work: impl FnOnce(&mut Inner) -> T) -> T {
        work(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

// === impl Limits ===

impl Default for Limits {
    fn default() -> Self {
        Self { records: RECORDS_MAX, bytes: BYTES_MAX }
    }
}

// === impl Inner ===

impl Inner {
    fn take(&mut self, partition: Partition) {
        self.give_up(partition);
        self.jobs += 1;
        self.parts.insert(partition, Part::new(self.jobs));
    }

    fn give_up(&mut self, partition: Partition) {
        let Some(part) = self.parts.remove(&partition) else { return };
        self.records -= part.open.len();
        let mut bytes = 0;
        self.works.retain(|entity, work| {
            let stays = entity.partition() != partition;
            bytes += if stays { 0 } else { work.bytes() };
            stays
        });
        self.bytes -= bytes;
    }

    /// Takes a record, if there is room; it may be there already.
    fn add(&mut self, entity: &Entity, record: Record) -> bool {
        let full = self.is_full(record.record.len());
        let Some(part) = self.parts.get_mut(&entity.partition()) else { return true };
        let sequence = record.sequence;
        part.touched = Instant::now();
        // A snapshot alone: nothing has happened.
        let nothing = matches!(entity.kind, EntityKind::Session(_))
            && record.header.first == EventNumber::NONE;
        let refused = self.works.get(entity).is_some_and(|work| work.refused);
        if !nothing && !refused && !part.open.contains_key(&sequence) {
            // What is behind a gap is read with it.
            if full || (part.gap.is_some() && !part.scanning) {
                part.miss(sequence, record.header.at);
                return false;
            }
            part.open.insert(sequence, record.header.at);
            self.records += 1;
            self.bytes += record.record.len();
            let work = self.works.entry(entity.clone()).or_insert_with(Work::new);
            work.add(sequence, record.header.at, record.record);
            self.ready.push_back(entity.clone());
        }
        part.next = part.next.max(Sequence(sequence.0.saturating_add(1)));
        true
    }

    const fn is_full(&self, bytes: usize) -> bool {
        self.records >= self.limits.records || self.bytes + bytes > self.limits.bytes
    }

    fn doubt(&mut self, partition: Partition, at: Option<Sequence>) {
        let Some(part) = self.parts.get_mut(&partition) else { return };
        let from = at.unwrap_or(part.next).min(part.next);
        part.hold(from);
    }

    fn tick(&mut self) {
        let now = Instant::now();
        for part in self.parts.values_mut().filter(|part| part.gap.is_none()) {
            if let Some((from, _)) = part.hold.take_if(|(_, until)| *until <= now) {
                part.gap = Some(Gap::At(from));
            } else if now.duration_since(part.touched) >= IDLE {
                part.touched = now;
                part.gap = Some(Gap::At(part.next));
            }
        }
        // Whatever could not be written before, or had to wait for its row, is looked at again.
        let waiting = self.works.iter().filter(|(_, work)| work.wants_to_be_written());
        let waiting: Vec<_> = waiting.map(|(entity, _)| entity.clone()).collect();
        self.ready.clear();
        self.ready.extend(waiting);
    }

    fn next_reading(&mut self) -> Option<Reading> {
        if !self.has_room_to_read() {
            return None;
        }
        self.parts.iter_mut().find_map(|(partition, part)| {
            let from = part.gap.filter(|_| !part.scanning)?;
            part.scanning = true;
            Some(Reading { partition: *partition, from, term: part.term })
        })
    }

    fn read(&mut self, reading: Reading, scan: Option<Scan>) {
        let Reading { partition, term, .. } = reading;
        let Some(part) = self.parts.get_mut(&partition).filter(|part| part.term == term) else {
            return;
        };
        let Some(scan) = scan else {
            part.scanning = false;
            return;
        };
        let (mut next, mut end) = (scan.next, scan.end);
        for (entity, record) in scan.records {
            if self.is_full(record.record.len()) {
                (next, end) = (record.sequence, false);
                break;
            }
            self.add(&entity, record);
        }
        let Some(part) = self.parts.get_mut(&partition) else { return };
        part.scanning = false;
        // What did not fit meanwhile has been seen by now, or will be when reading goes on.
        let missed = part.missed.take().filter(|missed| *missed >= next);
        part.next = part.next.max(next);
        part.gap = if end { missed.map(Gap::At) } else { Some(Gap::At(next)) };
        if part.gap.is_none() {
            part.gap_since = None;
        }
        if end && std::mem::take(&mut part.new) {
            part.hold(next);
        }
    }

    fn lag(&self) -> Lag {
        let refused = self.works.values().filter(|work| work.refused).count();
        let mut lag = Lag { records: self.records, refused, ..Lag::default() };
        for part in self.parts.values() {
            let since = part.open.values().next().copied().into_iter().chain(part.gap_since);
            lag.since = lag.since.into_iter().chain(since).min();
            lag.behind += usize::from(part.gap.is_some());
            let cursor = part.cursor().unwrap_or(part.next);
            lag.sequences = lag.sequences.max(part.next.0.saturating_sub(cursor.0));
        }
        lag
    }
}

/// The bytes of a row.
fn row_bytes(row: &SessionRow) -> usize {
    row.state.len()
}

/// The bytes of records.
fn bytes_of<'a>(records: impl IntoIterator<Item = &'a Bytes>) -> usize {
    records.into_iter().map(Bytes::len).sum()
}

#[cfg(test)]
mod tests;
