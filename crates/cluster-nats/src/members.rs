//! Who is there: every member of a cluster tells so once a second, and listens to itself.
//!
//! Silence counts only while the observer hears its own heartbeat, which takes the same way as
//! everybody's: when NATS is interrupted, nobody looks dead. Knows nothing of what members own.

mod heartbeat;
mod name;
mod view;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::StreamExt;
use stentor_types::GatewayId;
use tokio::{
    sync::{Notify, watch},
    time::MissedTickBehavior,
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::{clock, connect::Connection, fanout, timings::Timings};

pub(crate) use self::{
    heartbeat::{Heartbeat, Standing},
    view::{Heard, Member, Role, View},
};
pub use self::{
    name::{InvalidName, MemberName},
    view::RouterId,
};

/// Least time between heartbeats that greet newcomers.
const GREETING_EVERY: Duration = Duration::from_millis(50);

/// Whom a member listens to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listening {
    /// To everybody: it has to know who is there.
    Everybody,
    /// To itself: it has to know whether others can hear it.
    Itself,
}

/// The members of a cluster, as one of them knows them. A clone is a handle to the same view.
#[derive(Clone, Debug)]
pub(crate) struct Members {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    timings: Timings,
    version: u32,
    view: Mutex<View>,
    standing: Mutex<Standing>,
    /// When the newest own heartbeat that was heard had been published, in microseconds; 0 = none.
    published: AtomicU64,
    /// How many of them came after a silence that was longer than a router may believe in itself.
    lapses: AtomicU64,
    heard: watch::Sender<Duration>,
    nudge: Notify,
}

// === impl Members ===

impl Members {
    pub(crate) fn new(me: Member, version: u32, timings: Timings) -> Self {
        let shared = Shared {
            timings,
            version,
            view: Mutex::new(View::new(me, timings)),
            standing: Mutex::new(Standing::Unfit),
            published: AtomicU64::new(0),
            lapses: AtomicU64::new(0),
            heard: watch::Sender::new(Duration::ZERO),
            nudge: Notify::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The version of the rules that this member knows.
    pub(crate) fn version(&self) -> u32 {
        self.shared.version
    }

    /// What is known of the others.
    pub(crate) fn view(&self) -> MutexGuard<'_, View> {
        self.shared.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the newest own heartbeat that came back is so young that nobody can have concluded
    /// anything from this member's silence.
    pub(crate) fn is_fresh(&self) -> bool {
        self.silent_for().is_some_and(|silence| silence < self.shared.timings.hold_for)
    }

    /// For how long nobody may have heard this member; nothing if it never was heard.
    pub(crate) fn silent_for(&self) -> Option<Duration> {
        let published = self.shared.published.load(Ordering::Acquire);
        let published = (published > 0).then(|| Duration::from_micros(published))?;
        Some(clock::now().saturating_sub(published))
    }

    /// How often others may have concluded something from this member's silence.
    pub(crate) fn lapses(&self) -> u64 {
        self.shared.lapses.load(Ordering::Acquire)
    }

    /// Tells others how this member is, at once.
    pub(crate) fn stand(&self, standing: Standing) {
        let mut now = self.shared.standing.lock().unwrap_or_else(PoisonError::into_inner);
        if *now != standing {
            *now = standing;
            self.nudge();
        }
    }

    /// Has a heartbeat published now.
    pub(crate) fn nudge(&self) {
        self.shared.nudge.notify_one();
    }

    /// Waits until a heartbeat comes back that was published after this call. Cancel safe.
    pub(crate) async fn heard_again(&self) {
        let since = clock::now();
        self.nudge();
        let mut heard = self.shared.heard.subscribe();
        // The sender lives in `self`.
        let _ = heard.wait_for(|published| *published > since).await;
    }

    /// Goes on under another name.
    pub(crate) fn rename(&self, incarnation: u64) {
        self.view().rename(incarnation);
        self.shared.published.store(micros(clock::now()), Ordering::Release);
        self.nudge();
    }

    /// Tells and listens until `stop` is cancelled, then says goodbye.
    ///
    /// Inputs of the loop:
    /// - beat, nudge: time to publish a heartbeat;
    /// - heartbeats: of others and of this member;
    /// - status: the line is back, so that others hear of it at once;
    /// - stop: ends the loop.
    pub(crate) async fn run(
        self,
        connection: Connection,
        listening: Listening,
        stop: CancellationToken,
    ) -> Result<(), async_nats::SubscribeError> {
        let subject = self.view().me().listens_to(listening);
        let mut heartbeats = connection.client().subscribe(subject).await?;
        let mut beat = tokio::time::interval(self.shared.timings.beat);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut greeted = clock::now();
        let mut status = connection.status();
        loop {
            tokio::select! {
                _ = beat.tick() => self.publish(&connection).await,
                () = self.shared.nudge.notified() => self.publish(&connection).await,
                message = heartbeats.next() => {
                    let Some(message) = message else { return Ok(()) };
                    let Some((member, heard)) = self.hear(&message) else { continue };
                    if heard.given_up {
                        self.tell_given_up(&connection, GatewayId(member.incarnation)).await;
                    }
                    let is_new = heard.first && member.role == Role::Router;
                    if is_new && greeted + GREETING_EVERY < clock::now() {
                        greeted = clock::now();
                        self.publish(&connection).await;
                    }
                }
                changed = status.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    self.publish(&connection).await;
                }
                () = stop.cancelled() => break,
            }
        }
        self.stand(Standing::Gone);
        self.publish(&connection).await;
        // If the line is down, others find out by themselves.
        let _ = tokio::time::timeout(self.shared.timings.beat, connection.client().flush()).await;
        Ok(())
    }

    /// Publishes a heartbeat, if it would leave now: one that waits for the line to come back would
    /// tell of a life long past.
    async fn publish(&self, connection: &Connection) {
        let me = self.view().me().clone();
        let was_given_up = me.role == Role::Gateway
            && self.silent_for().is_some_and(|silence| silence > self.shared.timings.rename_after);
        if was_given_up || !connection.is_up() {
            return;
        }
        let standing = *self.shared.standing.lock().unwrap_or_else(PoisonError::into_inner);
        let version = self.shared.version;
        let heartbeat = Heartbeat { published: clock::now(), standing, version };
        let sending = connection.client().publish(me.subject(), heartbeat.encode());
        if !matches!(tokio::time::timeout(self.shared.timings.beat, sending).await, Ok(Ok(()))) {
            debug!("a heartbeat could not be sent");
        }
    }

    /// A gateway lives, and this member has taken it for gone: it does not know that sessions have forgotten its
    /// connections. It is told with each of its heartbeats, until it goes by another name.
    async fn tell_given_up(&self, connection: &Connection, gateway: GatewayId) {
        let sending = fanout::tell_given_up(connection, gateway);
        if !matches!(tokio::time::timeout(self.shared.timings.beat, sending).await, Ok(Ok(()))) {
            debug!("a gateway could not be told that it was taken for gone");
        }
    }

    /// Takes note of a heartbeat.
    fn hear(&self, message: &async_nats::Message) -> Option<(Member, Heard)> {
        let member = Member::of_subject(&message.subject)?;
        let heartbeat = Heartbeat::decode(&message.payload)?;
        let heard = self.view().hear(&member, heartbeat, clock::now());
        if heard.own {
            // Whether it was published late or came late: until now others had reason to count.
            if self.silent_for().is_some_and(|silence| silence > self.shared.timings.hold_for) {
                // Before the heartbeat counts: nothing may look certain in between.
                self.shared.lapses.fetch_add(1, Ordering::AcqRel);
            }
            self.shared.published.fetch_max(micros(heartbeat.published), Ordering::AcqRel);
            self.shared.heard.send_replace(heartbeat.published);
        }
        Some((member, heard))
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
