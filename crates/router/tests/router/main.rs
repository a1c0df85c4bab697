//! A visitor, a router and a bot: the way of a message, and what survives the router.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

mod crowds;
mod doubt;
mod epochs;
mod erasing;
mod harness;
mod lists;
mod memory;
mod moody_log;
mod moody_store;
mod ownership;
mod pages;
mod panics;
mod poison;
mod projection;
mod retention;
mod too_large;

use std::sync::Arc;

use harness::Town;
use moody_log::MoodyLog;
use prost::Message as _;
use stentor_cluster::memory::MemoryLog;
use stentor_router::Config;
use stentor_store::memory::MemoryStore;
use stentor_types::{Event, EventKind, Incarnation};
use stentor_wire::{decode_event, pb};

fn parts() -> (Arc<MemoryLog>, Arc<MemoryStore>) {
    (Arc::new(MemoryLog::new(Incarnation(1))), Arc::new(MemoryStore::new()))
}

fn texts(events: &[Event]) -> Vec<String> {
    let text = |event: &Event| match &event.kind {
        EventKind::Said(said) => said.text.clone(),
        EventKind::Replied { body, .. } => Some(String::from_utf8(body.to_vec()).unwrap()),
        _ => None,
    };
    events.iter().filter_map(text).collect()
}

#[tokio::test]
async fn a_message_reaches_the_bot_and_the_answer_everybody() {
    let (log, store) = parts();
    let mut town = Town::open(&log, &store, harness::apps(), 1, Config::default());
    let mut socket = town.socket(1, "user-a");
    let attached = town.attach(&mut socket, Some("claimed")).await;
    assert!(attached.replay.is_empty());
    assert!(matches!(town.say(&mut socket, "hello").await, pb::input_reply::Kind::Committed(_)));
    let effect = town.effect().await;
    assert!(String::from_utf8_lossy(&effect.request).contains("secret"));
    town.answer(&effect, "hi").await;
    let session = socket.session.unwrap();
    let events = town.events(session).await;
    assert_eq!(texts(&events), ["hello", "hi"]);
    let mut seen = Vec::new();
    while seen.len() < events.len() {
        let fan_out = town.fan_out().await;
        assert_eq!(fan_out.connections, [1]);
        seen.extend(fan_out.events.iter().map(|event| decode_event(event).unwrap()));
    }
    assert_eq!(seen, events, "fan-out carries the very events of the log, once, in order");
    town.close().await;
}

/// The bus of a cluster carries answers of 8 MiB.
#[tokio::test]
async fn i15_an_answer_is_never_too_long_for_the_bus_and_nothing_is_left_out() {
    const ANSWER_MAX: usize = 8 << 20;
    let (log, store) = parts();
    let town = Town::open(&log, &store, harness::apps(), 1, Config::default());
    let mut socket = town.socket(1, "user-a");
    town.attach(&mut socket, Some("claimed")).await;
    let text = "x".repeat(60_000);
    for _ in 0..90 {
        town.say(&mut socket, &text).await;
    }
    let attached = town.attach(&mut socket, Some("claimed")).await;
    assert!(!attached.replay.is_empty());
    assert!(pb::AttachedReply::encoded_len(&attached) < ANSWER_MAX);
    let last = decode_event(attached.replay.last().unwrap()).unwrap();
    let session = socket.session.unwrap();
    let (mut from, mut head, mut said) = (1, attached.n, Vec::new());
    while from <= head {
        let bytes = stentor_wire::session_to_bytes(session);
        let fetch = pb::FetchRequest { session: bytes, from, to: u64::MAX };
        let reply = town.ask(session.partition(), pb::request::Kind::Fetch(fetch)).await;
        let Some(pb::reply::Kind::Fetch(reply)) = reply.kind else { panic!("{reply:?}") };
        assert!(reply.encoded_len() < ANSWER_MAX);
        for event in &reply.events {
            let event = decode_event(event).unwrap();
            assert_eq!(event.n.0, from, "dense");
            from += 1;
            said.push(event);
        }
        head = reply.head;
    }
    let texts = texts(&said);
    assert_eq!(texts.len(), 90);
    let latest = said.iter().rev().find(|event| matches!(event.kind, EventKind::Said(_)));
    assert!(latest.is_some_and(|latest| latest.n <= last.n), "the latest are shown again");
    town.close().await;
}

#[tokio::test]
async fn a_sign_of_typing_is_answered_once_the_others_are_told() {
    let (log, store) = parts();
    let log = MoodyLog::slow(&log);
    let mut town = Town::open(&log, &store, harness::apps(), 1, Config::default());
    let mut other = town.socket(1, "user-a");
    let mut typist = town.socket(2, "user-a");
    town.attach(&mut other, Some("claimed")).await;
    town.attach(&mut typist, Some("claimed")).await;
    let session = typist.session.unwrap();
    let signal = pb::SignalRequest {
        connection: Some(pb::Connection { gateway: 1, number: typist.number }),
        user: stentor_wire::user_to_bytes(typist.visitor.user),
        session: stentor_wire::session_to_bytes(session),
        typing: true,
    };
    log.writing.notified().await;
    let mut fan_out = town.take_fan_out();
    // What is said meanwhile keeps the session busy; the sign comes while it is being written.
    let (said, typed) = tokio::join!(town.say(&mut other, "hello"), async {
        log.writing.notified().await;
        town.ask(session.partition(), pb::request::Kind::Signal(signal)).await;
        std::iter::from_fn(|| fan_out.try_recv().ok())
            .any(|message| harness::fan_out(message).typing.is_some())
    });
    assert!(matches!(said, pb::input_reply::Kind::Committed(_)), "{said:?}");
    assert!(typed, "whoever left now would not be in the session any more");
    town.close().await;
}

#[tokio::test]
async fn p2_a_message_sent_again_is_one_event() {
    let (log, store) = parts();
    let town = Town::open(&log, &store, harness::apps(), 1, Config::default());
    let mut socket = town.socket(1, "user-a");
    town.attach(&mut socket, Some("claimed")).await;
    let first = town.say(&mut socket, "hello").await;
    let pb::input_reply::Kind::Committed(n) = first else { panic!("{first:?}") };
    for _ in 0..5 {
        let again = town.say_again(&socket, "hello").await;
        assert!(matches!(again, pb::input_reply::Kind::Duplicate(same) if same == n), "{again:?}");
    }
    assert_eq!(texts(&town.events(socket.session.unwrap()).await), ["hello"]);
    town.close().await;
}

#[tokio::test]
async fn p10_an_open_question_is_asked_again_after_a_kill_under_the_same_name() {
    let (log, store) = parts();
    let mut town = Town::open(&log, &store, harness::apps(), 1, Config::default());
    let mut socket = town.socket(1, "user-a");
    town.attach(&mut socket, Some("claimed")).await;
    town.say(&mut socket, "hello").await;
    let before = town.effect().await;
    town.kill().await;

    let mut town = Town::open(&log, &store, harness::apps(), 2, Config::default());
    let after = town.effect().await;
    assert_eq!(
        (before.turn, before.attempt, before.epoch),
        (after.turn, after.attempt, after.epoch)
    );
    assert_eq!(before.request, after.request);
    town.answer(&after, "hi").await;
    town.answer(&before, "hi twice").await;
    // A bare reconnect finds the session by the user alone, and is shown what it missed.
    let mut again = town.socket(1, "user-a");
    let attached = town.attach(&mut again, None).await;
    assert_eq!(again.session, socket.session);
    let replay: Vec<_> = attached.replay.iter().map(|event| decode_event(event).unwrap()).collect();
    assert_eq!(texts(&replay), ["hi"], "own messages are not shown again, answers exactly once");
    town.close().await;
}

#[tokio::test]
async fn f16_a_panic_costs_one_message_and_nobody_else() {
    let (log, store) = parts();
    let fail_point: stentor_router::FailPoint = Arc::new(|input| {
        if let stentor_types::InputKind::Say(say) = &input.kind {
            assert_ne!(say.text.as_deref(), Some("poison"), "poison");
        }
    });
    let config = Config { fail_point: Some(fail_point), ..Config::default() };
    let town = Town::open(&log, &store, harness::apps(), 1, config);
    let mut socket = town.socket(1, "user-a");
    let mut other = town.socket(2, "user-b");
    town.attach(&mut socket, Some("claimed")).await;
    town.attach(&mut other, Some("claimed")).await;
    assert!(matches!(town.say(&mut socket, "one").await, pb::input_reply::Kind::Committed(_)));
    let refused = town.say(&mut socket, "poison").await;
    assert!(matches!(refused, pb::input_reply::Kind::Rejected(_)), "{refused:?}");
    assert!(matches!(town.say(&mut socket, "two").await, pb::input_reply::Kind::Committed(_)));
    assert!(matches!(town.say(&mut other, "three").await, pb::input_reply::Kind::Committed(_)));
    let events = town.events(socket.session.unwrap()).await;
    assert_eq!(texts(&events), ["one", "two"]);
    let kept = events.iter().any(|event| match &event.kind {
        EventKind::Rejected { body, .. } => String::from_utf8_lossy(body).contains("poison"),
        _ => false,
    });
    assert!(kept, "the refused message is kept for somebody to look at");
    town.close().await;
}

#[tokio::test]
async fn s3_the_same_claim_of_another_user_is_another_session() {
    let (log, store) = parts();
    let town = Town::open(&log, &store, harness::apps(), 1, Config::default());
    let (mut one, mut two) = (town.socket(1, "user-a"), town.socket(2, "user-b"));
    town.attach(&mut one, Some("claimed")).await;
    town.say(&mut one, "mine").await;
    let attached = town.attach(&mut two, Some("claimed")).await;
    assert_ne!(one.session, two.session);
    assert!(attached.replay.is_empty());
    // Speaking in somebody else's session without having been attached to it leads nowhere.
    let mut thief = Clone::clone(&two);
    thief.session = one.session;
    assert!(matches!(town.say(&mut thief, "x").await, pb::input_reply::Kind::AttachFirst(true)));
    town.close().await;
}
