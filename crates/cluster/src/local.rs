//! The bus of parts that live in one process: bounded channels.
//!
//! Overflow: a request that finds the owner's queue full is refused as unavailable; a fan-out message
//! that finds the gateway's queue full is dropped (the gateway notices by the numbers); an effect that
//! finds the queue full is refused, and its owner offers it again.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use stentor_types::{GatewayId, Partition};
use tokio::sync::{mpsc, oneshot};

use crate::bus::{BusError, Effects, Fanout, Ingress, PublishOutcome};

/// Requests that may wait for the router. A connection has one outstanding, so this many
/// connections can speak at the same instant before one is told to try again.
const REQUESTS_MAX: usize = 16_384;
/// Fan-out messages that may wait for a gateway: some seconds of full load.
const FANOUT_MAX: usize = 16_384;
/// Effects that may wait for a connector.
const EFFECTS_MAX: usize = 4_096;

/// A request as the router receives it.
#[derive(Debug)]
pub struct LocalRequest {
    /// For which partition.
    pub partition: Partition,
    /// The payload.
    pub request: Bytes,
    /// Where the answer goes; dropping it answers [`BusError::NoAnswer`].
    pub answer: oneshot::Sender<Bytes>,
}

/// The bus. A clone is a handle to the same bus.
#[derive(Clone, Debug)]
pub struct LocalBus {
    requests: mpsc::Sender<LocalRequest>,
    effects: mpsc::Sender<Bytes>,
    gateways: Arc<Mutex<BTreeMap<GatewayId, mpsc::Sender<Bytes>>>>,
}

/// The receiving ends, one of each.
#[derive(Debug)]
pub struct LocalEnds {
    /// For the router.
    pub requests: mpsc::Receiver<LocalRequest>,
    /// For the connector.
    pub effects: mpsc::Receiver<Bytes>,
}

// === impl LocalBus ===

impl LocalBus {
    /// A new bus and its receiving ends.
    #[must_use]
    pub fn new() -> (Self, LocalEnds) {
        let (requests, requests_end) = mpsc::channel(REQUESTS_MAX);
        let (effects, effects_end) = mpsc::channel(EFFECTS_MAX);
        let bus = Self { requests, effects, gateways: Arc::default() };
        (bus, LocalEnds { requests: requests_end, effects: effects_end })
    }

    /// Joins a gateway to the bus; dropping the receiver makes it leave.
    #[must_use]
    pub fn join(&self, gateway: GatewayId) -> mpsc::Receiver<Bytes> {
        let (sender, receiver) = mpsc::channel(FANOUT_MAX);
        self.gateways.lock().unwrap_or_else(PoisonError::into_inner).insert(gateway, sender);
        receiver
    }
}

impl Ingress for LocalBus {
    async fn request(&self, partition: Partition, request: Bytes) -> Result<Bytes, BusError> {
        let (answer, answered) = oneshot::channel();
        self.requests
            .try_send(LocalRequest { partition, request, answer })
            .map_err(|_| BusError::Unavailable)?;
        answered.await.map_err(|_| BusError::NoAnswer)
    }
}

impl Fanout for LocalBus {
    fn publish(&self, gateway: GatewayId, message: Bytes) -> PublishOutcome {
        let mut gateways = self.gateways.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(sender) = gateways.get(&gateway) else { return PublishOutcome::Nobody };
        match sender.try_send(message) {
            Ok(()) => PublishOutcome::Sent,
            Err(mpsc::error::TrySendError::Full(_)) => PublishOutcome::Full,
            Err(mpsc::error::TrySendError::Closed(_)) => {
                gateways.remove(&gateway);
                PublishOutcome::Nobody
            }
        }
    }

    fn gateways(&self) -> Vec<GatewayId> {
        let mut gateways = self.gateways.lock().unwrap_or_else(PoisonError::into_inner);
        gateways.retain(|_, sender| !sender.is_closed());
        gateways.keys().copied().collect()
    }
}

impl Effects for LocalBus {
    fn publish(&self, effect: Bytes) -> PublishOutcome {
        match self.effects.try_send(effect) {
            Ok(()) => PublishOutcome::Sent,
            Err(mpsc::error::TrySendError::Full(_)) => PublishOutcome::Full,
            Err(mpsc::error::TrySendError::Closed(_)) => PublishOutcome::Nobody,
        }
    }
}
