//! What happens in a session, as numbered facts. A session's state is nothing but the fold of these.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::{
    Alias, ClientInstance, ConnectionId, ControlEpoch, EventNumber, GatewayId, Mid, Stamp,
    Timestamp, UserKey,
};

/// One thing that happened in a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its number; dense within the session.
    pub n: EventNumber,
    /// When, in session time: even, and at least 2 ms above the stamp before.
    pub stamp: Stamp,
    /// Who may see it.
    pub audience: Audience,
    /// What.
    pub kind: EventKind,
}

/// Who may see an event. Everyone else learns only that number `n` exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Audience {
    /// Everyone in the session.
    All,
    /// Agents and operators.
    Staff,
}

/// What somebody is in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Talks to the app from outside.
    Visitor,
    /// Works for the app.
    Agent,
}

/// What a connection may do in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Permissions {
    /// Its messages are taken.
    pub sends: bool,
    /// Events are fanned out to it.
    pub receives: bool,
}

/// Who answers the visitor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// The app's bot.
    Bot,
    /// These people; never empty.
    Agents(BTreeSet<UserKey>),
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// The session began. Always event 1.
    Opened {
        /// Whose session it is.
        visitor: UserKey,
        /// The id that the visitor's widget made up for it.
        claimed: Option<String>,
    },
    /// A participant came: their first endpoint was attached.
    Joined {
        /// Who.
        user: UserKey,
        /// What they are here.
        role: Role,
        /// The name under which others see them.
        alias: Alias,
        /// The name they gave.
        display_name: Option<String>,
        /// One of many: nobody is shown it; it is told as part of the next [`Self::Crowd`].
        counted: bool,
    },
    /// A connection was attached, or attached again.
    Attached {
        /// Which.
        connection: ConnectionId,
        /// Whose.
        user: UserKey,
        /// Counter of the last message that this connection had sent before.
        counter: u64,
        /// What it may do.
        permissions: Permissions,
        /// Who numbers its messages; nothing if the connection itself does.
        client: Option<ClientInstance>,
    },
    /// A connection went away.
    Detached {
        /// Which.
        connection: ConnectionId,
        /// The last event that was written to it, where known.
        delivered: Option<EventNumber>,
        /// When its user leaves, unless another connection of theirs remains or comes.
        leaves_at: Timestamp,
    },
    /// A gateway went away with all its connections.
    GatewayLost {
        /// Which life of which gateway.
        gateway: GatewayId,
        /// When their users leave, unless other connections of theirs remain or come.
        leaves_at: Timestamp,
    },
    /// A participant left: the grace after their last connection is over.
    Left {
        /// Who.
        user: UserKey,
        /// The name under which others saw them.
        alias: Alias,
        /// As of [`Self::Joined`].
        counted: bool,
    },
    /// So many came and left since the one before. Where more than a few take part it stands for their comings and
    /// goings, and is told once a second at most.
    Crowd {
        /// How many take part now.
        total: u32,
        /// How many came.
        joined: u32,
        /// How many left.
        left: u32,
    },
    /// A device's clock was measured.
    Clock {
        /// Whose device. A legacy browser has one clock for all its tabs.
        user: UserKey,
        /// How it translates from here on.
        segment: ClockSegment,
    },
    /// Somebody's message. One that only staff may see is a note among colleagues.
    Said(Said),
    /// The bot is being asked.
    TurnStarted {
        /// The message it is to answer.
        turn: EventNumber,
        /// 1, 2 or 3.
        attempt: u8,
        /// When the attempt counts as failed.
        deadline: Timestamp,
    },
    /// An attempt failed.
    TurnFailed {
        /// The message that was to be answered.
        turn: EventNumber,
        /// Which attempt: 1, 2 or 3; 3 is final.
        attempt: u8,
        /// Seconds until the next attempt; 0 when there is none.
        delay_s: u32,
        /// Why.
        reason: FailureReason,
    },
    /// The bot answered. Ends the turn.
    Replied {
        /// The message that it answers.
        turn: EventNumber,
        /// The Response, already made harmless.
        body: Bytes,
        /// The bot asks for a person.
        handoff: bool,
    },
    /// The turn ended without an answer.
    TurnEnded {
        /// The message that gets none.
        turn: EventNumber,
        /// Why.
        how: TurnEnd,
    },
    /// The bot's answer came after control had passed on; only staff see it.
    Draft {
        /// The message that it answers.
        turn: EventNumber,
        /// The Response.
        body: Bytes,
    },
    /// An agent passed a draft on: it is the bot's answer now.
    DraftSent {
        /// The message that it answers.
        turn: EventNumber,
        /// Who did.
        user: UserKey,
        /// The name under which others see them.
        alias: Alias,
        /// The Response.
        body: Bytes,
    },
    /// An agent dealt with a draft in another way.
    DraftDone {
        /// The message that it would have answered.
        turn: EventNumber,
        /// Who did.
        user: UserKey,
        /// The name under which others see them.
        alias: Alias,
        /// How.
        how: DraftEnd,
    },
    /// A person answers the visitor from now on, who is told so.
    SteppedIn {
        /// Who.
        user: UserKey,
        /// The name under which others see them.
        alias: Alias,
        /// The name they gave.
        display_name: Option<String>,
    },
    /// A person no longer answers the visitor.
    SteppedOut {
        /// Who.
        user: UserKey,
        /// The name under which others saw them.
        alias: Alias,
        /// The name they gave.
        display_name: Option<String>,
        /// They did not ask for it: their connections are gone.
        lapsed: bool,
    },
    /// The conversation is over. The visitor's next message begins it again.
    Ended {
        /// Who said so.
        user: UserKey,
        /// The name under which others see them.
        alias: Alias,
    },
    /// The app says something itself, in the bot's voice.
    Notice {
        /// On what occasion.
        notice: Notice,
        /// The app's text at that time.
        text: String,
    },
    /// Somebody else answers from now on.
    ControlChanged {
        /// Who.
        control: Control,
        /// The new control epoch.
        epoch: ControlEpoch,
    },
    /// A message was refused for good; its counter is used up.
    Rejected {
        /// Which.
        mid: Mid,
        /// Why.
        code: RejectCode,
        /// What it said, without secrets, where somebody should look at it.
        body: Bytes,
    },
    /// What was said and done in the session until now is erased: of all events up to this one, itself included,
    /// only the numbers are left. Nothing follows it.
    Erased,
    /// Something that a later version wrote. It has a number and a stamp, and is passed on untouched.
    Unknown,
}

/// A message, free of secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Who.
    pub user: UserKey,
    /// What they are here.
    pub role: Role,
    /// The name under which others see them.
    pub alias: Alias,
    /// The name they gave.
    pub display_name: Option<String>,
    /// The client's number for it.
    pub mid: Mid,
    /// What was typed or chosen; nothing for a bare launch or selection.
    pub text: Option<String>,
    /// The widget's greeting, which a person need not see.
    pub greeting: bool,
    /// The Request without identities and tokens, JSON.
    pub body: Bytes,
}

/// How session stamps translate into a device's clock after event `from`.
///
/// `device = max(session + offset_ms, floor + 2 × (n − from))`: strictly increasing, never below
/// what the device was sent before, and a function of the log alone, so replays carry equal stamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockSegment {
    /// The number of the `Clock` event itself.
    pub from: EventNumber,
    /// What to add to session time, in milliseconds; even.
    pub offset_ms: i64,
    /// The device stamp of event `from` under the segment before; even.
    pub floor: Stamp,
}

/// Why an attempt to ask the bot failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FailureReason {
    /// No answer before the deadline.
    TimedOut,
    /// No connection to the bot.
    Unreachable,
    /// An HTTP status that is no success.
    Status,
    /// An answer that is no Response.
    BadAnswer,
    /// Not tried: too many failures lately.
    BreakerOpen,
    /// Not tried: the address is not allowed, or the app has no bot any more.
    NotAllowed,
}

/// How a turn ends without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TurnEnd {
    /// The bot had nothing to say.
    Empty,
    /// Control passed to somebody else while it was open.
    Interrupted,
    /// It was never begun: too many others were waiting.
    Overflow,
    /// It had been interrupted, and brought nothing in the end.
    Stale,
}

/// On what occasion the app says something itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Notice {
    /// More messages were waiting for the bot than may wait; the oldest was given up.
    QueueFull,
    /// A person was wanted, and nobody has come in time.
    NobodyFree,
}

/// How an agent dealt with a draft without passing it on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DraftEnd {
    /// It is of no use.
    Dismissed,
    /// They answered in their own words.
    Edited,
}

/// Why a message was refused for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RejectCode {
    /// Handling it failed inside the router; it was set aside.
    Poison,
    /// The sender may not speak in this session.
    NotPermitted,
    /// The session holds as many connections as it may.
    TooManyConnections,
    /// The sender would have to take control first.
    NotInControl,
    /// The sender's client instance has been forgotten: whether the message was taken is not known any more.
    Expired,
    /// There is no such session, or it is somebody else's.
    NoSession,
    /// What it says makes no sense, or is too long.
    Malformed,
    /// What was in the session is erased, and nothing may be added.
    Erased,
}

// === impl Permissions ===

impl Permissions {
    /// Takes part fully.
    pub const ALL: Self = Self { sends: true, receives: true };
    /// Only listens.
    pub const LISTEN: Self = Self { sends: false, receives: true };
}

// === impl ClockSegment ===

impl ClockSegment {
    /// No offset: the device shows session time.
    pub const IDENTITY: Self = Self { from: EventNumber::NONE, offset_ms: 0, floor: Stamp(0) };

    /// The stamp of event `n`, stamped `stamp` in session time, as this device is to see it.
    #[must_use]
    pub fn translate(&self, n: EventNumber, stamp: Stamp) -> Stamp {
        let steps = i64::try_from(n.0.saturating_sub(self.from.0)).unwrap_or(i64::MAX);
        let least = self.floor.0.saturating_add(steps.saturating_mul(2));
        Stamp(stamp.0.saturating_add(self.offset_ms).max(least))
    }

    /// The segment that holds at event `n`: the last that begins before it. Ordered by `from`.
    #[must_use]
    pub fn at(segments: &[Self], n: EventNumber) -> Self {
        segments.iter().rev().find(|segment| segment.from < n).copied().unwrap_or_else(|| {
            // Older than all that is kept: the oldest one is the best there is, without its floor.
            segments.first().map_or(Self::IDENTITY, |oldest| Self {
                from: EventNumber::NONE,
                floor: Stamp(0),
                ..*oldest
            })
        })
    }
}
