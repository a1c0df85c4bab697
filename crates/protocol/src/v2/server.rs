//! What the server sends, but for events.

use bytes::Bytes;
use serde::Serialize;

/// A frame as bytes.
pub fn encode<T: Serialize>(frame: &T) -> Bytes {
    // Plain structs with text keys: nothing that could fail. If it did, an empty object says nothing wrong.
    serde_json::to_vec(frame).unwrap_or_else(|_| b"{}".to_vec()).into()
}

/// Gives a frame its `t`.
macro_rules! frames {
    ($($(#[$meta:meta])* $name:ident as $tag:literal { $($(#[$field_meta:meta])* $field:ident: $kind:ty,)* })*) => {
        $(
            $(#[$meta])*
            #[derive(Clone, Debug, Serialize)]
            #[serde(tag = "t", rename = $tag, rename_all = "camelCase")]
            #[cfg_attr(test, derive(schemars::JsonSchema))]
            pub struct $name {
                $($(#[$field_meta])* pub $field: $kind,)*
            }
        )*
    };
}

frames! {
    /// The client may begin.
    Welcome as "welcome" {
        app: String,
        role: RoleName,
        #[serde(skip_serializing_if = "Option::is_none")]
        device: Option<String>,
        /// Unix seconds.
        #[serde(skip_serializing_if = "Option::is_none")]
        expires: Option<u64>,
        limits: Limits,
    }
    /// A session is open; its events `from` … `head` follow.
    Opened as "opened" {
        #[serde(rename = "ref")]
        reference: u64,
        sid: String,
        epoch: u64,
        head: u64,
        recovered: bool,
        from: u64,
        you: String,
        mid: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        view: Option<View>,
    }
    /// A session was left.
    Closed as "closed" {
        sid: String,
    }
    /// A message is in the log.
    Ack as "ack" {
        sid: String,
        mid: u64,
        epoch: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        n: Option<u64>,
    }
    /// A message is not.
    Nack as "nack" {
        sid: String,
        mid: u64,
        code: Code,
        #[serde(rename = "final")]
        is_final: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        expected: Option<u64>,
        text: String,
    }
    /// Something that was asked for has been done.
    Done as "done" {
        #[serde(rename = "ref")]
        reference: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        n: Option<u64>,
    }
    /// Something that was asked for is not possible, or a frame made no sense.
    Refused as "refused" {
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        sid: Option<String>,
        code: Code,
        #[serde(rename = "final")]
        is_final: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
        text: String,
    }
    /// Somebody types, or no longer does.
    TypingNow as "typing" {
        sid: String,
        who: String,
        role: RoleName,
        on: bool,
    }
    /// What waited for the client was dropped from `n` on.
    Resync as "resync" {
        sid: String,
        epoch: u64,
        n: u64,
    }
    /// Sessions of the app.
    Listed as "listed" {
        #[serde(rename = "ref")]
        reference: u64,
        items: Vec<Item>,
        /// Where to go on; absent: that was all.
        #[serde(skip_serializing_if = "Option::is_none")]
        next: Option<String>,
    }
    /// What lists show of sessions has changed.
    ListChanged as "listChanged" {
        items: Vec<Item>,
        /// Earlier changes were lost: the lists have to be read again.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        missed: bool,
    }
    /// The server goes away.
    Drain as "drain" {
        reconnect_in_ms: u64,
    }
    /// A sign of life.
    Beat as "beat" {}
}

/// What somebody is, and may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum RoleName {
    Visitor,
    Observer,
    Agent,
    Integration,
}

/// Limits that a client must know.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Limits {
    pub message_bytes: usize,
    pub open_sessions: usize,
}

/// A session as it is now.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct View {
    pub people: Vec<Person>,
    /// How many more take part, and only listen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub more: Option<std::num::NonZeroU32>,
    /// Aliases of those who answer; empty: the bot does.
    pub control: Vec<String>,
    pub waiting: bool,
    pub ended: bool,
    /// Messages whose late answers wait for an agent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub drafts: Vec<u64>,
}

/// Somebody in a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Person {
    pub alias: String,
    pub role: RoleName,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// A session in a list.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Item {
    pub sid: String,
    /// Alias of the visitor.
    pub visitor: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub state: ItemState,
    /// Since when a person is wanted, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
    /// When the last message was, in milliseconds since 1970.
    pub at: i64,
    /// Its number.
    pub n: u64,
    pub last_from: Speaker,
    /// Its first 200 characters.
    pub text: String,
    /// Those who answer.
    pub people: Vec<Person>,
    /// You are one of them.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub mine: bool,
    /// The visitor is connected.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub present: bool,
}

/// Who answers in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum ItemState {
    Bot,
    /// The bot, and a person is wanted.
    Waiting,
    People,
    Ended,
}

/// Who said something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Speaker {
    Visitor,
    Agent,
    Bot,
}

/// Why something is not possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Code {
    Busy,
    TooFast,
    Gap,
    NotOpen,
    NoSession,
    Erased,
    Forbidden,
    NotInControl,
    TooLong,
    Malformed,
    Expired,
    Poison,
    Damaged,
    TooMany,
}

// === impl Code ===

impl Code {
    /// Whether trying again is of no use.
    #[must_use]
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Busy | Self::TooFast | Self::Gap | Self::NotOpen)
    }

    /// What to do about it.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Busy => "the router cannot take it just now; send the same again",
            Self::TooFast => "more messages than allowed; send the same again a little later",
            Self::Gap => "a message before this one is missing; go on with `expected`",
            Self::NotOpen => "this socket has not opened that session; send `open` first",
            Self::NoSession => "there is no such session, or it is not yours",
            Self::Erased => "what was in this session is erased; open another one",
            Self::Forbidden => "your role may not do that",
            Self::NotInControl => "somebody else answers; send `take` first",
            Self::TooLong => "longer than `limits.messageBytes`",
            Self::Malformed => "the frame cannot be read",
            Self::Expired => {
                "this client instance was forgotten; begin a new one with `lastMid: 0`"
            }
            Self::Poison => "handling it failed; it was set aside for the operator",
            Self::Damaged => "the session's record is damaged; the operator has to look",
            Self::TooMany => "more sessions or connections than allowed; close some",
        }
    }
}
