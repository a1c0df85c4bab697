//! The port to the bus: requests to the owner of a partition, fan-out to gateways, effects.

use std::{fmt, future::Future};

use bytes::Bytes;
use stentor_types::{AppId, GatewayId, Partition};
use tokio::sync::oneshot;

/// A request got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BusError {
    /// Nobody serves the partition just now, or its queue is full. Nothing was done: try again.
    #[error("the owner of the partition cannot take the request")]
    Unavailable,
    /// The owner took the request and did not answer. Whether it was done is unknown: send the same again.
    #[error("the owner of the partition did not answer")]
    NoAnswer,
    /// The request is larger than the bus carries. It was not sent, and never will be.
    #[error("the request has {bytes} bytes, and the bus carries {max}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// What the bus carries.
        max: usize,
    },
    /// The owner was asked and had not answered when somebody else became the owner: it is gone, perhaps over
    /// this request. Whether it was done is unknown.
    #[error("the owner of the partition was gone before it answered")]
    OwnerGone,
}

/// What became of something published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum PublishOutcome {
    /// On its way.
    Sent,
    /// The queue is full; it was not taken.
    Full,
    /// Nobody listens.
    Nobody,
}

/// A request as the owner of its partition receives it.
#[derive(Debug)]
pub struct IngressRequest {
    /// For which partition.
    pub partition: Partition,
    /// The payload.
    pub request: Bytes,
    /// An operator asks, who may erase.
    pub operator: bool,
    /// Where the answer goes. Dropping it answers [`BusError::NoAnswer`].
    pub answer: oneshot::Sender<Bytes>,
}

/// What a gateway receives, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GatewayMessage {
    /// A `bus.proto` fan-out message.
    Fanout(Bytes),
    /// Messages may have been lost: every connection has to look for what it missed.
    Missed,
    /// The gateway was away so long that routers may have taken it for gone. It has another name from
    /// now on, under which each of its connections has to be attached again.
    Renamed(GatewayId),
}

/// An effect as a connector receives it.
#[derive(Debug)]
pub struct EffectDelivery {
    /// A `bus.proto` effect.
    pub effect: Bytes,
    /// Told once the owner of the session has committed how the attempt ended. Dropping it means that
    /// somebody has to make the attempt again.
    pub done: oneshot::Sender<()>,
}

/// From gateways and connectors to the owner of a partition.
pub trait Ingress: fmt::Debug + Send + Sync + 'static {
    /// Whether [`Self::claim`] remembers for all processes and beyond this one's life. Otherwise a
    /// process is alone, and has to remember itself.
    const REMEMBERS: bool = false;

    /// Asks the owner of `partition`; payloads are `bus.proto` requests and replies. Order among
    /// requests of one caller holds if it waits for each answer. Cancel safe: the outcome of a
    /// dropped request is unknown.
    fn request(
        &self,
        partition: Partition,
        request: Bytes,
    ) -> impl Future<Output = Result<Bytes, BusError>> + Send;

    /// Uses up a name, of `A-Z a-z 0-9 _ -` and at most 64 of them, for a day at least. False if it was
    /// used up before, by whatever process. Without [`Self::REMEMBERS`] it is always true.
    fn claim(&self, name: &str) -> impl Future<Output = Result<bool, BusError>> + Send {
        let _ = name;
        async { Ok(true) }
    }

    /// Keeps a copy of what was given up on (a `bus.proto` dead letter), where operators can read it. Never
    /// waits, and may lose it. A bus without a place for it forgets it.
    fn bury(&self, letter: Bytes) {
        let _ = letter;
    }
}

/// From the owner of a session to the gateways that hold its connections.
///
/// At most once: a gateway sees what it missed by the numbers, and fetches it.
pub trait Fanout: fmt::Debug + Send + Sync + 'static {
    /// Whether a message that was sent may get lost without anybody being told, so that owners have to
    /// repeat which event was the last.
    const LOSSY: bool = false;

    /// Sends a `bus.proto` fan-out message to one gateway; never waits.
    fn publish(&self, gateway: GatewayId, message: Bytes) -> PublishOutcome;

    /// The gateways that are alive, as far as is known here.
    fn gateways(&self) -> Vec<GatewayId>;

    /// Whether a gateway is gone for certain: silent for so long, while others were heard, that it has
    /// to take another name before it may speak again. One that was never heard of is gone only when
    /// this process has listened for that long.
    fn is_gone(&self, gateway: GatewayId) -> bool;
}

/// Attempts at something outside, for connectors to carry out. At least once.
pub trait Effects: fmt::Debug + Send + Sync + 'static {
    /// Hands over a `bus.proto` effect of an app; never waits. When full, the owner offers it again later.
    fn publish(&self, app: &AppId, effect: Bytes) -> PublishOutcome;
}
