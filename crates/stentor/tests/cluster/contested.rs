//! Somebody else writes to a session as if it were theirs, as a second owner would (F26).

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use stentor_cluster::{Append, Appended, Entity, EntityKind, Header, Log as _};
use stentor_cluster_nats::NatsLog;
use stentor_testkit::{
    SecondClient,
    cluster::{Cluster, topology::Kind},
};
use stentor_types::{AppId, CommitId, EventNumber, Timestamp};
use stentor_wire::{decode_commit, encode_commit};

use crate::{load::Load, setting::is_long, verifying::as_router};

/// Between two attempts of the other writer: it wins often, and not always.
const PAUSE: Duration = Duration::from_millis(30);
/// Refusals after which the fault has been there for long enough.
const REFUSALS: f64 = 10.0;

async fn sum(cluster: &Cluster, metric: &str) -> f64 {
    let mut sum = 0.0;
    for name in cluster.names(Kind::Router) {
        sum += cluster.metric(&name, metric).await.unwrap();
    }
    sum
}

/// Commits nothing, again and again, behind whatever is the newest; returns how often it won.
async fn write(log: NatsLog, entity: Entity, stop: Arc<AtomicBool>) -> u64 {
    let mut won = 0;
    while !stop.load(Ordering::Relaxed) {
        let Some(head) = log.head(&entity).await.unwrap() else { continue };
        let newest = log.read(&entity, head.sequence, 1).await.unwrap();
        let Some(newest) = newest.into_iter().find(|record| record.sequence == head.sequence)
        else {
            continue;
        };
        let mut record = decode_commit(&newest.record).unwrap();
        let last = head.header.last;
        record.previous = Some(head.sequence);
        record.id = CommitId(u128::from(won) + 1);
        record.writer = 1;
        record.commit.first = EventNumber(last.0 + 1);
        record.commit.at = Timestamp(head.header.at.0 + 1);
        record.commit.events.clear();
        record.commit.requests.clear();
        record.events.clear();
        record.snapshot = None;
        let header = Header {
            first: EventNumber::NONE,
            at: record.commit.at,
            snapshot: false,
            ..head.header
        };
        let append = Append {
            entity: entity.clone(),
            expected: Some(head.sequence),
            header,
            record: encode_commit(&record),
            effects: Vec::new(),
        };
        let judged = log.append(vec![append]).await.unwrap();
        won += u64::from(matches!(judged[0], Appended::Stored(_)));
        tokio::time::sleep(PAUSE).await;
    }
    won
}

pub(crate) async fn holds_nobody_up(cluster: &Cluster, load: &mut Load) {
    let mut client = SecondClient::visitor("contested", 5_010).at_page();
    client.connect(cluster.gateway_ports()[0]).await.unwrap();
    load.waits();
    for _ in 0..if is_long() { 8 } else { 3 } {
        load.goes_on().await;
    }
    let calm = load.waits();
    let refused = sum(cluster, "stentor_log_conflicts_total").await;
    let (_connection, log) = as_router(cluster).await;
    let kind = EntityKind::Session(client.sid.parse().unwrap());
    let entity = Entity { app: AppId::try_new("demo").unwrap(), kind };
    let stop: Arc<AtomicBool> = Arc::default();
    let writing = tokio::spawn(write(log, entity, Arc::clone(&stop)));
    let mut said = 0;
    while sum(cluster, "stentor_log_conflicts_total").await < refused + REFUSALS {
        said += 1;
        client.say(&format!("contested {said}")).await.unwrap();
        // Slow, but it gets on.
        client.settled(said).await.unwrap_or_else(|error| panic!("F26: {error:#}"));
    }
    load.goes_on().await;
    let beside = load.waits();
    stop.store(true, Ordering::Relaxed);
    let won = writing.await.unwrap();
    let refused = sum(cluster, "stentor_log_conflicts_total").await - refused;
    let halved = sum(cluster, "stentor_log_halvings_total").await;
    println!(
        "F26: {said} texts of the contested session, the other writer won {won} times, {refused} refusals, {halved} batches halved; innocents' p99 {:?} before, {:?} beside it; p50 {:?} and {:?}",
        calm.percentile(99),
        beside.percentile(99),
        calm.percentile(50),
        beside.percentile(50),
    );
    assert!(won > 0, "nobody contested it");
    // The promise is twice; a gate on a busy machine only sees whether they are held up.
    let allowed = if is_long() { 2 * calm.percentile(99) } else { Duration::from_secs(3) };
    assert!(beside.percentile(99) <= allowed, "F26: innocents are held up");
    // An acknowledgement may come before the event.
    let last = format!("contested {said}");
    let there = client.event("its last text", |event| event["text"] == last.as_str()).await;
    there.unwrap_or_else(|error| panic!("F26: {error:#}"));
    client.check().unwrap_or_else(|error| panic!("F26: {error:#}"));
    assert!(client.refused.is_empty(), "{:?}", client.refused);
}
