//! Reading an entity's records, and removing them.

use stentor_cluster::{Entity, Head, LogError, Record, TrimReport};
use stentor_types::Sequence;

use async_nats::jetstream::stream::RawMessageErrorKind;
use bytes::Bytes;

use super::{NatsLog, headers::Marked, known::At, range::Fetched, trouble::Trouble};
use crate::subjects;

/// The newest record of an entity, as the leader has it.
#[derive(Debug)]
pub(crate) struct Newest {
    pub(crate) sequence: Sequence,
    pub(crate) marked: Marked,
    record: Bytes,
}

/// Collects records up to about so many bytes, but at least one.
#[derive(Debug)]
pub(crate) struct Page<T> {
    pub(crate) records: Vec<T>,
    bytes: usize,
    bytes_max: usize,
}

// === impl Newest ===

impl Newest {
    pub(crate) fn at(&self) -> At {
        At { head: self.sequence, snapshot: self.marked.snapshot_at(self.sequence) }
    }
}

// === impl Page ===

impl<T> Page<T> {
    pub(crate) const fn new(bytes_max: usize) -> Self {
        Self { records: Vec::new(), bytes: 0, bytes_max }
    }

    /// Whether it was taken.
    pub(crate) fn push(&mut self, bytes: usize, record: T) -> bool {
        let fits = self.bytes == 0 || self.bytes.saturating_add(bytes) <= self.bytes_max;
        if fits {
            self.bytes = self.bytes.saturating_add(bytes.max(1));
            self.records.push(record);
        }
        fits
    }

    pub(crate) const fn left(&self) -> usize {
        self.bytes_max.saturating_sub(self.bytes)
    }
}

// === impl NatsLog ===

impl NatsLog {
    /// The newest record of an entity, from the leader.
    pub(super) async fn newest(&self, entity: &Entity) -> Result<Option<Newest>, LogError> {
        let subject = subjects::entity(self.settings.group, entity);
        let asked = self.stream.raw_message_builder().last_by_subject(subject).send().await;
        let message = match asked {
            Ok(message) => message,
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => {
                self.known.forget(entity);
                return Ok(None);
            }
            Err(error) => {
                if matches!(error.kind(), RawMessageErrorKind::JetStream(_)) {
                    self.look_for_the_stream().await;
                }
                return Err(Trouble::of("reading a head")(error));
            }
        };
        let sequence = Sequence(message.sequence);
        let marked = marked(entity, sequence, &message.headers)?;
        let newest = Newest { sequence, marked, record: message.payload };
        self.known.put(entity.clone(), newest.at());
        Ok(Some(newest))
    }

    pub(super) async fn checked_head(&self, entity: &Entity) -> Result<Option<Head>, LogError> {
        let Some(newest) = self.newest(entity).await? else { return Ok(None) };
        let mut snapshot = newest.marked.snapshot_at(newest.sequence);
        if let Some(other) = snapshot.filter(|at| *at != newest.sequence) {
            // It may have been trimmed with the rest of its time.
            if self.leaders_first(entity, other, other).await?.is_none() {
                snapshot = None;
            }
        }
        Ok(Some(Head { sequence: newest.sequence, header: newest.marked.header, snapshot }))
    }

    /// The first record of an entity that the leader has between two places, both included.
    async fn leaders_first(
        &self,
        entity: &Entity,
        from: Sequence,
        to: Sequence,
    ) -> Result<Option<Record>, LogError> {
        let subject = subjects::entity(self.settings.group, entity);
        let asked = self.next_of(&subject, from).await?;
        let found = asked.filter(|found| found.sequence <= to);
        found.map(|found| found.into_record(entity)).transpose()
    }

    /// The first message from `from` on that the leader has on `subject`, which may hold wildcards.
    pub(super) async fn next_of(
        &self,
        subject: &str,
        from: Sequence,
    ) -> Result<Option<Fetched>, LogError> {
        let builder = self.stream.raw_message_builder();
        let asked = builder.sequence(from.0.max(1)).next_by_subject(subject).send().await;
        match asked {
            Ok(message) => Ok(Some(Fetched {
                subject: message.subject.to_string(),
                sequence: Sequence(message.sequence),
                headers: message.headers,
                payload: message.payload,
            })),
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(Trouble::of("reading from the leader")(error)),
        }
    }

    /// Records of an entity from `from` on. Complete up to the leader's head, or an error.
    pub(super) async fn records(
        &self,
        entity: &Entity,
        from: Sequence,
        bytes_max: usize,
    ) -> Result<Vec<Record>, LogError> {
        let subject = subjects::entity(self.settings.group, entity);
        let (newest, first) =
            tokio::join!(self.newest(entity), self.range(&subject, from, bytes_max));
        // Nothing is left of it, whatever a replica still has.
        let Some(newest) = newest? else { return Ok(Vec::new()) };
        let mut range = first?;
        let mut page = Page::new(bytes_max);
        let mut next = from;
        loop {
            for fetched in range.messages {
                next = Sequence(fetched.sequence.0.saturating_add(1));
                let record = fetched.into_record(entity)?;
                if !page.push(record.record.len(), record) {
                    return Ok(page.records);
                }
            }
            if !range.more || page.left() == 0 {
                break;
            }
            range = self.range(&subject, next, page.left()).await?;
        }
        if next <= newest.sequence && !range.more {
            self.metrics.behind.inc();
        }
        // A replica that lags behind does not know it.
        while !range.more && next <= newest.sequence {
            let record = if next == newest.sequence {
                Some(Record {
                    sequence: newest.sequence,
                    header: newest.marked.header,
                    record: newest.record.clone(),
                })
            } else {
                self.leaders_first(entity, next, newest.sequence).await?
            };
            let Some(record) = record else { break };
            next = Sequence(record.sequence.0.saturating_add(1));
            if !page.push(record.record.len(), record) {
                break;
            }
        }
        Ok(page.records)
    }

    pub(super) async fn tail(
        &self,
        entity: &Entity,
        events_min: u64,
    ) -> Result<Vec<Record>, LogError> {
        let Some(newest) = self.newest(entity).await? else { return Ok(Vec::new()) };
        // A record is wanted while fewer than `events_min` events follow it.
        let last = newest.marked.header.last.0;
        let wanted = |record: &Record| last.saturating_sub(record.header.last.0) < events_min;
        // Most often what follows the newest snapshot is enough.
        let snapshot = newest.marked.snapshot_at(newest.sequence).unwrap_or(Sequence(0));
        let mut records = self.records(entity, snapshot, usize::MAX).await?;
        if snapshot.0 > 0 && records.first().is_none_or(&wanted) {
            records = self.records(entity, Sequence(0), usize::MAX).await?;
        }
        let keep = records.iter().position(wanted).unwrap_or(records.len());
        Ok(records.split_off(keep))
    }

    pub(super) async fn remove(
        &self,
        entity: &Entity,
        before: Sequence,
        whole: bool,
    ) -> Result<TrimReport, LogError> {
        let Some(newest) = self.newest(entity).await? else { return Ok(TrimReport::default()) };
        let at = newest.at();
        // Never beyond what was known when the decision was made: an append beside it survives.
        let limit = if whole {
            before.0.min(newest.sequence.0.saturating_add(1))
        } else {
            before.0.min(at.snapshot.map_or(0, |snapshot| snapshot.0))
        };
        // For the server, 0 would mean everything.
        if limit <= 1 {
            return Ok(TrimReport::default());
        }
        let subject = subjects::entity(self.settings.group, entity);
        let purged = self.stream.purge().sequence(limit).filter(subject).await;
        let purged = purged.map_err(Trouble::of("trimming"))?;
        if whole {
            self.known.forget(entity);
        }
        Ok(TrimReport { records: purged.purged })
    }
}

/// The header of an entity's record.
pub(crate) fn marked(
    entity: &Entity,
    sequence: Sequence,
    headers: &async_nats::HeaderMap,
) -> Result<Marked, LogError> {
    Marked::read(headers).map_err(|what| LogError::Corrupt {
        entity: entity.clone(),
        sequence,
        what,
    })
}

impl Fetched {
    /// The record in a message of `entity`.
    pub(crate) fn into_record(self, entity: &Entity) -> Result<Record, LogError> {
        let header = marked(entity, self.sequence, &self.headers)?.header;
        Ok(Record { sequence: self.sequence, header, record: self.payload })
    }
}
