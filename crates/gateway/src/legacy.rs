//! The legacy dialect: what stands behind the socket of a published widget.
//!
//! Knows nothing of the rules of a conversation: it turns frames into inputs for the owner of the session, and
//! the session's events into frames, in the order of their numbers.
//!
//! Reading order: [`connection`] (from open to close),
//! [`member`] (a connection whose app is known), [`requests`] and [`answers`] (its talk with the owner),
//! [`missed`] (when fan-out was lost), [`shown`] (what the widget was shown).

mod answers;
mod connection;
mod identity;
mod inbound;
mod member;
mod missed;
mod requests;
mod shown;

pub(crate) use self::{
    connection::{Connection, Stranger},
    identity::Identity,
};
