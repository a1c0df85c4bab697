//! Routers that must not decide: their clock is off, or they are too old.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use stentor_cluster::{Ingress as _, Ownership as _};
use stentor_cluster_nats::{RouterBusSettings, Timings, Trouble, operator};
use stentor_testkit::Nats;
use stentor_wire::LOGIC;

use crate::harness::{
    TestGateway, TestRouter, connect, count, hurried, partition, settings, stays, until,
};

/// By how many seconds the clock of a machine is ahead.
static AHEAD: AtomicU64 = AtomicU64::new(0);

fn crooked() -> SystemTime {
    SystemTime::now() + Duration::from_secs(AHEAD.load(Ordering::SeqCst))
}

#[tokio::test(flavor = "multi_thread")]
async fn cluster_11_a_lone_router_whose_clock_goes_off_decides_nothing_until_it_is_right_again() {
    let nats = Nats::start().await.unwrap();
    let clock_every = Duration::from_millis(100);
    let timings = Timings { clock_every, ask_for: Duration::from_secs(2), ..hurried() };
    let settings = RouterBusSettings { clock: crooked, ..settings("a", timings) };
    let router = TestRouter::of(&nats.url(), settings).await;
    let gateway = TestGateway::start(&nats.url(), 1, timings).await;
    router.owns(64).await;
    assert_eq!(gateway.ask(partition(7), "who").await, "a who");
    AHEAD.store(6, Ordering::SeqCst);
    let is_off = |trouble: &Trouble| matches!(trouble, Trouble::ClockOff(5..=6));
    until("it says so", || router.state().troubles.iter().any(is_off)).await;
    router.owns(0).await;
    until("it counts them", || {
        count(&router.registry, "partitions_given_up_total", Some("unfit")) == 64.0
    })
    .await;
    let asked = gateway.bus.request(partition(7), Bytes::from_static(b"who")).await;
    assert!(asked.is_err(), "it answered: {asked:?}");
    assert!(router.owned().is_empty());
    AHEAD.store(0, Ordering::SeqCst);
    router.owns(64).await;
    assert_eq!(gateway.ask(partition(7), "who").await, "a who");
    until("it is ready", || router.state().is_ready()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cluster_25_a_partition_with_something_newer_goes_to_a_router_that_knows_it() {
    let nats = Nats::start().await.unwrap();
    let old = TestRouter::start(&nats.url(), "router-a", hurried()).await;
    old.owns(64).await;
    let found = (partition(3), partition(4));
    old.bus.is_beyond(found.0, LOGIC + 1);
    until("it gives it up", || old.owned().len() == 63).await;
    until("it says why", || {
        let says = old.state().to_string();
        says.contains(&format!("version {}", LOGIC + 1)) && says.contains(&format!("knows {LOGIC}"))
    })
    .await;
    stays("it never takes it again", Duration::from_secs(3), || old.owned().len() == 63).await;
    let new = RouterBusSettings { version: LOGIC + 1, ..settings("router-b", hurried()) };
    let new = TestRouter::of(&nats.url(), new).await;
    until("the newer one has it", || new.owned().contains(&found.0)).await;
    // With a newer one there, it goes there at once.
    old.bus.is_beyond(found.1, LOGIC + 1);
    until("it is handed over", || new.owned().contains(&found.1)).await;
    assert!(!old.owned().contains(&found.1));
    assert!(count(&old.registry, "partitions_given_up_total", Some("beyond")) >= 2.0);
    assert_eq!(old.told_count("lost") + new.told_count("lost"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn cluster_25_a_router_that_the_cluster_has_left_behind_gives_everything_up() {
    let nats = Nats::start().await.unwrap();
    let old = TestRouter::start(&nats.url(), "router-a", hurried()).await;
    old.owns(64).await;
    assert_eq!(old.bus.finalized(), 1);
    let line = connect(&nats.url(), "operator").await;
    let version = operator::cluster_version(&line).await.unwrap();
    assert_eq!(version.version, 1);
    let members = operator::members(&line).await.unwrap();
    assert_eq!(members.iter().map(|member| member.version).collect::<Vec<_>>(), [LOGIC]);
    operator::finalize(&line, version, LOGIC + 1).await.unwrap();
    // Whoever has read it before cannot raise it again.
    assert!(operator::finalize(&line, version, LOGIC + 2).await.is_err());
    assert_eq!(stentor_cluster_nats::finalized(&line).await.unwrap(), LOGIC + 1);
    old.owns(0).await;
    until("it says why", || old.state().troubles.contains(&Trouble::Outdated(LOGIC + 1, LOGIC)))
        .await;
    let new = RouterBusSettings { version: LOGIC + 1, ..settings("router-b", hurried()) };
    let new = TestRouter::of(&nats.url(), new).await;
    new.owns(64).await;
    assert_eq!(new.bus.finalized(), LOGIC + 1);
    stays("it takes nothing", Duration::from_secs(2), || old.owned().is_empty()).await;
}
