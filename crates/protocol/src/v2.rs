//! The second dialect: frames of `docs/protocol-v2.md`, read and written.
//!
//! Knows nothing of sockets, or of who holds which session.

mod client;
mod event;
mod server;

pub use self::{
    client::{
        Close, DraftDeed, DraftFrame, End, Filter, Hello, List, MalformedFrame, Open, Release,
        Resume, Send, Take, Typing, V2Frame, Watch,
    },
    event::{Viewer, event_frame},
    server::{
        Ack, Beat, Closed, Code, Done, Drain, Item, ItemState, Limits, ListChanged, Listed, Nack,
        Opened, Person, Refused, Resync, RoleName, Speaker, TypingNow, View, Welcome, encode,
    },
};

/// What a client offers as `Sec-WebSocket-Protocol`.
pub const SUBPROTOCOL: &str = "stentor.v2";
/// Sessions that one socket may hold open.
pub const OPEN_MAX: usize = 64;
/// Events that a client without a cursor is shown.
pub const FIRST_EVENTS: u64 = 100;
/// Longest name that a client may give a session, in characters.
pub const NAME_CHARS_MAX: usize = 200;

/// The JSON Schema of an event, for other documents.
#[cfg(test)]
pub(crate) fn event_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
    generator.subschema_for::<event::EventFrame<'static>>()
}

/// The JSON Schemas of all frames, by direction.
#[cfg(test)]
mod schema;
