//! What a session is at one event: the fold of all events up to it, as plain data.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use stentor_types::{
    Alias, ClientInstance, ClockSegment, ConnectionId, Control, ControlEpoch, Epoch, EventNumber,
    Permissions, Role, Stamp, Timestamp, UserKey,
};

use crate::rules::RECENT_MAX;

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
    /// Client instances that number messages across connections.
    pub clients: BTreeMap<ClientInstance, Client>,
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
    /// Answers of the bot that came too late, by the message that they answer.
    pub drafts: BTreeMap<EventNumber, Bytes>,
    /// A person is wanted.
    pub waiting: Option<Waiting>,
    /// The conversation is over; the visitor's next message begins it again.
    pub ended: bool,
    /// What was said and done is erased. Everything but the numbers is empty, and stays so.
    pub erased: bool,
    /// What the bot has not been told yet.
    pub covered: Option<Covered>,
    /// Agents who lost control because their connections were gone, and the names they had given.
    pub lapsed: BTreeMap<UserKey, Option<String>>,
    /// Comings and goings that have not been told yet.
    pub crowd: Option<Crowd>,
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
    /// Who numbers its messages; nothing if it does so itself.
    pub client: Option<ClientInstance>,
    /// The messages that were taken, if it numbers them itself.
    pub taken: Taken,
}

/// A client instance that numbers messages across connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Whose.
    pub user: UserKey,
    /// Its messages that were taken.
    pub taken: Taken,
    /// The last event that had to do with it.
    pub used: EventNumber,
}

/// Messages that were taken of one sequence of counters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Counter of the last one; 0 = none.
    pub counter: u64,
    /// The events made of the latest ones, newest last; the last one belongs to `counter`.
    pub recent: VecDeque<EventNumber>,
}

/// A person is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Since when.
    pub since: Timestamp,
    /// When the visitor is told that nobody has come; nothing once they have been.
    pub tell_at: Option<Timestamp>,
}

/// Comings and goings in a session of many, of which only the count is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crowd {
    /// How many came.
    pub joined: u32,
    /// How many left.
    pub left: u32,
    /// When it is told.
    pub tell_at: Timestamp,
}

/// A span in which people answered and the bot was silent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Covered {
    /// Its first event.
    pub from: EventNumber,
    /// Its last event so far.
    pub to: EventNumber,
    /// What was said last.
    pub lines: VecDeque<Line>,
}

/// Something that was said.
#[derive(Clone, PartialEq, Eq)]
pub struct Line {
    /// By whom.
    pub role: Role,
    /// Their name or alias.
    pub name: String,
    /// What.
    pub text: String,
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
            clients: BTreeMap::new(),
            departed: VecDeque::new(),
            control: Control::Bot,
            control_epoch: ControlEpoch(0),
            turn: None,
            queue: VecDeque::new(),
            drafts: BTreeMap::new(),
            waiting: None,
            ended: false,
            erased: false,
            covered: None,
            lapsed: BTreeMap::new(),
            crowd: None,
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
        let here = self.endpoints.get(&connection).map(|endpoint| endpoint.taken.counter);
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
        let waiting = self.waiting.and_then(|waiting| waiting.tell_at);
        let crowd = self.crowd.map(|crowd| crowd.tell_at);
        turn.into_iter().chain(leaving).chain(waiting).chain(crowd).min()
    }

    /// What was taken of the messages that come over a connection.
    pub(crate) fn taken<'a>(&'a self, endpoint: &'a Endpoint) -> Option<&'a Taken> {
        match endpoint.client {
            Some(client) => self.clients.get(&client).map(|client| &client.taken),
            None => Some(&endpoint.taken),
        }
    }
}

// === impl Request ===

impl std::fmt::Debug for Request {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Request(for event {}, {} bytes)", self.n, self.body.len())
    }
}

// === impl Taken ===

impl Taken {
    /// Message `counter` has become event `n`.
    pub(crate) fn take(&mut self, counter: u64, n: EventNumber) {
        self.counter = counter;
        if self.recent.len() >= RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(n);
    }

    /// The event that message `counter` became, while that is remembered.
    pub(crate) fn event_of(&self, counter: u64) -> Option<EventNumber> {
        let back = usize::try_from(self.counter.checked_sub(counter)?).ok()?;
        self.recent.iter().rev().nth(back).copied()
    }
}

// === impl Line ===

impl std::fmt::Debug for Line {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Line({:?}, {} bytes)", self.role, self.text.len())
    }
}
