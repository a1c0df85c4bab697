//! One write to the store.

use std::time::Duration;

use stentor_cluster::EntityKind;
use stentor_store::{DirectoryRow, Projection, Store, StoreError, StoredEvent};
use stentor_types::Sequence;
use stentor_wire::{DecodeError, decode_commit_by};
use tokio::time::timeout;

use super::backlog::Job;

/// How long a write may take. One that takes longer is made again; it may have been done.
const PATIENCE: Duration = Duration::from_secs(30);

/// A write was not made, or not all of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    /// Perhaps later.
    #[error("failed to write the store")]
    Store(#[from] StoreError),
    /// All others were written.
    #[error("failed to decode record {sequence}")]
    Unreadable { sequence: Sequence, source: DecodeError },
}

/// Writes the records, and the row if there is one.
pub(super) async fn write<S: Store>(store: &S, job: &Job) -> Result<(), WriteError> {
    let app = job.entity.app.clone();
    let session = match job.entity.kind {
        EntityKind::Session(session) => session,
        EntityKind::Directory(_, user) => {
            let Some((_, at, record)) = job.records.last() else { return Ok(()) };
            let row = DirectoryRow { at: *at, directory: record.clone() };
            return patiently(store.put_directory(&app, user, row)).await;
        }
    };
    let mut events = Vec::new();
    let mut unreadable = None;
    for (sequence, _, record) in &job.records {
        // Nothing is decided here: whatever version a record is for, its events are copied as they are.
        match decode_commit_by(record, u32::MAX) {
            Ok(decoded) => {
                let at = decoded.commit.at;
                let numbered = decoded.commit.events.iter().zip(decoded.events);
                events.extend(numbered.map(|(event, bytes)| StoredEvent {
                    n: event.n,
                    at,
                    event: bytes,
                }));
            }
            Err(source) => {
                unreadable = Some(WriteError::Unreadable { sequence: *sequence, source })
            }
        }
    }
    // A row must not be ahead of its events.
    let row = job.row.as_ref().filter(|_| unreadable.is_none()).map(|(_, row)| row.clone());
    if !events.is_empty() || row.is_some() {
        patiently(store.project(Projection { app, session, events, row })).await?;
    }
    unreadable.map_or(Ok(()), Err)
}

async fn patiently(write: impl Future<Output = Result<(), StoreError>>) -> Result<(), WriteError> {
    match timeout(PATIENCE, write).await {
        Ok(written) => Ok(written?),
        Err(late) => Err(StoreError::Unavailable(late.into()).into()),
    }
}
