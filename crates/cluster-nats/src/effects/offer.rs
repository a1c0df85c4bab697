//! The router's side: offers effects again whose connector may have been lost.

use async_nats::jetstream;
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use stentor_cluster::PublishOutcome;
use stentor_types::AppId;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::{
    metrics::RouterMetrics,
    subjects::{self, LogGroup},
};

/// Offers that may wait: what a partition that was just taken may have open.
const QUEUE_MAX: usize = 4_096;
/// Offers that may wait for the stream's confirmation at the same time.
const OPEN_MAX: usize = 64;

/// Offers effects without waiting. A clone is a handle to the same queue.
#[derive(Clone, Debug)]
pub(crate) struct Offers {
    queue: mpsc::Sender<(AppId, Bytes)>,
    metrics: RouterMetrics,
}

/// Offers that wait.
#[derive(Debug)]
pub(crate) struct OfferQueue {
    waiting: mpsc::Receiver<(AppId, Bytes)>,
    group: LogGroup,
    metrics: RouterMetrics,
}

// === impl Offers ===

impl Offers {
    pub(crate) fn new(group: LogGroup, metrics: RouterMetrics) -> (Self, OfferQueue) {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        let end = OfferQueue { waiting, group, metrics: metrics.clone() };
        (Self { queue, metrics }, end)
    }

    pub(crate) fn publish(&self, app: &AppId, effect: Bytes) -> PublishOutcome {
        if self.queue.try_send((app.clone(), effect)).is_ok() {
            return PublishOutcome::Sent;
        }
        self.metrics.effects.with_label_values(&["full"]).inc();
        PublishOutcome::Full
    }
}

// === impl OfferQueue ===

impl OfferQueue {
    /// Puts offers into the stream until `stop` is cancelled. One that fails is made again by its
    /// session, which is the one to know whether it still matters.
    pub(crate) async fn run(mut self, jetstream: jetstream::Context, stop: CancellationToken) {
        let mut open: FuturesUnordered<BoxFuture<'static, bool>> = FuturesUnordered::new();
        loop {
            tokio::select! {
                Some((app, effect)) = self.waiting.recv(), if open.len() < OPEN_MAX => {
                    let subject = subjects::effects(self.group, &app);
                    open.push(offer(jetstream.clone(), subject, effect).boxed());
                }
                Some(stored) = open.next() => {
                    let label = if stored { "stored" } else { "failed" };
                    self.metrics.effects.with_label_values(&[label]).inc();
                }
                () = stop.cancelled() => return,
                else => return,
            }
        }
    }
}

async fn offer(jetstream: jetstream::Context, subject: String, effect: Bytes) -> bool {
    let stored = match jetstream.publish(subject, effect).await {
        Ok(sent) => sent.await.map(drop),
        Err(cause) => Err(cause),
    };
    if let Err(cause) = &stored {
        debug!(%cause, "an effect could not be offered");
    }
    stored.is_ok()
}
