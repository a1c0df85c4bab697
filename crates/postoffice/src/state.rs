//! What a session is at one event: the fold of all events up to it, as plain data.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use stentor_types::{
    Alias, ClockSegment, ConnectionId, Control, ControlEpoch, Epoch, EventNumber, Permissions,
    Role, Stamp, Timestamp, UserKey,
};

/// What a session is at event `n`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// The last event.
    pub n: EventNumber,
    /// The numbering.
    pub epoch: Epoch,
    /// The last event's stamp.
    pub last_stamp: Stamp,
    /// Time of the last commit.
    pub last_at: Timestamp,
    /// The last event that clients are shown under its stamp: a message, a notice, somebody coming or
    /// going; 0 = nothing yet.
    pub last_shown: EventNumber,
    /// Whose session it is; nobody's before event 1.
    pub visitor: Option<UserKey>,
    /// The id that the visitor's widget made up for it.
    pub claimed: Option<String>,
    /// Who takes part.
    pub participants: BTreeMap<UserKey, Participant>,
    /// Over which connections.
    pub endpoints: BTreeMap<ConnectionId, Endpoint>,
    /// Counters of connections that are gone, in the order in which they went.
    pub departed: VecDeque<(ConnectionId, u64)>,
    /// Who answers the visitor.
    pub control: Control,
    /// Counts the changes of its kind.
    pub control_epoch: ControlEpoch,
    /// The message that the bot is working on.
    pub turn: Option<Turn>,
    /// The messages that wait behind it, oldest first.
    pub queue: VecDeque<Request>,
    /// How session time translates into the time of each device, ordered.
    pub devices: BTreeMap<UserKey, Vec<ClockSegment>>,
}

/// A user in a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Participant {
    /// What they are here.
    pub role: Role,
    /// The name under which others see them.
    pub alias: Alias,
    /// The name they gave.
    pub display_name: Option<String>,
    /// How many connections they have.
    pub connections: u32,
    /// When they leave; set while they have no connection.
    pub leaves_at: Option<Timestamp>,
    /// The highest event known to have been written to one of their connections; 0 = unknown.
    pub delivered: EventNumber,
}

/// A connection in a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Whose.
    pub user: UserKey,
    /// What it may do.
    pub permissions: Permissions,
    /// Counter of the last message taken from it.
    pub counter: u64,
    /// The events made of its latest messages, newest last; the last one belongs to `counter`.
    pub recent: VecDeque<EventNumber>,
}

/// A Request for the bot. Holds secrets of the visitor.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// The message.
    pub n: EventNumber,
    /// The Request, JSON.
    pub body: Bytes,
}

/// The message that the bot is working on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// What it was asked.
    pub request: Request,
    /// 1, 2 or 3.
    pub attempt: u8,
    /// The control epoch that the attempt was made under.
    pub control_epoch: ControlEpoch,
    /// Where it stands.
    pub phase: TurnPhase,
}

/// Where a turn stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TurnPhase {
    /// The attempt is out.
    Calling {
        /// When it counts as failed.
        deadline: Timestamp,
    },
    /// The attempt failed; the next one begins then.
    Waiting {
        /// When the next attempt begins.
        until: Timestamp,
    },
}

// === impl State ===

impl State {
    /// A session in which nothing has happened yet.
    #[must_use]
    pub const fn new(epoch: Epoch) -> Self {
        Self {
            n: EventNumber::NONE,
            epoch,
            last_stamp: Stamp(0),
            last_at: Timestamp(0),
            last_shown: EventNumber::NONE,
            visitor: None,
            claimed: None,
            participants: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            departed: VecDeque::new(),
            control: Control::Bot,
            control_epoch: ControlEpoch(0),
            turn: None,
            queue: VecDeque::new(),
            devices: BTreeMap::new(),
        }
    }

    /// How session time translates for a device just now.
    #[must_use]
    pub fn clock(&self, user: UserKey) -> ClockSegment {
        self.devices
            .get(&user)
            .and_then(|segments| segments.last())
            .copied()
            .unwrap_or(ClockSegment::IDENTITY)
    }

    /// Counter of the last message taken from a connection, as far as that is remembered.
    pub(crate) fn counter(&self, connection: ConnectionId) -> u64 {
        let departed = || {
            self.departed.iter().find(|(gone, _)| *gone == connection).map(|(_, counter)| *counter)
        };
        let here = self.endpoints.get(&connection).map(|endpoint| endpoint.counter);
        here.or_else(departed).unwrap_or(0)
    }

    /// When something is due even if nothing arrives.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let turn = self.turn.as_ref().map(|turn| match turn.phase {
            TurnPhase::Calling { deadline } => deadline,
            TurnPhase::Waiting { until } => until,
        });
        let leaving = self.participants.values().filter_map(|participant| participant.leaves_at);
        turn.into_iter().chain(leaving).min()
    }
}

// === impl Request ===

impl std::fmt::Debug for Request {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Request(for event {}, {} bytes)", self.n, self.body.len())
    }
}
