//! Routers, gateways and connectors without anything behind them, on a real bus.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use prometheus::Registry;
use stentor_cluster::{IngressRequest, Ownership, OwnershipChange};
use stentor_cluster_nats::{
    BusFailure, BusState, Connection, ConnectionSettings, GatewayBus, GatewayBusSettings,
    GatewayEnds, Login, MemberName, RouterBus, RouterBusSettings, StateReceiver, Timings,
};
use stentor_types::{GatewayId, Partition};
use tokio::task::JoinHandle;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

/// Longer than anything takes, also on a slow machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The times of a cluster in a hurry.
pub(crate) fn hurried() -> Timings {
    let ms = Duration::from_millis;
    let timings = Timings {
        beat: ms(200),
        deaf_after: ms(700),
        hold_for: ms(800),
        takeover_after: ms(1_200),
        first_claim_after: ms(300),
        ask_after: ms(1_000),
        ask_every: ms(20),
        gone_after: ms(3_000),
        rename_after: ms(2_400),
        records_every: ms(300),
        tick: ms(20),
        try_for: ms(1_000),
        effect_patience: ms(2_000),
        effect_progress: ms(500),
        effect_pause: ms(50),
        ..Timings::default()
    };
    timings.check().unwrap();
    timings
}

pub(crate) fn all() -> BTreeSet<Partition> {
    Partition::all().collect()
}

/// The partition with this number.
pub(crate) fn partition(number: usize) -> Partition {
    Partition::all().nth(number).unwrap()
}

/// Waits until a condition holds.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "it never came true: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    began.elapsed()
}

/// Waits for something that must come.
pub(crate) async fn soon<T>(what: &str, waiting: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(PATIENCE, waiting).await;
    waited.unwrap_or_else(|_| panic!("it never came: {what}"))
}

/// Looks for a while whether something stays true.
pub(crate) async fn stays(what: &str, within: Duration, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while began.elapsed() < within {
        assert!(holds(), "{what}, but not after {:?}", began.elapsed());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Connects; a user in the URL is a role that logs in with its own inbox.
pub(crate) async fn connect(url: &str, name: &str) -> Connection {
    let (user, url) = url.split_once(" at ").unwrap_or(("", url));
    let mut settings = ConnectionSettings::new(url, name);
    if !user.is_empty() {
        settings.login = Login::User { user: user.to_owned(), password: format!("{user}-hush") };
        settings.inbox_prefix = format!("_INBOX_{user}");
    }
    soon("a connection", Connection::open(&settings)).await.unwrap()
}

/// Settings of a router with this name.
pub(crate) fn settings(name: &str, timings: Timings) -> RouterBusSettings {
    RouterBusSettings { timings, ..RouterBusSettings::new(MemberName::try_new(name).unwrap()) }
}

/// A router that answers requests with its own name.
pub(crate) struct TestRouter {
    pub(crate) bus: RouterBus,
    pub(crate) registry: Registry,
    pub(crate) state: StateReceiver,
    seen: Arc<Seen>,
    drain: CancellationToken,
    running: Option<JoinHandle<Result<(), BusFailure>>>,
    _serving: AbortOnDropHandle<()>,
}

#[derive(Default)]
struct Seen {
    owned: Mutex<BTreeSet<Partition>>,
    /// What it was told, in order.
    told: Mutex<Vec<(&'static str, Partition)>>,
    /// It answers nobody.
    is_stuck: AtomicBool,
}

// === impl TestRouter ===

impl TestRouter {
    pub(crate) async fn start(url: &str, name: &str, timings: Timings) -> Self {
        Self::with(url, name, timings, 1_024).await
    }

    pub(crate) async fn with(url: &str, name: &str, timings: Timings, requests_max: usize) -> Self {
        let settings = RouterBusSettings { requests_max, ..settings(name, timings) };
        Self::of(url, settings).await
    }

    pub(crate) async fn of(url: &str, settings: RouterBusSettings) -> Self {
        let name = settings.name.to_string();
        let connection = connect(url, &name).await;
        let registry = Registry::new();
        let settings =
            RouterBusSettings { replicas: if url.contains(',') { 3 } else { 1 }, ..settings };
        let (bus, mut ends, running) = RouterBus::new(connection, settings, &registry).unwrap();
        let (seen, drain) = (Arc::new(Seen::default()), CancellationToken::new());
        let running = tokio::spawn(running.run(drain.clone()));
        let (asked, watched) = (bus.clone(), Arc::clone(&seen));
        let serving = tokio::spawn(async move {
            loop {
                tokio::select! {
                    biased;
                    Some(change) = ends.changes.recv() => watched.note(change),
                    Some(request) = ends.requests.recv() => {
                        while watched.is_stuck.load(Ordering::Relaxed) {
                            tokio::time::sleep(Duration::from_millis(5)).await;
                        }
                        answer(&asked, &name, request).await;
                    }
                    else => return,
                }
            }
        });
        Self {
            bus,
            registry,
            state: ends.state,
            seen,
            drain,
            running: Some(running),
            _serving: AbortOnDropHandle::new(serving),
        }
    }

    pub(crate) fn owned(&self) -> BTreeSet<Partition> {
        self.seen.owned.lock().unwrap().clone()
    }

    pub(crate) fn told(&self) -> Vec<(&'static str, Partition)> {
        self.seen.told.lock().unwrap().clone()
    }

    pub(crate) fn told_count(&self, what: &str) -> usize {
        self.told().iter().filter(|(told, _)| *told == what).count()
    }

    pub(crate) fn state(&self) -> BusState {
        self.state.borrow().clone()
    }

    pub(crate) fn stick(&self, is_stuck: bool) {
        self.seen.is_stuck.store(is_stuck, Ordering::Relaxed);
    }

    pub(crate) fn begin_to_drain(&self) {
        self.drain.cancel();
    }

    /// Ends it in an orderly way.
    pub(crate) async fn drain(&mut self) {
        self.begin_to_drain();
        let running = self.running.take().unwrap();
        soon("the end of a drain", running).await.unwrap().unwrap();
    }

    /// Ends it at once.
    pub(crate) fn kill(mut self) {
        self.running.take().unwrap().abort();
    }

    pub(crate) async fn owns(&self, count: usize) -> Duration {
        until(&format!("it owns {count} partitions"), || self.owned().len() == count).await
    }
}

impl Drop for TestRouter {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.abort();
        }
    }
}

// === impl Seen ===

impl Seen {
    fn note(&self, change: OwnershipChange) {
        let (what, partition) = match &change {
            OwnershipChange::Take { partition, .. } => ("take", *partition),
            OwnershipChange::Release { partition, .. } => ("release", *partition),
            OwnershipChange::Lost { partition } => ("lost", *partition),
        };
        let mut owned = self.owned.lock().unwrap();
        let changed =
            if what == "take" { owned.insert(partition) } else { owned.remove(&partition) };
        assert!(changed, "{what} {partition} does not fit what was told before");
        self.told.lock().unwrap().push((what, partition));
        match change {
            OwnershipChange::Take { taken_up: told, .. }
            | OwnershipChange::Release { released: told, .. } => told.send(()).unwrap_or_default(),
            OwnershipChange::Lost { .. } => {}
        }
    }
}

/// Answers `<name> <request>`, as many bytes as a number in the request says; nothing if it is not sure
/// that the partition is its own.
async fn answer(bus: &RouterBus, name: &str, request: IngressRequest) {
    if !bus.holds(request.partition) && !bus.confirm(request.partition).await {
        return;
    }
    let text = String::from_utf8(request.request.to_vec()).unwrap();
    let mut answer = format!("{name} {text}").into_bytes();
    if let Some(len) = text.strip_prefix("long ").and_then(|len| len.parse().ok()) {
        answer.resize(len, b'.');
    }
    let _ = request.answer.send(answer.into());
}

/// A gateway without sockets.
pub(crate) struct TestGateway {
    pub(crate) bus: GatewayBus,
    pub(crate) ends: GatewayEnds,
    pub(crate) registry: Registry,
    stop: CancellationToken,
    running: AbortOnDropHandle<Result<(), BusFailure>>,
}

// === impl TestGateway ===

impl TestGateway {
    pub(crate) async fn start(url: &str, id: u64, timings: Timings) -> Self {
        Self::with(url, id, timings, 1_024).await
    }

    pub(crate) async fn with(url: &str, id: u64, timings: Timings, messages_max: usize) -> Self {
        let name = format!("gateway-{id}");
        let connection = connect(url, &name).await;
        let registry = Registry::new();
        let settings = GatewayBusSettings {
            timings,
            messages_max,
            ..GatewayBusSettings::new(MemberName::try_new(&name).unwrap(), GatewayId(id))
        };
        let (bus, ends, running) = GatewayBus::new(connection, settings, &registry).unwrap();
        let stop = CancellationToken::new();
        let running = AbortOnDropHandle::new(tokio::spawn(running.run(stop.clone())));
        let gateway = Self { bus, ends, registry, stop, running };
        gateway.is_ready().await;
        gateway
    }

    pub(crate) async fn is_ready(&self) {
        until("the gateway is ready", || self.ends.state.borrow().is_ready()).await;
    }

    pub(crate) async fn end(self) {
        self.stop.cancel();
        soon("the end of a gateway", self.running).await.unwrap().unwrap();
    }

    pub(crate) async fn ask(&self, partition: Partition, request: &str) -> String {
        use stentor_cluster::{BusError, Ingress as _};
        let request = Bytes::from(request.to_owned());
        loop {
            match soon("an answer", self.bus.request(partition, request.clone())).await {
                // The next owner is asked, as a gateway does.
                Err(BusError::OwnerGone) => {}
                answer => return String::from_utf8(answer.unwrap().to_vec()).unwrap(),
            }
        }
    }
}

/// The sum of a metric over all labels, or of those with one of the labels.
pub(crate) fn count(registry: &Registry, name: &str, label: Option<&str>) -> f64 {
    let families = registry.gather();
    let family = families.iter().find(|family| family.name() == format!("stentor_bus_{name}"));
    let metrics = family.map(|family| family.get_metric().to_vec()).unwrap_or_default();
    let counted = metrics.iter().filter(|metric| {
        label.is_none_or(|label| metric.get_label().iter().any(|pair| pair.value() == label))
    });
    counted.map(|metric| metric.get_counter().get_value() + metric.get_gauge().get_value()).sum()
}

/// Who answers for each partition.
pub(crate) async fn owners(gateway: &TestGateway) -> BTreeMap<Partition, String> {
    let mut owners = BTreeMap::new();
    for partition in Partition::all() {
        let answer = gateway.ask(partition, "who").await;
        owners.insert(partition, answer.trim_end_matches(" who").to_owned());
    }
    owners
}
