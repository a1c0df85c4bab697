//! Effects reach a connector until one has dealt with them.

use std::time::{Duration, Instant};

use async_nats::jetstream::stream;
use bytes::Bytes;
use prometheus::Registry;
use stentor_cluster::{EffectDelivery, Effects, Ingress, PublishOutcome};
use stentor_cluster_nats::{
    BusFailure, ConnectorBus, ConnectorBusSettings, ConnectorEnds, MemberName, Timings,
};
use stentor_testkit::Nats;
use stentor_types::AppId;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::harness::{
    TestGateway, TestRouter, connect, count, hurried, partition, soon, stays, until,
};

/// The name that the stream of a log group has.
pub(crate) const STREAM: &str = "STENTOR_log_0";

pub(crate) struct TestConnector {
    pub(crate) bus: ConnectorBus,
    ends: ConnectorEnds,
    registry: Registry,
    stop: CancellationToken,
    running: AbortOnDropHandle<Result<(), BusFailure>>,
}

impl TestConnector {
    pub(crate) async fn start(url: &str, timings: Timings, open_max: usize) -> Self {
        let connection = connect(url, "connector").await;
        let registry = Registry::new();
        let name = MemberName::try_new("connector-0").unwrap();
        let settings =
            ConnectorBusSettings { timings, open_max, ..ConnectorBusSettings::new(name, STREAM) };
        let (bus, ends, running) = ConnectorBus::new(connection, settings, &registry).unwrap();
        let stop = CancellationToken::new();
        let running = AbortOnDropHandle::new(tokio::spawn(running.run(stop.clone())));
        until("the connector is ready", || ends.state.borrow().is_ready()).await;
        Self { bus, ends, registry, stop, running }
    }

    pub(crate) async fn next(&mut self) -> EffectDelivery {
        soon("an effect", self.ends.effects.recv()).await.expect("it goes on")
    }

    pub(crate) fn done(&self) -> f64 {
        count(&self.registry, "effects_total", Some("done"))
    }
}

async fn servers() -> (Nats, TestRouter) {
    let nats = Nats::start().await.unwrap();
    make_stream(&nats.url()).await;
    let router = TestRouter::start(&nats.url(), "a", hurried()).await;
    (nats, router)
}

pub(crate) async fn make_stream(url: &str) {
    let connection = connect(url, "test").await;
    let config = stream::Config {
        name: STREAM.to_owned(),
        subjects: vec!["log.0.>".to_owned(), "fx.0.>".to_owned()],
        ..stream::Config::default()
    };
    connection.jetstream().create_stream(config).await.unwrap();
}

pub(crate) fn offer(router: &TestRouter, effect: &'static str) {
    let app = AppId::try_new("demo").unwrap();
    assert_eq!(
        router.bus.publish(&app, Bytes::from_static(effect.as_bytes())),
        PublishOutcome::Sent
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_effect_that_was_dropped_comes_again_and_one_that_is_done_does_not() {
    let (nats, router) = servers().await;
    let mut connector = TestConnector::start(&nats.url(), hurried(), 8).await;
    offer(&router, "one");
    for _ in 0..3 {
        let delivery = connector.next().await;
        assert_eq!(delivery.effect, "one");
        drop(delivery.done);
    }
    let delivery = connector.next().await;
    delivery.done.send(()).unwrap();
    until("the server has confirmed", || connector.done() == 1.0).await;
    stays("nothing more comes", hurried().effect_patience * 2, || {
        connector.ends.effects.try_recv().is_err()
    })
    .await;
    // Also not to another connector.
    drop(connector);
    let mut next = TestConnector::start(&nats.url(), hurried(), 8).await;
    offer(&router, "two");
    assert_eq!(next.next().await.effect, "two");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_effect_that_takes_longer_than_the_servers_patience_is_not_handed_out_again() {
    let (nats, router) = servers().await;
    let mut connector = TestConnector::start(&nats.url(), hurried(), 8).await;
    offer(&router, "slow");
    let delivery = connector.next().await;
    stays("nothing more comes", hurried().effect_patience * 3, || {
        connector.ends.effects.try_recv().is_err()
    })
    .await;
    delivery.done.send(()).unwrap();
    until("the server has confirmed", || connector.done() == 1.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f5_the_effects_of_a_killed_connector_go_to_another() {
    let (nats, router) = servers().await;
    let mut first = TestConnector::start(&nats.url(), hurried(), 8).await;
    offer(&router, "one");
    let open = first.next().await;
    first.running.abort();
    let began = Instant::now();
    let mut second = TestConnector::start(&nats.url(), hurried(), 8).await;
    let delivery = second.next().await;
    assert_eq!(delivery.effect, "one");
    assert!(began.elapsed() > Duration::from_millis(500));
    drop(open);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connector_takes_no_more_than_it_can_work_on_and_the_rest_goes_to_others() {
    let (nats, router) = servers().await;
    let mut first = TestConnector::start(&nats.url(), hurried(), 2).await;
    let effects = ["0", "1", "2", "3", "4", "5", "6", "7"];
    effects.into_iter().for_each(|effect| offer(&router, effect));
    let held = [first.next().await, first.next().await];
    stays("it takes no more", Duration::from_millis(500), || {
        first.ends.effects.try_recv().is_err()
    })
    .await;
    let mut second = TestConnector::start(&nats.url(), hurried(), 100).await;
    let mut seen: Vec<_> = held.iter().map(|delivery| delivery.effect.clone()).collect();
    for _ in 0..6 {
        let delivery = second.next().await;
        seen.push(delivery.effect);
        delivery.done.send(()).unwrap();
    }
    seen.sort();
    assert_eq!(seen, effects);
    for delivery in held {
        delivery.done.send(()).unwrap();
    }
    until("the server has confirmed", || first.done() == 2.0 && second.done() == 6.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connector_that_ends_in_order_sees_its_effects_through() {
    let (nats, router) = servers().await;
    router.owns(64).await;
    let mut connector = TestConnector::start(&nats.url(), hurried(), 8).await;
    offer(&router, "one");
    let delivery = connector.next().await;
    connector.stop.cancel();
    stays("it goes on", Duration::from_millis(300), || !connector.running.is_finished()).await;
    // Its outcome can still be told.
    let answer = connector.bus.request(partition(0), "outcome".into());
    assert_eq!(soon("an answer", answer).await.unwrap(), "a outcome");
    delivery.done.send(()).unwrap();
    soon("the end", &mut connector.running).await.unwrap().unwrap();
    assert_eq!(connector.done(), 1.0);
    // Others are not disturbed.
    let gateway = TestGateway::start(&nats.url(), 1, hurried()).await;
    assert_eq!(gateway.ask(partition(0), "x").await, "a x");
}
