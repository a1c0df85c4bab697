//! The bus as a gateway holds it.

use std::time::Duration;

use bytes::Bytes;
use prometheus::Registry;
use stentor_cluster::{BusError, GatewayMessage, Ingress};
use stentor_types::{GatewayId, Partition};
use stentor_wire::LOGIC;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{BusFailure, BusSetupError, Tasks, end, first_end, line_metrics, watch_line};
use crate::{
    claims, clock,
    connect::Connection,
    dead::{Graveyard, Undertaker},
    fanout::Receiving,
    ingress::{Asker, Caller},
    members::{Listening, Member, MemberName, Members, Role},
    metrics::{CallerMetrics, GatewayMetrics, LineMetrics},
    readiness::{BusState, StateReceiver, Trouble},
    timings::Timings,
};

/// What can be set about the bus of a gateway.
#[derive(Clone, Debug)]
pub struct GatewayBusSettings {
    /// The name of this process.
    pub name: MemberName,
    /// The name of this life, as its connections have it.
    pub gateway: GatewayId,
    /// Messages of owners that may wait for the gateway; beyond it they are dropped, and it is told so.
    pub messages_max: usize,
    /// The version of the rules that this process knows.
    pub version: u32,
    /// The times that all members agree on.
    pub timings: Timings,
}

/// The bus of a gateway. A clone is a handle to the same one.
#[derive(Clone, Debug)]
pub struct GatewayBus {
    asker: Asker,
    connection: Connection,
    graveyard: Graveyard,
}

/// What a gateway receives from.
#[derive(Debug)]
pub struct GatewayEnds {
    /// What owners tell it.
    pub messages: mpsc::Receiver<GatewayMessage>,
    /// How it is.
    pub state: StateReceiver,
    /// Whether it has reached nobody for so long that others are about to take it for gone, or have done so.
    pub cut_off: watch::Receiver<bool>,
}

/// What runs beneath the bus of a gateway.
#[derive(Debug)]
pub struct RunningGatewayBus {
    connection: Connection,
    gateway: GatewayId,
    timings: Timings,
    members: Members,
    asker: Asker,
    receiving: Receiving,
    state: watch::Sender<BusState>,
    cut_off: watch::Sender<bool>,
    line: LineMetrics,
}

// === impl GatewayBusSettings ===

impl GatewayBusSettings {
    /// Ordinary settings for a process of this name.
    #[must_use]
    pub fn new(name: MemberName, gateway: GatewayId) -> Self {
        Self { name, gateway, messages_max: 16_384, version: LOGIC, timings: Timings::default() }
    }
}

// === impl GatewayBus ===

impl GatewayBus {
    /// A bus that does nothing before it is run.
    ///
    /// # Errors
    /// The timings contradict each other, or a metric is registered twice.
    pub fn new(
        connection: Connection,
        settings: GatewayBusSettings,
        registry: &Registry,
    ) -> Result<(Self, GatewayEnds, RunningGatewayBus), BusSetupError> {
        let (timings, gateway) = (settings.timings, settings.gateway);
        timings.check()?;
        let (calls, metrics) = (CallerMetrics::new(registry)?, GatewayMetrics::new(registry)?);
        let line = line_metrics(registry)?;
        let me = Member { role: Role::Gateway, name: settings.name, incarnation: gateway.0 };
        let members = Members::new(me, settings.version, timings);
        let asker = Asker::new(connection.clone(), Caller::Gateways, timings, calls);
        let (messages, messages_end) = mpsc::channel(settings.messages_max);
        let receiving = Receiving {
            connection: connection.clone(),
            members: members.clone(),
            timings,
            metrics,
            messages,
            is_missing: false,
            is_given_up: false,
        };
        let troubles = vec![Trouble::Unheard];
        let (state, state_end) = watch::channel(BusState { troubles, ..BusState::default() });
        let graveyard = Graveyard::new(connection.clone(), Undertaker::Gateway);
        let bus = Self { asker: asker.clone(), connection: connection.clone(), graveyard };
        let (cut_off, cut_off_end) = watch::channel(false);
        let ends = GatewayEnds { messages: messages_end, state: state_end, cut_off: cut_off_end };
        let running = RunningGatewayBus {
            connection,
            gateway,
            timings,
            members,
            asker,
            receiving,
            state,
            cut_off,
            line,
        };
        Ok((bus, ends, running))
    }
}

impl Ingress for GatewayBus {
    const REMEMBERS: bool = true;

    async fn request(&self, partition: Partition, request: Bytes) -> Result<Bytes, BusError> {
        self.asker.request(partition, request).await
    }

    async fn claim(&self, name: &str) -> Result<bool, BusError> {
        claims::claim(&self.connection, name).await
    }

    fn bury(&self, letter: Bytes) {
        self.graveyard.bury(letter);
    }
}

// === impl RunningGatewayBus ===

impl RunningGatewayBus {
    /// Runs until `stop` is cancelled, then says goodbye: routers take the gateway for gone at once, so
    /// its connections have to be closed before.
    ///
    /// # Errors
    /// The connection was closed for good, or there are no random numbers for another name.
    pub async fn run(self, stop: CancellationToken) -> Result<(), BusFailure> {
        let inner = CancellationToken::new();
        let mut tasks = Tasks::new();
        let listens =
            self.members.clone().run(self.connection.clone(), Listening::Itself, inner.clone());
        tasks.spawn(async { Ok(listens.await?) });
        let asks = self.asker.run(inner.clone());
        tasks.spawn(async { Ok(asks.await?) });
        let receives = self.receiving.run(self.gateway, inner.clone());
        tasks.spawn(async { Ok(receives.await?) });
        tasks.spawn(watch_line(self.connection.clone(), self.line, inner.clone()));
        let shows = show(self.connection, self.members, self.timings, self.state, self.cut_off);
        let ended = tokio::select! {
            () = stop.cancelled() => Ok(()),
            () = shows => Ok(()),
            failure = first_end(&mut tasks) => Err(failure),
        };
        end(tasks, inner).await;
        ended
    }
}

/// For how long the gateway has reached nobody, as far as it was awake to see it.
#[derive(Debug)]
struct Exile {
    timings: Timings,
    /// When it was looked at last.
    looked: Option<Duration>,
    /// Since when nothing has gone through.
    since: Option<Duration>,
}

// === impl Exile ===

impl Exile {
    const fn new(timings: Timings) -> Self {
        Self { timings, looked: None, since: None }
    }

    /// Whether this has lasted until others are about to take the gateway for gone. A process that has just
    /// woken does not know yet whether its line is well: what it has slept through does not count.
    fn note(&mut self, is_unwell: bool, now: Duration) -> bool {
        let looked = self.looked.replace(now).unwrap_or(now);
        let slept = now.saturating_sub(looked) > self.timings.deaf_after;
        if !is_unwell {
            self.since = None;
        } else if self.since.is_none() || slept {
            self.since = Some(now);
        }
        self.since.is_some_and(|since| now.saturating_sub(since) >= self.timings.rename_after)
    }
}

/// Shows how the gateway is, for ever.
async fn show(
    connection: Connection,
    members: Members,
    timings: Timings,
    state: watch::Sender<BusState>,
    cut_off: watch::Sender<bool>,
) {
    let mut exile = Exile::new(timings);
    let mut tick = tokio::time::interval(timings.tick);
    loop {
        tick.tick().await;
        let troubles = if !connection.is_up() {
            vec![Trouble::Unreachable]
        } else if !members.view().hears_itself(clock::now()) {
            vec![Trouble::Unheard]
        } else {
            Vec::new()
        };
        let is_cut_off = exile.note(!troubles.is_empty(), clock::now());
        cut_off.send_if_modified(|shown| std::mem::replace(shown, is_cut_off) != is_cut_off);
        state.send_if_modified(|shown| {
            let changed = shown.troubles != troubles;
            shown.troubles = troubles;
            changed
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn cluster_17_a_gateway_counts_as_cut_off_after_the_time_in_which_others_give_it_up() {
        let mut exile = Exile::new(Timings::default());
        let cut_off: Vec<_> =
            (0..20).map(|second| exile.note(second >= 5, SECOND * second)).collect();
        let first = cut_off.iter().position(|cut_off| *cut_off);
        assert_eq!(first, Some(13), "5 s and `rename_after`");
        assert!(!exile.note(false, SECOND * 20), "and no longer once it is heard");
        assert!(!exile.note(true, SECOND * 21));
    }

    #[test]
    fn cluster_17_what_a_gateway_has_slept_through_does_not_cut_it_off() {
        let mut exile = Exile::new(Timings::default());
        assert!(!exile.note(false, SECOND));
        assert!(!exile.note(true, SECOND * 30), "it does not hear itself yet");
        assert!(!exile.note(true, SECOND * 31));
        assert!(!exile.note(false, SECOND * 32));
    }
}
