//! What owners tell gateways, and what gateways know of what they have missed.

use std::time::Duration;

use bytes::Bytes;
use stentor_cluster::{Fanout, GatewayMessage, PublishOutcome};
use stentor_cluster_nats::Timings;
use stentor_testkit::Nats;
use stentor_types::GatewayId;

use crate::{
    harness::{TestGateway, TestRouter, count, hurried, soon, stays, until},
    proxy::{Line, Proxy},
};

const GATEWAY: GatewayId = GatewayId(7);

fn fanout(number: usize) -> GatewayMessage {
    GatewayMessage::Fanout(text(number))
}

fn text(number: usize) -> Bytes {
    format!("message {number}").into()
}

fn send(router: &TestRouter, gateway: GatewayId, number: usize) {
    assert_eq!(router.bus.publish(gateway, text(number)), PublishOutcome::Sent);
}

async fn next(gateway: &mut TestGateway) -> GatewayMessage {
    soon("a message", gateway.ends.messages.recv()).await.expect("it goes on")
}

/// Nothing came that was not asked for.
async fn nothing_more(gateway: &mut TestGateway) {
    stays("nothing more comes", Duration::from_millis(500), || {
        gateway.ends.messages.try_recv().is_err()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_owner_tells_arrives_in_order() {
    let nats = Nats::start().await.unwrap();
    let router = TestRouter::start(&nats.url(), "a", hurried()).await;
    let mut gateway = TestGateway::start(&nats.url(), GATEWAY.0, hurried()).await;
    until("it is known", || router.bus.gateways() == [GATEWAY]).await;
    for number in 0..500 {
        send(&router, GATEWAY, number);
    }
    for number in 0..500 {
        assert_eq!(next(&mut gateway).await, fanout(number));
    }
    // It leaves in order, and is gone at once.
    assert!(!router.bus.is_gone(GATEWAY));
    gateway.end().await;
    until("it is gone", || router.bus.is_gone(GATEWAY)).await;
    assert_eq!(router.bus.publish(GATEWAY, text(0)), PublishOutcome::Nobody);
    assert!(router.bus.gateways().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_line_is_told_once_after_what_came_before_it() {
    let nats = Nats::start().await.unwrap();
    let line = Proxy::to(&nats.url()).await;
    let router = TestRouter::start(&nats.url(), "a", hurried()).await;
    let mut gateway = TestGateway::start(line.url(), GATEWAY.0, hurried()).await;
    until("it is known", || router.bus.gateways() == [GATEWAY]).await;
    for round in 1..=3 {
        send(&router, GATEWAY, round);
        let received = || count(&gateway.registry, "fanout_received_total", None);
        until("it has come", || received() >= f64::from(u32::try_from(round * 2 - 1).unwrap()))
            .await;
        line.set(Line::Cut);
        until("it is noticed", || !gateway.ends.state.borrow().is_ready()).await;
        line.set(Line::Open);
        gateway.is_ready().await;
        assert_eq!(next(&mut gateway).await, fanout(round));
        assert_eq!(next(&mut gateway).await, GatewayMessage::Missed);
        // Whatever is sent from now on comes.
        send(&router, GATEWAY, 100 + round);
        assert_eq!(next(&mut gateway).await, fanout(100 + round));
        nothing_more(&mut gateway).await;
    }
    assert_eq!(count(&gateway.registry, "missed_total", Some("line_lost")), 3.0);
    assert!(!gateway.ends.cut_off.has_changed().unwrap(), "it was never away for long");
    assert_eq!(count(&gateway.registry, "renamed_total", None), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_is_told_once_after_what_it_held() {
    let nats = Nats::start().await.unwrap();
    let router = TestRouter::start(&nats.url(), "a", hurried()).await;
    let mut gateway = TestGateway::with(&nats.url(), GATEWAY.0, hurried(), 4).await;
    until("it is known", || router.bus.gateways() == [GATEWAY]).await;
    for number in 0..100 {
        send(&router, GATEWAY, number);
    }
    until("all have come", || count(&gateway.registry, "fanout_received_total", None) >= 100.0)
        .await;
    for number in 0..4 {
        assert_eq!(next(&mut gateway).await, fanout(number));
    }
    assert_eq!(next(&mut gateway).await, GatewayMessage::Missed);
    send(&router, GATEWAY, 100);
    assert_eq!(next(&mut gateway).await, fanout(100));
    nothing_more(&mut gateway).await;
    assert_eq!(count(&gateway.registry, "missed_total", None), 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn f14_a_gateway_that_was_away_for_long_has_another_name_before_it_is_heard_again() {
    let nats = Nats::start().await.unwrap();
    let line = Proxy::to(&nats.url()).await;
    let router = TestRouter::start(&nats.url(), "a", hurried()).await;
    let mut gateway = TestGateway::start(line.url(), GATEWAY.0, hurried()).await;
    until("it is known", || router.bus.gateways() == [GATEWAY]).await;
    send(&router, GATEWAY, 1);
    until("it has come", || count(&gateway.registry, "fanout_received_total", None) >= 1.0).await;

    line.set(Line::Frozen);
    until("it is gone", || router.bus.is_gone(GATEWAY)).await;
    assert!(router.bus.gateways().is_empty());
    until("it counts as cut off", || *gateway.ends.cut_off.borrow()).await;
    line.set(Line::Open);
    assert_eq!(next(&mut gateway).await, fanout(1));
    let GatewayMessage::Renamed(name) = next(&mut gateway).await else {
        panic!("it has to take another name first");
    };
    assert_ne!(name, GATEWAY);
    until("it is back", || !*gateway.ends.cut_off.borrow()).await;
    // It listens under that name already, and is known by it alone.
    until("it is known", || router.bus.gateways() == [name]).await;
    assert!(router.bus.is_gone(GATEWAY));
    send(&router, name, 2);
    assert_eq!(next(&mut gateway).await, fanout(2));
    nothing_more(&mut gateway).await;
    assert_eq!(count(&gateway.registry, "renamed_total", None), 1.0);
    assert_eq!(count(&gateway.registry, "missed_total", None), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn cluster_17_a_gateway_that_hears_itself_and_was_given_up_all_the_same_takes_another_name() {
    let nats = Nats::start().await.unwrap();
    let ms = Duration::from_millis;
    // One that takes for gone whoever it has not heard between two heartbeats, as if it had been cut off for long.
    let impatient = Timings {
        beat: ms(50),
        deaf_after: ms(250),
        hold_for: ms(300),
        takeover_after: ms(500),
        rename_after: ms(550),
        gone_after: ms(650),
        try_for: ms(400),
        ..hurried()
    };
    let router = TestRouter::start(&nats.url(), "a", impatient).await;
    let mut gateway = TestGateway::start(&nats.url(), GATEWAY.0, Timings::default()).await;
    until("it is known", || router.bus.gateways() == [GATEWAY]).await;
    until("it is taken for gone", || router.bus.is_gone(GATEWAY)).await;
    let GatewayMessage::Renamed(name) = next(&mut gateway).await else {
        panic!("nothing else was told");
    };
    assert_ne!(name, GATEWAY);
    until("it is known", || router.bus.gateways() == [name]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_was_never_heard_of_is_gone_only_when_it_was_listened_for_long_enough() {
    let nats = Nats::start().await.unwrap();
    let router = TestRouter::start(&nats.url(), "a", hurried()).await;
    assert!(!router.bus.is_gone(GATEWAY));
    let waited = until("it is gone", || router.bus.is_gone(GATEWAY)).await;
    assert!(waited > hurried().gone_after / 2, "{waited:?}");
}
