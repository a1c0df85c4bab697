//! What goes over a socket of the second dialect, as values: how it is written down is checked elsewhere.

use bytes::Bytes;
use stentor_types::{ClientInstance, DraftAction, Epoch, EventNumber, RejectCode, SessionId};

/// From the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Up {
    Open(Open),
    Send(Send),
    Act { reference: u64, act: Act },
}

/// A session is to be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Open {
    pub(crate) reference: u64,
    pub(crate) target: Target,
    pub(crate) client: ClientInstance,
    /// The highest number that the client ever gave to a message for this session.
    pub(crate) last: u64,
    /// The last event that it has.
    pub(crate) resume: Option<(Epoch, EventNumber)>,
}

/// Which session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Name(String),
    Session(SessionId),
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Send {
    pub(crate) counter: u64,
    pub(crate) note: bool,
    pub(crate) data: Bytes,
    /// Which one it is in this world.
    pub(crate) message: usize,
}

/// What agents do besides speaking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Take { display_name: Option<String> },
    Release,
    Draft { turn: EventNumber, action: DraftAction },
    End,
}

/// From the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Down {
    Opened(Opened),
    Refused { reference: u64, why: Refusal },
    Event { session: SessionId, n: EventNumber, shown: Option<Bytes> },
    Ack { counter: u64 },
    Nack { counter: u64, why: Refusal },
    Done,
    Resync,
}

/// The way into a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Opened {
    pub(crate) reference: u64,
    pub(crate) session: SessionId,
    pub(crate) epoch: Epoch,
    pub(crate) recovered: bool,
    /// The first event that follows.
    pub(crate) from: EventNumber,
    /// The last message of the client that was dealt with.
    pub(crate) counter: u64,
}

/// Why something was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Not now, or not known: send it again.
    Busy,
    /// A message before it is missing: go on with this one.
    Gap(u64),
    /// For good.
    Final(RejectCode),
}
