//! Reading, off the runtime's threads: a read may have to wait for the disk.

use std::ops::{Bound, RangeInclusive};

use bytes::Bytes;
use stentor_cluster::{Entity, Head, LogError, Record};
use stentor_types::{Partition, Sequence};
use tracing::warn;

use crate::{
    keys,
    open::{Damaged, Embedded},
    tables::Tables,
    values::{self, Damage},
};

type Cause = Box<dyn std::error::Error + Send + Sync>;

impl Embedded {
    /// Runs a read where it may block. A database that panics over what it reads has found damage.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let this = self.clone();
        let joined = tokio::task::spawn_blocking(move || work(&this)).await;
        joined.unwrap_or_else(|error| {
            if error.is_panic() {
                Err(ReadError::Damage(Sequence(0), "the database gave up while reading it"))
            } else {
                Err(ReadError::Later(Box::new(error)))
            }
        })
    }
}

impl Tables {
    /// The head of an entity. One that is damaged is made anew from the records: it says nothing that they
    /// do not say.
    pub(crate) fn read_head(&self, entity: &[u8]) -> Result<Option<Head>, ReadError> {
        let found = self.heads.get(entity).map_err(ReadError::from).and_then(|sealed| {
            let Some(sealed) = sealed else { return Ok(None) };
            let value = values::unseal(entity, &sealed.into());
            value.and_then(|value| values::decode_head(&value)).map(Some).map_err(damaged_head)
        });
        match found {
            Err(ReadError::Damage(..)) => self.head_of_records(entity),
            found => found,
        }
    }

    fn head_of_records(&self, entity: &[u8]) -> Result<Option<Head>, ReadError> {
        let mut head: Option<Head> = None;
        for pair in self.records.range(all_records(entity)).rev() {
            let (key, sealed) = pair.into_inner()?;
            let Record { sequence, header, .. } = record(&key, sealed.into())?;
            let head = head.get_or_insert(Head { sequence, header, snapshot: None });
            if header.snapshot {
                head.snapshot = Some(sequence);
                break;
            }
        }
        Ok(head)
    }

    pub(crate) fn read_from(
        &self,
        entity: &[u8],
        from: Sequence,
        bytes_max: usize,
    ) -> Result<Vec<Record>, ReadError> {
        // Before the records: one that is written meanwhile may be read too, but none may be missing.
        let newest = self.read_head(entity)?.map_or(Sequence(0), |head| head.sequence);
        let range = keys::record(entity, from)..=keys::record(entity, Sequence(u64::MAX));
        let mut records = Vec::new();
        let mut bytes = 0;
        for pair in self.records.range(range) {
            let (key, sealed) = pair.into_inner()?;
            if bytes > 0 && bytes + sealed.len() > bytes_max {
                return Ok(records);
            }
            bytes += sealed.len();
            records.push(record(&key, sealed.into())?);
        }
        let last = records.last().map_or(Sequence(0), |record| record.sequence);
        if newest >= from && last < newest && self.is_still(entity, newest)? {
            return Err(ReadError::Damage(newest, "it is missing"));
        }
        Ok(records)
    }

    /// Whether that is still the head: it may have been trimmed while its records were read.
    fn is_still(&self, entity: &[u8], newest: Sequence) -> Result<bool, ReadError> {
        Ok(self.read_head(entity)?.is_some_and(|head| head.sequence == newest))
    }

    pub(crate) fn read_back(
        &self,
        entity: &[u8],
        events_min: u64,
    ) -> Result<Vec<Record>, ReadError> {
        let mut records: Vec<Record> = Vec::new();
        let mut last = None;
        for pair in self.records.range(all_records(entity)).rev() {
            let (key, sealed) = pair.into_inner()?;
            let record = record(&key, sealed.into())?;
            let last = *last.get_or_insert(record.header.last.0);
            // As many events as were asked for follow it.
            if last.saturating_sub(record.header.last.0) >= events_min {
                break;
            }
            records.push(record);
        }
        records.reverse();
        Ok(records)
    }

    /// Heads of a partition. One that is damaged must not hide all that come after it: they are made anew
    /// from the records.
    pub(crate) fn read_heads(
        &self,
        partition: Partition,
        after: Option<&Entity>,
        limit: usize,
        damaged: &Damaged,
    ) -> Result<Vec<(Entity, Head)>, ReadError> {
        let start = after.map_or_else(|| vec![partition.number()], keys::entity);
        match self.listed_heads(partition, &start, limit, damaged) {
            Err(ReadError::Damage(..)) => self.found_heads(partition, start, limit, damaged),
            listed => listed,
        }
    }

    fn listed_heads(
        &self,
        partition: Partition,
        after: &[u8],
        limit: usize,
        damaged: &Damaged,
    ) -> Result<Vec<(Entity, Head)>, ReadError> {
        let range = (Bound::Excluded(after.to_vec()), Bound::Excluded(end_of(partition)));
        let mut heads = Vec::new();
        for pair in self.heads.range::<Vec<u8>, _>(range) {
            if heads.len() >= limit {
                break;
            }
            let (key, _) = pair.into_inner()?;
            self.push_head(&mut heads, &key, damaged)?;
        }
        Ok(heads)
    }

    /// The same, from the records.
    fn found_heads(
        &self,
        partition: Partition,
        mut after: Vec<u8>,
        limit: usize,
        damaged: &Damaged,
    ) -> Result<Vec<(Entity, Head)>, ReadError> {
        let mut heads = Vec::new();
        while heads.len() < limit {
            let begin = [&after[..], &[u8::MAX; 9]].concat();
            let start = if after.len() > 1 { begin } else { after };
            let mut range = self.records.range(start..end_of(partition));
            let Some(next) = range.next() else { break };
            let key = next.key()?;
            let Some((entity, _)) = keys::split_record(&key) else { break };
            self.push_head(&mut heads, entity, damaged)?;
            after = entity.to_vec();
        }
        Ok(heads)
    }

    fn push_head(
        &self,
        heads: &mut Vec<(Entity, Head)>,
        key: &[u8],
        damaged: &Damaged,
    ) -> Result<(), ReadError> {
        match (keys::parse_entity(key), self.read_head(key)) {
            (Some(entity), Ok(Some(head))) => heads.push((entity, head)),
            (_, Err(ReadError::Later(cause))) => return Err(ReadError::Later(cause)),
            (Some(_), Ok(None)) => {}
            (None, _) | (_, Err(ReadError::Damage(..))) => {
                if damaged.mark(key) {
                    warn!(key = ?key.escape_ascii().to_string(), "an entity is damaged");
                }
            }
        }
        Ok(())
    }
}

fn all_records(entity: &[u8]) -> RangeInclusive<Vec<u8>> {
    keys::record(entity, Sequence(0))..=keys::record(entity, Sequence(u64::MAX))
}

fn end_of(partition: Partition) -> Vec<u8> {
    vec![partition.number().saturating_add(1)]
}

const fn damaged_head(_: Damage) -> ReadError {
    ReadError::Damage(Sequence(0), "its head does not fit its checksum")
}

fn record(key: &[u8], sealed: Bytes) -> Result<Record, ReadError> {
    let sequence = keys::split_record(key).map_or(Sequence(0), |(_, sequence)| sequence);
    let damage = |_: Damage| ReadError::Damage(sequence, "it does not fit its checksum");
    let value = values::unseal(key, &sealed).map_err(damage)?;
    let (header, record) = values::decode_record(&value).map_err(damage)?;
    Ok(Record { sequence, header, record })
}

/// Something could not be read.
#[derive(Debug)]
pub(crate) enum ReadError {
    Damage(Sequence, &'static str),
    Later(Cause),
}

// === impl ReadError ===

impl ReadError {
    /// As an error of the log, about this entity; damage is remembered.
    pub(crate) fn of(self, embedded: &Embedded, entity: &Entity) -> LogError {
        match self {
            Self::Damage(sequence, what) => {
                embedded.damaged.mark(&keys::entity(entity));
                LogError::Corrupt { entity: entity.clone(), sequence, what: what.into() }
            }
            Self::Later(cause) => LogError::Unavailable(cause),
        }
    }
}

impl From<fjall::Error> for ReadError {
    fn from(error: fjall::Error) -> Self {
        match error {
            fjall::Error::Io(error) => Self::Later(Box::new(error)),
            _ => Self::Damage(Sequence(0), "the database cannot read the block that holds it"),
        }
    }
}
