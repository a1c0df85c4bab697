//! A log in memory, for tests and embedders. Nothing survives the process.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use stentor_types::{Incarnation, Partition, Sequence, Timestamp};

use crate::log::{
    Append, Appended, Entity, Head, Log, LogError, PartitionLog, Record, Scan, TooLarge, TrimReport,
};

/// A log in memory.
#[derive(Debug)]
pub struct MemoryLog {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    incarnation: Incarnation,
    last: u64,
    entities: BTreeMap<Entity, Vec<Record>>,
    cursors: BTreeMap<Partition, Sequence>,
    /// The largest record that is taken, in bytes.
    record_max: usize,
}

// === impl MemoryLog ===

impl MemoryLog {
    /// An empty log.
    #[must_use]
    pub fn new(incarnation: Incarnation) -> Self {
        let (entities, cursors) = (BTreeMap::new(), BTreeMap::new());
        let inner = Inner { incarnation, last: 0, entities, cursors, record_max: usize::MAX };
        Self { inner: Mutex::new(inner) }
    }

    /// The same, but records have at most so many bytes.
    #[must_use]
    pub fn taking_at_most(self, bytes: usize) -> Self {
        self.with(|inner| inner.record_max = bytes);
        self
    }

    /// Loses everything, and is another log from now on.
    pub fn lose(&self, incarnation: Incarnation) {
        self.with(|inner| {
            inner.incarnation = incarnation;
            inner.entities.clear();
            inner.cursors.clear();
        });
    }

    fn with<T>(&self, work: impl FnOnce(&mut Inner) -> T) -> T {
        work(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Log for MemoryLog {
    async fn append(&self, batch: Vec<Append>) -> Result<Vec<Appended>, LogError> {
        Ok(self.with(|inner| batch.into_iter().map(|append| inner.append(append)).collect()))
    }

    async fn head(&self, entity: &Entity) -> Result<Option<Head>, LogError> {
        Ok(self.with(|inner| inner.head(entity)))
    }

    async fn read(
        &self,
        entity: &Entity,
        from: Sequence,
        bytes_max: usize,
    ) -> Result<Vec<Record>, LogError> {
        let records = self.with(|inner| inner.entities.get(entity).cloned().unwrap_or_default());
        let mut bytes = 0;
        let page =
            records.into_iter().filter(|record| record.sequence >= from).take_while(|record| {
                let fits = bytes == 0 || bytes + record.record.len() <= bytes_max;
                bytes += record.record.len().max(1);
                fits
            });
        Ok(page.collect())
    }

    async fn read_tail(&self, entity: &Entity, events_min: u64) -> Result<Vec<Record>, LogError> {
        let mut records =
            self.with(|inner| inner.entities.get(entity).cloned().unwrap_or_default());
        let last = records.last().map_or(0, |record| record.header.last.0);
        // A record is wanted while fewer than `events_min` events follow it.
        let wanted = |record: &Record| last.saturating_sub(record.header.last.0) < events_min;
        let keep = records.iter().position(wanted).unwrap_or(records.len());
        Ok(records.split_off(keep))
    }

    async fn heads(
        &self,
        partition: Partition,
        after: Option<Entity>,
        limit: usize,
    ) -> Result<Vec<(Entity, Head)>, LogError> {
        Ok(self.with(|inner| {
            let later = inner.entities.keys().filter(|entity| {
                entity.partition() == partition
                    && after.as_ref().is_none_or(|after| *entity > after)
            });
            later
                .filter_map(|entity| Some((entity.clone(), inner.head(entity)?)))
                .take(limit)
                .collect()
        }))
    }

    async fn trim(
        &self,
        entity: &Entity,
        before: Sequence,
        whole: bool,
    ) -> Result<TrimReport, LogError> {
        Ok(self.with(|inner| {
            let snapshot = inner.head(entity).and_then(|head| head.snapshot);
            let Some(records) = inner.entities.get_mut(entity) else {
                return TrimReport::default();
            };
            let count = records.len();
            let limit = if whole { before } else { before.min(snapshot.unwrap_or(Sequence(0))) };
            records.retain(|record| record.sequence >= limit);
            let removed = count - records.len();
            if records.is_empty() {
                inner.entities.remove(entity);
            }
            TrimReport { records: u64::try_from(removed).unwrap_or(u64::MAX) }
        }))
    }

    fn incarnation(&self) -> Incarnation {
        self.with(|inner| inner.incarnation)
    }
}

impl PartitionLog for MemoryLog {
    async fn scan(
        &self,
        partition: Partition,
        from: Sequence,
        bytes_max: usize,
    ) -> Result<Scan, LogError> {
        Ok(self.with(|inner| {
            let of_partition =
                inner.entities.iter().filter(|(entity, _)| entity.partition() == partition);
            let mut all: Vec<_> = of_partition
                .flat_map(|(entity, records)| records.iter().map(move |record| (entity, record)))
                .filter(|(_, record)| record.sequence >= from)
                .collect();
            all.sort_by_key(|(_, record)| record.sequence);
            let mut bytes = 0;
            let mut scan =
                Scan { next: Sequence(inner.last + 1).max(from), end: true, ..Scan::default() };
            for (entity, record) in all {
                if bytes > 0 && bytes + record.record.len() > bytes_max {
                    (scan.next, scan.end) = (record.sequence, false);
                    break;
                }
                bytes += record.record.len().max(1);
                scan.records.push((entity.clone(), record.clone()));
            }
            scan
        }))
    }

    async fn cursor(&self, partition: Partition) -> Result<Option<Sequence>, LogError> {
        Ok(self.with(|inner| inner.cursors.get(&partition).copied()))
    }

    async fn set_cursor(&self, partition: Partition, cursor: Sequence) -> Result<(), LogError> {
        self.with(|inner| {
            let known = inner.cursors.entry(partition).or_insert(cursor);
            *known = cursor.max(*known);
        });
        Ok(())
    }

    async fn first(&self) -> Result<Sequence, LogError> {
        Ok(self.with(|inner| {
            let all = inner.entities.values().flatten().map(|record| record.sequence);
            all.min().unwrap_or(Sequence(inner.last + 1))
        }))
    }

    async fn purge(&self, older_than: Timestamp, before: Sequence) -> Result<u64, LogError> {
        Ok(self.with(|inner| {
            let mut gone = 0;
            inner.entities.retain(|_, records| {
                let count = records.len();
                let goes =
                    |record: &Record| record.sequence < before && record.header.at < older_than;
                records.retain(|record| !goes(record));
                gone += count - records.len();
                !records.is_empty()
            });
            u64::try_from(gone).unwrap_or(u64::MAX)
        }))
    }
}

// === impl Inner ===

impl Inner {
    fn append(&mut self, append: Append) -> Appended {
        let bytes = append.record.len();
        if bytes > self.record_max {
            return Appended::TooLarge(TooLarge::Bytes { bytes, max: self.record_max });
        }
        let actual = self.head(&append.entity).map(|head| head.sequence);
        if actual != append.expected {
            return Appended::Conflict { actual };
        }
        self.last += 1;
        let sequence = Sequence(self.last);
        let record = Record { sequence, header: append.header, record: append.record };
        self.entities.entry(append.entity).or_default().push(record);
        Appended::Stored(sequence)
    }

    fn head(&self, entity: &Entity) -> Option<Head> {
        let records = self.entities.get(entity)?;
        let last = records.last()?;
        let snapshot = records.iter().rev().find(|record| record.header.snapshot);
        Some(Head {
            sequence: last.sequence,
            header: last.header,
            snapshot: snapshot.map(|record| record.sequence),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::contract;

    #[tokio::test]
    async fn p10_the_log_in_memory_keeps_the_contract() {
        let made = AtomicU32::new(0);
        contract::all(async || {
            let number = made.fetch_add(1, Ordering::Relaxed);
            MemoryLog::new(Incarnation(u128::from(number)))
        })
        .await;
    }
}
