//! The log of a cluster: one JetStream stream per log group, one subject per entity.
//!
//! Every append names the newest record of its entity that its writer knows; the server judges. Heads
//! are read from the stream's leader, because a replica may lag behind; ranges from any replica, and
//! what is missing at their end from the leader.
//!
//! Knows nothing of who owns a partition: whoever comes late is refused.

mod append;
mod codes;
mod contested;
mod delivery;
mod erasing;
mod headers;
mod heads;
mod known;
mod metrics;
mod partition;
mod publish;
mod range;
mod read;
mod renewal;
mod room;
mod trouble;

use std::fmt;

use async_nats::jetstream::{kv, stream::Stream};
use bytes::Bytes;
use stentor_cluster::{
    Append, Appended, Entity, Head, Log, LogError, PartitionLog, Record, Scan, TrimReport,
};
use stentor_types::{Incarnation, Partition, Sequence, Timestamp};
use tokio_util::task::AbortOnDropHandle;

pub use self::metrics::LogMetrics;
use self::{contested::Contested, heads::Scans, known::Known, renewal::Renewal};
use crate::{
    Connection,
    dead::{Graveyard, Undertaker},
    stream::{self, LogSettings, OpenError},
    subjects::LogGroup,
};

/// The log of one log group.
pub struct NatsLog {
    connection: Connection,
    settings: LogSettings,
    stream: Stream<()>,
    stream_name: String,
    cursors: kv::Store,
    renewal: Renewal,
    metrics: LogMetrics,
    known: Known,
    contested: Contested,
    scans: Scans,
    graveyard: Graveyard,
    /// Held by the one batch that is in flight: the server allows 50 open ones per stream, for all
    /// routers together.
    batch: tokio::sync::Mutex<publish::Turn>,
    /// Looks how full the stream is, where somebody writes to it.
    _room: Option<AbortOnDropHandle<()>>,
}

// === impl NatsLog ===

impl NatsLog {
    /// Opens the log, and makes its stream if nobody has.
    ///
    /// # Errors
    /// The servers or the stream are not fit for it, or cannot be reached.
    pub async fn open(
        connection: &Connection,
        settings: LogSettings,
        metrics: LogMetrics,
    ) -> Result<Self, OpenError> {
        let opened = stream::ensure(connection, &settings).await?;
        let room = room::watch(opened.stream.clone(), settings.stream_name(), metrics.clone());
        Ok(Self::of(connection, settings, metrics, opened, Some(room), true))
    }

    /// Opens a log that is there, to look at it: makes nothing, changes no limits.
    ///
    /// # Errors
    /// It is not there, is not fit, or cannot be reached.
    pub async fn open_existing(
        connection: &Connection,
        settings: LogSettings,
        metrics: LogMetrics,
    ) -> Result<Self, OpenError> {
        let opened = stream::existing(connection, &settings).await?;
        Ok(Self::of(connection, settings, metrics, opened, None, false))
    }

    fn of(
        connection: &Connection,
        settings: LogSettings,
        metrics: LogMetrics,
        opened: stream::Opened,
        room: Option<AbortOnDropHandle<()>>,
        may_make: bool,
    ) -> Self {
        Self {
            connection: connection.clone(),
            stream: opened.stream,
            stream_name: settings.stream_name(),
            cursors: opened.cursors,
            renewal: Renewal::new(opened.incarnation, may_make),
            metrics,
            known: Known::default(),
            contested: Contested::default(),
            scans: Scans::default(),
            graveyard: Graveyard::new(connection.clone(), Undertaker::Router),
            batch: tokio::sync::Mutex::default(),
            _room: room,
            settings,
        }
    }

    /// The log group.
    #[must_use]
    pub const fn group(&self) -> LogGroup {
        self.settings.group
    }

    /// The name of the stream, for whoever reads the effects in it.
    #[must_use]
    pub fn stream_name(&self) -> &str {
        &self.stream_name
    }
}

impl fmt::Debug for NatsLog {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("NatsLog")
            .field("stream", &self.stream_name)
            .field("incarnation", &self.renewal.incarnation())
            .finish_non_exhaustive()
    }
}

impl Log for NatsLog {
    const CARRIES_EFFECTS: bool = true;

    async fn append(&self, batch: Vec<Append>) -> Result<Vec<Appended>, LogError> {
        let appended = self.write(batch).await;
        // Whoever waits for this has a turn of the runtime from its beginning: what the commit tells to gateways and
        // the answers to its senders are then with the line before it writes, and leave together.
        tokio::task::yield_now().await;
        appended
    }

    async fn head(&self, entity: &Entity) -> Result<Option<Head>, LogError> {
        self.checked_head(entity).await
    }

    async fn read(
        &self,
        entity: &Entity,
        from: Sequence,
        bytes_max: usize,
    ) -> Result<Vec<Record>, LogError> {
        self.records(entity, from, bytes_max).await
    }

    async fn read_tail(&self, entity: &Entity, events_min: u64) -> Result<Vec<Record>, LogError> {
        self.tail(entity, events_min).await
    }

    async fn heads(
        &self,
        partition: Partition,
        after: Option<Entity>,
        limit: usize,
    ) -> Result<Vec<(Entity, Head)>, LogError> {
        self.page_of_heads(partition, after, limit).await
    }

    async fn trim(
        &self,
        entity: &Entity,
        before: Sequence,
        whole: bool,
    ) -> Result<TrimReport, LogError> {
        self.remove(entity, before, whole).await
    }

    async fn erase(&self, entity: &Entity, before: Sequence) -> Result<TrimReport, LogError> {
        self.erase_all(entity, before).await
    }

    fn taken(&self, partition: Partition) {
        self.contested.taken(partition, std::time::Instant::now());
    }

    fn incarnation(&self) -> Incarnation {
        self.renewal.incarnation()
    }

    fn bury(&self, letter: Bytes) {
        self.graveyard.bury(letter);
    }
}

impl PartitionLog for NatsLog {
    async fn scan(
        &self,
        partition: Partition,
        from: Sequence,
        bytes_max: usize,
    ) -> Result<Scan, LogError> {
        self.scan_partition(partition, from, bytes_max).await
    }

    async fn cursor(&self, partition: Partition) -> Result<Option<Sequence>, LogError> {
        self.read_cursor(partition).await
    }

    async fn set_cursor(&self, partition: Partition, cursor: Sequence) -> Result<(), LogError> {
        self.move_cursor(partition, cursor).await
    }

    async fn first(&self) -> Result<Sequence, LogError> {
        Ok(Sequence(self.info().await?.first_sequence))
    }

    /// A record's age is that of its message, by the broker's clock.
    async fn purge(&self, older_than: Timestamp, before: Sequence) -> Result<u64, LogError> {
        self.purge_old(older_than, before).await
    }
}
