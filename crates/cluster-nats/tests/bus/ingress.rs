//! Requests find their owner, whoever it is.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt;
use stentor_cluster::{BusError, Ingress};
use stentor_cluster_nats::{ANSWER_MAX, REQUEST_MAX, Timings};
use stentor_testkit::Nats;

use crate::harness::{TestGateway, TestRouter, connect, count, hurried, partition, soon, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_request_to_a_partition_without_owner_is_answered_once_somebody_takes_it() {
    let nats = Nats::start().await.unwrap();
    let gateway = TestGateway::start(&nats.url(), 1, hurried()).await;
    let bus = gateway.bus.clone();
    let asking = tokio::spawn(async move { bus.request(partition(9), "x".into()).await });
    until("it is tried", || count(&gateway.registry, "request_retries_total", None) >= 2.0).await;
    let _router = TestRouter::start(&nats.url(), "a", hurried()).await;
    let answer = soon("an answer", asking).await.unwrap();
    assert_eq!(answer, Ok(Bytes::from_static(b"a x")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_nobody_takes_ends_as_not_done() {
    let nats = Nats::start().await.unwrap();
    let timings = Timings { ask_for: Duration::from_millis(300), ..hurried() };
    let gateway = TestGateway::start(&nats.url(), 1, timings).await;
    let began = Instant::now();
    let answer = soon("an answer", gateway.bus.request(partition(9), "x".into())).await;
    assert_eq!(answer, Err(BusError::Unavailable));
    assert!(began.elapsed() >= timings.ask_for);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_whose_queue_is_full_is_asked_again_later() {
    let nats = Nats::start().await.unwrap();
    let router = TestRouter::with(&nats.url(), "a", hurried(), 2).await;
    router.owns(64).await;
    router.stick(true);
    let gateway = TestGateway::start(&nats.url(), 1, hurried()).await;
    let mut asking = tokio::task::JoinSet::new();
    for number in 0..6 {
        let bus = gateway.bus.clone();
        asking.spawn(async move { bus.request(partition(number), "x".into()).await });
    }
    let busy = || count(&router.registry, "ingress_requests_total", Some("busy"));
    until("it is busy", || busy() >= 4.0).await;
    router.stick(false);
    for answer in soon("answers", asking.join_all()).await {
        assert_eq!(answer, Ok(Bytes::from_static(b"a x")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_not_sent_and_a_long_answer_comes_whole() {
    let nats = Nats::start().await.unwrap();
    let router = TestRouter::start(&nats.url(), "a", hurried()).await;
    router.owns(64).await;
    let timings = Timings { ask_for: Duration::from_secs(5), ..hurried() };
    let gateway = TestGateway::start(&nats.url(), 1, timings).await;

    let fits = "x".repeat(REQUEST_MAX);
    assert_eq!(gateway.ask(partition(0), &fits).await.len(), REQUEST_MAX + 2);
    let larger = Bytes::from(vec![b'x'; REQUEST_MAX + 1]);
    let refused = BusError::TooLarge { bytes: REQUEST_MAX + 1, max: REQUEST_MAX };
    assert_eq!(gateway.bus.request(partition(0), larger).await, Err(refused));
    assert_eq!(count(&gateway.registry, "requests_total", Some("unavailable")), 0.0);
    assert_eq!(count(&gateway.registry, "requests_total", Some("too_large")), 1.0);
    assert_eq!(count(&router.registry, "ingress_requests_total", Some("taken")), 1.0);

    let long = gateway.ask(partition(0), "long 3000000").await;
    assert_eq!(long.len(), 3_000_000);
    assert!(long.starts_with("a long 3000000...") && long.ends_with('.'));

    let began = Instant::now();
    let request = Bytes::from(format!("long {}", ANSWER_MAX + 1));
    let answer = soon("an answer", gateway.bus.request(partition(0), request)).await;
    assert_eq!(answer, Err(BusError::NoAnswer));
    assert!(began.elapsed() < timings.ask_for, "it is not tried again");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_a_former_owner_is_ignored_however_fast_it_comes() {
    let nats = Nats::start().await.unwrap();
    let router = TestRouter::start(&nats.url(), "a", hurried()).await;
    router.owns(64).await;
    let gateway = TestGateway::start(&nats.url(), 1, hurried()).await;
    assert_eq!(gateway.ask(partition(3), "one").await, "a one");

    // Somebody who still believes in itself, and is faster than the owner can be.
    router.stick(true);
    let former = connect(&nats.url(), "former").await;
    let mut requests = former.client().subscribe("in.g.3").await.unwrap();
    let bus = gateway.bus.clone();
    let asking = tokio::spawn(async move { bus.request(partition(3), "two".into()).await });
    let request = soon("the request", requests.next()).await.unwrap();
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Stentor-Term", "7");
    let reply = request.reply.unwrap();
    former.client().publish_with_headers(reply, headers, "former two".into()).await.unwrap();
    let outdated = || count(&gateway.registry, "outdated_answers_total", None);
    until("it is ignored", || outdated() == 1.0).await;
    router.stick(false);
    let answer = soon("an answer", asking).await.unwrap();
    assert_eq!(answer, Ok(Bytes::from_static(b"a two")));
}
