//! The bus as a router holds it.

use std::{sync::Arc, time::SystemTime};

use bytes::Bytes;
use prometheus::Registry;
use stentor_cluster::{
    Effects, Fanout, IngressRequest, Ownership, OwnershipChange, PublishOutcome,
};
use stentor_types::{AppId, GatewayId, PARTITIONS, Partition};
use stentor_wire::LOGIC;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{BusFailure, BusSetupError, Tasks, end, first_end, line_metrics, watch_line};
use crate::{
    connect::Connection,
    effects::{OfferQueue, Offers},
    fanout::{SendQueue, Sender},
    ingress::Desk,
    members::{Listening, MemberName, Members, RouterId},
    metrics::{LineMetrics, RouterMetrics},
    ownership::{Holdings, Keeper, Owned, Records},
    readiness::{BusState, StateReceiver, Trouble},
    stream::LogSettings,
    subjects::LogGroup,
    timings::Timings,
    trying,
};

/// Changes of ownership that may wait for the router; beyond it the keeper of partitions waits. Each
/// partition has at most a taking, a release and a loss at the same time.
const CHANGES_MAX: usize = 4 * PARTITIONS as usize;

/// What can be set about the bus of a router.
#[derive(Clone, Debug)]
pub struct RouterBusSettings {
    /// The name of this process.
    pub name: MemberName,
    /// Where effects go.
    pub group: LogGroup,
    /// Copies of the record of owners: 1, or 3 in a cluster.
    pub replicas: usize,
    /// Requests that may wait for the router; beyond it, it is busy.
    pub requests_max: usize,
    /// The version of the rules that this process knows.
    pub version: u32,
    /// This machine's clock, which is compared with the broker's.
    pub clock: fn() -> SystemTime,
    /// The times that all members agree on.
    pub timings: Timings,
}

/// The bus of a router. A clone is a handle to the same one.
#[derive(Clone, Debug)]
pub struct RouterBus {
    connection: Connection,
    fanout: Sender,
    offers: Offers,
    owned: Owned,
}

/// What a router receives from.
#[derive(Debug)]
pub struct RouterEnds {
    /// Requests to the partitions that it owns.
    pub requests: mpsc::Receiver<IngressRequest>,
    /// What it is told about the partitions that it owns.
    pub changes: mpsc::Receiver<OwnershipChange>,
    /// How it is.
    pub state: StateReceiver,
}

/// What runs beneath the bus of a router.
#[derive(Debug)]
pub struct RunningRouterBus {
    connection: Connection,
    members: Members,
    keeper: Keeper,
    fanout: SendQueue,
    offers: OfferQueue,
    line: LineMetrics,
}

// === impl RouterBusSettings ===

impl RouterBusSettings {
    /// Ordinary settings for a process of this name.
    #[must_use]
    pub fn new(name: MemberName) -> Self {
        Self {
            name,
            group: LogGroup(0),
            replicas: 1,
            requests_max: 16_384,
            version: LOGIC,
            clock: SystemTime::now,
            timings: Timings::default(),
        }
    }
}

// === impl RouterBus ===

impl RouterBus {
    /// A bus that does nothing before it is run.
    ///
    /// # Errors
    /// The timings contradict each other, a metric is registered twice, or there are no random numbers.
    pub fn new(
        connection: Connection,
        settings: RouterBusSettings,
        registry: &Registry,
    ) -> Result<(Self, RouterEnds, RunningRouterBus), BusSetupError> {
        let timings = settings.timings;
        timings.check()?;
        let (metrics, line) = (RouterMetrics::new(registry)?, line_metrics(registry)?);
        let me = RouterId { name: settings.name, incarnation: getrandom::u64()? };
        let members = Members::new(me.member(), settings.version, timings);
        let (requests, requests_end) = mpsc::channel(settings.requests_max);
        let (changes, changes_end) = mpsc::channel(CHANGES_MAX);
        let (found, found_end) = mpsc::channel(CHANGES_MAX);
        let troubles = vec![Trouble::Unheard];
        let (state, state_end) = watch::channel(BusState { troubles, ..BusState::default() });
        let (fanout, fanout_queue) =
            Sender::new(connection.clone(), members.clone(), metrics.clone());
        let (offers, offers_queue) = Offers::new(settings.group, metrics.clone());
        let log = LogSettings { group: settings.group, ..LogSettings::new(Vec::new()) };
        let records = Records::new(connection.clone(), settings.replicas)
            .founding(log.stream_name(), settings.version);
        let holdings = Arc::new(Holdings::new());
        let desk = Desk {
            connection: connection.clone(),
            members: members.clone(),
            holdings: Arc::clone(&holdings),
            requests,
            metrics,
        };
        let keeper = Keeper::new(
            me.clone(),
            members.clone(),
            Arc::clone(&holdings),
            records.clone(),
            timings,
            settings.clock,
            desk,
            changes,
            found_end,
            state,
        );
        let owned = Owned { me, members: members.clone(), holdings, records, timings, found };
        let bus = Self { connection: connection.clone(), fanout, offers, owned };
        let running = RunningRouterBus {
            connection,
            members,
            keeper,
            fanout: fanout_queue,
            offers: offers_queue,
            line,
        };
        let ends = RouterEnds { requests: requests_end, changes: changes_end, state: state_end };
        Ok((bus, ends, running))
    }

    /// Who this router is.
    #[must_use]
    pub const fn id(&self) -> &RouterId {
        &self.owned.me
    }
}

impl Fanout for RouterBus {
    const LOSSY: bool = true;

    fn publish(&self, gateway: GatewayId, message: Bytes) -> PublishOutcome {
        self.fanout.publish(gateway, message)
    }

    fn gateways(&self) -> Vec<GatewayId> {
        self.fanout.gateways()
    }

    fn is_gone(&self, gateway: GatewayId) -> bool {
        self.fanout.is_gone(gateway)
    }
}

impl Effects for RouterBus {
    fn publish(&self, app: &AppId, effect: Bytes) -> PublishOutcome {
        self.offers.publish(app, effect)
    }
}

impl Ownership for RouterBus {
    fn holds(&self, partition: Partition) -> bool {
        self.owned.holds(partition)
    }

    async fn confirm(&self, partition: Partition) -> bool {
        self.owned.confirm(partition).await
    }

    fn finalized(&self) -> u32 {
        self.owned.holdings.finalized()
    }

    fn is_beyond(&self, partition: Partition, version: u32) -> bool {
        self.owned.is_beyond(partition, version);
        true
    }

    async fn trying(
        &self,
        partition: Partition,
    ) -> Result<Option<Bytes>, Box<dyn std::error::Error + Send + Sync>> {
        trying::read(&self.connection, partition).await
    }

    async fn set_trying(
        &self,
        partition: Partition,
        trying: Bytes,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        trying::write(&self.connection, partition, trying).await
    }
}

// === impl RunningRouterBus ===

impl RunningRouterBus {
    /// Runs until `drain` is cancelled and every partition has been handed over, which needs a router
    /// that goes on finishing what it is told to release. Then says goodbye.
    ///
    /// # Errors
    /// The connection was closed for good.
    pub async fn run(self, drain: CancellationToken) -> Result<(), BusFailure> {
        let stop = CancellationToken::new();
        let mut tasks = Tasks::new();
        let members = self.members.run(self.connection.clone(), Listening::Everybody, stop.clone());
        tasks.spawn(async { Ok(members.await?) });
        let fanout = self.fanout.run(self.connection.clone(), stop.clone());
        tasks.spawn(async {
            fanout.await;
            Ok(())
        });
        let offers = self.offers.run(self.connection.jetstream().clone(), stop.clone());
        tasks.spawn(async {
            offers.await;
            Ok(())
        });
        tasks.spawn(watch_line(self.connection, self.line, stop.clone()));
        let kept = tokio::select! {
            kept = self.keeper.run(drain) => kept.map_err(BusFailure::Subscribe),
            failure = first_end(&mut tasks) => Err(failure),
        };
        end(tasks, stop).await;
        kept
    }
}
