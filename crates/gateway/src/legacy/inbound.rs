//! What a widget has said and what has not been taken yet, in its order.

use std::collections::VecDeque;

use bytes::Bytes;
use stentor_types::{SessionId, Timestamp};

/// Frames of one connection that may wait for their turn; then the socket is not read.
const FRAMES_MAX: usize = 64;
/// Their bytes.
const BYTES_MAX: usize = 256 * 1024;
/// Counted for each beside its text.
const OVERHEAD_BYTES: usize = 128;

/// One thing to be asked of the owner of a session.
#[derive(Debug)]
pub(super) enum Inbound {
    /// A connection that said nothing: its visitor's latest session, if there is one.
    Bare { at: Timestamp },
    /// `user joined`.
    Join(Greeting),
    /// `new message` and its data.
    Say(Greeting, Bytes),
    /// `barge in` (true) or `barge out`.
    Control(Greeting, bool),
    /// The session that the connection was in before.
    Leave { session: SessionId, at: Timestamp },
}

/// What every frame says.
#[derive(Debug)]
pub(super) struct Greeting {
    /// The session id that the widget made up; may be empty.
    pub(super) claimed: Box<str>,
    pub(super) name: Option<Box<str>>,
    /// The widget's clock, in ms.
    pub(super) client_time: Option<i64>,
    /// When it was read.
    pub(super) at: Timestamp,
}

/// A bounded queue of them.
#[derive(Debug, Default)]
pub(super) struct Queue {
    items: VecDeque<Inbound>,
    bytes: usize,
}

// === impl Queue ===

impl Queue {
    pub(super) fn has_room(&self) -> bool {
        self.items.len() < FRAMES_MAX && self.bytes < BYTES_MAX
    }

    pub(super) fn push(&mut self, item: Inbound) {
        self.bytes = self.bytes.saturating_add(item.bytes());
        self.items.push_back(item);
    }

    /// Before everything else.
    pub(super) fn push_first(&mut self, item: Inbound) {
        self.bytes = self.bytes.saturating_add(item.bytes());
        self.items.push_front(item);
    }

    pub(super) fn pop(&mut self) -> Option<Inbound> {
        let item = self.items.pop_front()?;
        self.bytes = self.bytes.saturating_sub(item.bytes());
        if self.items.is_empty() {
            self.items = VecDeque::new();
        }
        Some(item)
    }

    pub(super) fn first(&self) -> Option<&Inbound> {
        self.items.front()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Inbound> {
        self.items.iter()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

// === impl Inbound ===

impl Inbound {
    fn bytes(&self) -> usize {
        let said = match self {
            Self::Say(_, data) => data.len(),
            Self::Bare { .. } | Self::Join(_) | Self::Control(..) | Self::Leave { .. } => 0,
        };
        said.saturating_add(OVERHEAD_BYTES)
    }
}
