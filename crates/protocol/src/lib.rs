//! The wire: what the published chat widget, clients of the second dialect and Stentor bots say, read and
//! written.
//!
//! Pure: no IO, no clock, no tasks. Parsing never panics; whatever comes from outside is validated,
//! rebuilt or repaired here, *before* it can reach a bot, a log or somebody's browser. Knows nothing of
//! sessions, connections or who anybody really is: identities are parameters.
//!
//! Reading order: [`json`] (the guard and the tree), [`router_message`] (frames in), [`outgoing`]
//! (frames out), [`url`] (the dialled address), [`request`] (what the visitor says to the bot),
//! [`response`] (what the bot answers), [`v2`] (the second dialect), [`api`] (plain requests).

#![forbid(unsafe_code)]

pub mod api;
pub mod json;
mod legacy_view;
pub mod outgoing;
pub mod request;
pub mod response;
pub mod router_message;
pub mod text;
pub mod url;
pub mod v2;

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the corpus is in files")]
mod corpus;

pub use self::json::{DEPTH_MAX, FRAME_BYTES_MAX, ShapeError, check_shape};
pub use self::legacy_view::LegacyView;
pub use self::outgoing::{Device, OutSender};
pub use self::request::{
    HandBackLine, RequestError, RequestIdentity, RequestKind, VisitorRequest, readable_text,
    rebuild, relay_body, with_hand_back,
};
pub use self::response::{
    BotAnswer, NormalisedResponse, NotAResponse, Removed, Why, normalise, response_text,
};
pub use self::router_message::{
    ClientEvent, ClientFrame, FrameError, RouterMessage, SenderInfo, app_id_from_path,
};
pub use self::text::sanitise_display_name;
pub use self::url::{ConnectReason, ConnectUrl, UrlError};
