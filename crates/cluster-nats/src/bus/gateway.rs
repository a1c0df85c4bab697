//! The bus as a gateway holds it.

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
        };
        let troubles = vec![Trouble::Unheard];
        let (state, state_end) = watch::channel(BusState { troubles, ..BusState::default() });
        let graveyard = Graveyard::new(connection.clone(), Undertaker::Gateway);
        let bus = Self { asker: asker.clone(), connection: connection.clone(), graveyard };
        let ends = GatewayEnds { messages: messages_end, state: state_end };
        let running = RunningGatewayBus {
            connection,
            gateway,
            timings,
            members,
            asker,
            receiving,
            state,
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
        let shows = show(self.connection, self.members, self.timings, self.state);
        let ended = tokio::select! {
            () = stop.cancelled() => Ok(()),
            () = shows => Ok(()),
            failure = first_end(&mut tasks) => Err(failure),
        };
        end(tasks, inner).await;
        ended
    }
}

/// Shows how the gateway is, for ever.
async fn show(
    connection: Connection,
    members: Members,
    timings: Timings,
    state: watch::Sender<BusState>,
) {
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
        state.send_if_modified(|shown| {
            let changed = shown.troubles != troubles;
            shown.troubles = troubles;
            changed
        });
    }
}
