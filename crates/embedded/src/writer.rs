//! The one thread that writes: gathers what waits, judges it, syncs once, answers.
//!
//! It never waits for company: what arrives during one sync shares the next. Overflow: the queue holds a
//! bounded number of jobs and of bytes; whoever comes then waits.

mod overlay;
mod worker;

use std::{
    io,
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
};

use bytes::Bytes;
use stentor_cluster::{Append, Appended};
use stentor_types::{AppId, Sequence, SessionId, Timestamp};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use self::worker::Worker;
use crate::{
    open::Damaged,
    tables::{Position, Tables},
};

/// Jobs that may wait.
const WAITING_MAX: usize = 1_024;
/// KiB that may wait: sixteen of the largest batches that a router makes. A larger job waits until it is alone.
const WAITING_KIB_MAX: usize = 64 << 10;

/// The writing failed for good: a sync that failed proves nothing about what is on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("writing to the data folder has failed; start again once the disk is well")]
pub(crate) struct WriteFailed;

/// What is to be done to the tables.
#[derive(Debug)]
pub(crate) enum Change {
    /// Writes a value that begins with its time, unless the one that is there is as young.
    Put { table: Table, key: Vec<u8>, value: Vec<u8> },
    /// Gives a session a place in the list of its app, unless the one that it has is as young, and takes that.
    List { app: AppId, session: SessionId, at: Timestamp, listing: Bytes },
    /// Removes a value, if it is older than that.
    Expire { table: Table, key: Vec<u8>, before: u64 },
    /// Removes records of an entity.
    Trim { records: Vec<Vec<u8>> },
    /// Removes records of an entity, and the entity itself with the last of them, unless it has become
    /// younger than that meanwhile.
    TrimWhole { entity: Vec<u8>, records: Vec<Vec<u8>>, before: Sequence, last: bool },
}

/// Which table of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Table {
    Events,
    Sessions,
    Directories,
    /// Sessions in the lists of their apps: where each stands.
    Listings,
    /// The same, as they stand there: what is shown.
    Places,
    /// Sessions that are erased: nothing of them is written any more.
    Erasures,
}

/// What waits for the thread.
#[derive(Debug)]
struct Job {
    work: Work,
    bytes: usize,
    _room: OwnedSemaphorePermit,
}

#[derive(Debug)]
enum Work {
    Append { batch: Vec<Append>, answer: oneshot::Sender<Result<Vec<Appended>, WriteFailed>> },
    Change { changes: Vec<Change>, answer: oneshot::Sender<Result<(), WriteFailed>> },
}

/// A handle to the thread. Dropping it lets the thread finish what waits, closes the folder in good order,
/// and waits for that.
#[derive(Debug)]
pub(crate) struct Writer {
    jobs: Option<mpsc::Sender<Job>>,
    room: Arc<Semaphore>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

// === impl Writer ===

impl Writer {
    pub(crate) fn start(tables: Tables, damaged: Damaged, position: Position) -> io::Result<Self> {
        let (jobs, waiting) = mpsc::channel(WAITING_MAX);
        let worker = Worker::new(tables, damaged, position);
        let thread =
            thread::Builder::new().name("embedded-writer".into()).spawn(|| worker.run(waiting))?;
        let room = Arc::new(Semaphore::new(WAITING_KIB_MAX));
        Ok(Self { jobs: Some(jobs), room, thread: Mutex::new(Some(thread)) })
    }

    pub(crate) async fn append(&self, batch: Vec<Append>) -> Result<Vec<Appended>, WriteFailed> {
        let (answer, answered) = oneshot::channel();
        let bytes = batch.iter().map(|append| append.record.len()).sum();
        self.submit(Work::Append { batch, answer }, bytes).await?;
        answered.await.unwrap_or(Err(WriteFailed))
    }

    pub(crate) async fn change(&self, changes: Vec<Change>) -> Result<(), WriteFailed> {
        let (answer, answered) = oneshot::channel();
        let bytes = changes.iter().map(Change::bytes).sum();
        self.submit(Work::Change { changes, answer }, bytes).await?;
        answered.await.unwrap_or(Err(WriteFailed))
    }

    async fn submit(&self, work: Work, bytes: usize) -> Result<(), WriteFailed> {
        let jobs = self.jobs.as_ref().ok_or(WriteFailed)?;
        let kib = (1 + (bytes >> 10)).min(WAITING_KIB_MAX);
        let kib = u32::try_from(kib).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).acquire_many_owned(kib).await;
        let _room = room.map_err(|_| WriteFailed)?;
        jobs.send(Job { work, bytes, _room }).await.map_err(|_| WriteFailed)
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

// === impl Change ===

impl Change {
    fn bytes(&self) -> usize {
        match self {
            Self::Put { key, value, .. } => key.len() + value.len(),
            Self::Expire { key, .. } => key.len(),
            Self::List { app, listing, .. } => app.as_str().len() + listing.len(),
            Self::Trim { records } | Self::TrimWhole { records, .. } => {
                records.iter().map(Vec::len).sum()
            }
        }
    }
}
