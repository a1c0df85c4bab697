//! What an embedder is to do.

use bytes::Bytes;
use stentor_protocol::outgoing;
use stentor_types::{EffectId, RejectCode, SessionId, Timestamp};

use super::Socket;

/// Something to be done, in the order of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outgoing {
    /// Write this to the socket as a text frame.
    Frame {
        /// To which.
        socket: Socket,
        /// JSON.
        text: Bytes,
    },
    /// Ask the bot, and give its answer to [`PostOffice::answer`](super::PostOffice::answer).
    AskBot(AskBot),
    /// A message of that socket was refused for good. Its widget is not told.
    Refused {
        /// Whose.
        socket: Socket,
        /// Why.
        code: RejectCode,
    },
}

/// One attempt to ask the bot.
#[derive(Clone, PartialEq, Eq)]
pub struct AskBot {
    /// In which session.
    pub session: SessionId,
    /// Which attempt. Session, epoch and turn are the idempotency key of all attempts for one message.
    pub id: EffectId,
    /// When an answer is of no more use.
    pub deadline: Timestamp,
    /// The Request to be posted: JSON, with secrets of the visitor.
    pub request: Bytes,
}

// === impl Outgoing ===

impl Outgoing {
    /// The session is confirmed, although there is none yet.
    pub(super) fn confirm(socket: Socket, now: Timestamp) -> Self {
        let time_ms = i64::try_from(now.as_millis()).unwrap_or(i64::MAX) | 1;
        Self::Frame { socket, text: outgoing::connection_update(true, None, time_ms) }
    }

    /// Access is refused.
    pub(super) fn no_access(socket: Socket, now: Timestamp) -> Self {
        let time_ms = i64::try_from(now.as_millis()).unwrap_or(i64::MAX) | 1;
        let error = Some("this chat cannot be joined");
        Self::Frame { socket, text: outgoing::connection_update(false, error, time_ms) }
    }
}

// === impl AskBot ===

impl std::fmt::Debug for AskBot {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "AskBot({}, {:?}, {} bytes)", self.session, self.id, self.request.len())
    }
}
