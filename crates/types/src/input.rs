//! What is asked of a session, and what it answers.

use bytes::Bytes;

use crate::{
    ClientInstance, ConnectionId, Epoch, EventNumber, FailureReason, GatewayId, Mid, Permissions,
    RejectCode, Role, Timestamp, UserKey,
};

/// Something that a session has to decide about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// When it reached us.
    pub at: Timestamp,
    /// What it is.
    pub kind: InputKind,
}

/// What is asked of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InputKind {
    /// A connection wants to take part.
    Attach(Attach),
    /// A message.
    Say(Say),
    /// A connection is gone.
    Detach {
        /// Which.
        connection: ConnectionId,
        /// The last event written to it.
        delivered: Option<EventNumber>,
    },
    /// A gateway is gone with all its connections.
    GatewayLost {
        /// Which life of which gateway.
        gateway: GatewayId,
    },
    /// A message that must not be looked into again: refuse it for good.
    Refuse {
        /// Over which connection it came.
        connection: ConnectionId,
        /// Which.
        mid: Mid,
        /// Why.
        code: RejectCode,
        /// What it said, without secrets: kept for somebody to look at.
        body: Bytes,
    },
    /// How an attempt to ask the bot ended.
    Outcome {
        /// Which attempt.
        effect: EffectId,
        /// How.
        result: BotResult,
    },
    /// Somebody takes or gives back control.
    Control(ControlChange),
    /// An agent deals with an answer of the bot that came too late.
    Draft {
        /// Who.
        user: UserKey,
        /// The message that it would have answered.
        turn: EventNumber,
        /// What is to become of it.
        action: DraftAction,
    },
    /// Staff end the conversation.
    End {
        /// Who.
        user: UserKey,
    },
    /// All that was said and done is to be erased, for good.
    Erase,
    /// A deadline may have passed.
    Tick,
}

/// A connection wants to take part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attach {
    /// Which.
    pub connection: ConnectionId,
    /// Whose: proved, not claimed.
    pub user: UserKey,
    /// What they are here.
    pub role: Role,
    /// The name they gave.
    pub display_name: Option<String>,
    /// The session id that the widget made up.
    pub claimed: Option<String>,
    /// The client's own time when it asked to join, in Unix milliseconds; nothing after a bare reconnect.
    pub client_time: Option<i64>,
    /// Counter of the last message that the connection has sent so far.
    pub counter: u64,
    /// What it may do.
    pub permissions: Permissions,
    /// Who numbers its messages; nothing if the connection itself does.
    pub client: Option<ClientClaim>,
    /// The session must exist already.
    pub existing: bool,
}

/// A client instance, and what it believes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientClaim {
    /// Which.
    pub instance: ClientInstance,
    /// The highest counter that it ever gave to a message for this session; 0 = none.
    pub last: u64,
}

/// What is to become of a draft.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DraftAction {
    /// It goes to the visitor as it is.
    Send,
    /// It is dropped.
    Dismiss,
    /// It is answered in the agent's own words, which come as a message.
    Edited,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Say {
    /// Over which connection it came.
    pub connection: ConnectionId,
    /// The client's number for it.
    pub mid: Mid,
    /// The client's own time of it, in Unix milliseconds.
    pub client_time: Option<i64>,
    /// What was typed or chosen.
    pub text: Option<String>,
    /// The widget's greeting.
    pub greeting: bool,
    /// For colleagues only.
    pub note: bool,
    /// The Request without identities and tokens: kept.
    pub body: Bytes,
    /// The Request for the bot, secrets included: never shown to a client.
    pub request: Bytes,
}

/// One attempt to ask the bot: unique within a session, and the same after every restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EffectId {
    /// The numbering of the session.
    pub epoch: Epoch,
    /// The message to be answered; with session and epoch the idempotency key of all attempts.
    pub turn: EventNumber,
    /// 1, 2 or 3.
    pub attempt: u8,
}

/// How an attempt to ask the bot ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BotResult {
    /// A Response, already made harmless.
    Reply {
        /// The Response, JSON.
        body: Bytes,
        /// The bot asks for a person.
        handoff: bool,
    },
    /// The bot had nothing to say.
    Empty,
    /// The attempt failed.
    Failed(FailureReason),
}

/// Somebody takes or gives back control.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlChange {
    /// This user answers the visitor from now on, beside those who already do.
    Take {
        /// Who.
        user: UserKey,
        /// The name they want to be seen under; nothing: the one they joined with.
        display_name: Option<String>,
    },
    /// This user no longer does; the bot answers again when nobody is left.
    Release {
        /// Who.
        user: UserKey,
    },
}

/// What became of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It is event `n`.
    Committed(EventNumber),
    /// It was taken before, as event `n` where that is still known.
    Duplicate(Option<EventNumber>),
    /// It was refused for good.
    Rejected(RejectCode),
    /// The session does not hold that connection: attach first, then send it again.
    AttachFirst,
    /// A message before it is missing; this counter is expected.
    Gap(u64),
    /// It changed nothing (a late outcome, a tick before its time).
    Nothing,
}
