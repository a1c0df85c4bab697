//! The router's side: straight to the line while it takes messages; a queue, and one task that empties it, while
//! it does not.
//!
//! Straight, because every task between wakes somebody: what a commit tells its gateways and the answer to its
//! sender then leave in one write, and wake the server once.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use futures_util::FutureExt as _;
use stentor_cluster::PublishOutcome;
use stentor_types::GatewayId;
use tokio::{sync::mpsc, task::coop::unconstrained};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::subject;
use crate::{clock, connect::Connection, members::Members, metrics::RouterMetrics};

/// Messages that may wait for the line.
const QUEUE_MAX: usize = 16_384;
/// Bytes that may wait for it: a message can be half a megabyte, and the queue must not become
/// gigabytes while NATS is away.
const QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Sends to gateways without waiting. A clone is a handle to the same queue.
#[derive(Clone, Debug)]
pub(crate) struct Sender {
    connection: Connection,
    queue: mpsc::Sender<(GatewayId, Bytes)>,
    bytes: Arc<AtomicUsize>,
    members: Members,
    metrics: RouterMetrics,
}

/// What waits for the line.
#[derive(Debug)]
pub(crate) struct SendQueue {
    waiting: mpsc::Receiver<(GatewayId, Bytes)>,
    bytes: Arc<AtomicUsize>,
    metrics: RouterMetrics,
}

// === impl Sender ===

impl Sender {
    pub(crate) fn new(
        connection: Connection,
        members: Members,
        metrics: RouterMetrics,
    ) -> (Self, SendQueue) {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        let bytes = Arc::new(AtomicUsize::new(0));
        let end = SendQueue { waiting, bytes: Arc::clone(&bytes), metrics: metrics.clone() };
        (Self { connection, queue, bytes, members, metrics }, end)
    }

    pub(crate) fn publish(&self, gateway: GatewayId, message: Bytes) -> PublishOutcome {
        let (outcome, label) = self.try_publish(gateway, message);
        if outcome == PublishOutcome::Sent {
            self.metrics.fanout_sent.inc();
        } else {
            self.metrics.fanout.with_label_values(&[label]).inc();
        }
        outcome
    }

    fn try_publish(&self, gateway: GatewayId, message: Bytes) -> (PublishOutcome, &'static str) {
        if self.is_gone(gateway) {
            return (PublishOutcome::Nobody, "nobody");
        }
        // Nothing overtakes what waits.
        if self.bytes.load(Ordering::Acquire) == 0 && self.send_now(gateway, &message) {
            return (PublishOutcome::Sent, "sent");
        }
        let len = message.len();
        if self.bytes.fetch_add(len, Ordering::AcqRel) + len <= QUEUE_BYTES_MAX
            && self.queue.try_send((gateway, message)).is_ok()
        {
            return (PublishOutcome::Sent, "sent");
        }
        self.bytes.fetch_sub(len, Ordering::AcqRel);
        (PublishOutcome::Full, "full")
    }

    /// Whether the line has taken it. A line that cannot take any such message is left to the queue.
    fn send_now(&self, gateway: GatewayId, message: &Bytes) -> bool {
        let sending = self.connection.client().publish(subject(gateway), message.clone());
        matches!(unconstrained(sending).now_or_never(), Some(Ok(())))
    }

    pub(crate) fn gateways(&self) -> Vec<GatewayId> {
        self.members.view().gateways(clock::now())
    }

    pub(crate) fn is_gone(&self, gateway: GatewayId) -> bool {
        self.members.view().is_gone(gateway, clock::now())
    }
}

// === impl SendQueue ===

impl SendQueue {
    /// Takes messages to the line until `stop` is cancelled, then those that wait.
    pub(crate) async fn run(mut self, connection: Connection, stop: CancellationToken) {
        loop {
            let next = tokio::select! {
                biased;
                next = self.waiting.recv() => next,
                () = stop.cancelled() => return,
            };
            let Some((gateway, message)) = next else { return };
            let len = message.len();
            if let Err(cause) = connection.client().publish(subject(gateway), message).await {
                self.metrics.fanout.with_label_values(&["failed"]).inc();
                debug!(%cause, len, "a message to a gateway could not be sent");
            }
            self.bytes.fetch_sub(len, Ordering::AcqRel);
        }
    }
}
