//! What sessions take in memory, and who leaves.

use stentor_router::Config;
use stentor_wire::pb;

use crate::{
    harness::{self, Socket, Town},
    parts, texts,
};

/// Room for some thirty sessions with some texts.
const LIMIT: u64 = 512 * 1024;
/// Far more than fit.
const SESSIONS: u64 = 200;

async fn visitor(town: &Town, number: u64) -> Socket {
    let mut socket = town.socket(number, &format!("user-{number}"));
    town.attach(&mut socket, Some("claimed")).await;
    for text in ["one", "two"] {
        say(town, &mut socket, &text.repeat(1_000)).await;
    }
    socket
}

async fn say(town: &Town, socket: &mut Socket, text: &str) {
    let answer = town.say(socket, text).await;
    assert!(matches!(answer, pb::input_reply::Kind::Committed(_)), "{answer:?}");
}

#[tokio::test]
async fn cluster_20_sessions_in_memory_stay_within_their_limit_and_lose_nothing_by_it() {
    let (log, store) = parts();
    let config = Config { memory_max: LIMIT, ..Config::default() };
    let mut town = Town::open(&log, &store, harness::apps(), 1, config);
    let mut effects = std::mem::replace(&mut town.effects, tokio::sync::mpsc::channel(1).1);
    let reading = tokio::spawn(async move { while effects.recv().await.is_some() {} });
    let mut sockets = Vec::new();
    let mut most = 0.0_f64;
    // One is being worked on, one about to leave, and one just loaded.
    #[expect(clippy::cast_precision_loss, reason = "small")]
    let limit = LIMIT as f64 * 1.2;
    for number in 1..=SESSIONS {
        sockets.push(visitor(&town, number).await);
        most = most.max(town.metric("stentor_router_memory_bytes"));
        assert!(most <= limit, "{most} of {limit}");
    }
    assert!(most > limit / 4.0, "{most} of {limit}");
    assert!(town.metric("stentor_router_actors_evicted_total") > 100.0);

    // Whoever spoke last is still there; whoever left is loaded again with all that was said.
    let before = town.metric("stentor_router_actors_started_total");
    say(&town, sockets.last_mut().unwrap(), "still here").await;
    assert!(town.metric("stentor_router_actors_started_total") == before, "the latest had left");
    let first = &mut sockets[0];
    say(&town, first, "back").await;
    assert!(town.metric("stentor_router_actors_started_total") > before, "the oldest had not left");
    let said = texts(&town.events(first.session.unwrap()).await);
    assert_eq!(said, ["one".repeat(1_000), "two".repeat(1_000), "back".to_owned()]);
    town.close().await;
    reading.abort();
}
