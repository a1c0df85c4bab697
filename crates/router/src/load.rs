//! Brings a session back from its log, or, where the log no longer has it, from the store.

use stentor_cluster::{Log, LogError};
use stentor_postoffice::Session;
use stentor_store::{Store, StoreError};
use stentor_types::{Epoch, Sequence};
use stentor_wire::{DecodeError, decode_commit, decode_snapshot};

use crate::{Shared, actors::Key, history::Recent};

/// Bytes read from the log at a time.
const PAGE_BYTES: usize = 1 << 20;

/// A session as its log has it.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) session: Session,
    /// Its newest record.
    pub(crate) head: Option<Sequence>,
    /// Its latest events.
    pub(crate) recent: Recent,
}

/// A session could not be loaded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error("failed to read the log")]
    Log(#[from] LogError),
    #[error("failed to read the store")]
    Store(#[from] StoreError),
    #[error("failed to decode a record")]
    Decode(#[from] DecodeError),
    #[error("the log lacks what came before its first record, and the store has no row")]
    Hole,
}

// === impl LoadError ===

impl LoadError {
    /// Nothing that could be tried again would help: the session stays as it is until somebody looks.
    pub(crate) const fn is_damage(&self) -> bool {
        match self {
            Self::Log(LogError::Corrupt { .. }) | Self::Store(StoreError::Corrupt { .. }) => true,
            Self::Decode(_) | Self::Hole => true,
            Self::Log(LogError::Unavailable(_) | LogError::Fatal(_)) => false,
            Self::Store(StoreError::Unavailable(_) | StoreError::Fatal(_)) => false,
        }
    }
}

/// Loads a session. One that nobody has written to yet is new.
pub(crate) async fn load<L: Log, S: Store, B>(
    shared: &Shared<L, S, B>,
    key: &Key,
) -> Result<Loaded, LoadError> {
    let entity = key.entity();
    let mut recent = Recent::default();
    let Some(head) = shared.log.head(&entity).await? else {
        let session = match shared.store.session(&key.app, key.session).await? {
            Some(row) => Session::restore(key.session, decode_snapshot(&row.state)?),
            None => Session::new(key.session, Epoch(shared.clock.now().as_secs())),
        };
        return Ok(Loaded { session, head: None, recent });
    };
    let mut session: Option<Session> = None;
    let mut from = head.snapshot.unwrap_or(Sequence(0));
    loop {
        let page = shared.log.read(&entity, from, PAGE_BYTES).await?;
        let Some(last) = page.last().map(|record| record.sequence) else { break };
        for record in page {
            let decoded = decode_commit(&record.record)?;
            for (event, bytes) in decoded.commit.events.iter().zip(decoded.events) {
                recent.push(event.n, bytes);
            }
            match (&mut session, decoded.snapshot) {
                (None, Some(snapshot)) => {
                    session = Some(Session::restore(key.session, decode_snapshot(&snapshot)?));
                }
                (None, None) => {
                    let mut first = if decoded.commit.first.0 == 1 {
                        Session::new(key.session, decoded.commit.epoch)
                    } else {
                        let row = shared.store.session(&key.app, key.session).await?;
                        let row = row.filter(|row| row.projected.next() == decoded.commit.first);
                        Session::restore(
                            key.session,
                            decode_snapshot(&row.ok_or(LoadError::Hole)?.state)?,
                        )
                    };
                    first.apply(&decoded.commit);
                    session = Some(first);
                }
                (Some(session), _) => session.apply(&decoded.commit),
            }
        }
        if last >= head.sequence {
            break;
        }
        from = Sequence(last.0.saturating_add(1));
    }
    let session = session.ok_or(LoadError::Hole)?;
    Ok(Loaded { session, head: Some(head.sequence), recent })
}
