//! A database that is not there, dies, freezes, or lets nobody in.

use std::time::{Duration, Instant};

use stentor_store::{Store, StoreError};
use stentor_store_scylla::{Login, Options, State, Why};
use stentor_testkit::Cassandra;
use stentor_types::EventNumber;

use crate::harness::{all_events, app, event, open, options, projection, reached, row, session};

const fn is_down(state: State) -> bool {
    matches!(state, State::Unreachable { .. })
}

/// Writes until it is written; returns how often that failed.
async fn insist(store: &impl Store, n: u64) -> u32 {
    let mut failures = 0;
    let begun = Instant::now();
    loop {
        let projection = projection(session(1), vec![event(n, n)], Some(row(n)));
        match store.project(projection).await {
            Ok(()) => return failures,
            Err(StoreError::Unavailable(_)) => failures += 1,
            Err(error) => panic!("{error:?}"),
        }
        assert!(begun.elapsed() < crate::harness::PATIENCE, "event {n} cannot be written");
        // As its caller would: a failure comes back at once while there is no connection.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f11_a_process_starts_without_its_database_and_uses_it_when_it_comes() {
    let mut server = Cassandra::stopped("").unwrap();
    let begun = Instant::now();
    let store = open(options(&server));
    assert!(begun.elapsed() < Duration::from_secs(5));
    let failed = store.session(&app("demo"), session(1)).await;
    assert!(matches!(failed, Err(StoreError::Unavailable(_))), "{failed:?}");
    let state =
        reached(&store, |state| matches!(state, State::Unreachable { why: Why::NoNode, .. })).await;
    assert!(state.to_string().starts_with("database unreachable for"), "{state}");
    server.start_again().await.unwrap();
    reached(&store, State::is_ready).await;
    assert_eq!(insist(&store, 1).await, 0);
    assert_eq!(all_events(&store, session(1)).await, [event(1, 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn i10_a_database_killed_under_writes_has_each_event_once() {
    let mut server = Cassandra::start().await.unwrap();
    let store = std::sync::Arc::new(open(options(&server)));
    reached(&store, State::is_ready).await;
    let writer = tokio::spawn({
        let store = store.clone();
        async move {
            let mut failures = 0;
            for n in 1..=400 {
                failures += insist(&*store, n).await;
            }
            failures
        }
    });
    let half_way = async {
        loop {
            let n = EventNumber(150);
            if !store.events(&app("demo"), session(1), n, n).await.unwrap().is_empty() {
                break;
            }
        }
    };
    tokio::time::timeout(crate::harness::PATIENCE, half_way).await.unwrap();
    server.kill().unwrap();
    reached(&store, is_down).await;
    server.start_again().await.unwrap();
    reached(&store, State::is_ready).await;
    let failures = writer.await.unwrap();
    assert!(failures > 0, "it was not killed under writes");
    let expected: Vec<_> = (1..=400).map(|n| event(n, n)).collect();
    assert_eq!(all_events(&store, session(1)).await, expected);
    assert_eq!(store.session(&app("demo"), session(1)).await.unwrap(), Some(row(400)));
}

#[tokio::test(flavor = "multi_thread")]
async fn i10_a_write_that_timed_out_may_be_made_again() {
    let server = Cassandra::start().await.unwrap();
    let store = open(options(&server));
    reached(&store, State::is_ready).await;
    insist(&store, 1).await;
    server.pause().unwrap();
    let begun = Instant::now();
    let frozen = store.project(projection(session(1), vec![event(2, 2)], Some(row(2)))).await;
    assert!(matches!(frozen, Err(StoreError::Unavailable(_))), "{frozen:?}");
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    reached(&store, is_down).await;
    // Known to be frozen: nobody waits for it any more.
    let begun = Instant::now();
    let refused = store.session(&app("demo"), session(1)).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    server.resume().unwrap();
    reached(&store, State::is_ready).await;
    // Whether or not it was applied: a later write of the row stays, and the event is there once.
    insist(&store, 3).await;
    insist(&store, 2).await;
    insist(&store, 2).await;
    assert_eq!(all_events(&store, session(1)).await, [1, 2, 3].map(|n| event(n, n)));
    assert_eq!(store.session(&app("demo"), session(1)).await.unwrap(), Some(row(3)));
}

#[tokio::test(flavor = "multi_thread")]
async fn s17_a_wrong_password_is_named_and_a_right_one_lets_in() {
    let server =
        Cassandra::with("authenticator: {class_name: PasswordAuthenticator}\n").await.unwrap();
    let given = |password: &str| {
        let login = Login { user: "cassandra".to_owned(), password: password.to_owned() };
        Options { login: Some(login), ..options(&server) }
    };
    let refused = |state| matches!(state, State::Unreachable { why: Why::Login, .. });
    reached(&open(options(&server)), refused).await;
    reached(&open(given("wrong")), refused).await;
    reached(&open(given("cassandra")), State::is_ready).await;
}
