//! Durable commits per second and their latency: group commit against one fsync per commit, in one run.
//!
//! Each session writes one record after the other, as a conversation does; "one each" forces every
//! append through a write of its own by letting only one session write at a time.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use stentor_cluster::{Append, Appended, Entity, EntityKind, Header, Log};
use stentor_embedded::{Embedded, Options};
use stentor_types::{AppId, EventNumber, PlacementKey, SessionId, Timestamp};
use tokio::sync::Mutex;

/// A commit of two events with a Request of 300 bytes is about this long.
const RECORD_BYTES: usize = 600;
const SECONDS: u64 = 3;
const ROUNDS: usize = 3;

#[expect(clippy::print_stdout, reason = "a benchmark prints its table")]
#[tokio::main]
async fn main() {
    println!("| sessions | way | commits/s | p50 ms | p99 ms |\n|---|---|---|---|---|");
    for sessions in [1_usize, 64, 1_000] {
        let mut results: [Vec<(f64, f64, f64)>; 2] = Default::default();
        for _ in 0..ROUNDS {
            for (way, result) in results.iter_mut().enumerate() {
                result.push(run(sessions, way == 0).await);
            }
        }
        for (name, result) in ["group commit", "one fsync each"].iter().zip(&mut results) {
            result.sort_by(|one, two| one.0.total_cmp(&two.0));
            if let Some((rate, p50, p99)) = result.get(ROUNDS / 2) {
                println!("| {sessions} | {name} | {rate:.0} | {p50:.2} | {p99:.2} |");
            }
        }
    }
}

/// Commits per second, p50 and p99 in milliseconds.
async fn run(sessions: usize, grouped: bool) -> (f64, f64, f64) {
    let Ok(folder) = tempfile::tempdir() else { return (0.0, 0.0, 0.0) };
    let Ok(log) = Embedded::open(folder.path(), Options::default()) else { return (0.0, 0.0, 0.0) };
    let log = Arc::new(log);
    let turn = Arc::new(Mutex::new(()));
    let end = Instant::now() + Duration::from_secs(SECONDS);
    let tasks: Vec<_> = (0..sessions)
        .map(|session| {
            let (log, turn) = (Arc::clone(&log), Arc::clone(&turn));
            tokio::spawn(
                async move { converse(&log, session, end, (!grouped).then_some(&*turn)).await },
            )
        })
        .collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await.unwrap_or_default());
    }
    latencies.sort_unstable();
    let at = |share: usize| {
        let place = (latencies.len() * share / 100).min(latencies.len().saturating_sub(1));
        latencies.get(place).map_or(0.0, |latency: &Duration| latency.as_secs_f64() * 1e3)
    };
    #[expect(clippy::cast_precision_loss, reason = "a count for a table")]
    let rate = latencies.len() as f64 / SECONDS as f64;
    (rate, at(50), at(99))
}

async fn converse(
    log: &Embedded,
    session: usize,
    end: Instant,
    turn: Option<&Mutex<()>>,
) -> Vec<Duration> {
    let Ok(app) = AppId::try_new("bench") else { return Vec::new() };
    let id = SessionId::new(PlacementKey(session as u64), session as u128);
    let entity = Entity { app, kind: EntityKind::Session(id) };
    let (mut expected, mut n, mut latencies) = (None, 0, Vec::new());
    while Instant::now() < end {
        n += 1;
        let header = Header {
            first: EventNumber(n),
            last: EventNumber(n),
            at: Timestamp(n),
            ..Header::default()
        };
        let record = vec![b'x'; RECORD_BYTES].into();
        let append =
            Append { entity: entity.clone(), expected, header, record, effects: Vec::new() };
        let begun = Instant::now();
        let held = match turn {
            Some(turn) => Some(turn.lock().await),
            None => None,
        };
        let Ok(judged) = log.append(vec![append]).await else { return latencies };
        drop(held);
        let Some(Appended::Stored(sequence)) = judged.first() else { return latencies };
        expected = Some(*sequence);
        latencies.push(begun.elapsed());
    }
    latencies
}
