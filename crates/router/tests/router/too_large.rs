//! Inputs that make a record which is larger than the log takes.

use std::sync::Arc;

use stentor_cluster::memory::MemoryLog;
use stentor_router::Config;
use stentor_store::memory::MemoryStore;
use stentor_types::{EventKind, Incarnation};
use stentor_wire::pb::{self, input_reply::Kind};

use crate::{
    harness::{self, Town},
    texts as said,
};

const RECORD_MAX: usize = 16 * 1024;

fn town() -> Town {
    let log = Arc::new(MemoryLog::new(Incarnation(1)).taking_at_most(RECORD_MAX));
    let store = Arc::new(MemoryStore::new());
    Town::open(&log, &store, harness::apps(), 1, Config::default())
}

#[tokio::test]
async fn a_message_that_the_log_has_no_room_for_is_refused_for_good_and_the_session_goes_on() {
    let town = town();
    let mut socket = town.socket(1, "eve");
    town.attach(&mut socket, Some("s-1")).await;
    let refused = town.say(&mut socket, &"x".repeat(RECORD_MAX)).await;
    let malformed = i32::from(pb::RejectCode::Malformed);
    assert_eq!(refused, Kind::Rejected(malformed));
    // Its number is used up: it is written down.
    let again = town.say_again(&socket, "something else").await;
    assert!(matches!(again, Kind::Duplicate(n) if n > 0), "{again:?}");
    assert!(matches!(town.say(&mut socket, "short").await, Kind::Committed(_)));
    let events = town.events(socket.session.unwrap()).await;
    let rejected = |kind: &EventKind| matches!(kind, EventKind::Rejected { .. });
    assert_eq!(events.iter().filter(|event| rejected(&event.kind)).count(), 1);
    assert_eq!(town.metric("stentor_router_too_large_total"), 1.0);
    assert_eq!(town.metric("stentor_router_sessions_damaged_total"), 0.0);
    town.close().await;
}

#[tokio::test]
async fn messages_that_only_fit_one_by_one_are_all_taken_in_order() {
    let town = town();
    let mut socket = town.socket(1, "eve");
    town.attach(&mut socket, Some("s-1")).await;
    // Text, body and request: each is about half of what fits.
    let long = "x".repeat(RECORD_MAX / 6);
    let texts: Vec<_> = (1..=7).map(|number| format!("{number} {long}")).collect();
    let replies = town.say_together(&mut socket, &texts).await;
    assert!(replies.iter().all(|reply| matches!(reply, Kind::Committed(_))), "{replies:?}");
    let events = town.events(socket.session.unwrap()).await;
    assert_eq!(said(&events), texts);
    assert_eq!(town.metric("stentor_router_too_large_total"), 0.0);
    town.close().await;
}

#[tokio::test]
async fn an_answer_of_the_bot_that_the_log_has_no_room_for_counts_as_a_bad_one() {
    let mut town = town();
    let mut socket = town.socket(1, "eve");
    town.attach(&mut socket, Some("s-1")).await;
    town.say(&mut socket, "hello").await;
    let effect = town.effect().await;
    town.answer(&effect, &"x".repeat(RECORD_MAX)).await;
    let events = town.events(socket.session.unwrap()).await;
    assert!(
        events.iter().any(|event| matches!(event.kind, EventKind::TurnFailed { .. })),
        "{events:?}"
    );
    town.close().await;
}
