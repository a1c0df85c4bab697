//! The log port.

use stentor_cluster::{Append, Appended, Entity, Head, Log, LogError, Record, TrimReport};
use stentor_types::{Incarnation, Partition, Sequence};

use crate::{keys, open::Embedded, read::ReadError, writer::Change};

/// Records removed with one write.
const TRIM_MAX: usize = 1_000;

impl Log for Embedded {
    async fn append(&self, batch: Vec<Append>) -> Result<Vec<Appended>, LogError> {
        self.writer.append(batch).await.map_err(|cause| LogError::Fatal(Box::new(cause)))
    }

    async fn head(&self, entity: &Entity) -> Result<Option<Head>, LogError> {
        let key = keys::entity(entity);
        self.blocking(move |this| this.tables.read_head(&key))
            .await
            .map_err(|error| error.of(self, entity))
    }

    async fn read(
        &self,
        entity: &Entity,
        from: Sequence,
        bytes_max: usize,
    ) -> Result<Vec<Record>, LogError> {
        let key = keys::entity(entity);
        let read = self.blocking(move |this| this.tables.read_from(&key, from, bytes_max)).await;
        read.map_err(|error| error.of(self, entity))
    }

    async fn read_tail(&self, entity: &Entity, events_min: u64) -> Result<Vec<Record>, LogError> {
        let key = keys::entity(entity);
        let read = self.blocking(move |this| this.tables.read_back(&key, events_min)).await;
        read.map_err(|error| error.of(self, entity))
    }

    async fn heads(
        &self,
        partition: Partition,
        after: Option<Entity>,
        limit: usize,
    ) -> Result<Vec<(Entity, Head)>, LogError> {
        let read = self
            .blocking(move |this| {
                this.tables.read_heads(partition, after.as_ref(), limit, &this.damaged)
            })
            .await;
        read.map_err(|error| match error {
            ReadError::Later(cause) => LogError::Unavailable(cause),
            ReadError::Damage(_, what) => LogError::Unavailable(what.into()),
        })
    }

    async fn trim(
        &self,
        entity: &Entity,
        before: Sequence,
        whole: bool,
    ) -> Result<TrimReport, LogError> {
        let key = keys::entity(entity);
        let head = self.head(entity).await?;
        let keep_from = match head {
            Some(_) if whole => before,
            Some(head) => before.min(head.snapshot.unwrap_or(Sequence(0))),
            None => return Ok(TrimReport::default()),
        };
        let listing = key.clone();
        let listed = self.blocking(move |this| {
            let range = keys::record(&listing, Sequence(0))..keys::record(&listing, keep_from);
            let mut found = Vec::new();
            for pair in this.tables.records.range(range) {
                found.push(pair.key()?.to_vec());
            }
            Ok(found)
        });
        let found = listed.await.map_err(|error| error.of(self, entity))?;
        let records = found.len();
        if records == 0 && !whole {
            return Ok(TrimReport::default());
        }
        // Oldest first: a crash in between leaves a shorter chain, never one with a hole.
        let mut left = found;
        loop {
            let rest = left.split_off(left.len().min(TRIM_MAX));
            let last = rest.is_empty();
            let records = std::mem::replace(&mut left, rest);
            let change = if whole {
                Change::TrimWhole { entity: key.clone(), records, before, last }
            } else {
                Change::Trim { records }
            };
            let written = self.writer.change(vec![change]).await;
            written.map_err(|cause| LogError::Fatal(Box::new(cause)))?;
            if last {
                break;
            }
        }
        Ok(TrimReport { records: u64::try_from(records).unwrap_or(u64::MAX) })
    }

    fn incarnation(&self) -> Incarnation {
        self.incarnation
    }
}
