//! The second dialect: what stands behind the socket of a client that numbers its messages and remembers
//! where it was. `docs/protocol-v2.md` is the contract.
//!
//! Knows nothing of the rules of a conversation: it turns frames into inputs for the owners of sessions, and
//! the sessions' events into frames, in the order of their numbers, without a hole.
//!
//! Reading order: [`connection`] (from open to close), [`frames`] (what a
//! client wants), [`seat`] (one session on one socket), [`jobs`] (what is
//! asked of its owner), [`missed`] (when fan-out was lost), [`answers`] (what follows from the answers), [`shown`] (what the client has), [`lists`].

mod answers;
mod closing;
mod connection;
mod frames;
mod jobs;
mod line;
mod lists;
mod missed;
mod seat;
mod shown;

pub(crate) use self::{
    connection::Connection,
    line::{Exchanged, Line},
    lists::{item, list_request, to_hex},
};
