//! The connector's side: takes effects, keeps them while they are worked on, and reports how it went.

use std::{sync::Arc, time::Duration};

use async_nats::jetstream::{
    self, AckKind,
    consumer::{self, AckPolicy, pull},
    message::Acker,
};
use futures_util::{FutureExt, StreamExt};
use stentor_cluster::EffectDelivery;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::{
    connect::Connection,
    metrics::ConnectorMetrics,
    readiness::{BusState, Trouble},
    subjects::LogGroup,
    timings::Timings,
};

/// The consumer that all connectors share.
const CONSUMER: &str = "connectors";
/// Effects that all connectors together may have at the same time. More than any number of them can
/// work on: one slow app must not keep the others' effects in the stream.
const OPEN_MAX_ALL: i64 = 100_000;
/// How long one request for effects stays with the server. Short: it is lost without a word when the leader of
/// the consumer dies on another node than ours, and nobody asks again before twice as long has passed.
const PULL_FOR: Duration = Duration::from_secs(1);
/// Between two tries when the stream cannot be reached.
const PAUSE: Duration = Duration::from_millis(500);
/// How long the servers may take to agree that there is a consumer, before the one that was there is asked again.
const AGREE_FOR: Duration = Duration::from_secs(1);
/// How often the server is asked to confirm that an effect is done with. If it never does, the effect is
/// handed out again, and its session answers that it knows.
const CONFIRM_TRIES: usize = 5;

/// Takes effects.
#[derive(Debug)]
pub(crate) struct Taking {
    pub(crate) connection: Connection,
    pub(crate) stream: String,
    pub(crate) group: LogGroup,
    pub(crate) timings: Timings,
    pub(crate) metrics: ConnectorMetrics,
    pub(crate) effects: mpsc::Sender<EffectDelivery>,
    /// How many may be worked on at the same time.
    pub(crate) open_max: usize,
    pub(crate) state: watch::Sender<BusState>,
}

// === impl Taking ===

impl Taking {
    /// Takes effects until `stop` is cancelled; those that are being worked on then are seen through as
    /// long as this is polled.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let open = Arc::new(Semaphore::new(self.open_max));
        let mut work = JoinSet::new();
        let mut known = None;
        while !stop.is_cancelled() {
            if let Err(cause) = self.pull(&mut known, &open, &mut work, &stop).await {
                debug!(%cause, "effects cannot be taken");
                let up = self.connection.is_up();
                self.show(if up { Trouble::NoEffects } else { Trouble::Unreachable });
                tokio::time::sleep(PAUSE).await;
            }
            if self.effects.is_closed() {
                break;
            }
        }
        while work.join_next().await.is_some() {}
    }

    /// Takes as many effects as may be worked on, again and again, until `stop` is cancelled or nobody
    /// takes them any more.
    async fn pull(
        &self,
        known: &mut Option<consumer::PullConsumer>,
        open: &Arc<Semaphore>,
        work: &mut JoinSet<()>,
        stop: &CancellationToken,
    ) -> Result<(), async_nats::Error> {
        // The brokers agree on a consumer anew long after the one that they have works again.
        let patience = if known.is_some() { AGREE_FOR } else { AGREE_FOR * 10 };
        let agreed = tokio::select! {
            agreed = tokio::time::timeout(patience, self.consumer()) => agreed,
            () = stop.cancelled() => return Ok(()),
        };
        match agreed {
            Ok(Ok(consumer)) => {
                *known = Some(consumer);
                self.show(None);
            }
            Ok(Err(cause)) if known.is_none() => return Err(cause),
            Err(late) if known.is_none() => return Err(late.into()),
            _ => {}
        }
        let Some(consumer) = known.clone() else { return Ok(()) };
        while !stop.is_cancelled() && !self.effects.is_closed() {
            while work.try_join_next().is_some() {}
            // One at least; then as many more as there is room for.
            let one = Arc::clone(open).acquire_owned();
            let mut permits = tokio::select! {
                one = one => one?,
                () = stop.cancelled() => return Ok(()),
            };
            if let Ok(more) = u32::try_from(open.available_permits())
                && let Ok(more) = Arc::clone(open).try_acquire_many_owned(more)
            {
                permits.merge(more);
            }
            let batch = consumer.batch().max_messages(permits.num_permits()).expires(PULL_FOR);
            let mut renewed = std::pin::pin!(self.connection.renewed());
            let mut batch = batch.messages().await?;
            loop {
                // A server that vanishes does not end a batch.
                let next = tokio::time::timeout(PULL_FOR * 2, batch.next());
                let next = tokio::select! {
                    next = next => next?,
                    // The request went with the line that it was made over.
                    () = &mut renewed => break,
                    () = stop.cancelled() => break,
                };
                let (Some(message), Some(permit)) = (next, permits.split(1)) else { break };
                self.start(message?, permit, work).await;
            }
            self.show(None);
            // What has come too late for this connector is for another, at once.
            while let Some(Some(Ok(message))) = batch.next().now_or_never() {
                message.ack_with(AckKind::Nak(None)).await?;
            }
        }
        Ok(())
    }

    fn show(&self, trouble: impl Into<Option<Trouble>>) {
        let troubles: Vec<_> = trouble.into().into_iter().collect();
        self.state.send_if_modified(|state| {
            let changed = state.troubles != troubles;
            state.troubles = troubles;
            changed
        });
    }

    async fn start(
        &self,
        message: jetstream::Message,
        permit: OwnedSemaphorePermit,
        work: &mut JoinSet<()>,
    ) {
        let (message, acker) = message.split();
        let (done, told) = oneshot::channel();
        let delivery = EffectDelivery { effect: message.payload, done };
        // There is room: no more are taken than it holds.
        if self.effects.send(delivery).await.is_err() {
            return;
        }
        self.metrics.open.inc();
        let (timings, metrics) = (self.timings, self.metrics.clone());
        work.spawn(async move {
            let label = see_through(&acker, told, &timings).await;
            metrics.effects.with_label_values(&[label]).inc();
            metrics.open.dec();
            drop(permit);
        });
    }

    async fn consumer(&self) -> Result<consumer::PullConsumer, async_nats::Error> {
        let stream = self.connection.jetstream().get_stream_no_info(&self.stream).await?;
        let config = pull::Config {
            durable_name: Some(CONSUMER.to_owned()),
            description: Some("Hands effects to connectors.".to_owned()),
            filter_subject: format!("fx.{}.>", self.group.0),
            ack_policy: AckPolicy::Explicit,
            ack_wait: self.timings.effect_patience,
            max_ack_pending: OPEN_MAX_ALL,
            // For ever: its session ends an effect, nobody else.
            max_deliver: -1,
            ..pull::Config::default()
        };
        Ok(stream.create_consumer(config).await?)
    }
}

/// Keeps an effect until it is told what has come of it.
async fn see_through(
    acker: &Acker,
    mut told: oneshot::Receiver<()>,
    timings: &Timings,
) -> &'static str {
    let mut progress = tokio::time::interval(timings.effect_progress);
    // The first tick is at once.
    progress.tick().await;
    let done = loop {
        tokio::select! {
            done = &mut told => break done.is_ok(),
            _ = progress.tick() => {
                if let Err(cause) = acker.ack_with(AckKind::Progress).await {
                    debug!(%cause, "the server could not be told that an effect is being worked on");
                }
            }
        }
    };
    if !done {
        let again = AckKind::Nak(Some(timings.effect_pause));
        // If that gets lost, it takes as long as the server's patience.
        let _ = acker.ack_with(again).await;
        return "given_back";
    }
    for _ in 0..CONFIRM_TRIES {
        match acker.double_ack().await {
            Ok(()) => return "done",
            Err(cause) => {
                debug!(%cause, "the server has not confirmed that an effect is done with")
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    warn!("an effect that is done with may be handed out again");
    "unconfirmed"
}
