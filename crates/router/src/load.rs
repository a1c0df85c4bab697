//! Brings a session back from its log, or, where the log no longer has it, from the store; and decides
//! whether its numbering can go on.
//!
//! `(epoch, n)` must never name two events. The numbering of what was loaded may go on only if nothing can
//! have been committed after it. Otherwise the session's next commit begins a new epoch, with n as dense as
//! before: whoever still holds a cursor of the old one is told so, and shown the session anew. These are the
//! cases, and why they are all:
//!
//! * **The log has records of the session.** Compare-and-set on its newest one decides about everything that
//!   is written, so only a log that is not the one that it was can hide a commit. Either it is known to be
//!   another one, because the last record names another *incarnation*; or it is an older copy under the same
//!   name, and then the store has seen more of the session than the log has: the *row is ahead*. A row that
//!   is behind says nothing, since the store always follows the log.
//! * **The log has none, and the store has a row.** Either the row tells all there was, or the log was lost,
//!   or made anew, or trimmed by somebody who did not wait for the store. The partition's cursor says up to
//!   where everything, rows included, is in the store; the log has forgotten nothing but what is before its
//!   first sequence. So if the row is of this incarnation and the cursor has reached the first sequence, then
//!   every record that has gone was in the store before, and the row is of the last one. A cursor that stands
//!   one lower is not enough: the record in between would be gone unseen.
//! * **Neither has it.** It is new, or all trace of it is gone. Its epoch is the present second, which is
//!   later than any epoch before.
//! * **This process knows more than it finds** (it was refused, and loads again): its own commits are gone
//!   from the log unseen, so none of the above can be believed.
//!
//! Two owners who begin a new epoch at once are judged by compare-and-set like any other two.
//!
//! When the store does not answer, what the log has is believed: live sessions go on. What only the store
//! could tell is not made up: such a session is refused for now, unless this router has just invented it.

mod tail;

use stentor_cluster::{Log, LogError};
use stentor_postoffice::{Commit, Session, State};
use stentor_store::{SessionRow, Store, StoreError};
use stentor_types::{Epoch, EventNumber, Incarnation, Sequence};
use stentor_wire::{DecodeError, decode_event, decode_snapshot_by};
use tracing::{debug, info, warn};

use self::tail::Tail;
use crate::{Shared, actors::Key, caught::caught, history::Recent};

/// How often a session is read again because somebody else wrote to it meanwhile.
const MOVED_MAX: u32 = 5;
/// Events read from the store at a time.
const EVENTS_PAGE: u64 = 500;

/// A session as its log has it.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// If its epoch is not that of `origin`, its next commit begins a new one.
    pub(crate) session: Session,
    /// Its newest record.
    pub(crate) head: Option<Sequence>,
    /// Its latest events.
    pub(crate) recent: Recent,
    /// Its last commit; nothing if there was none.
    pub(crate) origin: Option<Origin>,
    /// The store says that it is erased, and it is not yet, or not wholly.
    pub(crate) is_to_be_erased: bool,
}

/// What a commit belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The numbering.
    pub(crate) epoch: Epoch,
    /// The log that it was written to.
    pub(crate) log: Incarnation,
}

/// How far this process has seen a session come.
pub(crate) type Known = (Epoch, EventNumber);

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
    #[error(
        "the session is never the same twice: somebody else writes to it, or the log cannot be read whole"
    )]
    Contested,
    #[error("what is there of the session makes the session logic panic")]
    Panicked,
}

// === impl Loaded ===

impl Loaded {
    const fn new(
        session: Session,
        head: Option<Sequence>,
        recent: Recent,
        origin: Option<Origin>,
    ) -> Self {
        Self { session, head, recent, origin, is_to_be_erased: false }
    }
}

// === impl LoadError ===

impl LoadError {
    /// Nothing that could be tried again would help: the session stays as it is until somebody looks.
    pub(crate) const fn is_damage(&self) -> bool {
        match self {
            Self::Log(LogError::Corrupt { .. }) | Self::Store(StoreError::Corrupt { .. }) => true,
            Self::Decode(_) | Self::Hole | Self::Panicked => true,
            Self::Log(LogError::Unavailable(_) | LogError::Fatal(_)) | Self::Contested => false,
            Self::Store(StoreError::Unavailable(_) | StoreError::Fatal(_)) => false,
        }
    }

    /// It can be decided from only by this version of the rules or a later one.
    pub(crate) const fn needs_logic(&self) -> Option<u32> {
        match self {
            Self::Decode(DecodeError::NewerLogic(needed)) => Some(*needed),
            _ => None,
        }
    }

    /// Only the store could tell, and it does not answer.
    pub(crate) const fn is_unreadable(&self) -> bool {
        matches!(self, Self::Store(_)) && !self.is_damage()
    }
}

/// Loads a session. One that nobody has written to yet is new. `known` is how far this process has seen it
/// come.
pub(crate) async fn load<L: Log, S: Store, B>(
    shared: &Shared<L, S, B>,
    key: &Key,
    known: Option<Known>,
) -> Result<Loaded, LoadError> {
    let is_fresh = shared.fresh.has(key.session);
    let erasure = async {
        if is_fresh {
            return None;
        }
        match shared.briefly(shared.store.erasure(&key.app, key.session)).await {
            Ok(erasure) => erasure.map(|erasure| !erasure.certificate.is_empty()),
            Err(cause) => {
                debug!(app = %key.app, session = %key.session, cause = crate::metrics::chain(&cause), "the history could not be asked whether the session is erased");
                None
            }
        }
    };
    let (loaded, erasure) = tokio::join!(load_stable(shared, key, known), erasure);
    let loaded = loaded?;
    Ok(match erasure {
        Some(is_finished) => erased(loaded, is_finished),
        None => loaded,
    })
}

/// A session of which the store says that it is erased. If nothing of it can be found, nothing may begin under its
/// name either.
fn erased(loaded: Loaded, is_finished: bool) -> Loaded {
    let (id, state) = (loaded.session.id(), loaded.session.state());
    if state.visitor.is_some() || (state.erased && !is_finished) {
        return Loaded { is_to_be_erased: true, ..loaded };
    }
    let state = State { ended: true, erased: true, ..state.clone() };
    Loaded { session: Session::restore(id, state), ..loaded }
}

async fn load_stable<L: Log, S: Store, B>(
    shared: &Shared<L, S, B>,
    key: &Key,
    known: Option<Known>,
) -> Result<Loaded, LoadError> {
    for _ in 0..MOVED_MAX {
        let Some(tried) = caught(try_load(shared, key, known)).await else {
            shared.metrics.panic_caught();
            return Err(LoadError::Panicked);
        };
        if let Some(mut loaded) = tried? {
            shared.fresh.begun(key.session);
            if loaded.session.state().erased {
                // What is still in the log of the time before.
                loaded.recent = Recent::default();
            }
            return Ok(loaded);
        }
    }
    Err(LoadError::Contested)
}

/// Nothing if somebody else wrote to the session meanwhile.
async fn try_load<L: Log, S: Store, B>(
    shared: &Shared<L, S, B>,
    key: &Key,
    known: Option<Known>,
) -> Result<Option<Loaded>, LoadError> {
    let Some(head) = shared.log.head(&key.entity()).await? else {
        return from_store(shared, key, known).await.map(Some);
    };
    let Some(tail) = Tail::read(shared, key, &head).await? else { return Ok(None) };
    let row = if shared.keeping.is_shared() || !tail.is_whole() {
        match shared.row(key).await {
            Err(cause) if tail.is_whole() => {
                debug!(app = %key.app, session = %key.session, cause = crate::metrics::chain(&cause), "the history could not be asked whether it is ahead of the log");
                None
            }
            row => row?,
        }
    } else {
        None
    };
    let (session, recent) = tail.fold(key.session, row.as_ref(), shared.logic)?;
    let (end, head) = (tail.end, head.sequence);
    if let Some(row) =
        row.filter(|row| (row.epoch, row.projected) > (end.epoch, end.n) || row.at > end.at)
    {
        // Read after the head: it may be ahead only because somebody else went on writing.
        if shared.log.head(&key.entity()).await?.map(|head| head.sequence) != Some(head) {
            return Ok(None);
        }
        let origin = Origin { epoch: row.epoch.max(end.epoch), log: row.log };
        let (session, recent) = all_stored(shared, key, &row).await?;
        let session = renewed(shared, session, [Some(origin.epoch), known.map(|known| known.0)]);
        warn!(app = %key.app, session = %key.session, epoch = %session.state().epoch, "the history is ahead of the log; the session begins a new numbering");
        return Ok(Some(Loaded::new(session, Some(head), recent, Some(origin))));
    }
    let origin = Origin { epoch: end.epoch, log: end.log };
    let ahead = known.filter(|known| *known > (end.epoch, end.n));
    let session = if end.log != shared.log.incarnation() || ahead.is_some() {
        let session = renewed(shared, session, [Some(end.epoch), known.map(|known| known.0)]);
        warn!(app = %key.app, session = %key.session, epoch = %session.state().epoch, "the log is not the one that it was; the session begins a new numbering");
        session
    } else {
        session
    };
    Ok(Some(Loaded::new(session, Some(head), recent, Some(origin))))
}

/// A session that the log has no record of.
async fn from_store<L: Log, S: Store, B>(
    shared: &Shared<L, S, B>,
    key: &Key,
    known: Option<Known>,
) -> Result<Loaded, LoadError> {
    let row = if shared.fresh.has(key.session) { None } else { shared.row(key).await? };
    let Some(row) = row else {
        let epoch = shared.clock.now().as_secs();
        let epoch = known.map_or(epoch, |(before, _)| epoch.max(before.0.saturating_add(1)));
        let session = Session::new(key.session, Epoch(epoch));
        return Ok(Loaded::new(session, None, Recent::default(), None));
    };
    let origin = Some(Origin { epoch: row.epoch, log: row.log });
    let is_last = known.is_none_or(|known| known == (row.epoch, row.projected));
    if is_last
        && row.log == shared.log.incarnation()
        && shared.keeping.seen(&shared.log, key.session.partition()).await?
    {
        let state = decode_snapshot_by(&row.state, shared.logic)?;
        let session = Session::restore(key.session, state);
        return Ok(Loaded::new(session, None, Recent::default(), origin));
    }
    let (session, recent) = all_stored(shared, key, &row).await?;
    let session = renewed(shared, session, [Some(row.epoch), known.map(|known| known.0)]);
    info!(app = %key.app, session = %key.session, epoch = %session.state().epoch, "the log no longer has the session; it begins a new numbering");
    Ok(Loaded::new(session, None, recent, origin))
}

/// The session of a row, and of whatever events the store has beyond it: they are shown to everybody, so
/// they must not be numbered again. Requests for the bot are not among them: who asked last must ask again.
async fn all_stored<L: Log, S: Store, B>(
    shared: &Shared<L, S, B>,
    key: &Key,
    row: &SessionRow,
) -> Result<(Session, Recent), LoadError> {
    let state = decode_snapshot_by(&row.state, shared.logic)?;
    let mut session = Session::restore(key.session, state);
    let mut recent = Recent::default();
    loop {
        let from = session.state().n.next();
        let to = EventNumber(from.0.saturating_add(EVENTS_PAGE - 1));
        let page = shared.briefly(shared.store.events(&key.app, key.session, from, to)).await?;
        if page.is_empty() {
            return Ok((session, recent));
        }
        for stored in page {
            let event = decode_event(&stored.event)?;
            if event.n != session.state().n.next() {
                return Ok((session, recent));
            }
            recent.push(event.n, stored.event);
            session.apply(&Commit {
                epoch: row.epoch,
                first: event.n,
                at: stored.at,
                events: vec![event],
                requests: Vec::new(),
                effects: Vec::new(),
                next_deadline: None,
                replies: Vec::new(),
            });
        }
    }
}

/// The same session, whose numbering begins now.
pub(crate) fn renewed<L, S, B>(
    shared: &Shared<L, S, B>,
    session: Session,
    before: impl IntoIterator<Item = Option<Epoch>>,
) -> Session {
    let now = Epoch(shared.clock.now().as_secs());
    let next = before.into_iter().flatten().map(|before| Epoch(before.0.saturating_add(1)));
    let epoch = next.fold(now, Epoch::max);
    let (id, state) = (session.id(), session.state().clone());
    Session::restore(id, State { epoch, ..state })
}
