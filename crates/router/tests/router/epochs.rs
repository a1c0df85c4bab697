//! When a session's numbering goes on, and when it begins anew.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use stentor_cluster::{Entity, EntityKind, Log, PartitionLog, memory::MemoryLog};
use stentor_router::{Clock, Config};
use stentor_store::{Store, memory::MemoryStore};
use stentor_types::{Incarnation, Sequence, SessionId, Timestamp};
use stentor_wire::{decode_commit, pb, session_to_bytes};

use crate::{
    harness::{Socket, Town},
    moody_store::MoodyStore,
    parts, texts,
};

pub(crate) const HOUR: u64 = 3_600_000_000;

/// A clock that is set by hand.
pub(crate) fn clock() -> (Arc<AtomicU64>, Config) {
    let now = Arc::new(AtomicU64::new(1_000 * HOUR));
    let ticking = Arc::clone(&now);
    let clock = Clock::from_fn(move || Timestamp(ticking.fetch_add(1, Ordering::SeqCst)));
    (now, Config { clock, ..Config::default() })
}

pub(crate) fn entity(town: &Town, session: SessionId) -> Entity {
    Entity { app: town.app.clone(), kind: EntityKind::Session(session) }
}

/// Waits until a condition holds. Time is paused: it flies.
pub(crate) async fn until(mut holds: impl AsyncFnMut() -> bool) {
    let waited = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(3_600), waited).await.expect("it never happened");
}

/// A conversation that the store has all of, and the partition's cursor is past it.
async fn conversation(
    log: &Arc<MemoryLog>,
    store: &Arc<MemoryStore>,
    config: &Config,
) -> (Socket, Vec<stentor_types::Event>, u64) {
    let town = Town::open_shared(log, store, 1, config.clone());
    let mut socket = town.socket(1, "user-a");
    let attached = town.attach(&mut socket, Some("claimed")).await;
    town.say(&mut socket, "one").await;
    let session = socket.session.unwrap();
    projected(&town, log, session).await;
    let events = town.events(session).await;
    town.close().await;
    (socket, events, attached.epoch)
}

/// Waits until the store has all of a session.
pub(crate) async fn projected(town: &Town, log: &Arc<MemoryLog>, session: SessionId) {
    let entity = entity(town, session);
    until(async || {
        let head = log.head(&entity).await.unwrap().unwrap().sequence;
        log.cursor(session.partition()).await.unwrap().is_some_and(|cursor| cursor > head)
    })
    .await;
}

/// Attaches as a client of the second dialect does, and returns what it is told.
async fn open(town: &Town, socket: &Socket) -> pb::AttachedReply {
    let attach = pb::AttachInput {
        session: Some(session_to_bytes(socket.session.unwrap())),
        client: Some(pb::ClientClaim { instance: vec![7; 16].into(), last: 0 }),
        ..Default::default()
    };
    match town.send(socket, pb::connection_input::Kind::Attach(attach)).await {
        pb::input_reply::Kind::Attached(attached) => attached,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn cluster_9_a_session_that_was_trimmed_in_good_order_goes_on_in_its_numbering() {
    let ((log, store), (now, config)) = (parts(), clock());
    let (mut socket, before, epoch) = conversation(&log, &store, &config).await;
    now.fetch_add(100 * HOUR, Ordering::SeqCst);
    // All cursors move on while nothing happens; then the log is trimmed.
    let town = Town::open_shared(&log, &store, 2, config);
    let session = socket.session.unwrap();
    let entity = entity(&town, session);
    until(async || {
        let head = log.head(&entity).await.unwrap().unwrap();
        now.fetch_add(HOUR, Ordering::SeqCst);
        // Whoever was connected leaves, and that is the last thing that happens.
        !head.header.attached && head.header.next_deadline.is_none()
    })
    .await;
    now.fetch_add(100 * HOUR, Ordering::SeqCst);
    until(async || log.head(&entity).await.unwrap().is_none()).await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    let attached = town.attach(&mut socket, Some("claimed")).await;
    assert_eq!(attached.epoch, epoch);
    let all = town.events(session).await;
    assert_eq!(all[..before.len()], before, "the history is whole");
    assert!(all.iter().zip(1..).all(|(event, n)| event.n.0 == n), "dense");
    let records = log.read(&entity, Sequence(0), usize::MAX).await.unwrap();
    assert!(records[0].header.snapshot, "the first record after a cold load holds the state");
    town.close().await;
}

#[tokio::test(start_paused = true)]
async fn i16_a_log_made_anew_begins_a_new_numbering() {
    let ((log, store), (_, config)) = (parts(), clock());
    let (mut socket, before, epoch) = conversation(&log, &store, &config).await;
    let log = Arc::new(MemoryLog::new(Incarnation(2)));
    let town = Town::open_shared(&log, &store, 2, config);
    // The new log has nothing that the store lacks, and yet it is not the one that the row is of.
    let partition = socket.visitor.placement.partition();
    until(async || log.cursor(partition).await.unwrap() >= Some(log.first().await.unwrap())).await;
    let attached = open(&town, &socket).await;
    assert!(attached.epoch > epoch, "a client that resumes is told so");
    assert!(attached.view.is_some(), "and shown the session as it is");
    town.attach(&mut socket, Some("claimed")).await;
    let all = town.events(socket.session.unwrap()).await;
    assert_eq!(all[..before.len()], before, "the history is intact");
    assert!(all.iter().zip(1..).all(|(event, n)| event.n.0 == n), "dense across epochs");
    let record =
        &log.read(&entity(&town, socket.session.unwrap()), Sequence(0), 1).await.unwrap()[0];
    assert_eq!(decode_commit(&record.record).unwrap().commit.epoch.0, attached.epoch);
    town.close().await;
}

#[tokio::test(start_paused = true)]
async fn i16_what_the_history_has_beyond_its_row_is_not_numbered_again() {
    let ((log, store), (_, config)) = (parts(), clock());
    let (mut socket, before, epoch) = conversation(&log, &store, &config).await;
    let session = socket.session.unwrap();
    let town = Town::open_shared(&log, &store, 1, config.clone());
    town.say(&mut socket, "late").await;
    let last = log.head(&entity(&town, session)).await.unwrap().unwrap().header.last;
    until(async || {
        let stored = store.events(&town.app, session, last, last).await.unwrap();
        !stored.is_empty()
    })
    .await;
    let all = town.events(session).await;
    town.close().await;
    let town = Town::open_shared(&log, &store, 2, config.clone());
    let row = store.session(&town.app, session).await.unwrap().unwrap();
    assert!(row.projected < last, "the row had time to follow");
    town.close().await;

    let log = Arc::new(MemoryLog::new(Incarnation(2)));
    let town = Town::open_shared(&log, &store, 2, config);
    let attached = town.attach(&mut socket, Some("claimed")).await;
    assert!(attached.epoch > epoch && attached.n > last.0);
    let now = town.events(session).await;
    let written = usize::try_from(last.0).unwrap();
    assert_eq!(now[..written], all[..written]);
    assert_eq!(now[..before.len()], before);
    town.close().await;
}

#[tokio::test(start_paused = true)]
async fn i12_an_owner_believes_no_row_that_is_behind_what_it_has_committed() {
    let ((log, store), (_, config)) = (parts(), clock());
    let moody = MoodyStore::over(&store);
    let town = Town::open_shared(&log, &moody, 1, config);
    let mut socket = town.socket(1, "user-a");
    let epoch = town.attach(&mut socket, Some("claimed")).await.epoch;
    let session = socket.session.unwrap();
    projected(&town, &log, session).await;
    *moody.refuses.lock().unwrap() = Some(session);
    town.say(&mut socket, "never in the history").await;
    let entity = entity(&town, session);
    // Only this session's records vanish: the first sequence and the cursor look as if all were well.
    log.trim(&entity, Sequence(u64::MAX), true).await.unwrap();
    assert!(log.cursor(session.partition()).await.unwrap() >= Some(log.first().await.unwrap()));
    town.say(&mut socket, "again").await;
    until(async || {
        if let pb::input_reply::Kind::Gap(expected) = town.say_again(&socket, "again").await {
            socket.counter = expected;
        }
        log.head(&entity).await.unwrap().is_some()
    })
    .await;
    let records = log.read(&entity, Sequence(0), 1).await.unwrap();
    assert!(decode_commit(&records[0].record).unwrap().commit.epoch.0 > epoch);
    town.close().await;
}

#[tokio::test(start_paused = true)]
async fn i16_a_log_made_anew_begins_a_new_numbering_even_if_nothing_was_trimmed_from_it() {
    let ((log, store), (_, config)) = (parts(), clock());
    let (socket, before, epoch) = conversation(&log, &store, &config).await;
    let log = Arc::new(MemoryLog::new(Incarnation(2)));
    // Its owner has copied all that there is, which is nothing.
    let partition = socket.session.unwrap().partition();
    log.set_cursor(partition, Sequence(1_000)).await.unwrap();
    let town = Town::open_shared(&log, &store, 2, config);
    let attached = open(&town, &socket).await;
    assert!(attached.epoch > epoch, "what the history has need not be all there was");
    let all = town.events(socket.session.unwrap()).await;
    assert_eq!(all[..before.len()], before, "the history is intact");
    town.close().await;
}

/// A log that holds the first records of another.
pub(crate) async fn copy_of(
    log: &MemoryLog,
    entities: &[Entity],
    until: Sequence,
    name: u128,
) -> Arc<MemoryLog> {
    let copy = Arc::new(MemoryLog::new(Incarnation(name)));
    let mut all = Vec::new();
    for entity in entities {
        for record in log.read(entity, Sequence(0), usize::MAX).await.unwrap() {
            all.push((record.sequence, entity.clone(), record));
        }
    }
    all.sort_by_key(|(sequence, ..)| *sequence);
    for (_, entity, record) in all.into_iter().filter(|(sequence, ..)| *sequence <= until) {
        let expected = copy.head(&entity).await.unwrap().map(|head| head.sequence);
        let append = stentor_cluster::Append {
            entity,
            expected,
            header: record.header,
            record: record.record,
            effects: Vec::new(),
        };
        copy.append(vec![append]).await.unwrap();
    }
    copy
}

#[tokio::test(start_paused = true)]
async fn i16_an_older_copy_of_the_log_is_found_out_by_the_history() {
    let ((log, store), (_, config)) = (parts(), clock());
    let town = Town::open_shared(&log, &store, 1, config.clone());
    let mut socket = town.socket(1, "user-a");
    let epoch = town.attach(&mut socket, Some("claimed")).await.epoch;
    town.say(&mut socket, "one").await;
    let session = socket.session.unwrap();
    let backup = log.head(&entity(&town, session)).await.unwrap().unwrap().sequence;
    town.say(&mut socket, "two").await;
    projected(&town, &log, session).await;
    let before = town.events(session).await;
    town.close().await;

    let partition = session.partition();
    let heads = log.heads(partition, None, 10).await.unwrap();
    let entities: Vec<_> = heads.into_iter().map(|(entity, _)| entity).collect();
    // Restored under the name that it had: only the history knows better.
    let restored = copy_of(&log, &entities, backup, 1).await;
    let town = Town::open_shared(&restored, &store, 2, config);
    let attached = open(&town, &socket).await;
    assert!(attached.epoch > epoch);
    town.attach(&mut socket, Some("claimed")).await;
    let all = town.events(session).await;
    assert_eq!(all[..before.len()], before, "no number names two events");
    assert!(all.iter().zip(1..).all(|(event, n)| event.n.0 == n), "dense across epochs");
    town.say(&mut socket, "three").await;
    assert_eq!(texts(&town.events(session).await), ["one", "two", "three"]);
    town.close().await;
}

#[tokio::test(start_paused = true)]
async fn i16_a_fenced_log_begins_a_new_numbering_even_if_the_history_says_nothing() {
    let ((log, store), (_, config)) = (parts(), clock());
    let (mut socket, before, epoch) = conversation(&log, &store, &config).await;
    let session = socket.session.unwrap();
    let heads = log.heads(session.partition(), None, 10).await.unwrap();
    let entities: Vec<_> = heads.into_iter().map(|(entity, _)| entity).collect();
    let fenced = copy_of(&log, &entities, Sequence(u64::MAX), 2).await;
    let town = Town::open_shared(&fenced, &Arc::new(MemoryStore::new()), 2, config);
    let attached = town.attach(&mut socket, Some("claimed")).await;
    assert!(attached.epoch > epoch);
    assert_eq!(town.events(session).await[..before.len()], before);
    town.close().await;
}

#[tokio::test(start_paused = true)]
async fn i16_a_log_trimmed_unseen_begins_a_new_numbering() {
    let ((log, store), (now, config)) = (parts(), clock());
    let (mut socket, before, epoch) = conversation(&log, &store, &config).await;
    // The store is down while more is said, and somebody trims without asking.
    let moody = MoodyStore::over(&store);
    moody.set_down(true);
    let town = Town::open_shared(&log, &moody, 1, config.clone());
    let session = socket.session.unwrap();
    town.say(&mut socket, "never in the history").await;
    town.kill().await;
    now.fetch_add(HOUR, Ordering::SeqCst);
    log.purge(Timestamp(u64::MAX), Sequence(u64::MAX)).await.unwrap();
    let town = Town::open_shared(&log, &store, 2, config);
    let attached = town.attach(&mut socket, Some("claimed")).await;
    assert!(attached.epoch > epoch, "n would name another event in the old numbering");
    assert_eq!(town.events(session).await[..before.len()], before);
    town.close().await;
}

#[tokio::test(start_paused = true)]
async fn i12_an_owner_whose_log_has_gone_goes_on_only_in_a_new_numbering() {
    let ((log, store), (_, config)) = (parts(), clock());
    let moody = MoodyStore::over(&store);
    let town = Town::open_shared(&log, &moody, 1, config);
    let mut socket = town.socket(1, "user-a");
    let epoch = town.attach(&mut socket, Some("claimed")).await.epoch;
    let session = socket.session.unwrap();
    projected(&town, &log, session).await;
    town.say(&mut socket, "one").await;
    projected(&town, &log, session).await;
    // Gone in good order: the row is of the last commit, and the numbering goes on.
    log.purge(Timestamp(u64::MAX), Sequence(u64::MAX)).await.unwrap();
    until(async || {
        let first = log.first().await.unwrap();
        log.cursor(session.partition()).await.unwrap() >= Some(first)
    })
    .await;
    town.say(&mut socket, "two").await;
    let record = |records: Vec<stentor_cluster::Record>| decode_commit(&records[0].record).unwrap();
    let entity = entity(&town, session);
    let two = record(log.read(&entity, Sequence(0), 1).await.unwrap());
    assert_eq!(two.commit.epoch.0, epoch);
    // Gone before the history had it: what this owner remembers may be numbered otherwise by then.
    moody.set_down(true);
    town.say(&mut socket, "three").await;
    log.purge(Timestamp(u64::MAX), Sequence(u64::MAX)).await.unwrap();
    moody.set_down(false);
    town.say(&mut socket, "four").await;
    until(async || {
        // The history may not have heard of the third by then.
        if let pb::input_reply::Kind::Gap(expected) = town.say_again(&socket, "four").await {
            socket.counter = expected;
        }
        log.head(&entity).await.unwrap().is_some()
    })
    .await;
    let four = record(log.read(&entity, Sequence(0), 1).await.unwrap());
    assert!(four.commit.epoch.0 > epoch);
    town.close().await;
}

#[tokio::test(start_paused = true)]
async fn p7_what_only_the_store_could_tell_is_refused_for_now_and_what_is_new_begins() {
    let ((log, store), (_, config)) = (parts(), clock());
    let (mut socket, before, _) = conversation(&log, &store, &config).await;
    log.purge(Timestamp(u64::MAX), Sequence(u64::MAX)).await.unwrap();
    let moody = MoodyStore::over(&store);
    moody.set_down(true);
    let town = Town::open_shared(&log, &moody, 2, config);
    let session = socket.session.unwrap();
    let attach = |claimed: Option<&str>, session: Option<SessionId>| {
        pb::connection_input::Kind::Attach(pb::AttachInput {
            session: session.map(session_to_bytes),
            claimed: claimed.map(str::to_owned),
            ..Default::default()
        })
    };
    let again = |reply: &pb::input_reply::Kind| {
        assert!(matches!(reply, pb::input_reply::Kind::TryAgainMs(_)), "{reply:?}");
    };
    again(&town.send(&socket, attach(None, Some(session))).await);
    again(&town.send(&socket, attach(None, None)).await);
    let mut new = town.socket(2, "user-b");
    town.attach(&mut new, Some("claimed")).await;
    assert!(matches!(town.say(&mut new, "one").await, pb::input_reply::Kind::Committed(_)));
    moody.set_down(false);
    until(async || {
        !matches!(
            town.send(&socket, attach(None, Some(session))).await,
            pb::input_reply::Kind::TryAgainMs(_)
        )
    })
    .await;
    assert_eq!(town.events(session).await[..before.len()], before);
    town.attach(&mut socket, Some("claimed")).await;
    assert_eq!(socket.session, Some(session));
    assert!(store.session(&town.app, session).await.unwrap().is_some());
    town.close().await;
}

#[tokio::test(start_paused = true)]
async fn f20_a_log_that_is_lost_under_a_router_costs_no_message_of_a_session_in_memory() {
    let ((log, store), (_, config)) = (parts(), clock());
    let mut town = Town::open_shared(&log, &store, 1, config);
    let mut socket = town.socket(1, "user-a");
    let epoch = town.attach(&mut socket, Some("claimed")).await.epoch;
    town.say(&mut socket, "one").await;
    let effect = town.effect().await;
    let session = socket.session.unwrap();
    let before = town.events(session).await;
    // The history may have nothing of it yet.
    log.lose(Incarnation(2));
    let said = town.say(&mut socket, "two").await;
    assert!(matches!(said, pb::input_reply::Kind::Committed(_)), "{said:?}");
    let again = open(&town, &socket).await;
    assert!(again.epoch > epoch, "a client that resumes is told so");
    let all = town.events(session).await;
    assert_eq!(all[..before.len()], before, "what was acknowledged is still there");
    assert!(all.iter().zip(1..).all(|(event, n)| event.n.0 == n), "dense across epochs");
    // The question that is open goes by its new name, and is answered once.
    let renewed = town.effect().await;
    assert_eq!((renewed.turn, renewed.attempt), (effect.turn, effect.attempt));
    assert_eq!(renewed.epoch, again.epoch);
    town.answer(&renewed, "an answer").await;
    assert_eq!(texts(&town.events(session).await)[..3], ["one", "two", "an answer"]);
    // The directory is not lost either.
    let mut second = town.socket(2, "user-a");
    town.attach(&mut second, Some("claimed")).await;
    assert_eq!(second.session, Some(session));
    projected(&town, &log, session).await;
    town.close().await;
}
