//! The records of the log and the messages of the bus: the types generated from `/proto`, and how
//! they translate into the vocabulary of the session.
//!
//! Knows nothing of the rules of a conversation. Whoever only passes a record on keeps its bytes:
//! decoding drops what it does not know.

#![forbid(unsafe_code)]

mod checksum;
mod commit;
mod convert;
mod directory;
mod event;
mod letter;
mod snapshot;

pub use self::{
    commit::{
        CROWDS, CommitRecord, ERASING, FORMAT, LOGIC, decode_commit, decode_commit_by,
        encode_commit,
    },
    convert::{
        app_id, client_instance, client_to_bytes, clock_from_pb, clock_to_pb, connection_from_pb,
        connection_to_pb, failure_from_pb, failure_to_pb, reject_to_pb, role_from_pb, role_to_pb,
        session_id, session_to_bytes, user_key, user_to_bytes,
    },
    directory::{DirectoryRecord, decode_directory, decode_directory_by, encode_directory},
    event::{decode_event, encode_event},
    letter::{LETTER_BODY_MAX, letter_body, letter_of_input},
    snapshot::{decode_snapshot, decode_snapshot_by, encode_snapshot, encode_snapshot_for},
};

/// The generated types. Field meanings stand in `/proto`.
#[allow(clippy::all, reason = "generated")]
pub mod pb {
    include!(concat!(env!("OUT_DIR"), "/stentor.v1.rs"));
}

/// Bytes that are no valid record or message.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// They are no protobuf message of that type.
    #[error("not a protobuf message of the expected type")]
    Protobuf(#[from] prost::DecodeError),
    /// The checksum does not fit.
    #[error("the checksum does not fit")]
    Checksum,
    /// Written in a format of a later version.
    #[error("format {0} is newer than this version can read")]
    NewerFormat(u32),
    /// Needs a later version to decide from.
    #[error("logic version {0} is newer than this version has")]
    NewerLogic(u32),
    /// A field is missing or makes no sense.
    #[error("field {0} is missing or out of range")]
    Field(&'static str),
}
