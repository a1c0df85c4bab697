//! The port itself.

use std::{fmt, future::Future, time::Duration};

use bytes::Bytes;
use stentor_types::{AppId, Epoch, EventNumber, Incarnation, SessionId, Timestamp, UserKey};

/// An event as it is kept: the very bytes of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEvent {
    /// Its number.
    pub n: EventNumber,
    /// Time of the commit that wrote it.
    pub at: Timestamp,
    /// The encoded event.
    pub event: Bytes,
}

/// The state of a session as of event `projected`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRow {
    /// The numbering.
    pub epoch: Epoch,
    /// Events up to this one are in the store.
    pub projected: EventNumber,
    /// Events below this one have expired.
    pub first: EventNumber,
    /// Time of the last commit that was projected.
    pub at: Timestamp,
    /// The log that this commit was written to.
    pub log: Incarnation,
    /// The encoded state.
    pub state: Bytes,
}

/// The directory of a visitor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryRow {
    /// Time of the commit that wrote it.
    pub at: Timestamp,
    /// The encoded directory.
    pub directory: Bytes,
}

/// A session as lists of its app show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Its place in the list.
    pub at: Timestamp,
    /// Which.
    pub session: SessionId,
    /// What is shown, encoded.
    pub listing: Bytes,
}

/// What is known of the erasure of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erasure {
    /// Time of the commit that erased it; until there is one, of the last commit before.
    pub at: Timestamp,
    /// What the certificate says, encoded; empty until everything is done.
    pub certificate: Bytes,
}

/// What the projector writes for one session.
#[derive(Clone, Debug)]
pub struct Projection {
    /// The app.
    pub app: AppId,
    /// The session.
    pub session: SessionId,
    /// Events, ordered and dense.
    pub events: Vec<StoredEvent>,
    /// The state after the last of them, if it is to be replaced.
    pub row: Option<SessionRow>,
}

/// The store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Perhaps later.
    #[error("the store cannot be reached")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Something that was read is damaged.
    #[error("what the store holds for {what} is damaged")]
    Corrupt {
        /// Whose data.
        what: String,
    },
    /// Never again in this process.
    #[error("the store has failed and must be opened anew")]
    Fatal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A store of histories. All writes are idempotent: of two writes to one cell the one with the later
/// `at` stays, in whatever order they come.
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Writes events and, if given, the row. Durable when it returns.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] or [`StoreError::Fatal`].
    fn project(
        &self,
        projection: Projection,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Events `from..=to` that are there, ordered; a hole means "not projected yet" or "expired".
    ///
    /// # Errors
    /// Any [`StoreError`].
    fn events(
        &self,
        app: &AppId,
        session: SessionId,
        from: EventNumber,
        to: EventNumber,
    ) -> impl Future<Output = Result<Vec<StoredEvent>, StoreError>> + Send;

    /// The row of a session.
    ///
    /// # Errors
    /// Any [`StoreError`].
    fn session(
        &self,
        app: &AppId,
        session: SessionId,
    ) -> impl Future<Output = Result<Option<SessionRow>, StoreError>> + Send;

    /// Writes the directory of a visitor. Durable when it returns.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] or [`StoreError::Fatal`].
    fn put_directory(
        &self,
        app: &AppId,
        user: UserKey,
        row: DirectoryRow,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The directory of a visitor.
    ///
    /// # Errors
    /// Any [`StoreError`].
    fn directory(
        &self,
        app: &AppId,
        user: UserKey,
    ) -> impl Future<Output = Result<Option<DirectoryRow>, StoreError>> + Send;

    /// Gives a session its place in the list of its app; it leaves the one that it had. Durable when it
    /// returns.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] or [`StoreError::Fatal`].
    fn put_listing(
        &self,
        app: &AppId,
        session: SessionId,
        at: Timestamp,
        listing: Bytes,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// A session's place in the list of its app.
    ///
    /// # Errors
    /// Any [`StoreError`].
    fn listing(
        &self,
        app: &AppId,
        session: SessionId,
    ) -> impl Future<Output = Result<Option<Listing>, StoreError>> + Send;

    /// The first `limit` sessions of an app's list, the newest first; those that follow `before`, which need
    /// not be in it, if that is given. At one and the same time the greater session comes first. A session
    /// that is given another place meanwhile may be missed. One whose listing is damaged is left out.
    ///
    /// # Errors
    /// Any [`StoreError`].
    fn listings(
        &self,
        app: &AppId,
        before: Option<(Timestamp, SessionId)>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Listing>, StoreError>> + Send;

    /// A session is erased. From then on nothing brings it back: of what is written afterwards, however late, its
    /// events and its place in lists are dropped, and so are rows that are older than the erasure. What is
    /// there stays until [`Self::forget`]. Of two erasures the later one stays. Durable when it returns.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] or [`StoreError::Fatal`].
    fn erase(
        &self,
        app: &AppId,
        session: SessionId,
        erasure: Erasure,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The erasure of a session, if it is erased.
    ///
    /// # Errors
    /// Any [`StoreError`].
    fn erasure(
        &self,
        app: &AppId,
        session: SessionId,
    ) -> impl Future<Output = Result<Option<Erasure>, StoreError>> + Send;

    /// Removes the events of an erased session, its place in lists, and its row, if that is older than `at`, the time of its
    /// erasure. May be done again. Durable when it returns.
    ///
    /// # Errors
    /// Any [`StoreError`].
    fn forget(
        &self,
        app: &AppId,
        session: SessionId,
        at: Timestamp,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// How long after [`Self::forget`] the bytes are gone from the disk at the latest; nothing if that is not known.
    fn gone_after(&self, app: &AppId) -> Option<Duration>;

    /// Removes events of an app whose commit is older than `before`, and rows, directories and listings whose
    /// time is before it. Returns how many events went.
    ///
    /// # Errors
    /// Any [`StoreError`].
    fn expire(
        &self,
        app: &AppId,
        before: Timestamp,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;
}
