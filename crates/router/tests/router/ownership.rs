//! Partitions that come and go, owners that are no longer, gateways that vanish.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use stentor_cluster::{
    Effects, Fanout, Log, Ownership, OwnershipChange, PublishOutcome,
    local::{LocalBus, LocalEnds},
    memory::MemoryLog,
};
use stentor_postoffice::Commit;
use stentor_router::{Config, Later};
use stentor_store::memory::MemoryStore;
use stentor_types::{
    AppId, Event, EventKind, EventNumber, GatewayId, Partition, Sequence, SessionId,
};
use stentor_wire::{CommitRecord, LOGIC, decode_commit_by, pb};
use tokio::sync::{mpsc, oneshot};

use crate::{
    epochs::{HOUR, clock, entity, until},
    harness::{self, Town},
    moody_log::MoodyLog,
    parts,
};

/// The bus of a cluster, as far as a router can see.
#[derive(Debug)]
pub(crate) struct ClusterBus {
    inner: LocalBus,
    /// What [`Ownership`] says of every partition.
    mine: AtomicBool,
    gone: Mutex<Vec<GatewayId>>,
    /// The version that nobody in the cluster is below.
    pub(crate) finalized: AtomicU32,
    beyond: Mutex<Vec<(Partition, u32)>>,
}

impl Fanout for ClusterBus {
    const LOSSY: bool = true;

    fn publish(&self, gateway: GatewayId, message: Bytes) -> PublishOutcome {
        Fanout::publish(&self.inner, gateway, message)
    }

    fn gateways(&self) -> Vec<GatewayId> {
        self.inner.gateways()
    }

    fn is_gone(&self, gateway: GatewayId) -> bool {
        self.gone.lock().unwrap().contains(&gateway)
    }
}

impl Effects for ClusterBus {
    fn publish(&self, app: &AppId, effect: Bytes) -> PublishOutcome {
        Effects::publish(&self.inner, app, effect)
    }
}

impl Ownership for ClusterBus {
    fn holds(&self, _: Partition) -> bool {
        self.mine.load(Ordering::SeqCst)
    }

    async fn confirm(&self, _: Partition) -> bool {
        self.mine.load(Ordering::SeqCst)
    }

    fn finalized(&self) -> u32 {
        self.finalized.load(Ordering::SeqCst)
    }

    fn is_beyond(&self, partition: Partition, version: u32) -> bool {
        self.beyond.lock().unwrap().push((partition, version));
        true
    }
}

pub(crate) struct Cluster {
    pub(crate) town: Town,
    pub(crate) bus: Arc<ClusterBus>,
    changes: mpsc::Sender<OwnershipChange>,
}

pub(crate) fn open(log: &Arc<MemoryLog>, store: &Arc<MemoryStore>) -> Cluster {
    open_with(log, store, Config::default())
}

fn open_with<L: Log>(log: &Arc<L>, store: &Arc<MemoryStore>, config: Config) -> Cluster {
    let (inner, ends) = LocalBus::new();
    let (changes, changed) = mpsc::channel(64);
    let ends = LocalEnds { changes: changed, ..ends };
    let bus = Arc::new(ClusterBus {
        inner: inner.clone(),
        mine: AtomicBool::new(true),
        gone: Mutex::default(),
        finalized: AtomicU32::new(LOGIC),
        beyond: Mutex::default(),
    });
    let (apps, routers_bus) = (harness::apps(), Arc::clone(&bus));
    let town = Town::open_on(log, store, apps, 1, config, routers_bus, (inner, ends));
    Cluster { town, bus, changes }
}

impl Cluster {
    pub(crate) async fn take(&self, partition: Partition) {
        let (taken_up, told) = oneshot::channel();
        self.changes.send(OwnershipChange::Take { partition, taken_up }).await.unwrap();
        told.await.unwrap();
    }

    async fn release(&self, partition: Partition) {
        let (released, told) = oneshot::channel();
        self.changes.send(OwnershipChange::Release { partition, released }).await.unwrap();
        told.await.unwrap();
    }
}

fn is_again(reply: &pb::input_reply::Kind) -> bool {
    matches!(reply, pb::input_reply::Kind::TryAgainMs(_))
}

#[tokio::test]
async fn only_partitions_that_were_taken_and_not_given_up_are_served() {
    let (log, store) = parts();
    let cluster = open(&log, &store);
    let mut socket = cluster.town.socket(1, "user-a");
    let partition = socket.visitor.placement.partition();
    let attach = pb::AttachInput { claimed: Some("claimed".into()), ..Default::default() };
    let attach = pb::connection_input::Kind::Attach(attach);
    assert!(is_again(&cluster.town.send(&socket, attach.clone()).await));
    cluster.take(partition).await;
    cluster.town.attach(&mut socket, Some("claimed")).await;
    cluster.town.say(&mut socket, "one").await;
    cluster.release(partition).await;
    assert!(is_again(&cluster.town.say(&mut socket, "two").await));
    socket.counter -= 1;
    cluster.take(partition).await;
    let said = cluster.town.say(&mut socket, "two").await;
    assert!(matches!(said, pb::input_reply::Kind::Committed(_)), "{said:?}");
}

#[tokio::test]
async fn cluster_6_an_owner_that_may_be_replaced_answers_nothing_from_memory() {
    let (log, store) = parts();
    let cluster = open(&log, &store);
    let mut socket = cluster.town.socket(1, "user-a");
    cluster.take(socket.visitor.placement.partition()).await;
    cluster.town.attach(&mut socket, Some("claimed")).await;
    let said = cluster.town.say(&mut socket, "one").await;
    socket.counter -= 1;
    cluster.bus.mine.store(false, Ordering::SeqCst);
    let again = cluster.town.say(&mut socket, "one").await;
    assert!(is_again(&again), "a duplicate was answered from memory: {again:?}");
    socket.counter -= 1;
    cluster.bus.mine.store(true, Ordering::SeqCst);
    let again = cluster.town.say(&mut socket, "one").await;
    let (pb::input_reply::Kind::Committed(n), pb::input_reply::Kind::Duplicate(same)) =
        (said, again)
    else {
        panic!()
    };
    assert_eq!(n, same);
}

#[tokio::test]
async fn cluster_6_an_owner_that_may_be_replaced_does_not_say_which_session_a_visitor_has() {
    let (log, store) = parts();
    let cluster = open(&log, &store);
    let mut socket = cluster.town.socket(1, "user-a");
    let partition = socket.visitor.placement.partition();
    cluster.take(partition).await;
    cluster.town.attach(&mut socket, Some("claimed")).await;
    let heads = log.heads(partition, None, 10).await.unwrap();
    cluster.bus.mine.store(false, Ordering::SeqCst);
    let attach = pb::AttachInput { claimed: Some("claimed".into()), ..Default::default() };
    let attach = pb::connection_input::Kind::Attach(attach);
    let second = cluster.town.socket(2, "user-a");
    let told = cluster.town.send(&second, attach).await;
    assert!(is_again(&told), "a session was named from memory: {told:?}");
    assert_eq!(log.heads(partition, None, 10).await.unwrap(), heads);
}

#[tokio::test]
async fn i11_a_replaced_owner_commits_nothing() {
    let (log, store) = parts();
    let (old, new) = (open(&log, &store), open(&log, &store));
    let mut socket = old.town.socket(1, "user-a");
    let partition = socket.visitor.placement.partition();
    old.take(partition).await;
    old.town.attach(&mut socket, Some("claimed")).await;
    old.town.say(&mut socket, "one").await;
    let mut other = old.town.socket(2, "user-a");
    old.town.attach(&mut other, Some("claimed")).await;
    // The old owner is paused; the new one serves.
    new.take(partition).await;
    new.town.say(&mut socket, "two").await;
    old.bus.mine.store(false, Ordering::SeqCst);
    let entity = log.heads(partition, None, 10).await.unwrap();
    // What it would commit is refused; had it read again what there is, it could commit it after all.
    assert!(is_again(&old.town.say(&mut other, "late").await));
    assert_eq!(log.heads(partition, None, 10).await.unwrap(), entity);
    assert!(matches!(
        new.town.say(&mut socket, "three").await,
        pb::input_reply::Kind::Committed(_)
    ));
}

#[tokio::test(start_paused = true)]
async fn f1_a_session_that_holds_nothing_on_a_gateway_that_is_gone_is_told_once() {
    let ((log, store), (_, config)) = (parts(), clock());
    let slow = MoodyLog::slow(&log);
    let one = open_with(&slow, &store, config.clone());
    let other = open_with(&log, &store, config);
    let mut socket = one.town.socket(1, "user-a");
    let partition = socket.visitor.placement.partition();
    one.take(partition).await;
    one.town.attach(&mut socket, Some("claimed")).await;
    let detach = pb::DetachInput {
        session: stentor_wire::session_to_bytes(socket.session.unwrap()),
        delivered: None,
    };
    let detach = pb::connection_input::Kind::Detach(detach);
    one.town.send(&socket, detach.clone()).await;
    slow.writing.notified().await;
    // What is written while the partition is given up is noted after all that was noted of it was forgotten.
    tokio::join!(one.town.attach(&mut socket, Some("claimed")), async {
        slow.writing.notified().await;
        one.release(partition).await;
    });
    other.take(partition).await;
    other.town.send(&socket, detach).await;
    other.release(partition).await;
    one.take(partition).await;
    one.bus.gone.lock().unwrap().push(GatewayId(1));
    // It leaves the memory, as nobody asks for it any more.
    let count = |what: &str| one.town.metric(&format!("stentor_router_actors_{what}_total"));
    tokio::time::sleep(Duration::from_secs(200)).await;
    assert_eq!(count("started"), count("ended"));
}

#[tokio::test(start_paused = true)]
async fn cluster_16_what_an_owner_before_wrote_late_and_told_nobody_is_told_and_gone_on_with() {
    let ((log, store), (now, config)) = (parts(), clock());
    let old = open_with(&log, &store, config.clone());
    let mut new = open_with(&log, &store, config);
    let mut socket = new.town.socket(1, "user-a");
    let partition = socket.visitor.placement.partition();
    new.take(partition).await;
    new.town.attach(&mut socket, Some("claimed")).await;
    // What the old owner had under way is written after the new one has loaded the session.
    old.take(partition).await;
    let said = old.town.say(&mut socket, "one").await;
    let pb::input_reply::Kind::Committed(n) = said else { panic!("{said:?}") };
    // It is gone before it has told anybody; whoever asked asks again.
    old.town.kill().await;
    while new.town.fanout.try_recv().is_ok() {}
    let said = new.town.say_again(&socket, "one").await;
    assert!(matches!(said, pb::input_reply::Kind::Duplicate(_)), "{said:?}");
    let told = new.town.fan_out().await;
    assert!(told.head >= n, "{told:?}");
    // Nobody answers for the bot: its deadline is kept, too.
    let session = socket.session.unwrap();
    let before = new.town.events(session).await.len();
    now.fetch_add(HOUR, Ordering::SeqCst);
    until(async || new.town.events(session).await.len() > before).await;
}

#[tokio::test]
async fn f1_sessions_are_told_of_a_gateway_that_is_gone_while_they_are_served() {
    let (log, store) = parts();
    let cluster = open(&log, &store);
    let mut socket = cluster.town.socket(1, "user-a");
    cluster.take(socket.visitor.placement.partition()).await;
    cluster.town.attach(&mut socket, Some("claimed")).await;
    let session = socket.session.unwrap();
    cluster.bus.gone.lock().unwrap().push(GatewayId(1));
    let lost = |kind: &EventKind| matches!(kind, EventKind::GatewayLost { .. });
    let waited = async {
        while !cluster.town.events(session).await.iter().any(|event| lost(&event.kind)) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(harness::PATIENCE, waited).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn cluster_15_a_deadline_that_is_far_away_outlives_its_owner() {
    let ((log, store), (now, config)) = (parts(), clock());
    let old = open_with(&log, &store, config.clone());
    let mut socket = old.town.socket(1, "user-a");
    let partition = socket.visitor.placement.partition();
    old.take(partition).await;
    old.town.attach(&mut socket, Some("claimed")).await;
    let session = socket.session.unwrap();
    let session_bytes = stentor_wire::session_to_bytes(session);
    let detach = pb::DetachInput { session: session_bytes, delivered: None };
    old.town.send(&socket, pb::connection_input::Kind::Detach(detach)).await;
    let entity = entity(&old.town, session);
    let head = log.head(&entity).await.unwrap().unwrap();
    assert!(!head.header.attached);
    // Others of the partition go on: it is not among those that are loaded because they changed last.
    now.fetch_add(120_000_000, Ordering::SeqCst);
    let mut others = (0..).map(|number| old.town.socket(2, &format!("user-{number}")));
    let mut other = others.find(|other| other.visitor.placement.partition() == partition).unwrap();
    drop(others);
    old.town.attach(&mut other, Some("claimed")).await;
    let session_bytes = stentor_wire::session_to_bytes(other.session.unwrap());
    let detach = pb::DetachInput { session: session_bytes, delivered: None };
    old.town.send(&other, pb::connection_input::Kind::Detach(detach)).await;
    old.release(partition).await;
    old.town.kill().await;
    let new = open_with(&log, &store, config);
    new.take(partition).await;
    let deadline = head.header.next_deadline.unwrap().0;
    assert!(deadline > now.load(Ordering::SeqCst) + 60_000_000, "far away");
    now.store(deadline, Ordering::SeqCst);
    until(async || log.head(&entity).await.unwrap().unwrap().sequence > head.sequence).await;
    let left = |kind: &EventKind| matches!(kind, EventKind::Left { .. });
    assert!(new.town.events(session).await.iter().any(|event| left(&event.kind)));
}

#[tokio::test(start_paused = true)]
async fn cluster_15_a_connected_session_is_taken_up_however_long_it_has_been_silent() {
    let ((log, store), (now, config)) = (parts(), clock());
    let old = open_with(&log, &store, config.clone());
    let mut socket = old.town.socket(1, "user-a");
    let partition = socket.visitor.placement.partition();
    old.take(partition).await;
    old.town.attach(&mut socket, Some("claimed")).await;
    now.fetch_add(120_000_000, Ordering::SeqCst);
    let mut others = (0..).map(|number| old.town.socket(2, &format!("user-{number}")));
    let mut other = others.find(|other| other.visitor.placement.partition() == partition).unwrap();
    drop(others);
    old.town.attach(&mut other, Some("claimed")).await;
    old.release(partition).await;
    old.town.kill().await;
    let mut new = open_with(&log, &store, config);
    new.take(partition).await;
    let wanted = stentor_wire::session_to_bytes(socket.session.unwrap());
    let told = new.town.fan_out().await;
    assert!(told.heads.iter().any(|head| head.session == wanted), "{told:?}");
}

#[tokio::test]
async fn cluster_16_a_new_owner_repeats_the_heads_of_connected_sessions() {
    let (log, store) = parts();
    let mut old = open(&log, &store);
    let mut socket = old.town.socket(1, "user-a");
    let partition = socket.visitor.placement.partition();
    old.take(partition).await;
    old.town.attach(&mut socket, Some("claimed")).await;
    old.town.say(&mut socket, "the last that its owner fans out").await;
    let last = old.town.events(socket.session.unwrap()).await.last().unwrap().n;
    old.town.take_fan_out();
    old.town.kill().await;
    let mut new = open(&log, &store);
    new.take(partition).await;
    let head = loop {
        let fan_out = new.town.fan_out().await;
        if let Some(head) = fan_out.heads.first() {
            break head.clone();
        }
    };
    assert_eq!(head.n, last.0, "told before anything else happens");
    assert_eq!(head.connections, [1]);
}

/// A version that writes an event of its own with every commit.
#[derive(Debug)]
struct Tomorrow;

impl Later for Tomorrow {
    fn decided(&self, commit: &mut Commit) {
        let Some(last) = commit.events.last().cloned() else { return };
        let kind = EventKind::Unknown;
        commit.events.push(Event { n: EventNumber(last.n.0 + 1), kind, ..last });
    }

    fn written(&self, record: &mut CommitRecord) {
        assert_eq!(record.min_logic, LOGIC + 1);
    }
}

fn tomorrow() -> Config {
    Config { logic: LOGIC + 1, later: Some(Arc::new(Tomorrow)), ..Config::default() }
}

/// For which version each record of a session is, and how many of its events are of no known kind.
async fn written(log: &MemoryLog, town: &Town, session: SessionId) -> Vec<(u32, usize)> {
    let records = log.read(&entity(town, session), Sequence(0), usize::MAX).await.unwrap();
    let written = records.iter().map(|record| {
        let record = decode_commit_by(&record.record, LOGIC + 1).unwrap();
        let unknown = record.commit.events.iter().filter(|event| event.kind == EventKind::Unknown);
        (record.min_logic, unknown.count())
    });
    written.collect()
}

#[tokio::test]
async fn cluster_25_nothing_new_is_written_before_the_cluster_has_left_the_old_version_behind() {
    let (log, store) = parts();
    let (old, new) = (open(&log, &store), open_with(&log, &store, tomorrow()));
    let mut socket = new.town.socket(1, "user-a");
    let partition = socket.visitor.placement.partition();
    new.take(partition).await;
    new.town.attach(&mut socket, Some("claimed")).await;
    new.town.say(&mut socket, "one").await;
    let session = socket.session.unwrap();
    // Back to the version before, and on again.
    new.release(partition).await;
    old.take(partition).await;
    assert!(!is_again(&old.town.say(&mut socket, "two").await));
    old.release(partition).await;
    new.take(partition).await;
    new.town.say(&mut socket, "three").await;
    let before = written(&log, &new.town, session).await;
    assert!(before.iter().all(|record| *record == (LOGIC, 0)), "{before:?}");
    new.bus.finalized.store(LOGIC + 1, Ordering::SeqCst);
    new.town.say(&mut socket, "four").await;
    let after = written(&log, &new.town, session).await;
    assert_eq!(after[before.len()..], [(LOGIC + 1, 1)]);
    assert_eq!(old.bus.beyond.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn cluster_25_what_is_for_a_later_version_is_left_to_others_and_never_written_back() {
    let (log, store) = parts();
    let (old, new) = (open(&log, &store), open_with(&log, &store, tomorrow()));
    new.bus.finalized.store(LOGIC + 1, Ordering::SeqCst);
    let mut socket = new.town.socket(1, "user-a");
    let partition = socket.visitor.placement.partition();
    new.take(partition).await;
    new.town.attach(&mut socket, Some("claimed")).await;
    new.town.say(&mut socket, "one").await;
    new.release(partition).await;
    let before = log.heads(partition, None, 10).await.unwrap();
    // It knows nothing of the later version, and takes the partition.
    old.take(partition).await;
    assert!(is_again(&old.town.say(&mut socket, "two").await));
    let attach = pb::AttachInput { claimed: Some("claimed".into()), ..Default::default() };
    let attach = pb::connection_input::Kind::Attach(attach);
    assert!(is_again(&old.town.send(&socket, attach).await), "nor is a directory read");
    assert_eq!(log.heads(partition, None, 10).await.unwrap(), before);
    let beyond = old.bus.beyond.lock().unwrap().clone();
    assert!(beyond.len() >= 2, "{beyond:?}");
    assert!(beyond.iter().all(|found| *found == (partition, LOGIC + 1)), "{beyond:?}");
}
