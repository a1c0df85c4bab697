//! The vocabulary of the router: identities, numbers with a meaning, and the inputs and events of a
//! session. Every other crate speaks in these words; none of them carries behaviour.
//!
//! Knows nothing of JSON, sockets, storage or the rules of a conversation.

#![forbid(unsafe_code)]

mod connection;
mod event;
mod id;
mod input;
mod number;
mod session_id;
mod utc;

pub use self::{
    connection::{ClientInstance, ConnectionId, GatewayId, Mid},
    event::{
        Audience, ClockSegment, Control, DraftEnd, Event, EventKind, FailureReason, Notice,
        Permissions, RejectCode, Role, Said, TurnEnd,
    },
    id::{Alias, AppId, CommitId, Incarnation, InvalidId, UserKey, Visitor},
    input::{
        Attach, BotResult, ClientClaim, ControlChange, DraftAction, EffectId, Input, InputKind,
        Reply, Say,
    },
    number::{ControlEpoch, Epoch, EventNumber, Sequence, Stamp, Timestamp},
    session_id::{PARTITIONS, Partition, PlacementKey, SessionId},
};
