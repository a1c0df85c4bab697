//! What is left of an erased session.

use bytes::Bytes;
use stentor_types::Timestamp;

use super::{app, event, numbers, project, row, session};
use crate::port::{Erasure, Store};

fn erasure(at: u64, certificate: &str) -> Erasure {
    Erasure { at: Timestamp(at), certificate: Bytes::from(certificate.to_owned()) }
}

/// Events, row and place in lists go; those of others stay, and what is as young as the erasure.
pub async fn an_erased_session_is_forgotten_and_no_other(store: &impl Store) {
    let (app, gone, other) = (app("demo"), session(1), session(2));
    for id in [gone, other] {
        // More than one partition of a database.
        for first in [1, 5_000, 20_000] {
            let events = (first..first + 3).map(|n| event(n, n, "text")).collect();
            project(store, &app, id, events, Some(row(first, "state"))).await;
        }
        let listing = Bytes::from_static(b"text");
        store.put_listing(&app, id, Timestamp(20_002), listing).await.expect("put_listing");
    }
    let at = Timestamp(30_000);
    store.erase(&app, gone, erasure(at.0, "")).await.expect("erase");
    store.forget(&app, gone, at).await.expect("forget");
    assert_eq!(numbers(store, &app, gone).await, [0_u64; 0]);
    assert_eq!(store.session(&app, gone).await.expect("session"), None);
    assert_eq!(store.listing(&app, gone).await.expect("listing"), None);
    let listed = store.listings(&app, None, 10).await.expect("listings");
    assert_eq!(listed.iter().map(|listing| listing.session).collect::<Vec<_>>(), [other]);
    assert_eq!(numbers(store, &app, other).await.len(), 9);
    assert!(store.session(&app, other).await.expect("session").is_some());
    assert_eq!(store.erasure(&app, other).await.expect("erasure"), None);

    project(store, &app, gone, Vec::new(), Some(row(at.0, "erased"))).await;
    store.forget(&app, gone, at).await.expect("forget again");
    assert_eq!(store.session(&app, gone).await.expect("session"), Some(row(at.0, "erased")));
}

/// Whoever was about to write when the session was erased may do so whenever they like.
pub async fn cluster_26_nothing_late_brings_an_erased_session_back(store: &impl Store) {
    let (app, id) = (app("demo"), session(1));
    store.erase(&app, id, erasure(50, "")).await.expect("erase");
    let events = (1..=40).map(|n| event(n, n, "text")).collect();
    project(store, &app, id, events, Some(row(49, "text"))).await;
    let listing = Bytes::from_static(b"text");
    store.put_listing(&app, id, Timestamp(49), listing).await.expect("put_listing");
    assert_eq!(numbers(store, &app, id).await, [0_u64; 0]);
    assert_eq!(store.session(&app, id).await.expect("session"), None);
    assert_eq!(store.listing(&app, id).await.expect("listing"), None);
    assert_eq!(store.listings(&app, None, 10).await.expect("listings"), []);
    project(store, &app, id, Vec::new(), Some(row(50, "erased"))).await;
    assert_eq!(store.session(&app, id).await.expect("session"), Some(row(50, "erased")));
}

/// First it is said that it will be erased, then that it was.
pub async fn of_two_erasures_the_later_time_stays(store: &impl Store) {
    let (app, id) = (app("demo"), session(1));
    assert_eq!(store.erasure(&app, id).await.expect("erasure"), None);
    for (at, certificate, stays) in [(5, "", ""), (7, "done", "done"), (6, "", "done")] {
        store.erase(&app, id, erasure(at, certificate)).await.expect("erase");
        let found = store.erasure(&app, id).await.expect("erasure");
        assert_eq!(found, Some(erasure(at.max(if stays.is_empty() { 0 } else { 7 }), stays)));
    }
}
