//! The contract of the store: what every implementation has to do, one function per rule.
//!
//! [`all`] gives each rule a store of its own. A rule that is broken panics: this module is for tests.
#![expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a contract is a test: it panics where an implementation breaks it"
)]

mod erasing;
mod listings;

use std::pin::Pin;

use bytes::Bytes;
use stentor_types::{
    AppId, Epoch, EventNumber, Incarnation, PlacementKey, SessionId, Timestamp, UserKey,
};

pub use self::erasing::{
    an_erased_session_is_forgotten_and_no_other,
    cluster_26_nothing_late_brings_an_erased_session_back, of_two_erasures_the_later_time_stays,
};
pub use self::listings::{
    a_list_goes_on_after_a_place_that_nobody_has, a_session_has_one_place,
    expiry_removes_many_listings, expiry_removes_older_listings,
    listings_at_once_are_judged_like_listings_in_turn, listings_come_newest_first_and_as_they_were,
    lists_of_apps_do_not_mix,
};
use crate::port::{DirectoryRow, Projection, SessionRow, Store, StoredEvent};

/// A rule, and the store to try it on.
type Rule<S> = for<'a> fn(&'a S) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Runs every rule, each on a store that `make` has made: empty, and used by nobody else.
pub async fn all<S: Store>(make: impl AsyncFn() -> S) {
    // One future at a time: those of all rules together are larger than the stack of a test's thread.
    let rules: &[Rule<S>] = &[
        |store| Box::pin(events_come_back_in_order_and_as_they_were(store)),
        |store| Box::pin(a_range_is_inclusive_and_leaves_holes(store)),
        |store| Box::pin(projecting_twice_changes_nothing(store)),
        |store| Box::pin(of_two_writes_to_one_event_the_later_time_stays(store)),
        |store| Box::pin(of_two_rows_the_later_time_stays(store)),
        |store| Box::pin(of_two_directories_the_later_time_stays(store)),
        |store| Box::pin(writes_at_once_are_judged_like_writes_in_turn(store)),
        |store| Box::pin(what_was_never_written_is_not_there(store)),
        |store| Box::pin(apps_and_sessions_do_not_mix(store)),
        |store| Box::pin(expiry_removes_what_is_older_and_nothing_else(store)),
        |store| Box::pin(expiry_counts_events(store)),
        |store| Box::pin(a_large_projection_is_kept_whole(store)),
        |store| Box::pin(listings_come_newest_first_and_as_they_were(store)),
        |store| Box::pin(a_list_goes_on_after_a_place_that_nobody_has(store)),
        |store| Box::pin(a_session_has_one_place(store)),
        |store| Box::pin(listings_at_once_are_judged_like_listings_in_turn(store)),
        |store| Box::pin(lists_of_apps_do_not_mix(store)),
        |store| Box::pin(expiry_removes_older_listings(store)),
        |store| Box::pin(expiry_removes_many_listings(store)),
        |store| Box::pin(an_erased_session_is_forgotten_and_no_other(store)),
        |store| Box::pin(cluster_26_nothing_late_brings_an_erased_session_back(store)),
        |store| Box::pin(of_two_erasures_the_later_time_stays(store)),
    ];
    for rule in rules {
        rule(&make().await).await;
    }
}

fn app(name: &str) -> AppId {
    AppId::try_new(name).expect("the name of an app")
}

fn session(number: u64) -> SessionId {
    SessionId::new(PlacementKey(number), u128::from(number))
}

fn event(n: u64, at: u64, text: &str) -> StoredEvent {
    StoredEvent { n: EventNumber(n), at: Timestamp(at), event: Bytes::from(text.to_owned()) }
}

fn row(at: u64, state: &str) -> SessionRow {
    SessionRow {
        epoch: Epoch(7),
        projected: EventNumber(at),
        first: EventNumber(1),
        at: Timestamp(at),
        log: Incarnation(u128::from(at) << 64 | 5),
        state: Bytes::from(state.to_owned()),
    }
}

fn directory(at: u64, text: &str) -> DirectoryRow {
    DirectoryRow { at: Timestamp(at), directory: Bytes::from(text.to_owned()) }
}

async fn project(
    store: &impl Store,
    app: &AppId,
    session: SessionId,
    events: Vec<StoredEvent>,
    row: Option<SessionRow>,
) {
    let projection = Projection { app: app.clone(), session, events, row };
    store.project(projection).await.expect("project");
}

async fn numbers(store: &impl Store, app: &AppId, session: SessionId) -> Vec<u64> {
    let (from, to) = (EventNumber(0), EventNumber(u64::MAX));
    let events = store.events(app, session, from, to).await.expect("events");
    events.into_iter().map(|event| event.n.0).collect()
}

/// Bytes and times, by number.
pub async fn events_come_back_in_order_and_as_they_were(store: &impl Store) {
    let (app, id) = (app("demo"), session(1));
    let events: Vec<_> = (1..=300).map(|n| event(n, 1_000 + n, &format!("event {n}"))).collect();
    let (early, late) = events.split_at(120);
    project(store, &app, id, late.to_vec(), None).await;
    project(store, &app, id, early.to_vec(), Some(row(5, "state"))).await;
    let (from, to) = (EventNumber(1), EventNumber(300));
    assert_eq!(store.events(&app, id, from, to).await.expect("events"), events);
    assert_eq!(store.session(&app, id).await.expect("session"), Some(row(5, "state")));
}

/// A hole means: not projected yet, or expired.
pub async fn a_range_is_inclusive_and_leaves_holes(store: &impl Store) {
    let (app, id) = (app("demo"), session(1));
    let events = [2, 3, 5, 9].map(|n| event(n, n, "x")).to_vec();
    project(store, &app, id, events, None).await;
    for (from, to, expected) in
        [(2, 5, vec![2, 3, 5]), (3, 3, vec![3]), (4, 4, vec![]), (6, 100, vec![9]), (5, 2, vec![])]
    {
        let found = store.events(&app, id, EventNumber(from), EventNumber(to)).await;
        let found: Vec<_> = found.expect("events").iter().map(|event| event.n.0).collect();
        assert_eq!(found, expected, "{from} to {to}");
    }
}

/// I10: a projector may repeat itself.
pub async fn projecting_twice_changes_nothing(store: &impl Store) {
    let (app, id) = (app("demo"), session(1));
    for _ in 0..2 {
        let events = (1..=3).map(|n| event(n, n, "x")).collect();
        project(store, &app, id, events, Some(row(3, "state"))).await;
        assert_eq!(numbers(store, &app, id).await, [1, 2, 3]);
        assert_eq!(store.session(&app, id).await.expect("session"), Some(row(3, "state")));
    }
}

/// In whatever order they come.
pub async fn of_two_writes_to_one_event_the_later_time_stays(store: &impl Store) {
    let (app, id, n) = (app("demo"), session(1), EventNumber(1));
    for (at, text, kept) in [(5, "five", "five"), (9, "nine", "nine"), (7, "seven", "nine")] {
        project(store, &app, id, vec![event(1, at, text)], None).await;
        let found = store.events(&app, id, n, n).await.expect("events");
        assert_eq!(found.first().map(|event| &event.event[..]), Some(kept.as_bytes()));
    }
}

/// In whatever order they come.
pub async fn of_two_rows_the_later_time_stays(store: &impl Store) {
    let (app, id) = (app("demo"), session(1));
    for (at, kept) in [(5, 5), (9, 9), (7, 9)] {
        project(store, &app, id, Vec::new(), Some(row(at, "state"))).await;
        let found = store.session(&app, id).await.expect("session");
        assert_eq!(found.map(|row| row.at), Some(Timestamp(kept)));
    }
}

/// In whatever order they come.
pub async fn of_two_directories_the_later_time_stays(store: &impl Store) {
    let (app, user) = (app("demo"), UserKey([3; 16]));
    for (at, text, kept) in [(5, "five", "five"), (9, "nine", "nine"), (7, "seven", "nine")] {
        store.put_directory(&app, user, directory(at, text)).await.expect("put_directory");
        let found = store.directory(&app, user).await.expect("directory");
        assert_eq!(found.map(|row| row.directory), Some(Bytes::from(kept)));
    }
}

/// An implementation that gathers writes must judge them by each other, not only by what is stored.
pub async fn writes_at_once_are_judged_like_writes_in_turn(store: &impl Store) {
    let app = app("demo");
    for round in 0..40 {
        let (id, user) = (session(round), UserKey([u8::try_from(round).unwrap_or(0); 16]));
        let put = async |at: u64| {
            project(store, &app, id, vec![event(1, at, "x")], Some(row(at, "state"))).await;
            store.put_directory(&app, user, directory(at, "x")).await.expect("put_directory");
        };
        tokio::join!(put(3), put(9), put(1), put(7));
        let n = EventNumber(1);
        let events = store.events(&app, id, n, n).await.expect("events");
        assert_eq!(events.first().map(|event| event.at), Some(Timestamp(9)), "round {round}");
        let row = store.session(&app, id).await.expect("session");
        assert_eq!(row.map(|row| row.at), Some(Timestamp(9)), "round {round}");
        let row = store.directory(&app, user).await.expect("directory");
        assert_eq!(row.map(|row| row.at), Some(Timestamp(9)), "round {round}");
    }
}

/// And is no error.
pub async fn what_was_never_written_is_not_there(store: &impl Store) {
    let app = app("demo");
    assert_eq!(numbers(store, &app, session(1)).await, [0_u64; 0]);
    assert_eq!(store.session(&app, session(1)).await.expect("session"), None);
    assert_eq!(store.directory(&app, UserKey([0; 16])).await.expect("directory"), None);
    assert_eq!(store.expire(&app, Timestamp(u64::MAX)).await.expect("expire"), 0);
}

/// Whatever the names begin with.
pub async fn apps_and_sessions_do_not_mix(store: &impl Store) {
    let user = UserKey([1; 16]);
    for (count, name) in [(1, "a"), (2, "a-b"), (3, "ab")] {
        let app = app(name);
        for id in [session(1), session(2)] {
            let events = (1..=count).map(|n| event(n, n, name)).collect();
            project(store, &app, id, events, Some(row(count, name))).await;
        }
        store.put_directory(&app, user, directory(1, name)).await.expect("put_directory");
    }
    for (count, name) in [(1, "a"), (2, "a-b"), (3, "ab")] {
        let app = app(name);
        assert_eq!(numbers(store, &app, session(2)).await, (1..=count).collect::<Vec<_>>());
        let found = store.session(&app, session(1)).await.expect("session");
        assert_eq!(found, Some(row(count, name)));
        let found = store.directory(&app, user).await.expect("directory");
        assert_eq!(found, Some(directory(1, name)));
    }
}

/// `before` is exclusive, and other apps keep what they have.
pub async fn expiry_removes_what_is_older_and_nothing_else(store: &impl Store) {
    let (old, new) = (session(1), session(2));
    let (left, right) = (UserKey([1; 16]), UserKey([2; 16]));
    for name in ["demo", "demo-2"] {
        let app = app(name);
        let events = (1..=6).map(|n| event(n, 10 * n, "x")).collect();
        project(store, &app, old, events, Some(row(39, "old"))).await;
        project(store, &app, new, vec![event(1, 40, "x")], Some(row(40, "new"))).await;
        store.put_directory(&app, left, directory(39, "old")).await.expect("put_directory");
        store.put_directory(&app, right, directory(40, "new")).await.expect("put_directory");
    }
    let app_1 = app("demo");
    assert_eq!(store.expire(&app_1, Timestamp(40)).await.expect("expire"), 3);
    assert_eq!(numbers(store, &app_1, old).await, [4, 5, 6]);
    assert_eq!(numbers(store, &app_1, new).await, [1]);
    assert_eq!(store.session(&app_1, old).await.expect("session"), None);
    assert_eq!(store.session(&app_1, new).await.expect("session"), Some(row(40, "new")));
    assert_eq!(store.directory(&app_1, left).await.expect("directory"), None);
    assert!(store.directory(&app_1, right).await.expect("directory").is_some());
    let app_2 = app("demo-2");
    assert_eq!(numbers(store, &app_2, old).await, [1, 2, 3, 4, 5, 6]);
    assert!(store.session(&app_2, old).await.expect("session").is_some());
}

/// Rows and directories are not counted; what is gone is not counted again.
pub async fn expiry_counts_events(store: &impl Store) {
    let (app, id) = (app("demo"), session(1));
    let events = (1..=2_500).map(|n| event(n, 1, "x")).collect();
    project(store, &app, id, events, Some(row(1, "state"))).await;
    assert_eq!(store.expire(&app, Timestamp(2)).await.expect("expire"), 2_500);
    assert_eq!(store.expire(&app, Timestamp(2)).await.expect("expire"), 0);
    assert_eq!(numbers(store, &app, id).await, [0_u64; 0]);
}

/// A state may be large.
pub async fn a_large_projection_is_kept_whole(store: &impl Store) {
    let (app, id) = (app("demo"), session(1));
    let state = "s".repeat(1 << 20);
    let text = "e".repeat(60_000);
    let events = (1..=20).map(|n| event(n, n, &text)).collect();
    project(store, &app, id, events, Some(row(20, &state))).await;
    assert_eq!(numbers(store, &app, id).await.len(), 20);
    let found = store.session(&app, id).await.expect("session");
    assert!(found == Some(row(20, &state)), "the row differs");
}
