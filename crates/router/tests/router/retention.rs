//! What is older than the log keeps goes to the history, and comes back from there.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use stentor_cluster::{Entity, EntityKind, Log, memory::MemoryLog};
use stentor_router::{Clock, Config};
use stentor_store::memory::MemoryStore;
use stentor_types::{EventKind, Incarnation, Timestamp};
use stentor_wire::{decode_event, pb, session_to_bytes};

use crate::harness::{self, Town};

const HOUR: u64 = 3_600_000_000;

#[tokio::test(start_paused = true)]
async fn i10_a_session_that_left_the_log_goes_on_from_the_history() {
    let log = Arc::new(MemoryLog::new(Incarnation(1)));
    let store = Arc::new(MemoryStore::new());
    let now = Arc::new(AtomicU64::new(1_000 * HOUR));
    let clock = Arc::clone(&now);
    let clock = Clock::from_fn(move || Timestamp(clock.fetch_add(1, Ordering::SeqCst)));
    let config = Config { clock, ..Config::default() };
    let mut town = Town::open(&log, &store, harness::apps(), 1, config);
    let mut socket = town.socket(1, "user-a");
    town.attach(&mut socket, Some("claimed")).await;
    town.say(&mut socket, "hello").await;
    let effect = town.effect().await;
    town.answer(&effect, "hi").await;
    let session = socket.session.unwrap();
    let detach = pb::DetachInput { session: session_to_bytes(session), delivered: None };
    town.send(&socket, pb::connection_input::Kind::Detach(detach)).await;
    let before = town.events(session).await;

    now.fetch_add(HOUR, Ordering::SeqCst);
    let mut after = before.clone();
    while !after.iter().any(|event| matches!(event.kind, EventKind::Left { .. })) {
        tokio::time::sleep(Duration::from_millis(100)).await;
        after = town.events(session).await;
    }
    assert_eq!(after[..before.len()], before);

    now.fetch_add(100 * HOUR, Ordering::SeqCst);
    let entity = Entity { app: town.app.clone(), kind: EntityKind::Session(session) };
    while log.head(&entity).await.unwrap().is_some() {
        tokio::time::sleep(Duration::from_secs(60)).await;
    }

    let mut again = town.socket(2, "user-a");
    let attached = town.attach(&mut again, None).await;
    assert_eq!(again.session, Some(session), "the directory came back, too");
    let last = after.last().unwrap().n.0;
    assert!(attached.n > last, "numbers go on: {} after {last}", attached.n);
    let replay: Vec<_> = attached.replay.iter().map(|event| decode_event(event).unwrap()).collect();
    assert!(
        replay.iter().any(|event| matches!(&event.kind, EventKind::Replied { .. })),
        "{replay:?}"
    );
    let all = town.events(session).await;
    assert_eq!(all[..after.len()], after, "the history has the very same events");
    assert!(all.iter().zip(1..).all(|(event, n)| event.n.0 == n), "dense");
    town.close().await;
}
