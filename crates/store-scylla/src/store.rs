//! The store itself: the port, handed to the modules that know one table each.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use prometheus::Registry;
use stentor_store::{
    DirectoryRow, Erasure, Listing, Projection, SessionRow, Store, StoreError, StoredEvent,
};
use stentor_types::{AppId, EventNumber, SessionId, Timestamp, UserKey};
use tokio::{sync::watch, task::JoinHandle};

use crate::{
    connect::{self, Reporter},
    erasing,
    metrics::Metrics,
    options::{InvalidOption, Options, Retention},
    request::{Connection, RequestError},
    state::{State, Why},
    values::{Life, life, now},
};

/// A history in a database that several processes share. Dropping it ends its connections.
pub struct ScyllaStore {
    connection: watch::Receiver<Option<Arc<Connection>>>,
    state: watch::Receiver<State>,
    retention: Retention,
    task: JoinHandle<()>,
}

/// The store cannot even begin.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// What is said about the database cannot be right.
    #[error("the settings of the database cannot be used")]
    Option(#[from] InvalidOption),
    /// Two stores in one process need two registries.
    #[error("failed to register metrics")]
    Metrics(#[from] prometheus::Error),
}

// === impl ScyllaStore ===

impl ScyllaStore {
    /// Begins to connect and returns at once. Until [`State::Ready`], every operation fails with
    /// [`StoreError::Unavailable`]. Call it within a runtime.
    ///
    /// # Errors
    /// The options cannot be used, or the registry has these metrics already.
    pub fn open(options: Options, registry: &Registry) -> Result<Self, OpenError> {
        options.check()?;
        let metrics = Metrics::new(registry)?;
        let (connection, connected) = watch::channel(None);
        let begun = State::Unreachable { since: Instant::now(), why: Why::NotYet };
        let (state, watched) = watch::channel(begun);
        let retention = options.retention.clone();
        let task = tokio::spawn(connect::run(options, Reporter { state, connection, metrics }));
        Ok(Self { connection: connected, state: watched, retention, task })
    }

    /// How the database is, and every change of it.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// What [`Store::expire`] does where the time to live has not done it: looks at every key there is.
    /// Needed once after a retention has been shortened; what was written before keeps its longer life.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn sweep(&self, app: &AppId, before: Timestamp) -> Result<u64, StoreError> {
        let connection = self.connection().map_err(|cause| cause.about(app))?;
        connection.sweep(app, before).await.map_err(|cause| cause.about(app))
    }

    fn connection(&self) -> Result<Arc<Connection>, RequestError> {
        connect::connection(&self.connection, &self.state)
    }

    /// How much longer something of that time is kept.
    fn life(&self, app: &AppId) -> impl Fn(Timestamp) -> Life + use<> {
        let (retention, now) = ((self.retention)(app), now());
        move |at| life(retention, at, now)
    }
}

impl std::fmt::Debug for ScyllaStore {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("ScyllaStore")
            .field("state", &*self.state.borrow())
            .finish_non_exhaustive()
    }
}

impl Drop for ScyllaStore {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Store for ScyllaStore {
    async fn project(&self, projection: Projection) -> Result<(), StoreError> {
        let session = projection.session;
        let life = self.life(&projection.app);
        let write = async { self.connection()?.project(projection, life).await };
        write.await.map_err(|cause: RequestError| cause.about(&session))
    }

    async fn events(
        &self,
        app: &AppId,
        session: SessionId,
        from: EventNumber,
        to: EventNumber,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let read = async { self.connection()?.events(app, session, from, to).await };
        read.await.map_err(|cause: RequestError| cause.about(&session))
    }

    async fn session(
        &self,
        app: &AppId,
        session: SessionId,
    ) -> Result<Option<SessionRow>, StoreError> {
        let read = async { self.connection()?.session(app, session).await };
        read.await.map_err(|cause: RequestError| cause.about(&session))
    }

    async fn put_directory(
        &self,
        app: &AppId,
        user: UserKey,
        row: DirectoryRow,
    ) -> Result<(), StoreError> {
        let life = self.life(app)(row.at);
        let write = async { self.connection()?.put_directory(app, user, row, life).await };
        write.await.map_err(|cause: RequestError| cause.about(&user))
    }

    async fn directory(
        &self,
        app: &AppId,
        user: UserKey,
    ) -> Result<Option<DirectoryRow>, StoreError> {
        let read = async { self.connection()?.directory(app, user).await };
        read.await.map_err(|cause: RequestError| cause.about(&user))
    }

    async fn put_listing(
        &self,
        app: &AppId,
        session: SessionId,
        at: Timestamp,
        listing: Bytes,
    ) -> Result<(), StoreError> {
        let life = self.life(app)(at);
        let listing = Listing { at, session, listing };
        let write = async { self.connection()?.put_listing(app, listing, life).await };
        write.await.map_err(|cause: RequestError| cause.about(&session))
    }

    async fn listing(
        &self,
        app: &AppId,
        session: SessionId,
    ) -> Result<Option<Listing>, StoreError> {
        let read = async { self.connection()?.listing(app, session).await };
        read.await.map_err(|cause: RequestError| cause.about(&session))
    }

    async fn listings(
        &self,
        app: &AppId,
        before: Option<(Timestamp, SessionId)>,
        limit: usize,
    ) -> Result<Vec<Listing>, StoreError> {
        let read = async { self.connection()?.listings(app, before, limit).await };
        read.await.map_err(|cause: RequestError| cause.about(app))
    }

    async fn erase(
        &self,
        app: &AppId,
        session: SessionId,
        erasure: Erasure,
    ) -> Result<(), StoreError> {
        let write = async { self.connection()?.put_erasure(app, session, &erasure).await };
        write.await.map_err(|cause: RequestError| cause.about(&session))
    }

    async fn erasure(
        &self,
        app: &AppId,
        session: SessionId,
    ) -> Result<Option<Erasure>, StoreError> {
        let read = async { self.connection()?.erasure(app, session).await };
        read.await.map_err(|cause: RequestError| cause.about(&session))
    }

    async fn forget(
        &self,
        app: &AppId,
        session: SessionId,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let write = async { self.connection()?.forget(app, session, at).await };
        write.await.map_err(|cause: RequestError| cause.about(&session))
    }

    fn gone_after(&self, app: &AppId) -> Option<Duration> {
        (self.retention)(app).map(erasing::gone_after)
    }

    /// Nothing to do where everything is written with a time to live that ends by then: the database forgets
    /// by itself, and nobody is told how many events went. Otherwise as [`ScyllaStore::sweep`].
    async fn expire(&self, app: &AppId, before: Timestamp) -> Result<u64, StoreError> {
        if let Some(retention) = (self.retention)(app)
            && before.after(retention) <= now()
        {
            return Ok(0);
        }
        self.sweep(app, before).await
    }
}
