//! The bus as a connector holds it.

use bytes::Bytes;
use prometheus::Registry;
use stentor_cluster::{BusError, EffectDelivery, Ingress};
use stentor_types::Partition;
use stentor_wire::LOGIC;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{BusFailure, BusSetupError, Tasks, end, first_end, line_metrics, watch_line};
use crate::{
    connect::Connection,
    effects::Taking,
    ingress::{Asker, Caller},
    members::{Listening, Member, MemberName, Members, Role, Standing},
    metrics::{CallerMetrics, ConnectorMetrics, LineMetrics},
    readiness::{BusState, StateReceiver, Trouble},
    subjects::LogGroup,
    timings::Timings,
};

/// What can be set about the bus of a connector.
#[derive(Clone, Debug)]
pub struct ConnectorBusSettings {
    /// The name of this process.
    pub name: MemberName,
    /// The stream that effects are in.
    pub stream: String,
    /// The log group of that stream.
    pub group: LogGroup,
    /// Effects that this connector may work on at the same time; the rest is for others.
    pub open_max: usize,
    /// The version of the rules that this process knows.
    pub version: u32,
    /// The times that all members agree on.
    pub timings: Timings,
}

/// The bus of a connector. A clone is a handle to the same one.
#[derive(Clone, Debug)]
pub struct ConnectorBus {
    asker: Asker,
}

/// What a connector receives from.
#[derive(Debug)]
pub struct ConnectorEnds {
    /// What is to be done. Once it is dropped, no more is taken.
    pub effects: mpsc::Receiver<EffectDelivery>,
    /// How it is.
    pub state: StateReceiver,
}

/// What runs beneath the bus of a connector.
#[derive(Debug)]
pub struct RunningConnectorBus {
    connection: Connection,
    members: Members,
    asker: Asker,
    taking: Taking,
    line: LineMetrics,
}

// === impl ConnectorBusSettings ===

impl ConnectorBusSettings {
    /// Ordinary settings for a process of this name.
    #[must_use]
    pub fn new(name: MemberName, stream: &str) -> Self {
        Self {
            name,
            stream: stream.to_owned(),
            group: LogGroup(0),
            open_max: 1_024,
            version: LOGIC,
            timings: Timings::default(),
        }
    }
}

// === impl ConnectorBus ===

impl ConnectorBus {
    /// A bus that does nothing before it is run.
    ///
    /// # Errors
    /// The timings contradict each other, a metric is registered twice, or there are no random numbers.
    pub fn new(
        connection: Connection,
        settings: ConnectorBusSettings,
        registry: &Registry,
    ) -> Result<(Self, ConnectorEnds, RunningConnectorBus), BusSetupError> {
        let timings = settings.timings;
        timings.check()?;
        let (calls, metrics) = (CallerMetrics::new(registry)?, ConnectorMetrics::new(registry)?);
        let line = line_metrics(registry)?;
        let incarnation = getrandom::u64()?;
        let me = Member { role: Role::Connector, name: settings.name, incarnation };
        let members = Members::new(me, settings.version, timings);
        let asker = Asker::new(connection.clone(), Caller::Connectors, timings, calls);
        let (effects, effects_end) = mpsc::channel(settings.open_max.max(1));
        let troubles = vec![Trouble::NoEffects];
        let (state, state_end) = watch::channel(BusState { troubles, ..BusState::default() });
        let taking = Taking {
            connection: connection.clone(),
            stream: settings.stream,
            group: settings.group,
            timings,
            metrics,
            effects,
            open_max: settings.open_max.max(1),
            state,
        };
        let bus = Self { asker: asker.clone() };
        let ends = ConnectorEnds { effects: effects_end, state: state_end };
        Ok((bus, ends, RunningConnectorBus { connection, members, asker, taking, line }))
    }
}

impl Ingress for ConnectorBus {
    async fn request(&self, partition: Partition, request: Bytes) -> Result<Bytes, BusError> {
        self.asker.request(partition, request).await
    }
}

// === impl RunningConnectorBus ===

impl RunningConnectorBus {
    /// Runs until `stop` is cancelled, or nobody receives effects any more, and all effects that were
    /// taken have been dealt with. Until then outcomes can be delivered.
    ///
    /// # Errors
    /// The connection was closed for good.
    pub async fn run(self, stop: CancellationToken) -> Result<(), BusFailure> {
        let inner = CancellationToken::new();
        let mut tasks = Tasks::new();
        self.members.stand(Standing::Well);
        let listens = self.members.run(self.connection.clone(), Listening::Itself, inner.clone());
        tasks.spawn(async { Ok(listens.await?) });
        let asks = self.asker.run(inner.clone());
        tasks.spawn(async { Ok(asks.await?) });
        tasks.spawn(watch_line(self.connection, self.line, inner.clone()));
        let ended = tokio::select! {
            () = self.taking.run(stop) => Ok(()),
            failure = first_end(&mut tasks) => Err(failure),
        };
        end(tasks, inner).await;
        ended
    }
}
