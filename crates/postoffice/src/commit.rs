//! What one decision wrote.

use bytes::Bytes;
use stentor_types::{EffectId, Epoch, Event, EventNumber, Reply, Timestamp};

/// What one decision wrote: it exists whole or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The numbering that the events belong to.
    pub epoch: Epoch,
    /// Number of the first event; the number after the last one so far if there is none.
    pub first: EventNumber,
    /// When it was decided, strictly increasing per session.
    pub at: Timestamp,
    /// What happened, dense from `first` on.
    pub events: Vec<Event>,
    /// Requests for the bot that belong to events of this commit.
    pub requests: Vec<BotRequest>,
    /// Attempts to be made once the commit is safe.
    pub effects: Vec<Effect>,
    /// When the session must be woken even if nothing arrives.
    pub next_deadline: Option<Timestamp>,
    /// One answer per input. Not part of what is written.
    pub replies: Vec<Reply>,
}

/// The Request that an answer to event `n` is asked with.
#[derive(Clone, PartialEq, Eq)]
pub struct BotRequest {
    /// The event.
    pub n: EventNumber,
    /// The Request, JSON, secrets of the visitor included.
    pub body: Bytes,
}

/// One attempt to ask the bot.
#[derive(Clone, PartialEq, Eq)]
pub struct Effect {
    /// Names the attempt; its turn names all attempts for one message.
    pub id: EffectId,
    /// When the bot's answer is of no more use.
    pub deadline: Timestamp,
    /// The Request, JSON, secrets of the visitor included.
    pub request: Bytes,
}

// === impl Commit ===

impl Commit {
    /// Nothing is to be written: the inputs changed nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Number of the last event after this commit.
    #[must_use]
    pub fn last(&self) -> EventNumber {
        self.events.last().map_or(EventNumber(self.first.0.saturating_sub(1)), |event| event.n)
    }
}

// === impl BotRequest ===

impl std::fmt::Debug for BotRequest {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "BotRequest(for event {}, {} bytes)", self.n, self.body.len())
    }
}

// === impl Effect ===

impl std::fmt::Debug for Effect {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Effect({:?}, {} bytes)", self.id, self.request.len())
    }
}
