//! What every implementation has to do with the lists of sessions.

use bytes::Bytes;
use stentor_types::{AppId, SessionId, Timestamp};

use super::{app, session};
use crate::port::{Listing, Store};

async fn put(store: &impl Store, app: &AppId, session: SessionId, at: u64, text: &str) {
    let listing = Bytes::from(text.to_owned());
    store.put_listing(app, session, Timestamp(at), listing).await.expect("put_listing");
}

fn listing(number: u64, at: u64, text: &str) -> Listing {
    let (session, listing) = (session(number), Bytes::from(text.to_owned()));
    Listing { at: Timestamp(at), session, listing }
}

/// The whole list, read in pages of that size.
async fn pages(store: &impl Store, app: &AppId, limit: usize) -> Vec<Listing> {
    let (mut all, mut before) = (Vec::new(), None);
    loop {
        let page = store.listings(app, before, limit).await.expect("listings");
        assert!(page.len() <= limit, "{} of {limit}", page.len());
        let Some(last) = page.last() else { return all };
        before = Some((last.at, last.session));
        all.extend(page);
    }
}

/// By time, and at the same time by session; whatever the size of the pages.
pub async fn listings_come_newest_first_and_as_they_were(store: &impl Store) {
    let app = app("demo");
    for (number, at) in [(3, 30), (1, 10), (4, 30), (2, u64::MAX), (9, 0)] {
        put(store, &app, session(number), at, &format!("{number} at {at}")).await;
    }
    let expected = [(2, u64::MAX), (4, 30), (3, 30), (1, 10), (9, 0)];
    let expected = expected.map(|(number, at)| listing(number, at, &format!("{number} at {at}")));
    for limit in [1, 2, 3, 5, 100] {
        assert_eq!(pages(store, &app, limit).await, expected, "pages of {limit}");
    }
    assert_eq!(store.listings(&app, None, 0).await.expect("listings"), []);
    for one in &expected {
        let found = store.listing(&app, one.session).await.expect("listing");
        assert_eq!(found.as_ref(), Some(one));
    }
}

/// A cursor says where to go on, not with whom.
pub async fn a_list_goes_on_after_a_place_that_nobody_has(store: &impl Store) {
    let app = app("demo");
    for number in [2, 4] {
        put(store, &app, session(number), 10 * number, "x").await;
    }
    let two = listing(2, 20, "x");
    let four = listing(4, 40, "x");
    for (at, number, expected) in [
        (50, 1, vec![four.clone(), two.clone()]),
        (40, 5, vec![four, two.clone()]),
        (40, 4, vec![two.clone()]),
        (40, 3, vec![two.clone()]),
        (30, 9, vec![two]),
        (20, 1, vec![]),
        (0, 0, vec![]),
    ] {
        let before = Some((Timestamp(at), session(number)));
        let found = store.listings(&app, before, 10).await.expect("listings");
        assert_eq!(found, expected, "after {number} at {at}");
    }
}

/// The one it was given last, by time; in whatever order they come.
pub async fn a_session_has_one_place(store: &impl Store) {
    let (app, id) = (app("demo"), session(1));
    put(store, &app, session(2), 6, "other").await;
    for (at, kept) in [(5, 5), (9, 9), (7, 9), (9, 9), (12, 12)] {
        put(store, &app, id, at, &format!("of {at}")).await;
        let kept = listing(1, kept, &format!("of {kept}"));
        let mut all = vec![kept.clone(), listing(2, 6, "other")];
        all.sort_by_key(|listing| std::cmp::Reverse(listing.at));
        assert_eq!(pages(store, &app, 10).await, all, "after {at}");
        assert_eq!(store.listing(&app, id).await.expect("listing"), Some(kept));
    }
    put(store, &app, id, 12, "again").await;
    let found = store.listing(&app, id).await.expect("listing");
    assert_eq!(found, Some(listing(1, 12, "of 12")), "of two at one time the first stays");
}

/// An implementation that gathers writes must judge them by each other, and leave one place.
pub async fn listings_at_once_are_judged_like_listings_in_turn(store: &impl Store) {
    let app = app("demo");
    for round in 0..40 {
        let id = session(round);
        let put = async |at: u64| put(store, &app, id, at, &format!("of {at}")).await;
        tokio::join!(put(3), put(9), put(1), put(7));
        let found = store.listing(&app, id).await.expect("listing");
        assert_eq!(found, Some(listing(round, 9, "of 9")), "round {round}");
    }
    let expected: Vec<_> = (0..40).rev().map(|round| listing(round, 9, "of 9")).collect();
    assert_eq!(pages(store, &app, 7).await, expected);
}

/// Whatever their names begin with.
pub async fn lists_of_apps_do_not_mix(store: &impl Store) {
    let names = ["a", "a-b", "ab"];
    assert_eq!(store.listing(&app("a"), session(1)).await.expect("listing"), None);
    for name in names {
        put(store, &app(name), session(1), 5, name).await;
    }
    for name in names {
        assert_eq!(pages(store, &app(name), 1).await, [listing(1, 5, name)]);
        let found = store.listing(&app(name), session(1)).await.expect("listing");
        assert_eq!(found, Some(listing(1, 5, name)));
    }
    assert_eq!(pages(store, &app("b"), 10).await, []);
}

/// `before` is exclusive, other apps keep what they have, and listings are not counted.
pub async fn expiry_removes_older_listings(store: &impl Store) {
    for name in ["demo", "demo-2"] {
        for number in 1..=4 {
            put(store, &app(name), session(number), 10 * number, "x").await;
        }
    }
    assert_eq!(store.expire(&app("demo"), Timestamp(30)).await.expect("expire"), 0);
    let kept = [listing(4, 40, "x"), listing(3, 30, "x")];
    assert_eq!(pages(store, &app("demo"), 10).await, kept);
    assert_eq!(store.listing(&app("demo"), session(2)).await.expect("listing"), None);
    assert_eq!(pages(store, &app("demo-2"), 10).await.len(), 4);
    put(store, &app("demo"), session(2), 5, "late").await;
    assert_eq!(pages(store, &app("demo"), 10).await.last(), Some(&listing(2, 5, "late")));
}

/// More than one write removes.
pub async fn expiry_removes_many_listings(store: &impl Store) {
    let app = app("demo");
    let put = async |number: u64| put(store, &app, session(number), number, "x").await;
    for number in (0..1_200).step_by(4) {
        tokio::join!(put(number), put(number + 1), put(number + 2), put(number + 3));
    }
    assert_eq!(store.expire(&app, Timestamp(1_199)).await.expect("expire"), 0);
    assert_eq!(pages(store, &app, 500).await, [listing(1_199, 1_199, "x")]);
}
