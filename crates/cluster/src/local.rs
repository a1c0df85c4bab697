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
use stentor_types::{AppId, GatewayId, PARTITIONS, Partition};
use tokio::sync::{mpsc, oneshot};

use crate::{
    bus::{
        BusError, EffectDelivery, Effects, Fanout, GatewayMessage, Ingress, IngressRequest,
        PublishOutcome,
    },
    ownership::{Ownership, OwnershipChange},
};

/// Requests that may wait for the router. A connection has one outstanding, so this many
/// connections can speak at the same instant before one is told to try again.
const REQUESTS_MAX: usize = 16_384;
/// Fan-out messages that may wait for a gateway: some seconds of full load.
const FANOUT_MAX: usize = 16_384;
/// Effects that may wait for a connector.
const EFFECTS_MAX: usize = 4_096;

/// The bus. A clone is a handle to the same bus.
#[derive(Clone, Debug)]
pub struct LocalBus {
    requests: mpsc::Sender<IngressRequest>,
    effects: mpsc::Sender<EffectDelivery>,
    gateways: Arc<Mutex<BTreeMap<GatewayId, mpsc::Sender<GatewayMessage>>>>,
    /// The router's partitions never change: the sender is kept so that it goes on waiting.
    _changes: mpsc::Sender<OwnershipChange>,
}

/// The receiving ends, one of each.
#[derive(Debug)]
pub struct LocalEnds {
    /// For the router.
    pub requests: mpsc::Receiver<IngressRequest>,
    /// For the router: it is told to take every partition.
    pub changes: mpsc::Receiver<OwnershipChange>,
    /// For the connector.
    pub effects: mpsc::Receiver<EffectDelivery>,
    /// Told once for each partition that the router has taken up.
    pub taken_up: Vec<oneshot::Receiver<()>>,
}

// === impl LocalBus ===

impl LocalBus {
    /// A new bus and its receiving ends.
    #[must_use]
    pub fn new() -> (Self, LocalEnds) {
        let (requests, requests_end) = mpsc::channel(REQUESTS_MAX);
        let (effects, effects_end) = mpsc::channel(EFFECTS_MAX);
        let (changes, changes_end) = mpsc::channel(usize::from(PARTITIONS));
        let taken_up = Partition::all()
            .filter_map(|partition| {
                let (taken_up, told) = oneshot::channel();
                changes.try_send(OwnershipChange::Take { partition, taken_up }).ok()?;
                Some(told)
            })
            .collect();
        let bus = Self { requests, effects, gateways: Arc::default(), _changes: changes };
        let ends = LocalEnds {
            requests: requests_end,
            changes: changes_end,
            effects: effects_end,
            taken_up,
        };
        (bus, ends)
    }

    /// Joins a gateway to the bus; dropping the receiver makes it leave.
    #[must_use]
    pub fn join(&self, gateway: GatewayId) -> mpsc::Receiver<GatewayMessage> {
        let (sender, receiver) = mpsc::channel(FANOUT_MAX);
        self.gateways.lock().unwrap_or_else(PoisonError::into_inner).insert(gateway, sender);
        receiver
    }
}

impl LocalBus {
    /// The same as [`Ingress::request`], from an operator.
    ///
    /// # Errors
    /// Any [`BusError`].
    pub async fn operate(&self, partition: Partition, request: Bytes) -> Result<Bytes, BusError> {
        self.ask(partition, request, true).await
    }

    async fn ask(
        &self,
        partition: Partition,
        request: Bytes,
        operator: bool,
    ) -> Result<Bytes, BusError> {
        let (answer, answered) = oneshot::channel();
        self.requests
            .try_send(IngressRequest { partition, request, operator, answer })
            .map_err(|_| BusError::Unavailable)?;
        answered.await.map_err(|_| BusError::NoAnswer)
    }
}

impl Ingress for LocalBus {
    async fn request(&self, partition: Partition, request: Bytes) -> Result<Bytes, BusError> {
        self.ask(partition, request, false).await
    }
}

impl Fanout for LocalBus {
    fn publish(&self, gateway: GatewayId, message: Bytes) -> PublishOutcome {
        let mut gateways = self.gateways.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(sender) = gateways.get(&gateway) else { return PublishOutcome::Nobody };
        match sender.try_send(GatewayMessage::Fanout(message)) {
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

    fn is_gone(&self, gateway: GatewayId) -> bool {
        let gateways = self.gateways.lock().unwrap_or_else(PoisonError::into_inner);
        gateways.get(&gateway).is_none_or(mpsc::Sender::is_closed)
    }
}

impl Ownership for LocalBus {
    fn holds(&self, _: Partition) -> bool {
        true
    }

    async fn confirm(&self, _: Partition) -> bool {
        true
    }
}

impl Effects for LocalBus {
    fn publish(&self, _: &AppId, effect: Bytes) -> PublishOutcome {
        // Nobody listens to `done`: what was not done is offered again by its session.
        let (done, _) = oneshot::channel();
        match self.effects.try_send(EffectDelivery { effect, done }) {
            Ok(()) => PublishOutcome::Sent,
            Err(mpsc::error::TrySendError::Full(_)) => PublishOutcome::Full,
            Err(mpsc::error::TrySendError::Closed(_)) => PublishOutcome::Nobody,
        }
    }
}
