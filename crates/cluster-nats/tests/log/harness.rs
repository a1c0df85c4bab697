//! Logs on a real server, each in a stream of its own.

use std::sync::atomic::{AtomicU16, Ordering};

use bytes::Bytes;
use stentor_cluster::{Append, Appended, Entity, EntityKind, Header, Log};
use stentor_cluster_nats::{
    Connection, ConnectionSettings, LogMetrics, LogSettings, NatsLog, subjects::LogGroup,
};
use stentor_testkit::{Nats, NatsOptions};
use stentor_types::{AppId, EventNumber, PlacementKey, Sequence, SessionId, Timestamp};

/// A server and a connection to it.
pub(crate) struct Server {
    pub(crate) nats: Nats,
    pub(crate) connection: Connection,
    groups: AtomicU16,
}

// === impl Server ===

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(NatsOptions::default()).await
    }

    pub(crate) async fn with(options: NatsOptions) -> Self {
        let nats = Nats::with(options).await.unwrap();
        let connection = connect(&nats).await;
        Self { nats, connection, groups: AtomicU16::new(0) }
    }

    /// Settings for a stream that no other test on this server has.
    pub(crate) fn settings(&self) -> LogSettings {
        let group = LogGroup(self.groups.fetch_add(1, Ordering::Relaxed));
        let replicas = self.nats.len();
        let max_bytes = 64 << 20;
        let settings = LogSettings::new(self.nats.monitor_urls());
        LogSettings { group, replicas, max_bytes, ..settings }
    }

    /// A new, empty log.
    pub(crate) async fn log(&self) -> NatsLog {
        self.open(self.settings()).await
    }

    pub(crate) async fn open(&self, settings: LogSettings) -> NatsLog {
        NatsLog::open(&self.connection, settings, metrics().1).await.unwrap()
    }
}

pub(crate) async fn connect(nats: &Nats) -> Connection {
    Connection::open(&ConnectionSettings::new(&nats.url(), "test")).await.unwrap()
}

/// Metrics and where they can be seen.
pub(crate) fn metrics() -> (prometheus::Registry, LogMetrics) {
    let registry = prometheus::Registry::new();
    let metrics = LogMetrics::new(&registry).unwrap();
    (registry, metrics)
}

/// What a counter shows.
pub(crate) fn count(registry: &prometheus::Registry, name: &str) -> u64 {
    let families = registry.gather();
    let family = families.iter().find(|family| family.name() == name).unwrap();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small count")]
    let value = family.get_metric()[0].get_counter().get_value() as u64;
    value
}

/// A session of partition `number % 64`.
pub(crate) fn session(number: u64) -> Entity {
    session_of("test", number)
}

pub(crate) fn session_of(app: &str, number: u64) -> Entity {
    let id = SessionId::new(PlacementKey(number), u128::from(number));
    Entity { app: AppId::try_new(app).unwrap(), kind: EntityKind::Session(id) }
}

/// Record `n` of an entity, holding event `n`.
pub(crate) fn record(entity: &Entity, expected: Option<Sequence>, n: u64) -> Append {
    let (first, last) = (EventNumber(n), EventNumber(n));
    let header = Header { first, last, at: Timestamp(n), ..Header::default() };
    let record = Bytes::from(format!("{entity}: {n}"));
    Append { entity: entity.clone(), expected, header, record, effects: Vec::new() }
}

pub(crate) fn with_effects(mut append: Append, effects: usize) -> Append {
    let name = String::from_utf8(append.record.to_vec()).unwrap();
    append.effects = (0..effects).map(|place| format!("{name}, effect {place}").into()).collect();
    append
}

/// Appends one record that must be stored.
pub(crate) async fn put(log: &NatsLog, append: Append) -> Sequence {
    let judged = log.append(vec![append]).await.unwrap();
    let [Appended::Stored(sequence)] = judged[..] else { panic!("not stored: {judged:?}") };
    sequence
}

/// The numbers of an entity's events, in the order of its records.
pub(crate) async fn events(log: &NatsLog, entity: &Entity) -> Vec<u64> {
    let records = log.read(entity, Sequence(0), usize::MAX).await.unwrap();
    records.iter().map(|record| record.header.last.0).collect()
}
