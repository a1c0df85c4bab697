//! What a data folder gives back, and when it refuses.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use stentor_cluster::{Append, Appended, Entity, EntityKind, Header, Log};
use stentor_embedded::{Embedded, OpenError, Options};
use stentor_store::{Erasure, Projection, Store, StoredEvent};
use stentor_types::{AppId, EventNumber, PlacementKey, Sequence, SessionId, Timestamp};

fn entity(random: u128) -> Entity {
    let app = AppId::try_new("demo").unwrap();
    Entity { app, kind: EntityKind::Session(SessionId::new(PlacementKey(7), random)) }
}

fn append(entity: &Entity, expected: Option<Sequence>, n: u64) -> Append {
    let header = Header {
        first: EventNumber(n),
        last: EventNumber(n),
        at: Timestamp(n),
        ..Header::default()
    };
    let record = format!("record {n}").into();
    Append { entity: entity.clone(), expected, header, record, effects: Vec::new() }
}

fn open(folder: &std::path::Path) -> Embedded {
    Embedded::open(folder, Options::default()).unwrap()
}

#[tokio::test]
async fn what_was_written_is_there_after_opening_again() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (entity(1), entity(2));
    let log = open(folder.path());
    let incarnation = log.incarnation();
    let batch = vec![append(&one, None, 1), append(&two, None, 1), append(&one, None, 9)];
    let judged = log.append(batch).await.unwrap();
    assert_eq!(judged[0], Appended::Stored(Sequence(1)));
    assert_eq!(judged[1], Appended::Stored(Sequence(2)));
    assert!(matches!(judged[2], Appended::Conflict { actual: Some(Sequence(1)) }));
    drop(log);
    let log = open(folder.path());
    assert_eq!(log.incarnation(), incarnation);
    let stored = log.append(vec![append(&one, Some(Sequence(1)), 2)]).await.unwrap();
    assert_eq!(stored, [Appended::Stored(Sequence(3))]);
    let records = log.read(&one, Sequence(0), 1 << 20).await.unwrap();
    let texts: Vec<_> =
        records.iter().map(|r| String::from_utf8_lossy(&r.record).into_owned()).collect();
    assert_eq!(texts, ["record 1", "record 2"]);
}

#[tokio::test]
async fn lists_are_there_after_opening_again() {
    let folder = tempfile::tempdir().unwrap();
    let app = AppId::try_new("demo").unwrap();
    let id = |number: u64| SessionId::new(PlacementKey(number), 1);
    let store = open(folder.path());
    for (number, at) in [(1, 1), (2, 2), (1, 3)] {
        store.put_listing(&app, id(number), Timestamp(at), format!("{at}").into()).await.unwrap();
    }
    let before = store.listings(&app, None, 10).await.unwrap();
    drop(store);
    let store = open(folder.path());
    let places: Vec<_> = before.iter().map(|listing| (listing.at.0, listing.session)).collect();
    assert_eq!(places, [(3, id(1)), (2, id(2))]);
    assert_eq!(store.listings(&app, None, 10).await.unwrap(), before);
    store.put_listing(&app, id(1), Timestamp(2), "late".into()).await.unwrap();
    assert_eq!(store.listings(&app, None, 10).await.unwrap(), before);
}

#[tokio::test]
async fn a_second_process_is_told_that_the_folder_is_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path());
    let second = Embedded::open(folder.path(), Options::default());
    assert!(matches!(second, Err(OpenError::InUse { .. })), "{second:?}");
    drop(first);
    assert!(Embedded::open(folder.path(), Options::default()).is_ok());
}

#[test]
fn a_folder_of_a_newer_version_or_of_somebody_else_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("FORMAT"), "stentor data folder, format 9\n").unwrap();
    let refused = Embedded::open(folder.path(), Options::default());
    assert!(
        matches!(refused, Err(OpenError::NewerVersion { found: 9, supported: 1, .. })),
        "{refused:?}"
    );
    let other = tempfile::tempdir().unwrap();
    std::fs::write(other.path().join("thesis.doc"), "x").unwrap();
    let refused = Embedded::open(other.path(), Options::default());
    assert!(matches!(refused, Err(OpenError::NotADataFolder { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_log_that_came_back_shorter_than_it_was_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());
    log.append(vec![append(&entity(1), None, 1)]).await.unwrap();
    drop(log);
    let copy = folder.path().join("WATERMARK");
    assert!(std::fs::read_to_string(&copy).unwrap().starts_with("1 "));
    // Another folder that has come less far, with this one's mark.
    let shorter = tempfile::tempdir().unwrap();
    drop(open(shorter.path()));
    std::fs::copy(copy, shorter.path().join("WATERMARK")).unwrap();
    let refused = Embedded::open(shorter.path(), Options::default());
    assert!(
        matches!(refused, Err(OpenError::Shortened { found: 0, expected: 1, .. })),
        "{refused:?}"
    );
}

/// Whether a text stands in the files of the tables.
fn files_hold(folder: &std::path::Path, text: &str) -> bool {
    std::fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return files_hold(&path, text);
        }
        // The journal has no end that anybody could tell: it is begun anew after so many bytes.
        if path.extension().is_some_and(|extension| extension == "jnl") {
            return false;
        }
        let bytes = std::fs::read(&path).unwrap();
        bytes.windows(text.len()).any(|part| part == text.as_bytes())
    })
}

#[tokio::test]
async fn cluster_26_the_bytes_of_an_erased_session_are_gone_from_the_files_of_the_tables() {
    const GONE: &str = "my deepest secret";
    const STAYS: &str = "nothing to hide";
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let log = open(folder);
    for (entity, text) in [(entity(1), GONE), (entity(2), STAYS)] {
        let EntityKind::Session(id) = entity.kind else { panic!("a session") };
        let said = Append { record: text.into(), ..append(&entity, None, 1) };
        let judged = log.append(vec![said]).await.unwrap();
        let [Appended::Stored(first)] = judged[..] else { panic!("{judged:?}") };
        let header = Header { snapshot: true, ..append(&entity, None, 2).header };
        let next = Append { header, ..append(&entity, Some(first), 2) };
        log.append(vec![next]).await.unwrap();
        let event = StoredEvent { n: EventNumber(1), at: Timestamp(1), event: text.into() };
        let app = entity.app.clone();
        let projection = Projection { app, session: id, events: vec![event], row: None };
        log.project(projection).await.unwrap();
        log.put_listing(&entity.app, id, Timestamp(1), text.into()).await.unwrap();
    }
    // From the journal into the tables.
    drop(log);
    let log = open(folder);
    assert!(files_hold(folder, GONE) && files_hold(folder, STAYS));
    let gone = entity(1);
    let EntityKind::Session(id) = gone.kind else { panic!("a session") };
    let erasure = Erasure { at: Timestamp(2), certificate: "done".into() };
    Log::erase(&log, &gone, log.head(&gone).await.unwrap().unwrap().sequence).await.unwrap();
    Store::erase(&log, &gone.app, id, erasure).await.unwrap();
    log.forget(&gone.app, id, Timestamp(2)).await.unwrap();
    assert!(!files_hold(folder, GONE), "only out of reach");
    assert!(files_hold(folder, STAYS));
    drop(log);
    let log = open(folder);
    assert!(!files_hold(folder, GONE));
    assert!(log.erasure(&gone.app, id).await.unwrap().is_some());
}
