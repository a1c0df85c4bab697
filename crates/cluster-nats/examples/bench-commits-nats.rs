//! Durable commits per second and their latency on a real server that syncs before it answers: many
//! sessions in one atomic batch against one message per commit, in turn in one run.
//!
//! Each session writes one record after the other, as a conversation does. What is grouped waits while
//! one batch is in flight, as in a router. `bench-commits-nats 3` measures a cluster of three,
//! `bench-commits-nats 1 4,8,16` other numbers of sessions.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    time::{Duration, Instant},
};

use stentor_cluster::{Append, Appended, Entity, EntityKind, Header, Log};
use stentor_cluster_nats::{
    Connection, ConnectionSettings, LogMetrics, LogSettings, NatsLog, subjects::LogGroup,
};
use stentor_testkit::{Nats, NatsOptions};
use stentor_types::{AppId, EventNumber, PlacementKey, SessionId, Timestamp};
use tokio::sync::{mpsc, oneshot};

/// A commit of two events with a Request of 300 bytes is about this long.
const RECORD_BYTES: usize = 600;
const SECONDS: u64 = 3;
const ROUNDS: usize = 3;
/// Commits in one batch.
const BATCH: usize = 400;

type Waiting = (Append, oneshot::Sender<Appended>);

/// How commits reach the log.
#[derive(Clone)]
enum Way {
    /// Together with those that wait meanwhile.
    Grouped(mpsc::Sender<Waiting>),
    /// Each in a message of its own.
    Each(Arc<NatsLog>),
}

#[expect(clippy::print_stdout, reason = "a benchmark prints its table")]
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let nodes = std::env::args().nth(1).map_or(Ok(1), |nodes| nodes.parse())?;
    let nats = Nats::with(NatsOptions { nodes, ..NatsOptions::default() }).await?;
    let connection = Connection::open(&ConnectionSettings::new(&nats.url(), "bench")).await?;
    println!("| nodes | sessions | way | commits/s | p50 ms | p99 ms |\n|---|---|---|---|---|---|");
    let list = std::env::args().nth(2).unwrap_or_else(|| "1,64,1000".to_owned());
    for sessions in list.split(',') {
        let sessions: usize = sessions.parse()?;
        let mut results: [Vec<(f64, f64, f64)>; 2] = Default::default();
        for _ in 0..ROUNDS {
            for (way, result) in results.iter_mut().enumerate() {
                let log = Arc::new(open(&connection, &nats).await?);
                result.push(run(log, sessions, way == 0).await);
            }
        }
        for (name, result) in ["group commit", "one message each"].iter().zip(&mut results) {
            result.sort_by(|one, two| one.0.total_cmp(&two.0));
            if let Some((rate, p50, p99)) = result.get(ROUNDS / 2) {
                println!("| {nodes} | {sessions} | {name} | {rate:.0} | {p50:.2} | {p99:.2} |");
            }
        }
    }
    Ok(())
}

/// A log in a new stream.
async fn open(connection: &Connection, nats: &Nats) -> Result<NatsLog, Box<dyn std::error::Error>> {
    static GROUP: AtomicU16 = AtomicU16::new(0);
    let settings = LogSettings {
        group: LogGroup(GROUP.fetch_add(1, Ordering::Relaxed)),
        replicas: nats.len(),
        max_bytes: 200 << 20,
        ..LogSettings::new(nats.monitor_urls())
    };
    let metrics = LogMetrics::new(&prometheus::Registry::new())?;
    Ok(NatsLog::open(connection, settings, metrics).await?)
}

/// Commits per second, p50 and p99 in milliseconds.
async fn run(log: Arc<NatsLog>, sessions: usize, grouped: bool) -> (f64, f64, f64) {
    let way = if grouped {
        let (sender, waiting) = mpsc::channel(4_096);
        tokio::spawn(gather(log, waiting));
        Way::Grouped(sender)
    } else {
        Way::Each(log)
    };
    let end = Instant::now() + Duration::from_secs(SECONDS);
    let tasks: Vec<_> =
        (0..sessions).map(|session| tokio::spawn(converse(way.clone(), session, end))).collect();
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

async fn gather(log: Arc<NatsLog>, mut waiting: mpsc::Receiver<Waiting>) {
    let mut all = Vec::new();
    while waiting.recv_many(&mut all, BATCH).await > 0 {
        let (batch, answers): (Vec<_>, Vec<_>) = all.drain(..).unzip();
        let Ok(judged) = log.append(batch).await else { return };
        for (answer, appended) in answers.into_iter().zip(judged) {
            // Whoever no longer waits has ended.
            let _ = answer.send(appended);
        }
    }
}

async fn converse(way: Way, session: usize, end: Instant) -> Vec<Duration> {
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
        let appended = match &way {
            Way::Each(log) => {
                log.append(vec![append]).await.ok().and_then(|judged| judged.first().copied())
            }
            Way::Grouped(sender) => {
                let (answer, answered) = oneshot::channel();
                if sender.send((append, answer)).await.is_err() {
                    return latencies;
                }
                answered.await.ok()
            }
        };
        let Some(Appended::Stored(sequence)) = appended else { return latencies };
        expected = Some(sequence);
        latencies.push(begun.elapsed());
    }
    latencies
}
