//! The one thread that writes: gathers what waits, judges it, syncs once, answers.
//!
//! Overflow: the queue holds a bounded number of jobs; whoever comes then waits.

use std::{
    collections::HashMap,
    io,
    path::PathBuf,
    sync::Mutex,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use bytes::Bytes;
use fjall::{OwnedWriteBatch, PersistMode};
use stentor_cluster::{Append, Appended, Head};
use stentor_types::Sequence;
use tokio::sync::{mpsc, oneshot};
use tracing::{error, warn};

use crate::{
    keys,
    open::{Damaged, LAST_SEQUENCE, Tables},
    values, watermark,
};

/// Jobs that may wait.
const WAITING_MAX: usize = 1_024;
/// Jobs that share one sync.
const GATHER_MAX: usize = 512;
/// Heads kept in memory. Overflow: all are forgotten and read again when needed.
const HEADS_MAX: usize = 200_000;
/// How often the second witness is written.
const MARK_EVERY: Duration = Duration::from_secs(1);

/// The writing failed for good: a sync that failed proves nothing about what is on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("writing to the data folder has failed; start again once the disk is well")]
pub(crate) struct WriteFailed;

/// Puts, deletes or replaces one value, unless the one that is there is newer.
#[derive(Debug)]
pub(crate) enum Change {
    Put { table: Table, key: Vec<u8>, value: Vec<u8>, at: u64 },
    Delete { table: Table, key: Vec<u8> },
}

/// Which table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Table {
    Records,
    Heads,
    Events,
    Sessions,
    Directories,
}

enum Job {
    Append { batch: Vec<Append>, answer: oneshot::Sender<Result<Vec<Appended>, WriteFailed>> },
    Change { changes: Vec<Change>, answer: oneshot::Sender<Result<(), WriteFailed>> },
}

/// A handle to the thread. Dropping it lets the thread finish what waits, and ends it.
#[derive(Debug)]
pub(crate) struct Writer {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Worker {
    folder: PathBuf,
    tables: Tables,
    damaged: Damaged,
    last: u64,
    heads: HashMap<Vec<u8>, Option<Head>>,
    marked: (Instant, u64),
    failed: bool,
}

// === impl Writer ===

impl Writer {
    pub(crate) fn start(
        folder: PathBuf,
        tables: Tables,
        damaged: Damaged,
        last: u64,
    ) -> io::Result<Self> {
        let (jobs, waiting) = mpsc::channel(WAITING_MAX);
        let marked = (Instant::now(), 0);
        let worker =
            Worker { folder, tables, damaged, last, heads: HashMap::new(), marked, failed: false };
        let thread =
            thread::Builder::new().name("embedded-writer".into()).spawn(|| worker.run(waiting))?;
        Ok(Self { jobs: Some(jobs), thread: Mutex::new(Some(thread)) })
    }

    pub(crate) async fn append(&self, batch: Vec<Append>) -> Result<Vec<Appended>, WriteFailed> {
        let (answer, answered) = oneshot::channel();
        self.submit(Job::Append { batch, answer }).await?;
        answered.await.unwrap_or(Err(WriteFailed))
    }

    pub(crate) async fn change(&self, changes: Vec<Change>) -> Result<(), WriteFailed> {
        let (answer, answered) = oneshot::channel();
        self.submit(Job::Change { changes, answer }).await?;
        answered.await.unwrap_or(Err(WriteFailed))
    }

    async fn submit(&self, job: Job) -> Result<(), WriteFailed> {
        let jobs = self.jobs.as_ref().ok_or(WriteFailed)?;
        jobs.send(job).await.map_err(|_| WriteFailed)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.jobs = None;
        let thread = self.thread.get_mut().ok().and_then(Option::take);
        if let Some(thread) = thread {
            // A panic in there has been logged by the hook.
            let _ = thread.join();
        }
    }
}

// === impl Worker ===

impl Worker {
    fn run(mut self, mut waiting: mpsc::Receiver<Job>) {
        while let Some(first) = waiting.blocking_recv() {
            let mut jobs = vec![first];
            while jobs.len() < GATHER_MAX {
                let Ok(next) = waiting.try_recv() else { break };
                jobs.push(next);
            }
            self.write(jobs);
            self.mark(false);
        }
        self.mark(true);
    }

    /// Writes jobs with one sync, then answers them all.
    fn write(&mut self, jobs: Vec<Job>) {
        let mut batch = self.tables.database.batch().durability(Some(PersistMode::SyncAll));
        let before = self.last;
        let mut judged = Vec::with_capacity(jobs.len());
        for job in &jobs {
            judged.push(match job {
                Job::Append { batch: appends, .. } => {
                    appends.iter().map(|append| self.append(&mut batch, append)).collect()
                }
                Job::Change { changes, .. } => {
                    changes.iter().for_each(|change| self.change(&mut batch, change));
                    Vec::new()
                }
            });
        }
        if self.last > before {
            let value = values::seal(LAST_SEQUENCE, &self.last.to_be_bytes());
            batch.insert(&self.tables.meta, LAST_SEQUENCE, value);
        }
        let written = if self.failed {
            Err(WriteFailed)
        } else if batch.is_empty() {
            Ok(())
        } else {
            batch.commit().map_err(|cause| {
                error!(%cause, "the data folder can no longer be written");
                self.failed = true;
                WriteFailed
            })
        };
        for (job, judged) in jobs.into_iter().zip(judged) {
            // Whoever no longer waits finds out by reading.
            match job {
                Job::Append { answer, .. } => drop(answer.send(written.map(|()| judged))),
                Job::Change { answer, .. } => drop(answer.send(written)),
            }
        }
        if self.heads.len() > HEADS_MAX {
            self.heads.clear();
        }
    }

    fn append(&mut self, batch: &mut OwnedWriteBatch, append: &Append) -> Appended {
        let entity = keys::entity(&append.entity);
        if self.damaged.has(&entity) {
            return Appended::Damaged;
        }
        let Ok(head) = self.head(&entity) else {
            self.damaged.mark(&entity);
            return Appended::Damaged;
        };
        let actual = head.map(|head| head.sequence);
        if actual != append.expected {
            return Appended::Conflict { actual };
        }
        self.last += 1;
        let sequence = Sequence(self.last);
        let snapshot = if append.header.snapshot {
            Some(sequence)
        } else {
            head.and_then(|head| head.snapshot)
        };
        let head = Head { sequence, header: append.header, snapshot };
        let key = keys::record(&entity, sequence);
        let value = values::seal(&key, &values::encode_record(&append.header, &append.record));
        batch.insert(&self.tables.records, key, value);
        let value = values::seal(&entity, &values::encode_head(&head));
        batch.insert(&self.tables.heads, entity.clone(), value);
        self.heads.insert(entity, Some(head));
        Appended::Stored(sequence)
    }

    fn change(&mut self, batch: &mut OwnedWriteBatch, change: &Change) {
        match change {
            Change::Put { table, key, value, at } => {
                if self.at_of(*table, key).is_none_or(|kept| kept < *at) {
                    batch.insert(self.table(*table), key.clone(), values::seal(key, value));
                }
            }
            Change::Delete { table, key } => {
                if *table == Table::Heads {
                    self.heads.insert(key.clone(), None);
                }
                batch.remove(self.table(*table), key.clone());
            }
        }
    }

    /// The time of the value that is there: every value of the store begins with it.
    fn at_of(&self, table: Table, key: &[u8]) -> Option<u64> {
        let kept: Bytes = self.table(table).get(key).ok()??.into();
        let value = values::unseal(key, &kept).ok()?;
        values::take(&mut &value[..]).ok()
    }

    const fn table(&self, table: Table) -> &fjall::Keyspace {
        match table {
            Table::Records => &self.tables.records,
            Table::Heads => &self.tables.heads,
            Table::Events => &self.tables.events,
            Table::Sessions => &self.tables.sessions,
            Table::Directories => &self.tables.directories,
        }
    }

    fn head(&mut self, entity: &[u8]) -> Result<Option<Head>, values::Damage> {
        if let Some(head) = self.heads.get(entity) {
            return Ok(*head);
        }
        let found = self.tables.heads.get(entity).map_err(|_| values::Damage)?;
        let head = match found {
            Some(sealed) => Some(values::decode_head(&values::unseal(entity, &sealed.into())?)?),
            None => None,
        };
        self.heads.insert(entity.to_vec(), head);
        Ok(head)
    }

    /// Writes the second witness, now and then.
    fn mark(&mut self, now: bool) {
        let (at, sequence) = self.marked;
        if self.failed || sequence == self.last || (!now && at.elapsed() < MARK_EVERY) {
            return;
        }
        if let Err(cause) = watermark::write(&self.folder, self.last) {
            warn!(%cause, "the watermark could not be written");
        }
        self.marked = (Instant::now(), self.last);
    }
}
