//! Takes effects and sees each through.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use prometheus::Registry;
use prost::Message;
use reqwest::Client;
use stentor_apps::{AppSet, Bot};
use stentor_cluster::{EffectDelivery, Ingress};
use stentor_types::{AppId, EffectId, Epoch, EventNumber, FailureReason, SessionId};
use stentor_wire::{app_id, pb, session_id};
use tokio::sync::{mpsc, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{Instrument, debug_span, info, warn};

use crate::{
    address::AddressPolicy,
    call::{self, Answer, Call},
    client::{self, ClientError},
    lanes::{Lane, Lanes},
    metrics::Metrics,
    outcome,
};

/// What can be set about a connector.
#[derive(Clone, Debug)]
pub struct Config {
    /// Which addresses may be called.
    pub addresses: AddressPolicy,
    /// Calls at the same time; one app has at most an eighth of them.
    pub slots: usize,
    /// What bots are told about who calls.
    pub version: String,
    /// How long calls in flight may take once draining has begun.
    pub drain: Duration,
}

/// A connector could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A metric is registered twice.
    #[error("failed to register a metric")]
    Metrics(#[from] prometheus::Error),
    /// There is no HTTP client.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// A connector over a bus.
pub struct Connector<B> {
    config: Config,
    bus: Arc<B>,
    effects: mpsc::Receiver<EffectDelivery>,
    apps: watch::Receiver<Arc<AppSet>>,
    client: Client,
    lanes: Arc<Lanes>,
    metrics: Metrics,
}

/// What one effect needs, apart from the connector that is reading the next.
struct Worker<B> {
    bus: Arc<B>,
    apps: watch::Receiver<Arc<AppSet>>,
    client: Client,
    addresses: AddressPolicy,
    lanes: Arc<Lanes>,
    metrics: Metrics,
}

// === impl Connector ===

impl<B: Ingress> Connector<B> {
    /// A connector that does nothing before it is run.
    ///
    /// # Errors
    /// A metric is registered twice, or there is no HTTP client.
    pub fn new(
        config: Config,
        bus: Arc<B>,
        effects: mpsc::Receiver<EffectDelivery>,
        apps: watch::Receiver<Arc<AppSet>>,
        registry: &Registry,
    ) -> Result<Self, SetupError> {
        let metrics = Metrics::new(registry)?;
        let client = client::build(&config.addresses, &config.version)?;
        let lanes = Arc::new(Lanes::new(config.slots));
        Ok(Self { config, bus, effects, apps, client, lanes, metrics })
    }

    /// Carries out effects until `drain` is cancelled, then finishes the calls in flight.
    ///
    /// Inputs of the loop:
    /// - effects: closed when no router is left, which ends the loop;
    /// - drain: ends the loop.
    pub async fn run(mut self, drain: CancellationToken) {
        let tasks = TaskTracker::new();
        let worker = Arc::new(Worker {
            bus: Arc::clone(&self.bus),
            apps: self.apps.clone(),
            client: self.client.clone(),
            addresses: self.config.addresses.clone(),
            lanes: Arc::clone(&self.lanes),
            metrics: self.metrics.clone(),
        });
        loop {
            let effect = tokio::select! {
                effect = self.effects.recv() => effect,
                () = drain.cancelled() => None,
            };
            let Some(EffectDelivery { effect, done }) = effect else { break };
            let Ok(effect) = pb::Effect::decode(effect) else {
                warn!("an effect could not be read");
                // Nobody will ever read it: it is done with.
                let _ = done.send(());
                continue;
            };
            let worker = Arc::clone(&worker);
            let span = debug_span!(
                "effect",
                app = effect.app,
                turn = effect.turn,
                attempt = effect.attempt
            );
            let work = async move {
                if worker.see_through(effect).await {
                    // Whoever handed it over may be gone: it is made again, under the same key.
                    let _ = done.send(());
                }
            };
            tasks.spawn(work.instrument(span));
        }
        tasks.close();
        if tokio::time::timeout(self.config.drain, tasks.wait()).await.is_err() {
            info!(
                calls = tasks.len(),
                "calls are left behind; they are made again under the same keys"
            );
        }
    }
}

impl<B> std::fmt::Debug for Connector<B> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Connector").field("config", &self.config).finish_non_exhaustive()
    }
}

// === impl Worker ===

impl<B: Ingress> Worker<B> {
    /// Makes an attempt and tells the session how it ended. True if nothing is left to do about it.
    async fn see_through(&self, mut effect: pb::Effect) -> bool {
        let (Ok(app), Ok(session)) = (app_id(&effect.app), session_id(&effect.session)) else {
            warn!("an effect names no app or session");
            return true;
        };
        let id = EffectId {
            epoch: Epoch(effect.epoch),
            turn: EventNumber(effect.turn),
            attempt: u8::try_from(effect.attempt).unwrap_or(u8::MAX),
        };
        let claim = match self.lanes.claim((session, id)) {
            Ok(claim) => claim,
            // The same attempt is being made: its outcome serves both, once there is one. Until then this may
            // be the only copy that would be handed out again.
            Err(other) => {
                self.metrics.duplicates.inc();
                return other.ended().await;
            }
        };
        let request = std::mem::take(&mut effect.request);
        let answer = self.attempt(&app, session, &effect, request).await;
        if let Answer::Reply(reply) = &answer {
            for removed in &reply.removed {
                self.metrics.removed(
                    removed.field.as_ref(),
                    removed.why.as_str(),
                    u64::from(removed.count),
                );
                info!(%app, field = %removed.field, why = removed.why.as_str(), "took a harmful part out of a bot's answer");
            }
        }
        let is_done = outcome::deliver(&self.bus, &effect, answer).await;
        if is_done {
            claim.done();
        }
        is_done
    }

    async fn attempt(
        &self,
        app: &AppId,
        session: SessionId,
        effect: &pb::Effect,
        request: Bytes,
    ) -> Answer {
        let bot = self.apps.borrow().get(app.as_str()).and_then(|app| app.bot.clone());
        let Some(bot) = bot else { return Answer::Failed(FailureReason::NotAllowed) };
        let lane = self.lanes.lane(app, bot.concurrent_calls);
        let begun = Instant::now();
        let patience = until(effect.deadline);
        self.metrics.waiting.inc();
        let slot = tokio::time::timeout(patience, lane.enter()).await;
        self.metrics.waiting.dec();
        self.metrics.waited(begun.elapsed());
        let Ok(Some(_slot)) = slot else {
            self.metrics.called("timed_out", begun.elapsed());
            return Answer::Failed(FailureReason::TimedOut);
        };
        if until(effect.deadline).is_zero() {
            // Its session has ended it. The bot is not asked, so it has not failed: others would have to suffer
            // for it, all those behind an outage of the connectors at once.
            self.metrics.called("timed_out", begun.elapsed());
            return Answer::Failed(FailureReason::TimedOut);
        }
        if !lane.permits(Instant::now()) {
            self.metrics.called("breaker_open", begun.elapsed());
            return Answer::Failed(FailureReason::BreakerOpen);
        }
        let timeout = bot.timeout.min(until(effect.deadline));
        self.metrics.inflight.inc();
        let answer = self.call(&bot, session, effect, request, timeout).await;
        self.metrics.inflight.dec();
        self.metrics.called(outcome::label(&answer), begun.elapsed());
        self.judge(app, &lane, &answer);
        answer
    }

    async fn call(
        &self,
        bot: &Bot,
        session: SessionId,
        effect: &pb::Effect,
        request: Bytes,
        timeout: Duration,
    ) -> Answer {
        let idempotency_key = format!("{session}-{}-{}", effect.epoch, effect.turn);
        let call = Call { bot, idempotency_key, attempt: effect.attempt, request, timeout };
        call::make(&self.client, &self.addresses, call).await
    }

    fn judge(&self, app: &AppId, lane: &Lane, answer: &Answer) {
        if lane.ended(outcome::is_well(answer), Instant::now()) {
            self.metrics.breakers_opened.inc();
            warn!(%app, "a bot has failed too often and is left alone for a while");
        }
    }
}

/// Time left until a deadline.
fn until(deadline_micros: u64) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Duration::from_micros(deadline_micros).saturating_sub(now)
}
