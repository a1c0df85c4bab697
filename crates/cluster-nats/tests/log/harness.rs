//! Logs on a real server, each in a stream of its own.

use std::sync::atomic::{AtomicU16, Ordering};

use stentor_cluster_nats::{
    Connection, ConnectionSettings, LogMetrics, LogSettings, NatsLog, subjects::LogGroup,
};
use stentor_testkit::{Nats, NatsOptions};

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
