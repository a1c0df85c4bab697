//! The records of the log and the messages of the bus: the types generated from `/proto`, and how
//! they translate into the vocabulary of the session.
//!
//! Knows nothing of the rules of a conversation. Whoever only passes a record on keeps its bytes:
//! decoding drops what it does not know.

/// The generated types. Field meanings stand in `/proto`.
#[allow(clippy::all, reason = "generated")]
pub mod pb {
    include!(concat!(env!("OUT_DIR"), "/stentor.v1.rs"));
}
