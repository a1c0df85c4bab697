//! Owners that are paused or cut off, and servers that die.

use std::time::{Duration, Instant};

use stentor_cluster::{Fanout, Ingress, Ownership};
use stentor_cluster_nats::{Timings, Trouble};
use stentor_testkit::Nats;
use stentor_types::{GatewayId, Partition};

use crate::{
    harness::{TestGateway, TestRouter, count, hurried, partition, soon, stays, until},
    proxy::{Line, Proxy},
};

#[tokio::test(flavor = "multi_thread")]
async fn f4_a_paused_owner_stops_believing_in_itself_before_another_takes_over_and_never_again() {
    let nats = Nats::start().await.unwrap();
    let line = Proxy::to(&nats.url()).await;
    let a = TestRouter::start(line.url(), "router-a", hurried()).await;
    a.owns(64).await;
    // It only waits for the other one to die: by itself it asks for nothing.
    let patient = Timings { ask_after: Duration::from_secs(600), ..hurried() };
    let b = TestRouter::start(&nats.url(), "router-b", patient).await;
    until("it is ready", || b.state().is_ready()).await;
    let gateway = TestGateway::start(&nats.url(), 1, hurried()).await;
    assert_eq!(gateway.ask(partition(4), "who").await, "router-a who");
    assert!(a.bus.holds(partition(4)));
    let taken = || count(&a.registry, "ingress_requests_total", Some("taken"));
    assert_eq!(taken(), 1.0);

    line.set(Line::Frozen);
    let (mut held_until, mut taken_at) = (Instant::now(), None);
    until("the other one owns everything", || {
        if a.bus.holds(partition(4)) {
            held_until = Instant::now();
        }
        if taken_at.is_none() && b.owned().contains(&partition(4)) {
            taken_at = Some(Instant::now());
        }
        b.owned().len() == 64
    })
    .await;
    assert!(held_until < taken_at.unwrap(), "both believed in themselves");
    // The frozen one still listens, as far as the broker knows, and takes nothing from the other.
    let retries = || count(&gateway.registry, "request_retries_total", None);
    let before = retries();
    for _ in 0..30 {
        assert_eq!(gateway.ask(partition(4), "who").await, "router-b who");
    }
    assert!(retries() < before + 1.0, "a request went to the frozen router alone");

    // It wakes up: what is open at that moment was asked long ago, and nothing is its own any more.
    line.set(Line::Open);
    until("it knows that everything is lost", || {
        assert!(Partition::all().all(|partition| !a.bus.holds(partition)));
        a.told_count("lost") == 64
    })
    .await;
    assert!(!soon("an answer", a.bus.confirm(partition(4))).await);
    assert_eq!(taken(), 1.0, "what waited for it is put aside");
    assert!(count(&a.registry, "lapses_total", None) >= 1.0);
    assert_eq!(gateway.ask(partition(4), "who").await, "router-b who");
    assert_eq!(b.told_count("lost"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_in_which_nobody_took_anything_ends_with_everything_still_owned() {
    let nats = Nats::start().await.unwrap();
    let line = Proxy::to(&nats.url()).await;
    let router = TestRouter::start(line.url(), "router-a", hurried()).await;
    router.owns(64).await;
    let told = router.told();
    line.set(Line::Frozen);
    until("it is not sure", || !router.bus.holds(partition(1))).await;
    until("it says why", || router.state().troubles.contains(&Trouble::Unheard)).await;
    tokio::time::sleep(hurried().takeover_after).await;
    line.set(Line::Open);
    until("it is sure again", || Partition::all().all(|partition| router.bus.holds(partition)))
        .await;
    assert_eq!(router.told(), told);
}

#[tokio::test(flavor = "multi_thread")]
async fn f10_an_owner_that_is_cut_off_loses_everything_to_others() {
    let nats = Nats::start().await.unwrap();
    let line = Proxy::to(&nats.url()).await;
    let a = TestRouter::start(line.url(), "router-a", hurried()).await;
    a.owns(64).await;
    let patient = Timings { ask_after: Duration::from_secs(600), ..hurried() };
    let b = TestRouter::start(&nats.url(), "router-b", patient).await;
    until("it is ready", || b.state().is_ready()).await;
    line.set(Line::Cut);
    until("it says so", || a.state().troubles.contains(&Trouble::Unreachable)).await;
    b.owns(64).await;
    assert!(Partition::all().all(|partition| !a.bus.holds(partition)));
    assert!(!soon("an answer", a.bus.confirm(partition(4))).await);
    let shown = || count(&a.registry, "partitions_owned", None);
    until("it claims nothing", || shown() == 0.0).await;
    stays("it claims nothing", hurried().takeover_after, || shown() == 0.0).await;
    // It comes back.
    line.set(Line::Open);
    until("it knows", || a.told_count("lost") == 64).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f24_a_nats_leader_that_is_killed_moves_no_partition_and_makes_nobody_look_dead() {
    let mut nats = Nats::cluster(3).await.unwrap();
    let url = nats.url();
    let ms = Duration::from_millis;
    let timings = Timings { ask_after: ms(2_000), ask_every: ms(50), ..Timings::default() };
    let (a, b) = tokio::join!(
        TestRouter::start(&url, "router-a", timings),
        TestRouter::start(&url, "router-b", timings),
    );
    let gateway = TestGateway::start(&url, 7, timings).await;
    // Each has its share, and asks for nothing more.
    let (mut told, mut since) = ((a.told(), b.told()), Instant::now());
    until("nothing moves any more", || {
        if told != (a.told(), b.told()) {
            (told, since) = ((a.told(), b.told()), Instant::now());
        }
        let (a, b) = (a.owned().len(), b.owned().len());
        a + b == 64 && a > 20 && b > 20 && since.elapsed() > timings.ask_after + timings.ask_every
    })
    .await;
    until("the gateway is known", || a.bus.gateways() == [GatewayId(7)]).await;
    let leader = nats.leader_of("KV_STENTOR_owner").await.unwrap();
    nats.kill(leader).unwrap();
    let mut sees = 0;
    stays("no gateway is gone, no partition moves", Duration::from_secs(15), || {
        sees += 1;
        assert!(!a.bus.is_gone(GatewayId(7)) && !b.bus.is_gone(GatewayId(7)));
        assert_eq!((a.told(), b.told()), told);
        true
    })
    .await;
    assert!(sees > 100);
    until("all is well", || {
        let sure = |router: &TestRouter| {
            router.owned().iter().all(|partition| router.bus.holds(*partition))
        };
        a.state().is_ready() && b.state().is_ready() && sure(&a) && sure(&b)
    })
    .await;
    assert_eq!((a.told(), b.told()), told);
    let answer = gateway.bus.request(partition(3), "x".into());
    assert!(soon("an answer", answer).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_goes_on_when_the_only_server_was_away() {
    let mut nats = Nats::start().await.unwrap();
    let router = TestRouter::start(&nats.url(), "router-a", hurried()).await;
    router.owns(64).await;
    let gateway = TestGateway::start(&nats.url(), 7, hurried()).await;
    let told = router.told();
    nats.kill(0).unwrap();
    until("it says so", || router.state().troubles.contains(&Trouble::Unreachable)).await;
    assert!(!soon("an answer", router.bus.confirm(partition(4))).await);
    nats.start_again(0).await.unwrap();
    assert_eq!(gateway.ask(partition(4), "who").await, "router-a who");
    until("all is well", || {
        router.state().is_ready() && Partition::all().all(|partition| router.bus.holds(partition))
    })
    .await;
    assert_eq!(router.told(), told);
    assert!(count(&router.registry, "reconnects_total", None) >= 1.0);
}
