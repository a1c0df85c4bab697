//! A log that says when it begins to write, and then takes its time.
#![expect(unreachable_pub, reason = "a module of a test")]

use std::sync::Arc;

use stentor_cluster::{
    Append, Appended, Entity, Head, Log, LogError, Record, TrimReport, memory::MemoryLog,
};
use stentor_types::{Incarnation, Partition, Sequence};
use tokio::sync::Notify;

/// Turns of the scheduler that a write takes: more than any request that needs no write.
const TURNS: usize = 100;

#[derive(Debug)]
pub struct SlowLog {
    log: Arc<MemoryLog>,
    /// A write has begun.
    pub writing: Notify,
}

impl SlowLog {
    pub fn new(log: Arc<MemoryLog>) -> Self {
        Self { log, writing: Notify::new() }
    }
}

impl Log for SlowLog {
    async fn append(&self, batch: Vec<Append>) -> Result<Vec<Appended>, LogError> {
        self.writing.notify_one();
        for _ in 0..TURNS {
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
        self.log.read(entity, from, bytes_max).await
    }

    async fn read_tail(&self, entity: &Entity, events_min: u64) -> Result<Vec<Record>, LogError> {
        self.log.read_tail(entity, events_min).await
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
