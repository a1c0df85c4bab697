//! What the log has of a session: its newest records from a snapshot on, and their fold.

use stentor_cluster::{Head, Log};
use stentor_postoffice::Session;
use stentor_store::SessionRow;
use stentor_types::{Epoch, EventNumber, Incarnation, Sequence, SessionId, Timestamp};
use stentor_wire::{CommitRecord, decode_commit_by, decode_snapshot_by};

use super::LoadError;
use crate::{Shared, actors::Key, history::Recent};

/// Bytes read from the log at a time.
const PAGE_BYTES: usize = 1 << 20;

/// The newest records of a session, oldest first; at least one.
#[derive(Debug)]
pub(super) struct Tail {
    commits: Vec<CommitRecord>,
    pub(super) end: End,
}

/// Where the records of a session end.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    pub(super) epoch: Epoch,
    pub(super) n: EventNumber,
    pub(super) at: Timestamp,
    /// The log that the last record was written to.
    pub(super) log: Incarnation,
}

// === impl Tail ===

impl Tail {
    /// Nothing if it does not reach the head: what was there has been trimmed meanwhile, or is not to be had
    /// where it was read.
    pub(super) async fn read<L: Log, S, B>(
        shared: &Shared<L, S, B>,
        key: &Key,
        head: &Head,
    ) -> Result<Option<Self>, LoadError> {
        let entity = key.entity();
        let mut commits = Vec::new();
        let mut from = head.snapshot.unwrap_or(Sequence(0));
        loop {
            let page = shared.log.read(&entity, from, PAGE_BYTES).await?;
            let Some(last) = page.last().map(|record| record.sequence) else { return Ok(None) };
            for record in page {
                commits.push(decode_commit_by(&record.record, shared.logic)?);
            }
            if last >= head.sequence {
                break;
            }
            from = Sequence(last.0.saturating_add(1));
        }
        let last: &CommitRecord = commits.last().ok_or(LoadError::Hole)?;
        let (epoch, n, at) = (last.commit.epoch, last.commit.last(), last.commit.at);
        let end = End { epoch, n, at, log: last.log_incarnation };
        Ok(Some(Self { commits, end }))
    }

    /// The session can be brought back from them alone.
    pub(super) fn is_whole(&self) -> bool {
        let first = self.commits.first();
        first.is_some_and(|first| first.snapshot.is_some() || first.commit.first == EventNumber(1))
    }

    /// The session that they tell of. Where they do not begin with a snapshot or with its first event, it
    /// is the store's row that they go on from.
    pub(super) fn fold(
        &self,
        id: SessionId,
        row: Option<&SessionRow>,
        logic: u32,
    ) -> Result<(Session, Recent), LoadError> {
        let mut recent = Recent::default();
        let mut folded: Option<Session> = None;
        for CommitRecord { commit, events, snapshot, .. } in &self.commits {
            for (event, bytes) in commit.events.iter().zip(events) {
                recent.push(event.n, bytes.clone());
            }
            let next = folded.as_ref().map(|session| session.state().n.next());
            if next.is_some_and(|next| commit.last() < next) {
                // The row that was begun with is of a later commit.
                continue;
            }
            folded = match (folded, snapshot) {
                (Some(mut session), _) if next == Some(commit.first) => {
                    session.apply(commit);
                    Some(session)
                }
                (_, Some(snapshot)) => {
                    Some(Session::restore(id, decode_snapshot_by(snapshot, logic)?))
                }
                (None, None) if commit.first == EventNumber(1) => {
                    let mut session = Session::new(id, commit.epoch);
                    session.apply(commit);
                    Some(session)
                }
                _ => {
                    let row = row.filter(|row| row.projected.next() >= commit.first);
                    let state = &row.ok_or(LoadError::Hole)?.state;
                    let mut session = Session::restore(id, decode_snapshot_by(state, logic)?);
                    let next = session.state().n.next();
                    if next == commit.first {
                        session.apply(commit);
                    } else if next <= commit.last() {
                        return Err(LoadError::Hole);
                    }
                    Some(session)
                }
            };
        }
        Ok((folded.ok_or(LoadError::Hole)?, recent))
    }
}
