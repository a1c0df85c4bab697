//! The gateway's side: takes what owners tell to the gateway, and notices when something may be missing.
//!
//! Whatever may have been lost is told once, after all that had come before it; and not before the
//! gateway's own voice comes back over the new line, since only then can nothing be lost any more
//! between what the gateway fetches and what it hears.

use std::time::Duration;

use async_nats::{Message, Subscriber};
use futures_util::{FutureExt, StreamExt};
use stentor_cluster::GatewayMessage;
use stentor_types::GatewayId;
use tokio::{sync::mpsc, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{says_given_up, subject};
use crate::{
    connect::{Connection, ConnectionStatus},
    members::{Members, Standing},
    metrics::GatewayMetrics,
    timings::Timings,
};

/// After a line is back, how long the other NATS servers may take to learn what is listened to here.
const SPREADING: Duration = Duration::from_millis(100);

/// Receives what owners tell.
#[derive(Debug)]
pub(crate) struct Receiving {
    pub(crate) connection: Connection,
    pub(crate) members: Members,
    pub(crate) timings: Timings,
    pub(crate) metrics: GatewayMetrics,
    pub(crate) messages: mpsc::Sender<GatewayMessage>,
    /// Whether the gateway has to be told that something is missing.
    pub(crate) is_missing: bool,
    /// A router has taken the gateway for gone, although it heard itself all the time: something between the two
    /// was broken.
    pub(crate) is_given_up: bool,
}

/// Receiving cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReceiveError {
    #[error("failed to listen to owners")]
    Subscribe(#[from] async_nats::SubscribeError),
    #[error("failed to draw random numbers from the operating system")]
    Random(#[from] getrandom::Error),
}

// === impl Receiving ===

impl Receiving {
    /// Receives until `stop` is cancelled.
    ///
    /// Inputs of the loop:
    /// - fanout: messages of owners;
    /// - tick: time to see whether this gateway was away for long or given up, whether the line was lost, and
    ///   whether the subscription was full;
    /// - room: the gateway can be told that something is missing;
    /// - stop, or nobody listening any more: ends the loop.
    pub(crate) async fn run(
        mut self,
        gateway: GatewayId,
        stop: CancellationToken,
    ) -> Result<(), ReceiveError> {
        let mut fanout = self.connection.client().subscribe(subject(gateway)).await?;
        self.members.stand(Standing::Well);
        let status = self.connection.status();
        let mut before = *status.borrow();
        let mut tick = tokio::time::interval(self.timings.tick);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let messages = self.messages.clone();
        loop {
            tokio::select! {
                // A gateway that was away first finds out, then reads what has come meanwhile.
                biased;
                () = stop.cancelled() => return Ok(()),
                _ = tick.tick() => {
                    let now = *status.borrow();
                    if (self.was_away() || self.is_given_up) && self.connection.is_up() {
                        fanout = self.rename(fanout).await?;
                        before = now;
                    } else if self.note(before, now, &mut fanout).await {
                        before = now;
                    }
                }
                permit = messages.reserve(), if self.is_missing => {
                    let Ok(permit) = permit else { return Ok(()) };
                    permit.send(GatewayMessage::Missed);
                    self.is_missing = false;
                }
                message = fanout.next() => {
                    let Some(message) = message else { return Ok(()) };
                    self.deliver(message);
                }
                () = messages.closed() => return Ok(()),
            }
        }
    }

    /// Passes a message on. Once something is missing, more may be missing until that is told: the
    /// gateway then fetches all of it.
    fn deliver(&mut self, message: Message) {
        if says_given_up(&message) {
            self.is_given_up = true;
            return;
        }
        self.metrics.received.inc();
        if self.is_missing {
            return;
        }
        if self.messages.try_send(GatewayMessage::Fanout(message.payload)).is_err() {
            self.miss("queue_full");
        }
    }

    fn miss(&mut self, why: &'static str) {
        if !self.is_missing {
            self.metrics.missed.with_label_values(&[why]).inc();
            warn!(why, "messages of owners may be missing");
        }
        self.is_missing = true;
    }

    /// Takes note of what has happened to the line. True if it has been dealt with; if not, it is to be
    /// tried again.
    async fn note(
        &mut self,
        before: ConnectionStatus,
        now: ConnectionStatus,
        fanout: &mut Subscriber,
    ) -> bool {
        let lost = now.losses > before.losses;
        if lost && !self.connection.is_up() {
            // It is told when the line is back.
            return false;
        }
        if !lost && now.overflows == before.overflows {
            return true;
        }
        if lost {
            // Once it hears itself, what it listens to is known to its own server. If that takes
            // long, it is renamed instead.
            let heard = self.members.heard_again();
            let heard = tokio::time::timeout(self.timings.rename_after, heard).await;
            if heard.is_err() || self.was_away() {
                return false;
            }
            tokio::time::sleep(SPREADING).await;
        }
        while let Some(Some(message)) = fanout.next().now_or_never() {
            self.deliver(message);
        }
        self.miss(if lost { "line_lost" } else { "overflow" });
        true
    }

    /// Whether routers may have given this gateway up.
    fn was_away(&self) -> bool {
        self.members.silent_for().is_some_and(|silence| silence > self.timings.rename_after)
    }

    /// Goes on under another name: listens to it, then tells others, then the gateway.
    async fn rename(&mut self, mut old: Subscriber) -> Result<Subscriber, ReceiveError> {
        let gateway = GatewayId(getrandom::u64()?);
        info!(gateway = %format_args!("{:016x}", gateway.0), "was away for long, or taken to be, and goes on under another name");
        let new = self.connection.client().subscribe(subject(gateway)).await?;
        self.members.rename(gateway.0);
        let heard = self.members.heard_again();
        // If it does not hear itself now, it will be renamed again.
        if tokio::time::timeout(self.timings.rename_after, heard).await.is_ok() {
            tokio::time::sleep(SPREADING).await;
        }
        while let Some(Some(message)) = old.next().now_or_never() {
            self.deliver(message);
        }
        self.metrics.renamed.inc();
        // Everything is attached again: nothing is missing then. The gateway has to take note of it
        // before anything else.
        self.is_missing = false;
        self.is_given_up = false;
        // A gateway that has ended is not told anything.
        let _ = self.messages.send(GatewayMessage::Renamed(gateway)).await;
        Ok(new)
    }
}
