//! Old events of a long session, and how much of the log is read for them.

use stentor_cluster::{Entity, EntityKind, Log};
use stentor_router::Config;
use stentor_types::EventNumber;
use stentor_wire::{decode_event, pb, session_to_bytes};

use crate::{
    harness::{self, Socket, Town},
    moody_log::MoodyLog,
    parts,
};

async fn fetch(town: &Town, socket: &Socket, from: u64, to: u64) -> Vec<EventNumber> {
    let session = socket.session.unwrap();
    let fetch = pb::FetchRequest { session: session_to_bytes(session), from, to };
    let reply = town.ask(session.partition(), pb::request::Kind::Fetch(fetch)).await;
    let Some(pb::reply::Kind::Fetch(reply)) = reply.kind else { panic!("{reply:?}") };
    reply.events.iter().map(|event| decode_event(event).unwrap().n).collect()
}

#[tokio::test]
async fn old_events_are_read_without_reading_all_that_came_after_or_before() {
    let (log, store) = parts();
    let counting = MoodyLog::over(&log);
    let town = Town::open(&counting, &store, harness::apps(), 1, Config::default());
    let mut socket = town.socket(1, "user-a");
    town.attach(&mut socket, Some("claimed")).await;
    // What others do lies in between.
    let mut other = town.socket(2, "user-b");
    town.attach(&mut other, Some("claimed")).await;
    let text = "x".repeat(2_000);
    for _ in 0..900 {
        town.say(&mut socket, &text).await;
        town.say(&mut other, "y").await;
    }
    let session = socket.session.unwrap();
    let entity = Entity { app: town.app.clone(), kind: EntityKind::Session(session) };
    let all = log.read_tail(&entity, u64::MAX).await.unwrap();
    let bytes: usize = all.iter().map(|record| record.record.len()).sum();
    let head = all.last().unwrap().header.last.0;
    assert!(bytes > 3_000_000 && head > 900, "{bytes} {head}");
    for from in [1, 2, 100, head / 2, head - 400, head - 130] {
        counting.take_read();
        let events = fetch(&town, &socket, from, from + 19).await;
        assert_eq!(events, (from..from + 20).map(EventNumber).collect::<Vec<_>>());
        let (reads, read) = counting.take_read();
        // A page after the newest snapshot, one around what is wanted, and what is looked at on the way.
        assert!(read < 1_000_000 && reads < 24, "{read} bytes with {reads} reads for {from}");
    }
    // Over several pages, and across the end of what is in memory.
    let from = head - 450;
    let events = fetch(&town, &socket, from, head).await;
    assert_eq!(events, (from..=head).map(EventNumber).collect::<Vec<_>>());
    town.close().await;
}
