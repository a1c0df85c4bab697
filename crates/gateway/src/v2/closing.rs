//! How sockets of the second dialect are closed, with the codes of `docs/protocol-v2.md`.

use stentor_tokens::TokenError;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::{engine::Closing, metrics::CloseReason};

const fn refused(code: u16, text: &'static str) -> Closing {
    Closing { code: CloseCode::Library(code), text, reason: CloseReason::Refused }
}

/// The first frame did not come in time.
pub(super) const NO_HELLO: Closing = refused(4001, "no `hello` within 10 seconds");
/// Whether something was done could not be found out: nothing else is done for this connection, or it might
/// overtake what is sent again.
pub(super) const UNKNOWN: Closing = Closing {
    code: CloseCode::Library(4002),
    text: "no answer for 30 seconds; come back and send it again",
    reason: CloseReason::Unknown,
};
/// Too many connections of one user.
pub(super) const CROWDED: Closing =
    refused(4029, "too many connections of this user; come back later");
/// Only a (fresh) token helps.
pub(super) const UNAUTHORISED: Closing = refused(4401, "a valid token is needed");
/// There is no cookie of a login, or it is not believed any more.
pub(super) const NOT_LOGGED_IN: Closing = refused(4401, "nobody is logged in here");
/// The page or the token does not belong to the app.
pub(super) const FORBIDDEN: Closing = refused(4403, "not allowed for this app");
/// There is no such app.
pub(super) const NO_APP: Closing = refused(4404, "there is no such app");
/// The client does not speak the protocol.
pub(super) const BROKEN: Closing = refused(4500, "frames that make no sense");
/// Something else than `hello` came first, or a second one for somebody else.
pub(super) const NO_GREETING: Closing = refused(4500, "the first frame must be `hello`");
/// The app was taken away while the socket was open.
pub(super) const GONE: Closing = refused(4404, "this app is not served here any more");

/// The token is not believed: whether a fresh one may help.
pub(super) const fn of(why: &TokenError) -> Closing {
    match why {
        TokenError::Audience => FORBIDDEN,
        TokenError::Malformed
        | TokenError::UnknownKey
        | TokenError::Algorithm
        | TokenError::Forged
        | TokenError::Expired
        | TokenError::Early
        | TokenError::LongLived
        | TokenError::Purpose
        | TokenError::Revoked
        | TokenError::Key => UNAUTHORISED,
    }
}
