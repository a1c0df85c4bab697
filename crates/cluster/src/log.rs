//! The port to the committed log: records of entities, compare-and-set, durable before it answers.

use std::{fmt, future::Future};

use bytes::Bytes;
use stentor_types::{
    AppId, EventNumber, Incarnation, Partition, PlacementKey, Sequence, SessionId, Timestamp,
    UserKey,
};

/// What a record belongs to: one session, or the directory of one visitor.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entity {
    /// The app.
    pub app: AppId,
    /// What within it.
    pub kind: EntityKind,
}

/// The kinds of things that have records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntityKind {
    /// A session.
    Session(SessionId),
    /// The list of a visitor's sessions.
    Directory(PlacementKey, UserKey),
}

/// What must be known of a record without decoding it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The first event in it; 0 if it has none.
    pub first: EventNumber,
    /// The last event in it, or of those before it.
    pub last: EventNumber,
    /// When the record was decided, strictly increasing per entity.
    pub at: Timestamp,
    /// When the entity must be woken even if nothing arrives.
    pub next_deadline: Option<Timestamp>,
    /// Connections were attached after it.
    pub attached: bool,
    /// It holds a snapshot: nothing before it is needed to load the entity.
    pub snapshot: bool,
}

/// A record to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// To which entity.
    pub entity: Entity,
    /// The newest record of the entity that the writer knows of; `None` = there is none.
    pub expected: Option<Sequence>,
    /// What must be known of it.
    pub header: Header,
    /// The record itself, at most 512 KiB.
    pub record: Bytes,
    /// `bus.proto` effects that exist if and only if the record does. A log that does not carry effects
    /// ([`Log::CARRIES_EFFECTS`]) leaves them to the caller.
    pub effects: Vec<Bytes>,
}

/// What became of one [`Append`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// Written and durable.
    Stored(Sequence),
    /// Not written: the newest record of the entity is another one.
    Conflict {
        /// The newest record, if any.
        actual: Option<Sequence>,
    },
    /// Not written: a record of the entity is damaged, so nothing may follow it.
    Damaged,
    /// Not written, and never will be: it is larger than the log takes. The entity is as it was.
    TooLarge(TooLarge),
}

/// How much too large a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooLarge {
    /// The record, or one of its effects.
    #[error("{bytes} bytes in one message; the log takes {max}")]
    Bytes {
        /// Its size.
        bytes: usize,
        /// What the log takes.
        max: usize,
    },
    /// The record together with its effects.
    #[error("{messages} messages for one record; the log takes {max}")]
    Messages {
        /// How many there are.
        messages: usize,
        /// What the log takes.
        max: usize,
    },
}

/// A record as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its place.
    pub sequence: Sequence,
    /// What must be known of it.
    pub header: Header,
    /// The very bytes that were appended.
    pub record: Bytes,
}

/// The newest record of an entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its place.
    pub sequence: Sequence,
    /// Its header.
    pub header: Header,
    /// The newest record with a snapshot, if any is left.
    pub snapshot: Option<Sequence>,
}

/// What a trim removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrimReport {
    /// Records removed.
    pub records: u64,
}

/// The log could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Perhaps later. Whether an append was written is unknown: only the compare-and-set of the next
    /// attempt tells.
    #[error("the log cannot be reached")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A record is damaged. Its entity can be neither loaded nor written; all others can.
    #[error("record {sequence} of {entity} is damaged: {what}")]
    Corrupt {
        /// Whose record.
        entity: Entity,
        /// Which.
        sequence: Sequence,
        /// What is wrong with it.
        what: String,
    },
    /// Never again in this process: a sync failed, so nothing that it promised may be believed. Exit.
    #[error("the log has failed and must be opened anew")]
    Fatal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A log of records per entity.
///
/// Appends of one entity form a chain: each names the one before. Records of different entities have
/// no order among each other. All methods are cancel safe in the sense that a dropped `append` may or
/// may not have been written, but never half.
pub trait Log: fmt::Debug + Send + Sync + 'static {
    /// Whether the log hands the effects of its records to connectors by itself.
    const CARRIES_EFFECTS: bool = false;

    /// Writes a batch. Every [`Append`] is judged on its own; two of one entity in one batch are a
    /// mistake of the caller, and the second one conflicts. When this returns, all that is reported
    /// as stored survives the loss of the process and of power.
    ///
    /// # Errors
    /// [`LogError::Unavailable`] (outcome unknown) or [`LogError::Fatal`]; a conflict is no error.
    fn append(
        &self,
        batch: Vec<Append>,
    ) -> impl Future<Output = Result<Vec<Appended>, LogError>> + Send;

    /// The newest record of an entity.
    ///
    /// # Errors
    /// Any [`LogError`].
    fn head(&self, entity: &Entity) -> impl Future<Output = Result<Option<Head>, LogError>> + Send;

    /// Records of an entity in order, from `from` on, up to about `bytes_max` bytes (at least one
    /// record if there is one).
    ///
    /// # Errors
    /// Any [`LogError`].
    fn read(
        &self,
        entity: &Entity,
        from: Sequence,
        bytes_max: usize,
    ) -> impl Future<Output = Result<Vec<Record>, LogError>> + Send;

    /// The newest records of an entity, oldest first, until at least `events_min` events or the
    /// beginning of what is kept are reached.
    ///
    /// # Errors
    /// Any [`LogError`].
    fn read_tail(
        &self,
        entity: &Entity,
        events_min: u64,
    ) -> impl Future<Output = Result<Vec<Record>, LogError>> + Send;

    /// Entities of a partition with their heads, ordered, after `after`, at most `limit`.
    ///
    /// # Errors
    /// Any [`LogError`].
    fn heads(
        &self,
        partition: Partition,
        after: Option<Entity>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<(Entity, Head)>, LogError>> + Send;

    /// Removes the records of an entity before `before`. The newest record with a snapshot and all
    /// after it stay, whatever `before` says, unless `whole` is set, which removes the entity.
    ///
    /// # Errors
    /// Any [`LogError`].
    fn trim(
        &self,
        entity: &Entity,
        before: Sequence,
        whole: bool,
    ) -> impl Future<Output = Result<TrimReport, LogError>> + Send;

    /// Removes the records of an entity before `before`, which must hold a snapshot, so that their bytes are gone
    /// and not only out of reach; and with them whatever else the log keeps for the entity that was written
    /// before: its effects, copies of what was given up on. May be done again.
    ///
    /// By itself this trims: enough where the bytes of what was trimmed are nowhere, as in memory, or go when the
    /// store forgets the session, as in a data folder that keeps both.
    ///
    /// # Errors
    /// Any [`LogError`].
    fn erase(
        &self,
        entity: &Entity,
        before: Sequence,
    ) -> impl Future<Output = Result<TrimReport, LogError>> + Send {
        self.trim(entity, before, false)
    }

    /// Which log this is: random when the log is created, and another one when what was in it is lost.
    fn incarnation(&self) -> Incarnation;

    /// This process begins to write to a partition. Whoever did so before may still try for a while.
    fn taken(&self, _: Partition) {}

    /// Keeps a copy of what was given up on (a `bus.proto` dead letter) beside the log, where operators can
    /// read it. Never waits, and may lose it. A log without a place for it forgets it.
    fn bury(&self, letter: Bytes) {
        let _ = letter;
    }
}

/// Records of a partition in the order of their sequences.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// The records.
    pub records: Vec<(Entity, Record)>,
    /// Where to go on: everything of the partition before it has been seen.
    pub next: Sequence,
    /// Nothing more was there at the time.
    pub end: bool,
}

/// A log whose records are copied to a store as they come, and that forgets them by age.
///
/// Each partition has a cursor: everything before it is in the store.
pub trait PartitionLog: Log {
    /// Records of a partition from `from` on, up to about `bytes_max` bytes (at least one record if
    /// there is one).
    ///
    /// # Errors
    /// Any [`LogError`].
    fn scan(
        &self,
        partition: Partition,
        from: Sequence,
        bytes_max: usize,
    ) -> impl Future<Output = Result<Scan, LogError>> + Send;

    /// The partition's cursor; nothing if it never had one.
    ///
    /// # Errors
    /// Any [`LogError`].
    fn cursor(
        &self,
        partition: Partition,
    ) -> impl Future<Output = Result<Option<Sequence>, LogError>> + Send;

    /// Moves the partition's cursor. It never goes back: a lower one is ignored.
    ///
    /// # Errors
    /// Any [`LogError`].
    fn set_cursor(
        &self,
        partition: Partition,
        cursor: Sequence,
    ) -> impl Future<Output = Result<(), LogError>> + Send;

    /// The first sequence that the log still keeps.
    ///
    /// # Errors
    /// Any [`LogError`].
    fn first(&self) -> impl Future<Output = Result<Sequence, LogError>> + Send;

    /// Removes what is both older than `older_than` and before `before`, of all entities. Returns how
    /// many messages went.
    ///
    /// # Errors
    /// Any [`LogError`].
    fn purge(
        &self,
        older_than: Timestamp,
        before: Sequence,
    ) -> impl Future<Output = Result<u64, LogError>> + Send;
}

// === impl Entity ===

impl Entity {
    /// The group that serves this entity.
    #[must_use]
    pub const fn partition(&self) -> Partition {
        match self.kind {
            EntityKind::Session(session) => session.partition(),
            EntityKind::Directory(key, _) => key.partition(),
        }
    }
}

impl fmt::Display for Entity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            EntityKind::Session(session) => write!(formatter, "session {session} of {}", self.app),
            EntityKind::Directory(_, user) => write!(formatter, "directory {user} of {}", self.app),
        }
    }
}
