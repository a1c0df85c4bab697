//! The port to the bus: requests to the owner of a partition, fan-out to gateways, effects.

use std::{fmt, future::Future};

use bytes::Bytes;
use stentor_types::{GatewayId, Partition};

/// A request got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BusError {
    /// Nobody serves the partition just now, or its queue is full. Nothing was done: try again.
    #[error("the owner of the partition cannot take the request")]
    Unavailable,
    /// The owner took the request and did not answer. Whether it was done is unknown: send the same again.
    #[error("the owner of the partition did not answer")]
    NoAnswer,
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

/// From gateways and connectors to the owner of a partition.
pub trait Ingress: fmt::Debug + Send + Sync + 'static {
    /// Asks the owner of `partition`; payloads are `bus.proto` requests and replies. Order among
    /// requests of one caller holds if it waits for each answer. Cancel safe: the outcome of a
    /// dropped request is unknown.
    fn request(
        &self,
        partition: Partition,
        request: Bytes,
    ) -> impl Future<Output = Result<Bytes, BusError>> + Send;
}

/// From the owner of a session to the gateways that hold its connections.
///
/// At most once: a gateway sees what it missed by the numbers, and fetches it.
pub trait Fanout: fmt::Debug + Send + Sync + 'static {
    /// Sends a `bus.proto` fan-out message to one gateway; never waits.
    fn publish(&self, gateway: GatewayId, message: Bytes) -> PublishOutcome;

    /// The gateways that are alive, as far as is known here.
    fn gateways(&self) -> Vec<GatewayId>;
}

/// Attempts at something outside, for connectors to carry out. At least once.
pub trait Effects: fmt::Debug + Send + Sync + 'static {
    /// Hands over a `bus.proto` effect; never waits. When full, the owner offers it again later.
    fn publish(&self, effect: Bytes) -> PublishOutcome;
}
