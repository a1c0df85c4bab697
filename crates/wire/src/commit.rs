//! The record of one decision about one session.

use bytes::Bytes;
use prost::Message;
use stentor_postoffice::{BotRequest, Commit};
use stentor_types::{
    AppId, CommitId, Epoch, EventNumber, Incarnation, Sequence, SessionId, Timestamp,
};

use crate::{
    DecodeError, checksum,
    convert::{app_id, session_id, session_to_bytes},
    event::{decode_event, encode_event},
    pb,
};

/// Format of the records that this version writes, and the highest that it reads.
pub const FORMAT: u32 = 1;
/// Version of the rules by which this version decides.
pub const LOGIC: u32 = 2;
/// The first version of the rules that knows what an erased session is.
pub const ERASING: u32 = 2;
/// The first version that counts comings and goings in sessions of many.
pub const CROWDS: u32 = 2;

/// A commit, and what ties it to its place in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitRecord {
    /// The app.
    pub app: AppId,
    /// The session.
    pub session: SessionId,
    /// The session's previous record.
    pub previous: Option<Sequence>,
    /// Names this attempt to write.
    pub id: CommitId,
    /// The life of the router that decided.
    pub writer: u64,
    /// The log that this was written to.
    pub log_incarnation: Incarnation,
    /// The lowest version of the rules by which one may decide from this.
    pub min_logic: u32,
    /// What was decided. Effects and replies are not part of the record: the former follow from the
    /// state, the latter are answered.
    pub commit: Commit,
    /// The events as they were written.
    pub events: Vec<Bytes>,
    /// The encoded state after this commit, now and then.
    pub snapshot: Option<Bytes>,
}

// === impl CommitRecord ===

impl CommitRecord {
    /// The record of a fresh commit.
    #[must_use]
    pub fn new(app: AppId, session: SessionId, commit: Commit) -> Self {
        let events = commit.events.iter().map(encode_event).collect();
        Self {
            app,
            session,
            previous: None,
            id: CommitId(0),
            writer: 0,
            log_incarnation: Incarnation(0),
            min_logic: LOGIC,
            commit,
            events,
            snapshot: None,
        }
    }
}

/// The bytes of a record.
#[must_use]
pub fn encode_commit(record: &CommitRecord) -> Bytes {
    let requests = record.commit.requests.iter();
    checksum::seal(&pb::Commit {
        format: FORMAT,
        app: record.app.as_str().to_owned(),
        session: session_to_bytes(record.session),
        epoch: record.commit.epoch.0,
        first: record.commit.first.0,
        previous: record.previous.map_or(0, |sequence| sequence.0),
        id: Bytes::copy_from_slice(&record.id.0.to_be_bytes()),
        at: record.commit.at.0,
        writer: record.writer,
        log_incarnation: Bytes::copy_from_slice(&record.log_incarnation.0.to_be_bytes()),
        min_logic: record.min_logic,
        events: record.events.clone(),
        requests: requests
            .map(|request| pb::BotRequest { n: request.n.0, body: request.body.clone() })
            .collect(),
        next_deadline: record.commit.next_deadline.map_or(0, |at| at.0),
        snapshot: record.snapshot.clone(),
        checksum: 0,
    })
}

/// The record of these bytes, for a reader of this version.
///
/// # Errors
/// The bytes are damaged, or written by a later version, or events are not dense.
pub fn decode_commit(bytes: &Bytes) -> Result<CommitRecord, DecodeError> {
    decode_commit_by(bytes, LOGIC)
}

/// The record of these bytes, for a reader who decides by that version of the rules. Whoever decides
/// nothing and only passes on what is in it may read every version.
///
/// # Errors
/// The bytes are damaged, or are not for that version, or events are not dense.
pub fn decode_commit_by(bytes: &Bytes, logic: u32) -> Result<CommitRecord, DecodeError> {
    checksum::verify(bytes)?;
    let record = pb::Commit::decode(bytes.clone())?;
    check_version(record.format, record.min_logic, logic)?;
    let mut events = Vec::with_capacity(record.events.len());
    let mut n = record.first;
    for bytes in &record.events {
        let event = decode_event(bytes)?;
        if event.n.0 != n {
            return Err(DecodeError::Field("events"));
        }
        n = n.saturating_add(1);
        events.push(event);
    }
    let requests = record.requests.into_iter();
    let commit = Commit {
        epoch: Epoch(record.epoch),
        first: EventNumber(record.first),
        at: Timestamp(record.at),
        events,
        requests: requests
            .map(|request| BotRequest { n: EventNumber(request.n), body: request.body })
            .collect(),
        effects: Vec::new(),
        next_deadline: (record.next_deadline > 0).then_some(Timestamp(record.next_deadline)),
        replies: Vec::new(),
    };
    Ok(CommitRecord {
        app: app_id(&record.app)?,
        session: session_id(&record.session)?,
        previous: (record.previous > 0).then_some(Sequence(record.previous)),
        id: CommitId(number_128(&record.id, "id")?),
        writer: record.writer,
        log_incarnation: Incarnation(number_128(&record.log_incarnation, "log_incarnation")?),
        min_logic: record.min_logic,
        commit,
        events: record.events,
        snapshot: record.snapshot,
    })
}

pub(crate) fn check_version(format: u32, min_logic: u32, logic: u32) -> Result<(), DecodeError> {
    if format > FORMAT {
        return Err(DecodeError::NewerFormat(format));
    }
    if min_logic > logic {
        return Err(DecodeError::NewerLogic(min_logic));
    }
    Ok(())
}

pub(crate) fn number_128(bytes: &[u8], field: &'static str) -> Result<u128, DecodeError> {
    bytes.try_into().map(u128::from_be_bytes).map_err(|_| DecodeError::Field(field))
}
