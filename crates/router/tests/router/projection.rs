//! Everything that is committed comes into the store, whatever happens meanwhile, and nothing leaves the log
//! before it has.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use stentor_cluster::{
    Append, Entity, EntityKind, Header, Log, OwnershipChange, PartitionLog,
    local::{LocalBus, LocalEnds},
    memory::MemoryLog,
};
use stentor_postoffice::Session;
use stentor_router::{Config, History};
use stentor_store::{Store, memory::MemoryStore};
use stentor_types::{EventNumber, Partition, PlacementKey, Sequence, SessionId, Timestamp};
use stentor_wire::{decode_commit, decode_snapshot, pb};
use tokio::sync::{mpsc, oneshot};

use crate::{
    epochs::{HOUR, clock, entity, projected, until},
    harness::{self, Socket, Town},
    moody_store::MoodyStore,
    parts, texts,
};

/// Says that the log, folded from its beginning, is what the store has: events and state.
async fn assert_same(town: &Town, log: &MemoryLog, store: &impl Store, session: SessionId) {
    let records = log.read(&entity(town, session), Sequence(0), usize::MAX).await.unwrap();
    let commits: Vec<_> =
        records.iter().map(|record| decode_commit(&record.record).unwrap()).collect();
    let mut folded = Session::new(session, commits[0].commit.epoch);
    let mut events = Vec::new();
    for commit in &commits {
        folded.apply(&commit.commit);
        events.extend(commit.events.iter().cloned());
        if let Some(snapshot) = &commit.snapshot {
            assert_eq!(
                &decode_snapshot(snapshot).unwrap(),
                folded.state(),
                "a snapshot is the fold"
            );
        }
    }
    let stored =
        store.events(&town.app, session, EventNumber(1), EventNumber(u64::MAX)).await.unwrap();
    assert!(stored.iter().zip(1..).all(|(event, n)| event.n.0 == n), "dense");
    let stored: Vec<_> = stored.into_iter().map(|event| event.event).collect();
    assert_eq!(stored, events, "the very bytes");
    let row = store.session(&town.app, session).await.unwrap().unwrap();
    assert_eq!(&decode_snapshot(&row.state).unwrap(), folded.state());
    assert_eq!((row.projected, row.epoch), (folded.state().n, folded.state().epoch));
}

/// Random numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

async fn visitors(town: &Town, count: u64) -> Vec<Socket> {
    let mut sockets = Vec::new();
    for number in 0..count {
        let mut socket = town.socket(number, &format!("user-{number}"));
        town.attach(&mut socket, Some("claimed")).await;
        sockets.push(socket);
    }
    sockets
}

#[tokio::test(start_paused = true)]
async fn i10_the_store_is_the_fold_of_the_log_whatever_the_store_does_meanwhile() {
    for seed in 0..8 {
        let mut dice = Dice(seed);
        let (log, store) = parts();
        let moody = MoodyStore::over(&store);
        let mut town = Town::open_shared(&log, &moody, 1, Config::default());
        let mut sockets = visitors(&town, 4).await;
        for _ in 0..60 {
            match dice.roll(10) {
                0 => moody.set_down(dice.roll(2) == 0),
                1 => moody.forgetful.store(dice.roll(2) == 0, Ordering::SeqCst),
                2 => tokio::time::sleep(Duration::from_millis(dice.roll(4_000))).await,
                3 => {
                    if let Ok(effect) = town.effects.try_recv() {
                        let effect = prost::Message::decode(effect.effect).unwrap();
                        town.answer(&effect, "hi").await;
                    }
                }
                4 if dice.roll(3) == 0 => {
                    // Somebody else takes over, in the middle of whatever was being written.
                    town.kill().await;
                    town = Town::open_shared(&log, &moody, 1, Config::default());
                }
                _ => {
                    let which = dice.roll(4);
                    let socket = &mut sockets[usize::try_from(which).unwrap()];
                    match town.say(socket, "hello").await {
                        pb::input_reply::Kind::Committed(_) => {}
                        // An owner before has said that the gateway was gone.
                        pb::input_reply::Kind::AttachFirst(_) => {
                            town.attach(socket, Some("claimed")).await;
                        }
                        other => panic!("{other:?}"),
                    }
                }
            }
        }
        moody.set_down(false);
        moody.forgetful.store(false, Ordering::SeqCst);
        for socket in &sockets {
            projected(&town, &log, socket.session.unwrap()).await;
            assert_same(&town, &log, &*store, socket.session.unwrap()).await;
        }
        assert!(town.metric("stentor_router_projector_refused") == 0.0, "seed {seed}");
        town.close().await;
    }
}

#[tokio::test(start_paused = true)]
async fn f11_conversations_outlive_a_store_that_is_down_and_an_owner_that_dies_meanwhile() {
    let (log, store) = parts();
    let moody = MoodyStore::over(&store);
    let town = Town::open_shared(&log, &moody, 1, Config::default());
    let mut sockets = visitors(&town, 3).await;
    moody.set_down(true);
    let begun = tokio::time::Instant::now();
    for socket in &mut sockets {
        let said = town.say(socket, "one").await;
        assert!(matches!(said, pb::input_reply::Kind::Committed(_)), "{said:?}");
    }
    assert!(begun.elapsed() < Duration::from_millis(100), "nobody waits for the store");
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert!(town.metric("stentor_router_projector_waiting") >= 3.0);
    town.kill().await;

    let town = Town::open_shared(&log, &moody, 1, Config::default());
    for socket in &mut sockets {
        let said = town.say(socket, "two").await;
        assert!(matches!(said, pb::input_reply::Kind::Committed(_)), "{said:?}");
    }
    // New ones come, too.
    let mut new = town.socket(9, "user-new");
    town.attach(&mut new, Some("claimed")).await;
    town.say(&mut new, "two").await;
    tokio::time::sleep(Duration::from_secs(300)).await;
    moody.set_down(false);
    for socket in sockets.iter().chain([&new]) {
        let session = socket.session.unwrap();
        projected(&town, &log, session).await;
        assert_same(&town, &log, &*store, session).await;
    }
    assert_eq!(texts(&town.events(sockets[0].session.unwrap()).await), ["one", "two"]);
    until(async || town.metric("stentor_router_projector_lag_seconds") == 0.0).await;
    town.close().await;
}

#[tokio::test(start_paused = true)]
async fn f11_what_only_the_log_has_is_written_although_no_write_is_left_to_try_a_store_again() {
    let (log, store) = parts();
    let moody = MoodyStore::over(&store);
    let (changes, changed) = mpsc::channel(64);
    let (bus, ends) = LocalBus::new();
    let ends = LocalEnds { changes: changed, ..ends };
    let (apps, config) = (harness::apps(), Config::default());
    let town = Town::open_shared_on(&log, &moody, apps, 1, config, (bus, ends));
    let mut socket = town.socket(1, "user-a");
    let partition = socket.visitor.placement.partition();
    take(&changes, partition).await;
    moody.set_down(true);
    town.attach(&mut socket, Some("claimed")).await;
    town.say(&mut socket, "one").await;
    until(async || moody.writes.load(Ordering::SeqCst) >= 5).await;
    // All that waits in memory goes with its partition, which comes back with a place in the log alone.
    let (released, told) = oneshot::channel();
    changes.send(OwnershipChange::Release { partition, released }).await.unwrap();
    told.await.unwrap();
    take(&changes, partition).await;
    moody.set_down(false);
    projected(&town, &log, socket.session.unwrap()).await;
    town.close().await;
}

async fn take(changes: &mpsc::Sender<OwnershipChange>, partition: Partition) {
    let (taken_up, told) = oneshot::channel();
    changes.send(OwnershipChange::Take { partition, taken_up }).await.unwrap();
    told.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn f11_sessions_that_are_loaded_do_not_each_wait_for_a_store_that_hangs() {
    let (log, store) = parts();
    let moody = MoodyStore::over(&store);
    let town = Town::open_shared(&log, &moody, 1, Config::default());
    let mut sockets = visitors(&town, 20).await;
    town.kill().await;
    moody.hangs.store(true, Ordering::SeqCst);
    let town = Town::open_shared(&log, &moody, 1, Config::default());
    let begun = tokio::time::Instant::now();
    for socket in &mut sockets {
        town.say(socket, "hello").await;
    }
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
    town.close().await;
}

#[tokio::test(start_paused = true)]
async fn f12_a_store_that_is_slow_to_answer_is_not_written_to_over_and_over() {
    let (log, store) = parts();
    let moody = MoodyStore::over(&store);
    let town = Town::open_shared(&log, &moody, 1, Config::default());
    let mut sockets = visitors(&town, 1).await;
    let session = sockets[0].session.unwrap();
    projected(&town, &log, session).await;
    moody.set_down(true);
    let before = moody.writes.load(Ordering::SeqCst);
    for _ in 0..100 {
        town.say(&mut sockets[0], "hello").await;
    }
    tokio::time::sleep(Duration::from_secs(600)).await;
    let writes = moody.writes.load(Ordering::SeqCst) - before;
    assert!(writes <= 150, "{writes} writes in ten minutes");
    moody.set_down(false);
    projected(&town, &log, session).await;
    assert_same(&town, &log, &*store, session).await;
    town.close().await;
}

#[tokio::test(start_paused = true)]
async fn cluster_8_nothing_leaves_the_log_before_the_store_has_it() {
    let ((log, store), (now, config)) = (parts(), clock());
    let moody = MoodyStore::over(&store);
    let town = Town::open_shared(&log, &moody, 1, config);
    let mut sockets = visitors(&town, 2).await;
    for socket in &sockets {
        projected(&town, &log, socket.session.unwrap()).await;
    }
    moody.set_down(true);
    town.say(&mut sockets[0], "one").await;
    let session = sockets[0].session.unwrap();
    let head = log.head(&entity(&town, session)).await.unwrap().unwrap();
    now.fetch_add(200 * HOUR, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(600)).await;
    let left = log.read(&entity(&town, session), Sequence(0), usize::MAX).await.unwrap();
    assert!(left.iter().any(|record| record.sequence == head.sequence), "{left:?}");
    assert!(town.metric("stentor_router_projector_lag_seconds") > 3_600.0);
    moody.set_down(false);
    until(async || log.first().await.unwrap() > head.sequence).await;
    // What is younger than it has to be kept stays, whatever the store has.
    assert!(log.head(&entity(&town, session)).await.unwrap().is_some());
    let stored = store.events(&town.app, session, EventNumber(1), EventNumber(u64::MAX)).await;
    assert!(stored.unwrap().iter().zip(1..).all(|(event, n)| event.n.0 == n));
    town.close().await;
}

#[tokio::test(start_paused = true)]
async fn cluster_8_without_a_store_the_log_forgets_by_age_alone() {
    let ((log, store), (now, config)) = (parts(), clock());
    let moody = MoodyStore::over(&store);
    let config = Config { history: History::Nowhere, ..config };
    let town = Town::open_shared(&log, &moody, 1, config);
    let mut sockets = visitors(&town, 1).await;
    town.say(&mut sockets[0], "one").await;
    let head = log.head(&entity(&town, sockets[0].session.unwrap())).await.unwrap().unwrap();
    now.fetch_add(200 * HOUR, Ordering::SeqCst);
    until(async || log.first().await.unwrap() > head.sequence).await;
    assert_eq!(moody.writes.load(Ordering::SeqCst), 0);
    town.close().await;
}

#[tokio::test(start_paused = true)]
async fn cluster_8_what_the_store_refuses_holds_the_trim_and_nobody_else() {
    let ((log, store), (now, config)) = (parts(), clock());
    let moody = MoodyStore::over(&store);
    let town = Town::open_shared(&log, &moody, 1, config);
    let mut sockets = visitors(&town, 2).await;
    let bad = sockets[0].session.unwrap();
    *moody.refuses.lock().unwrap() = Some(bad);
    town.say(&mut sockets[0], "too large").await;
    let refused = log.head(&entity(&town, bad)).await.unwrap().unwrap().sequence;
    until(async || {
        town.say(&mut sockets[1], "hello").await;
        town.metric("stentor_router_projector_refused") == 1.0
    })
    .await;
    until(async || town.metric("stentor_router_dead_letters_total") == 1.0).await;
    let good = sockets[1].session.unwrap();
    if good.partition() != bad.partition() {
        projected(&town, &log, good).await;
        assert_same(&town, &log, &*store, good).await;
    }
    let said = town.say(&mut sockets[0], "one").await;
    assert!(matches!(said, pb::input_reply::Kind::Committed(_)), "the conversation goes on");
    now.fetch_add(200 * HOUR, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(600)).await;
    let left = log.read(&entity(&town, bad), Sequence(0), usize::MAX).await.unwrap();
    assert!(left.iter().any(|record| record.sequence <= refused), "{left:?}");
    town.close().await;
}

#[tokio::test(start_paused = true)]
async fn cluster_8_a_record_that_nobody_can_read_holds_the_trim_and_nobody_else() {
    let (log, store) = parts();
    let town = Town::open_shared(&log, &store, 1, Config::default());
    let mut sockets = visitors(&town, 1).await;
    let session = sockets[0].session.unwrap();
    // In the same partition, from a later version perhaps.
    let key = PlacementKey(u64::from(session.partition().number()));
    let unreadable =
        Entity { app: town.app.clone(), kind: EntityKind::Session(SessionId::new(key, 7)) };
    assert_eq!(unreadable.partition(), session.partition());
    let header = Header {
        first: EventNumber(1),
        last: EventNumber(1),
        at: Timestamp(1),
        ..Header::default()
    };
    let record = "nonsense".into();
    let append =
        Append { entity: unreadable.clone(), expected: None, header, record, effects: Vec::new() };
    log.append(vec![append]).await.unwrap();
    let held = log.head(&unreadable).await.unwrap().unwrap().sequence;
    // Whoever looks next is the owner after this one.
    town.close().await;
    let town = Town::open_shared(&log, &store, 1, Config::default());
    until(async || town.metric("stentor_router_projector_refused") == 1.0).await;
    town.say(&mut sockets[0], "one").await;
    let last = town.events(session).await.last().unwrap().n;
    until(async || {
        let row = store.session(&town.app, session).await.unwrap();
        row.is_some_and(|row| row.projected >= last)
    })
    .await;
    assert_same(&town, &log, &*store, session).await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert!(log.cursor(session.partition()).await.unwrap().unwrap() <= held);
    town.close().await;
}

#[tokio::test(start_paused = true)]
async fn cluster_10_a_session_at_rest_has_its_state_in_the_log_before_the_log_forgets_it() {
    let ((log, store), (now, config)) = (parts(), clock());
    let moody = MoodyStore::over(&store);
    let town = Town::open_shared_for(&log, &moody, harness::apps_keeping("4h"), 1, config.clone());
    let sockets = visitors(&town, 1).await;
    let session = sockets[0].session.unwrap();
    projected(&town, &log, session).await;
    let entity = entity(&town, session);
    let before = log.head(&entity).await.unwrap().unwrap();
    now.fetch_add(2 * HOUR, Ordering::SeqCst);
    until(async || log.head(&entity).await.unwrap().unwrap().sequence > before.sequence).await;
    let head = log.head(&entity).await.unwrap().unwrap();
    assert_eq!(head.snapshot, Some(head.sequence));
    assert_eq!(head.header.last, before.header.last, "nothing has happened");
    assert!(head.header.attached);
    tokio::time::sleep(Duration::from_secs(2_000)).await;
    assert_eq!(log.head(&entity).await.unwrap().unwrap().sequence, head.sequence, "once");
    // The old records go, and the session is loaded from the log alone.
    now.fetch_add(3 * HOUR, Ordering::SeqCst);
    until(async || log.first().await.unwrap() >= head.sequence).await;
    town.kill().await;
    moody.set_down(true);
    let town = Town::open_shared(&log, &moody, 1, config);
    let mut socket = sockets[0].clone();
    let said = town.say(&mut socket, "still here").await;
    assert!(matches!(said, pb::input_reply::Kind::Committed(_)), "{said:?}");
    town.close().await;
}

#[tokio::test(start_paused = true)]
async fn every_partition_gets_a_cursor_even_if_nothing_happens_in_it() {
    let (log, store) = parts();
    let town = Town::open_shared(&log, &Arc::new(MemoryStore::new()), 1, Config::default());
    let sockets = visitors(&town, 1).await;
    let last = log.head(&entity(&town, sockets[0].session.unwrap())).await.unwrap().unwrap();
    for partition in Partition::all() {
        until(async || log.cursor(partition).await.unwrap() > Some(last.sequence)).await;
    }
    drop(store);
    town.close().await;
}
