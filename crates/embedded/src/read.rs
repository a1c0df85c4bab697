//! Reading, off the runtime's threads: a read may have to wait for the disk.

use bytes::Bytes;
use stentor_cluster::{Entity, Head, LogError, Record};
use stentor_types::{Partition, Sequence};

use crate::{
    keys,
    open::Embedded,
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

    pub(crate) fn read_head(&self, entity: &[u8]) -> Result<Option<Head>, ReadError> {
        let Some(sealed) = self.tables.heads.get(entity)? else { return Ok(None) };
        let damage =
            |_: Damage| ReadError::Damage(Sequence(0), "its head does not fit its checksum");
        let value = values::unseal(entity, &sealed.into()).map_err(damage)?;
        values::decode_head(&value).map(Some).map_err(damage)
    }

    pub(crate) fn read_from(
        &self,
        entity: &[u8],
        from: Sequence,
        bytes_max: usize,
    ) -> Result<Vec<Record>, ReadError> {
        let range = keys::record(entity, from)..=keys::record(entity, Sequence(u64::MAX));
        let mut records = Vec::new();
        let mut bytes = 0;
        for pair in self.tables.records.range(range) {
            let (key, sealed) = pair.into_inner()?;
            if bytes > 0 && bytes + sealed.len() > bytes_max {
                break;
            }
            bytes += sealed.len();
            records.push(record(&key, sealed.into())?);
        }
        Ok(records)
    }

    pub(crate) fn read_back(
        &self,
        entity: &[u8],
        events_min: u64,
    ) -> Result<Vec<Record>, ReadError> {
        let range = keys::record(entity, Sequence(0))..=keys::record(entity, Sequence(u64::MAX));
        let mut records: Vec<Record> = Vec::new();
        let mut last = None;
        for pair in self.tables.records.range(range).rev() {
            let (key, sealed) = pair.into_inner()?;
            let record = record(&key, sealed.into())?;
            let last = *last.get_or_insert(record.header.last.0);
            let reached = record.header.last.0 <= last.saturating_sub(events_min);
            if reached && !records.is_empty() {
                break;
            }
            records.push(record);
        }
        records.reverse();
        Ok(records)
    }

    pub(crate) fn read_heads(
        &self,
        partition: Partition,
        after: Option<&Entity>,
        limit: usize,
    ) -> Result<Vec<(Entity, Head)>, ReadError> {
        let start = after.map_or_else(
            || vec![partition.number()],
            |after| {
                // The smallest key after this one.
                let mut key = keys::entity(after);
                key.push(0);
                key
            },
        );
        let end = vec![partition.number().saturating_add(1)];
        let mut heads = Vec::new();
        for pair in self.tables.heads.range(start..end) {
            if heads.len() >= limit {
                break;
            }
            let (key, sealed) = pair.into_inner()?;
            let head =
                values::unseal(&key, &sealed.into()).and_then(|value| values::decode_head(&value));
            match (keys::parse_entity(&key), head) {
                (Some(entity), Ok(head)) => heads.push((entity, head)),
                // One damaged head must not hide all that come after it.
                _ => self.damaged.mark(&key),
            }
        }
        Ok(heads)
    }
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
