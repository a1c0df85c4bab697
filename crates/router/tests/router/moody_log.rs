//! A log in memory with moods: it may take its time, or panic. It counts what is read.
#![expect(unreachable_pub, reason = "a module of a test")]

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use stentor_cluster::{
    Append, Appended, Entity, EntityKind, Head, Log, LogError, Record, TrimReport,
    memory::MemoryLog,
};
use stentor_types::{Incarnation, Partition, Sequence, SessionId};
use tokio::sync::Notify;

/// Turns of the scheduler that a slow write takes: more than any request that needs no write.
const TURNS: usize = 100;

#[derive(Debug)]
pub struct MoodyLog {
    log: Arc<MemoryLog>,
    /// A write has begun.
    pub writing: Notify,
    turns: AtomicUsize,
    panics: AtomicBool,
    trapped: Mutex<Option<SessionId>>,
    reads: AtomicUsize,
    bytes_read: AtomicUsize,
}

impl MoodyLog {
    /// In no mood yet.
    pub fn over(log: &Arc<MemoryLog>) -> Arc<Self> {
        Arc::new(Self {
            log: Arc::clone(log),
            writing: Notify::new(),
            turns: AtomicUsize::new(0),
            panics: AtomicBool::new(false),
            trapped: Mutex::default(),
            reads: AtomicUsize::new(0),
            bytes_read: AtomicUsize::new(0),
        })
    }

    /// Writes take their time.
    pub fn slow(log: &Arc<MemoryLog>) -> Arc<Self> {
        let moody = Self::over(log);
        moody.turns.store(TURNS, Ordering::SeqCst);
        moody
    }

    /// Whoever writes panics.
    pub fn panic_at_writes(&self) {
        self.panics.store(true, Ordering::SeqCst);
    }

    /// How often it was read since this was asked last, and how many bytes of records that gave.
    pub fn take_read(&self) -> (usize, usize) {
        (self.reads.swap(0, Ordering::SeqCst), self.bytes_read.swap(0, Ordering::SeqCst))
    }

    fn count(&self, records: Vec<Record>) -> Vec<Record> {
        let bytes = records.iter().map(|record| record.record.len()).sum();
        self.bytes_read.fetch_add(bytes, Ordering::SeqCst);
        self.reads.fetch_add(1, Ordering::SeqCst);
        records
    }

    /// Whoever reads this session panics, as if over one of its records.
    pub fn trap(&self, session: Option<SessionId>) {
        *self.trapped.lock().unwrap() = session;
    }
}

impl Log for MoodyLog {
    async fn append(&self, batch: Vec<Append>) -> Result<Vec<Appended>, LogError> {
        assert!(!self.panics.load(Ordering::SeqCst), "a trap");
        self.writing.notify_one();
        for _ in 0..self.turns.load(Ordering::SeqCst) {
            tokio::task::yield_now().await;
        }
        self.log.append(batch).await
    }

    async fn head(&self, entity: &Entity) -> Result<Option<Head>, LogError> {
        self.log.head(entity).await
    }

    async fn read(
        &self,
        entity: &Entity,
        from: Sequence,
        bytes_max: usize,
    ) -> Result<Vec<Record>, LogError> {
        let trapped = *self.trapped.lock().unwrap();
        let is_trapped = trapped.is_some_and(|trapped| entity.kind == EntityKind::Session(trapped));
        assert!(!is_trapped, "a trap");
        Ok(self.count(self.log.read(entity, from, bytes_max).await?))
    }

    async fn read_tail(&self, entity: &Entity, events_min: u64) -> Result<Vec<Record>, LogError> {
        Ok(self.count(self.log.read_tail(entity, events_min).await?))
    }

    async fn heads(
        &self,
        partition: Partition,
        after: Option<Entity>,
        limit: usize,
    ) -> Result<Vec<(Entity, Head)>, LogError> {
        self.log.heads(partition, after, limit).await
    }

    async fn trim(
        &self,
        entity: &Entity,
        before: Sequence,
        whole: bool,
    ) -> Result<TrimReport, LogError> {
        self.log.trim(entity, before, whole).await
    }

    fn incarnation(&self) -> Incarnation {
        self.log.incarnation()
    }
}
