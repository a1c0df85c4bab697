//! The record of a visitor's directory. Each one replaces the one before.

use bytes::Bytes;
use prost::Message;
use stentor_postoffice::{Directory, DirectoryEntry};
use stentor_types::{AppId, CommitId, Incarnation, Sequence, Timestamp, UserKey};

use crate::{
    DecodeError, FORMAT, LOGIC, checksum,
    commit::{check_version, number_128},
    convert::{app_id, session_id, session_to_bytes, user_key, user_to_bytes},
    pb,
};

/// A directory, and what ties it to its place in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryRecord {
    /// The app.
    pub app: AppId,
    /// Whose.
    pub user: UserKey,
    /// The previous record.
    pub previous: Option<Sequence>,
    /// Names this attempt to write.
    pub id: CommitId,
    /// When, strictly increasing per directory.
    pub at: Timestamp,
    /// The log that this was written to.
    pub log_incarnation: Incarnation,
    /// The lowest version of the rules by which one may decide from this.
    pub min_logic: u32,
    /// The list.
    pub directory: Directory,
}

/// The bytes of a directory record.
#[must_use]
pub fn encode_directory(record: &DirectoryRecord) -> Bytes {
    let entries = record.directory.entries.iter();
    checksum::seal(&pb::Directory {
        format: FORMAT,
        app: record.app.as_str().to_owned(),
        user: user_to_bytes(record.user),
        previous: record.previous.map_or(0, |sequence| sequence.0),
        id: Bytes::copy_from_slice(&record.id.0.to_be_bytes()),
        at: record.at.0,
        log_incarnation: Bytes::copy_from_slice(&record.log_incarnation.0.to_be_bytes()),
        min_logic: record.min_logic,
        entries: entries
            .map(|entry| pb::DirectoryEntry {
                claimed: entry.claimed.clone(),
                session: session_to_bytes(entry.session),
                last_used: entry.last_used.0,
            })
            .collect(),
        checksum: 0,
    })
}

/// The directory record of these bytes, for a reader of this version.
///
/// # Errors
/// The bytes are damaged, or written by a later version.
pub fn decode_directory(bytes: &Bytes) -> Result<DirectoryRecord, DecodeError> {
    decode_directory_by(bytes, LOGIC)
}

/// The directory record of these bytes, for a reader who decides by that version of the rules.
///
/// # Errors
/// The bytes are damaged, or are not for that version.
pub fn decode_directory_by(bytes: &Bytes, logic: u32) -> Result<DirectoryRecord, DecodeError> {
    checksum::verify(bytes)?;
    let record = pb::Directory::decode(bytes.clone())?;
    check_version(record.format, record.min_logic, logic)?;
    let entries = record.entries.into_iter().map(|entry| {
        Ok(DirectoryEntry {
            claimed: entry.claimed,
            session: session_id(&entry.session)?,
            last_used: Timestamp(entry.last_used),
        })
    });
    Ok(DirectoryRecord {
        app: app_id(&record.app)?,
        user: user_key(&record.user)?,
        previous: (record.previous > 0).then_some(Sequence(record.previous)),
        id: CommitId(number_128(&record.id, "id")?),
        at: Timestamp(record.at),
        log_incarnation: Incarnation(number_128(&record.log_incarnation, "log_incarnation")?),
        min_logic: record.min_logic,
        directory: Directory { entries: entries.collect::<Result<_, DecodeError>>()? },
    })
}
