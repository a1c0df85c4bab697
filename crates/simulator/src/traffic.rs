//! What goes between gateway, owner and connector.

use std::{fmt, rc::Rc};

use bytes::Bytes;
use stentor_types::{
    BotResult, ClientClaim, ClockSegment, ConnectionId, EffectId, Epoch, EventNumber, Mid,
    RejectCode, Role, Say, SessionId, Stamp, Timestamp, Visitor,
};

use crate::frames::Act;

/// What a gateway asks on behalf of one connection. Sent again, it is the same.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) id: u64,
    pub(crate) gateway: u64,
    pub(crate) connection: ConnectionId,
    pub(crate) visitor: Visitor,
    pub(crate) role: Role,
    /// An agent comes into a session by its id; a visitor by a claim.
    pub(crate) session: Option<SessionId>,
    pub(crate) items: Vec<Item>,
}

/// One input.
#[derive(Clone, Debug)]
pub(crate) enum Item {
    Attach(Joining),
    Say {
        at: Timestamp,
        say: Say,
    },
    /// A message that makes no sense: its number is used up.
    Refuse {
        at: Timestamp,
        mid: Mid,
    },
    Act {
        at: Timestamp,
        act: Act,
    },
    Detach {
        at: Timestamp,
        delivered: Option<EventNumber>,
    },
}

/// A connection that wants to take part.
#[derive(Clone, Debug)]
pub(crate) struct Joining {
    pub(crate) at: Timestamp,
    pub(crate) claimed: Option<String>,
    pub(crate) client_time: Option<i64>,
    pub(crate) counter: u64,
    /// Who numbers its messages, in the second dialect.
    pub(crate) client: Option<ClientClaim>,
    pub(crate) listens: bool,
}

/// What an owner answers.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) owner: u64,
    pub(crate) connection: u64,
    pub(crate) request: u64,
    pub(crate) results: Vec<ItemAnswer>,
}

/// What became of one input.
#[derive(Clone, Debug)]
pub(crate) enum ItemAnswer {
    Attached(Rc<Attached>),
    NoSession,
    Committed(EventNumber),
    Duplicate(Option<EventNumber>),
    Rejected(RejectCode),
    AttachFirst,
    Gap(u64),
    Nothing,
    TryAgain,
}

/// The way into a session.
#[derive(Clone, Debug)]
pub(crate) struct Attached {
    pub(crate) session: SessionId,
    pub(crate) n: EventNumber,
    pub(crate) stamp: Stamp,
    pub(crate) segments: Vec<ClockSegment>,
    pub(crate) replay: Vec<(EventNumber, Bytes)>,
    pub(crate) typing: bool,
    pub(crate) epoch: Epoch,
    /// The last message of the client that was dealt with, in the second dialect.
    pub(crate) taken: u64,
}

/// Events of one session for the connections of one gateway.
#[derive(Clone)]
pub(crate) struct Fanout {
    pub(crate) session: SessionId,
    pub(crate) connections: Vec<u64>,
    pub(crate) events: Vec<(EventNumber, Bytes)>,
    pub(crate) head: EventNumber,
}

/// Events again.
#[derive(Clone, Debug)]
pub(crate) struct FetchAnswer {
    pub(crate) connection: u64,
    pub(crate) session: SessionId,
    pub(crate) from: EventNumber,
    pub(crate) events: Vec<(EventNumber, Bytes)>,
}

/// How an attempt ended, as the connector tells until somebody listens.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) session: SessionId,
    pub(crate) id: EffectId,
    pub(crate) result: BotResult,
    pub(crate) told: u32,
}

// === impl Request ===

impl fmt::Debug for Request {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "request {} of connection {}:", self.id, self.connection.number)?;
        for item in &self.items {
            match item {
                Item::Attach(Joining { claimed, counter, client: None, .. }) => {
                    write!(formatter, " attach({claimed:?}, counter {counter})")?;
                }
                Item::Attach(Joining { claimed, client: Some(client), .. }) => {
                    write!(formatter, " attach({claimed:?}, {client:?})")?;
                }
                Item::Refuse { mid, .. } => write!(formatter, " refuse({})", mid.counter)?,
                Item::Act { act, .. } => write!(formatter, " {act:?}")?,
                Item::Say { say, .. } => write!(formatter, " say({})", say.mid.counter)?,
                Item::Detach { delivered, .. } => write!(formatter, " detach({delivered:?})")?,
            }
        }
        Ok(())
    }
}

// === impl Fanout ===

impl fmt::Debug for Fanout {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<_> = self.events.iter().map(|(n, _)| n.0).collect();
        write!(formatter, "events {numbers:?} for {:?}, head {}", self.connections, self.head)
    }
}
