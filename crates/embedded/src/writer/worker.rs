//! The thread itself.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use fjall::{OwnedWriteBatch, PersistMode};
use stentor_cluster::{Append, Appended, Head};
use stentor_types::{AppId, Sequence, SessionId, Timestamp};
use tokio::sync::mpsc;
use tracing::{error, warn};

use super::{Change, Job, Table, Work, WriteFailed, overlay::Overlay};
use crate::{
    keys,
    open::Damaged,
    read::ReadError,
    tables::{POSITION, Position, Tables},
    values,
    watermark::Mark,
};

/// Jobs that share one sync.
const GATHER_MAX: usize = 512;
/// Bytes that share one sync: what a sync of that size takes is what everybody in it waits for.
const GATHER_BYTES_MAX: usize = 8 << 20;
/// Heads kept in memory, about 200 bytes each. Overflow: all are forgotten and read again when needed.
const HEADS_MAX: usize = 200_000;
/// How often the second witness is written.
const MARK_EVERY: Duration = Duration::from_secs(1);

pub(super) struct Worker {
    tables: Tables,
    damaged: Damaged,
    position: Position,
    heads: HashMap<Vec<u8>, Option<Head>>,
    marked: (Instant, u64),
    failed: bool,
}

// === impl Worker ===

impl Worker {
    pub(super) fn new(tables: Tables, damaged: Damaged, position: Position) -> Self {
        let marked = (Instant::now(), position.batches);
        Self { tables, damaged, position, heads: HashMap::new(), marked, failed: false }
    }

    pub(super) fn run(mut self, mut waiting: mpsc::Receiver<Job>) {
        while let Some(first) = waiting.blocking_recv() {
            let mut bytes = first.bytes;
            let mut jobs = vec![first];
            while jobs.len() < GATHER_MAX && bytes < GATHER_BYTES_MAX {
                let Ok(next) = waiting.try_recv() else { break };
                bytes += next.bytes;
                jobs.push(next);
            }
            self.write(jobs);
            self.mark();
        }
        self.close();
    }

    /// Writes jobs with one sync, then answers them all.
    fn write(&mut self, jobs: Vec<Job>) {
        // Synced when `commit` returns, and not before that visible to any reader.
        let mut batch = self.tables.database.batch().durability(Some(PersistMode::SyncAll));
        let mut overlay = Overlay::default();
        let mut judged = Vec::with_capacity(jobs.len());
        for job in &jobs {
            judged.push(match &job.work {
                Work::Append { batch: appends, .. } => {
                    appends.iter().map(|append| self.append(&mut batch, append)).collect()
                }
                Work::Change { changes, .. } => {
                    for change in changes {
                        self.change(&mut batch, &mut overlay, change);
                    }
                    Vec::new()
                }
            });
        }
        let written = self.commit(batch);
        for (job, judged) in jobs.into_iter().zip(judged) {
            // Whoever no longer waits finds out by reading.
            match job.work {
                Work::Append { answer, .. } => drop(answer.send(written.map(|()| judged))),
                Work::Change { answer, .. } => drop(answer.send(written)),
            }
        }
        if self.heads.len() > HEADS_MAX {
            self.heads.clear();
        }
    }

    fn commit(&mut self, mut batch: OwnedWriteBatch) -> Result<(), WriteFailed> {
        if self.failed {
            return Err(WriteFailed);
        }
        if batch.is_empty() {
            return Ok(());
        }
        self.position.batches += 1;
        // The journal's own checksums leave this number out.
        self.position.number = self.tables.database.seqno();
        batch.insert(&self.tables.meta, POSITION, values::seal(POSITION, &self.position.encode()));
        batch.commit().map_err(|cause| {
            error!(%cause, "the data folder can no longer be written");
            self.failed = true;
            WriteFailed
        })
    }

    fn append(&mut self, batch: &mut OwnedWriteBatch, append: &Append) -> Appended {
        let entity = keys::entity(&append.entity);
        if self.damaged.has(&entity) {
            return Appended::Damaged;
        }
        let Some(head) = self.head(&entity) else { return Appended::Damaged };
        let actual = head.map(|head| head.sequence);
        if actual != append.expected {
            return Appended::Conflict { actual };
        }
        self.position.sequence += 1;
        let sequence = Sequence(self.position.sequence);
        let snapshot = if append.header.snapshot {
            Some(sequence)
        } else {
            head.and_then(|head| head.snapshot)
        };
        let key = keys::record(&entity, sequence);
        let value = values::seal(&key, &values::encode_record(&append.header, &append.record));
        batch.insert(&self.tables.records, key, value);
        self.put_head(batch, entity, Head { sequence, header: append.header, snapshot });
        Appended::Stored(sequence)
    }

    fn put_head(&mut self, batch: &mut OwnedWriteBatch, entity: Vec<u8>, head: Head) {
        let value = values::seal(&entity, &values::encode_head(&head));
        batch.insert(&self.tables.heads, entity.clone(), value);
        self.heads.insert(entity, Some(head));
    }

    fn change(&mut self, batch: &mut OwnedWriteBatch, overlay: &mut Overlay, change: &Change) {
        match change {
            Change::Put { table, key, value } => {
                let at = values::take(&mut &value[..]).ok();
                if is_erased(&self.tables, overlay, (*table, key), at) {
                    return;
                }
                if overlay.at(&self.tables, *table, key) < at {
                    batch.insert(self.tables.of(*table), key.clone(), values::seal(key, value));
                    overlay.set(*table, key.clone(), at);
                }
            }
            Change::Expire { table, key, before } => {
                if overlay.at(&self.tables, *table, key).is_some_and(|at| at < *before) {
                    batch.remove(self.tables.of(*table), key.clone());
                    overlay.set(*table, key.clone(), None);
                }
            }
            Change::List { app, session, at, listing } => {
                self.list(batch, overlay, (app, *session, *at), listing);
            }
            Change::Trim { records } => self.remove(batch, records),
            Change::TrimWhole { entity, records, before, last } => {
                self.remove(batch, records);
                match self.head(entity).flatten() {
                    Some(head) if head.sequence < *before && *last => {
                        batch.remove(&self.tables.heads, entity.clone());
                        self.heads.insert(entity.clone(), None);
                    }
                    Some(head) if head.snapshot.is_some_and(|snapshot| snapshot < *before) => {
                        self.put_head(batch, entity.clone(), Head { snapshot: None, ..head });
                    }
                    _ => {}
                }
            }
        }
    }

    fn list(
        &self,
        batch: &mut OwnedWriteBatch,
        overlay: &mut Overlay,
        (app, session, at): (&AppId, SessionId, Timestamp),
        listing: &[u8],
    ) {
        let key = keys::session(app, session);
        if overlay.at(&self.tables, Table::Erasures, &key).is_some() {
            return;
        }
        let kept = overlay.at(&self.tables, Table::Listings, &key);
        if kept >= Some(at.0) {
            return;
        }
        if let Some(kept) = kept {
            let place = keys::place(app, Timestamp(kept), session);
            batch.remove(&self.tables.places, place.clone());
            overlay.set(Table::Places, place, None);
        }
        let place = keys::place(app, at, session);
        let value = values::seal(&place, &values::timed(at, &[], listing));
        batch.insert(&self.tables.places, place.clone(), value);
        overlay.set(Table::Places, place, Some(at.0));
        let value = values::seal(&key, &values::timed(at, &[], &[]));
        batch.insert(&self.tables.listings, key.clone(), value);
        overlay.set(Table::Listings, key, Some(at.0));
    }

    fn remove(&self, batch: &mut OwnedWriteBatch, records: &[Vec<u8>]) {
        for key in records {
            batch.remove(&self.tables.records, key.clone());
        }
    }

    /// The head of an entity; the outer nothing if it is damaged.
    fn head(&mut self, entity: &[u8]) -> Option<Option<Head>> {
        if let Some(head) = self.heads.get(entity) {
            return Some(*head);
        }
        match self.tables.read_head(entity) {
            Ok(head) => {
                self.heads.insert(entity.to_vec(), head);
                Some(head)
            }
            Err(ReadError::Damage(..)) => {
                self.damaged.mark(entity);
                None
            }
            // The disk does not answer: nothing more can be promised.
            Err(ReadError::Later(cause)) => {
                error!(cause, "the data folder can no longer be read");
                self.failed = true;
                None
            }
        }
    }

    /// Writes the second witness, now and then.
    fn mark(&mut self) {
        let (at, batches) = self.marked;
        if self.failed || batches == self.position.batches || at.elapsed() < MARK_EVERY {
            return;
        }
        self.marked = (Instant::now(), self.position.batches);
        self.write_mark(false);
    }

    fn close(&self) {
        if !self.failed {
            let closed = self.tables.flush();
            self.write_mark(closed);
        }
    }

    fn write_mark(&self, closed: bool) {
        let mark = Mark { batches: self.position.batches, closed };
        if let Err(cause) = mark.write(self.tables.folder.path(), closed) {
            warn!(%cause, "the watermark could not be written");
        }
    }
}

/// Whether a value belongs to a session that is erased, and is not what is left of it.
fn is_erased(
    tables: &Tables,
    overlay: &Overlay,
    (table, key): (Table, &[u8]),
    at: Option<u64>,
) -> bool {
    let erased = |session: &[u8]| overlay.at(tables, Table::Erasures, session);
    match table {
        Table::Events => keys::split_event(key).is_some_and(|session| erased(session).is_some()),
        Table::Sessions => erased(key).is_some_and(|erased| at < Some(erased)),
        Table::Directories | Table::Listings | Table::Places | Table::Erasures => false,
    }
}
