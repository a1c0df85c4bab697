//! What holds beyond the contract, because the database is what it is.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use stentor_store::{DirectoryRow, Listing, Store};
use stentor_store_scylla::Options;
use stentor_types::{EventNumber, Timestamp, UserKey};

use crate::harness::{
    Database, PATIENCE, all_events, app, event, list, now, open, projection, ready, row, session,
};

#[tokio::test(flavor = "multi_thread")]
async fn i10_projecting_twice_or_in_another_order_gives_the_same_rows() {
    let database = Database::shared().await;
    let (store, id) = (database.store().await, session(1));
    // Pieces as a projector and its successor write them: overlapping, the later ones with later rows.
    let pieces: Vec<_> = [(1, 5), (4, 9), (4_090, 4_100), (9, 12), (12, 12), (8_190, 8_200)]
        .into_iter()
        .map(|(from, to)| (from..=to).map(|n| event(n, 1_000 + n)).collect::<Vec<_>>())
        .collect();
    let numbers: Vec<u64> = (1..=12).chain(4_090..=4_100).chain(8_190..=8_200).collect();
    let expected: Vec<_> = numbers.iter().map(|n| event(*n, 1_000 + n)).collect();
    let mut random = 88_172_645_463_325_252_u64;
    for round in 0..8 {
        for _ in 0..2 * pieces.len() {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let events = &pieces[usize::try_from(random).unwrap() % pieces.len()];
            let last = events.last().unwrap().at.0;
            store.project(projection(id, events.clone(), Some(row(last)))).await.unwrap();
        }
        for events in pieces.iter().rev() {
            let last = events.last().unwrap().at.0;
            store.project(projection(id, events.clone(), Some(row(last)))).await.unwrap();
        }
        assert_eq!(all_events(&store, id).await, expected, "round {round}");
        let found = store.session(&app("demo"), id).await.unwrap();
        assert_eq!(found, Some(row(9_200)), "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_session_is_read_across_its_partitions() {
    let database = Database::shared().await;
    let (store, id) = (database.store().await, session(1));
    let numbers = [1, 4_095, 4_096, 20_000, 20_479, 20_480, 1_000_000];
    let events = numbers.map(|n| event(n, n)).to_vec();
    store.project(projection(id, events, None)).await.unwrap();
    for (from, to) in [(0, u64::MAX), (4_095, 20_479), (4_096, 4_096), (2, 999_999), (5, 12_000)] {
        let found = store.events(&app("demo"), id, EventNumber(from), EventNumber(to)).await;
        let found: Vec<_> = found.unwrap().iter().map(|event| event.n.0).collect();
        let expected: Vec<_> = numbers.into_iter().filter(|n| (from..=to).contains(n)).collect();
        assert_eq!(found, expected, "{from} to {to}");
    }
    let removed = store.expire(&app("demo"), Timestamp(20_480)).await.unwrap();
    assert_eq!(removed, 5);
    let left: Vec<_> = all_events(&store, id).await.iter().map(|event| event.n.0).collect();
    assert_eq!(left, [20_480, 1_000_000]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_goes_across_days_and_a_session_moves_from_one_to_the_next() {
    const DAY: u64 = 86_400_000_000;
    let database = Database::shared().await;
    let store = database.store().await;
    let put = async |number: u64, at: u64| {
        let listing = Bytes::from(format!("{number} at {at}"));
        store.put_listing(&app("demo"), session(number), Timestamp(at), listing).await.unwrap();
    };
    for number in 0..250 {
        put(number, number * DAY / 100).await;
    }
    put(3, 40 * DAY).await;
    let mut expected: Vec<u64> = (0..250).rev().filter(|number| *number != 3).collect();
    expected.insert(0, 3);
    for limit in [7, 100, 1_000] {
        let (mut all, mut before) = (Vec::new(), None);
        loop {
            let page = store.listings(&app("demo"), before, limit).await.unwrap();
            let Some(last) = page.last() else { break };
            before = Some((last.at, last.session));
            all.extend(page.into_iter().map(|listing| listing.session.key().0));
        }
        assert_eq!(all, expected, "pages of {limit}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_an_interrupted_write_left_is_passed_over_and_removed() {
    let database = Database::shared().await;
    let options = database.options();
    let (keyspace, store) = (options.keyspace.clone(), ready(open(options)).await);
    let cql = database.cql().await;
    let at = async |at: u64, text: &str| {
        let listing = Bytes::from(text.to_owned());
        store.put_listing(&app("demo"), session(1), Timestamp(at), listing).await.unwrap();
    };
    let expected = |at: u64, text: &str| Listing {
        at: Timestamp(at),
        session: session(1),
        listing: Bytes::from(text.to_owned()),
    };
    let place = async |at: i64| {
        let insert = format!(
            "INSERT INTO {keyspace}.sessions_by_app (app, day, at, session) \
             VALUES ('demo', 0, ?, ?) USING TIMESTAMP ?"
        );
        cql.query_unpaged(insert, (at, session(1).to_string(), at)).await.unwrap();
    };
    let places = async || {
        let select =
            format!("SELECT at FROM {keyspace}.sessions_by_app WHERE app = 'demo' AND day = 0");
        let found = cql.query_unpaged(select, ()).await.unwrap().into_rows_result().unwrap();
        found.rows::<(i64,)>().unwrap().map(|at| at.unwrap().0).collect::<Vec<_>>()
    };
    at(50, "fifty").await;
    // Stopped before it could remove where the session had been.
    place(30).await;
    // Stopped before, or still busy with, writing what is shown at the new place.
    place(70).await;
    assert_eq!(list(&store).await, [expected(50, "fifty")]);
    assert_eq!(places().await, [70, 50], "the older one is gone, the newer may be in flight");
    at(70, "seventy").await;
    assert_eq!(list(&store).await, [expected(70, "seventy")]);
    assert_eq!(places().await, [70]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_past_its_retention_goes_by_itself() {
    let database = Database::shared().await;
    let retention = Duration::from_secs(1_000);
    let kept = database.options();
    let keyspace = kept.keyspace.clone();
    let kept = Options { retention: Arc::new(move |_| Some(retention)), ..kept };
    let store = ready(open(kept)).await;
    let (demo, id, user) = (app("demo"), session(1), UserKey([1; 16]));
    let micros = |seconds: u64| Timestamp(now().0 - seconds * 1_000_000);
    // Three seconds left, four hundred, and none.
    let (soon, later, over) = (micros(997), micros(600), micros(1_001));
    let directory = |at| DirectoryRow { at, directory: Bytes::from_static(b"d") };
    let write = async |number: u64, n: u64, at: Timestamp| {
        let (id, events) = (session(number), vec![event(n, at.0)]);
        store.project(projection(id, events, Some(row(at.0)))).await.unwrap();
        let user = UserKey([u8::try_from(number).unwrap(); 16]);
        store.put_directory(&demo, user, directory(at)).await.unwrap();
        store.put_listing(&demo, id, at, Bytes::new()).await.unwrap();
    };
    write(1, 1, soon).await;
    write(2, 2, later).await;
    write(3, 3, over).await;
    assert!(all_events(&store, session(3)).await.is_empty());
    assert_eq!(store.session(&demo, session(3)).await.unwrap(), None);
    let until = async {
        while !all_events(&store, id).await.is_empty()
            || store.session(&demo, id).await.unwrap().is_some()
            || store.directory(&demo, user).await.unwrap().is_some()
            || store.listing(&demo, id).await.unwrap().is_some()
        {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, until).await.unwrap();
    let listed: Vec<_> = list(&store).await.iter().map(|listing| listing.session).collect();
    assert_eq!(listed, [session(2)]);
    assert_eq!(all_events(&store, session(2)).await.len(), 1);
    // Writing again does not prolong it.
    write(2, 2, later).await;
    let select = format!(
        "SELECT TTL(event) FROM {keyspace}.messages WHERE app = 'demo' AND session = ? AND bucket = 0"
    );
    let cql = database.cql().await;
    let found = cql.query_unpaged(select, (session(2).to_string(),)).await.unwrap();
    let (left,) = found.into_rows_result().unwrap().single_row::<(i32,)>().unwrap();
    assert!((1..=401).contains(&left), "{left}");
    assert_eq!(store.expire(&demo, micros(1_000)).await.unwrap(), 0);
    // Shortened: what was written before is swept.
    assert_eq!(store.sweep(&demo, micros(500)).await.unwrap(), 1);
    assert!(list(&store).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_after_a_removal_is_not_hidden_by_it() {
    let database = Database::shared().await;
    let store = database.store().await;
    let (demo, id, user) = (app("demo"), session(1), UserKey([1; 16]));
    let directory = |at| DirectoryRow { at: Timestamp(at), directory: Bytes::from_static(b"d") };
    let write = async |at: u64| {
        store.project(projection(id, vec![event(1, at)], Some(row(at)))).await.unwrap();
        store.put_directory(&demo, user, directory(at)).await.unwrap();
        store.put_listing(&demo, id, Timestamp(at), Bytes::new()).await.unwrap();
    };
    write(10).await;
    assert_eq!(store.expire(&demo, Timestamp(20)).await.unwrap(), 1);
    assert_eq!(store.session(&demo, id).await.unwrap(), None);
    // By the clock of the commits and not by that of whoever removed.
    write(11).await;
    assert_eq!(all_events(&store, id).await, [event(1, 11)]);
    assert_eq!(store.session(&demo, id).await.unwrap(), Some(row(11)));
    assert_eq!(store.directory(&demo, user).await.unwrap(), Some(directory(11)));
    assert_eq!(list(&store).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn s6_values_are_never_read_as_cql() {
    let database = Database::shared().await;
    let store = database.store().await;
    let hostile = Bytes::from_static(b"'); DROP TABLE messages; -- \"$$ ? {ks} \0\xff");
    let name = app("DROP-TABLE_messages");
    let events = vec![stentor_store::StoredEvent { event: hostile.clone(), ..event(1, 1) }];
    let row = stentor_store::SessionRow { state: hostile.clone(), ..row(1) };
    let projection = stentor_store::Projection {
        app: name.clone(),
        session: session(1),
        events,
        row: Some(row),
    };
    store.project(projection).await.unwrap();
    store.put_listing(&name, session(1), Timestamp(1), hostile.clone()).await.unwrap();
    let n = EventNumber(1);
    assert_eq!(store.events(&name, session(1), n, n).await.unwrap()[0].event, hostile);
    assert_eq!(store.session(&name, session(1)).await.unwrap().unwrap().state, hostile);
    assert_eq!(store.listings(&name, None, 9).await.unwrap()[0].listing, hostile);
}
