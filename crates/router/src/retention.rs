//! Moves what is older than the log keeps into the history, and forgets what is older than that.
//!
//! A record leaves the log only after the store has its events, so nothing is ever in neither.

use std::time::Duration;

use stentor_cluster::{Effects, Entity, EntityKind, Fanout, Head, Log, LogError, Ownership};
use stentor_store::{DirectoryRow, Projection, SessionRow, Store, StoreError, StoredEvent};
use stentor_types::{EventNumber, Partition, Sequence, SessionId, Timestamp};
use stentor_wire::{DecodeError, decode_commit, decode_directory, encode_snapshot};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    actors::{Actors, Key},
    load::{self, LoadError},
};

/// Time between two rounds.
const ROUND: Duration = Duration::from_secs(600);
/// Heads read at a time.
const PAGE: usize = 500;
/// Bytes of records moved at a time.
const MOVE_BYTES: usize = 1 << 20;

/// A round could not be finished for one entity.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeepError {
    #[error("failed to read or trim the log")]
    Log(#[from] LogError),
    #[error("failed to write the store")]
    Store(#[from] StoreError),
    #[error("failed to decode a record")]
    Decode(#[from] DecodeError),
    #[error("failed to load the session")]
    Load(#[from] LoadError),
}

/// Goes round until told to stop.
pub(crate) async fn run<L: Log, S: Store, B: Fanout + Effects + Ownership>(
    actors: Actors<L, S, B>,
    stop: CancellationToken,
) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(ROUND) => {}
            () = stop.cancelled() => return,
        }
        let moved = round(&actors).await;
        actors.shared().metrics.records_trimmed(moved);
        if moved > 0 {
            info!(records = moved, "records older than the log keeps were moved to the history");
        }
    }
}

/// One round over all partitions. Returns how many records left the log.
pub(crate) async fn round<L: Log, S: Store, B: Fanout + Effects + Ownership>(
    actors: &Actors<L, S, B>,
) -> u64 {
    let shared = actors.shared();
    let mut moved = 0;
    for partition in Partition::all() {
        let mut after: Option<Entity> = None;
        loop {
            let heads = match shared.log.heads(partition, after.clone(), PAGE).await {
                Ok(heads) => heads,
                Err(cause) => {
                    warn!(%partition, cause = crate::metrics::chain(&cause), "heads of a partition could not be read");
                    break;
                }
            };
            let Some((last, _)) = heads.last() else { break };
            after = Some(last.clone());
            for (entity, head) in heads {
                let name = entity.to_string();
                match keep(actors, entity, head).await {
                    Ok(records) => moved += records,
                    Err(cause) => {
                        warn!(
                            entity = name,
                            cause = crate::metrics::chain(&cause),
                            "records stay in the log for now"
                        );
                    }
                }
            }
        }
    }
    let apps = shared.apps.borrow().clone();
    for app in apps.iter() {
        let before = before(shared.clock.now(), app.history_retention);
        if let Err(cause) = shared.store.expire(app.id(), before).await {
            warn!(app = %app.id(), cause = crate::metrics::chain(&cause), "old history could not be removed");
        }
    }
    moved
}

async fn keep<L: Log, S: Store, B: Fanout + Effects + Ownership>(
    actors: &Actors<L, S, B>,
    entity: Entity,
    head: Head,
) -> Result<u64, KeepError> {
    let shared = actors.shared();
    let Some(retention) =
        shared.apps.borrow().get(entity.app.as_str()).map(|app| app.log_retention)
    else {
        // An app that is not configured just now may come back: its data stays as it is.
        return Ok(0);
    };
    let cutoff = before(shared.clock.now(), retention);
    match entity.kind {
        EntityKind::Session(session) => keep_session(actors, entity, session, head, cutoff).await,
        EntityKind::Directory(..) if head.header.at < cutoff => {
            let records = shared.log.read(&entity, head.sequence, 1).await?;
            let Some(record) = records.into_iter().next() else { return Ok(0) };
            let decoded = decode_directory(&record.record)?;
            let row = DirectoryRow { at: decoded.at, directory: record.record };
            shared.store.put_directory(&entity.app, decoded.user, row).await?;
            let next = Sequence(head.sequence.0.saturating_add(1));
            Ok(shared.log.trim(&entity, next, true).await?.records)
        }
        EntityKind::Directory(..) => Ok(0),
    }
}

async fn keep_session<L: Log, S: Store, B: Fanout + Effects + Ownership>(
    actors: &Actors<L, S, B>,
    entity: Entity,
    session: SessionId,
    head: Head,
    cutoff: Timestamp,
) -> Result<u64, KeepError> {
    let shared = actors.shared();
    let key = Key { app: entity.app.clone(), session };
    let mut from = Sequence(0);
    let mut before = None;
    'pages: loop {
        let page = shared.log.read(&entity, from, MOVE_BYTES).await?;
        let mut events = Vec::new();
        let mut over = page.is_empty();
        for record in page {
            if record.header.at >= cutoff {
                over = true;
                break;
            }
            let decoded = decode_commit(&record.record)?;
            let at = decoded.commit.at;
            let numbered = decoded.commit.events.iter().map(|event| event.n).zip(decoded.events);
            events.extend(numbered.map(|(n, event)| StoredEvent { n, at, event }));
            before = Some(Sequence(record.sequence.0.saturating_add(1)));
            from = Sequence(record.sequence.0.saturating_add(1));
            over |= record.sequence >= head.sequence;
        }
        if !events.is_empty() {
            let app = key.app.clone();
            shared.store.project(Projection { app, session, events, row: None }).await?;
        }
        if over {
            break 'pages;
        }
    }
    let Some(before) = before else { return Ok(0) };
    let idle =
        head.header.at < cutoff && !head.header.attached && head.header.next_deadline.is_none();
    if before > head.sequence && idle {
        // Nothing has happened for so long that the log need not know the session at all.
        let loaded = load::load(shared, &key, None).await?;
        let state = loaded.session.state();
        if loaded.head != Some(head.sequence) {
            return Ok(0);
        }
        let row = SessionRow {
            epoch: state.epoch,
            projected: state.n,
            first: EventNumber(1),
            at: state.last_at,
            log: shared.log.incarnation(),
            state: encode_snapshot(state),
        };
        let app = key.app.clone();
        shared
            .store
            .project(Projection { app, session, events: Vec::new(), row: Some(row) })
            .await?;
        return Ok(shared.log.trim(&entity, before, true).await?.records);
    }
    Ok(shared.log.trim(&entity, before, false).await?.records)
}

fn before(now: Timestamp, retention: Duration) -> Timestamp {
    let micros = u64::try_from(retention.as_micros()).unwrap_or(u64::MAX);
    Timestamp(now.0.saturating_sub(micros))
}
