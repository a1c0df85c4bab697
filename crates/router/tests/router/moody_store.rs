//! A store that can be told to fail.
#![expect(unreachable_pub, reason = "a module of a test")]

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use stentor_store::{
    DirectoryRow, Erasure, Listing, Projection, SessionRow, Store, StoreError, StoredEvent,
    memory::MemoryStore,
};
use stentor_types::{AppId, EventNumber, SessionId, Timestamp, UserKey};

#[derive(Debug, Default)]
pub struct MoodyStore {
    pub inner: Arc<MemoryStore>,
    /// It does not answer.
    pub down: AtomicBool,
    /// Writes take place, and yet are reported as failed.
    pub forgetful: AtomicBool,
    /// It does not answer at all, not even that it cannot.
    pub hangs: AtomicBool,
    /// Whose writes are refused.
    pub refuses: Mutex<Option<SessionId>>,
    /// It removes nothing.
    pub remembers: AtomicBool,
    /// Writes that were tried.
    pub writes: AtomicU64,
}

impl MoodyStore {
    pub fn over(inner: &Arc<MemoryStore>) -> Arc<Self> {
        Arc::new(Self { inner: Arc::clone(inner), ..Self::default() })
    }

    pub fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    async fn ask(&self) -> Result<&MemoryStore, StoreError> {
        if self.hangs.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        if self.down.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("a test".into()));
        }
        Ok(&self.inner)
    }

    fn written(&self) -> Result<(), StoreError> {
        if self.forgetful.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("timed out, but applied".into()));
        }
        Ok(())
    }
}

impl Store for MoodyStore {
    async fn project(&self, projection: Projection) -> Result<(), StoreError> {
        self.writes.fetch_add(1, Ordering::SeqCst);
        if *self.refuses.lock().unwrap() == Some(projection.session) {
            return Err(StoreError::Unavailable("too large for me".into()));
        }
        self.ask().await?.project(projection).await?;
        self.written()
    }

    async fn events(
        &self,
        app: &AppId,
        session: SessionId,
        from: EventNumber,
        to: EventNumber,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        self.ask().await?.events(app, session, from, to).await
    }

    async fn session(
        &self,
        app: &AppId,
        session: SessionId,
    ) -> Result<Option<SessionRow>, StoreError> {
        self.ask().await?.session(app, session).await
    }

    async fn put_directory(
        &self,
        app: &AppId,
        user: UserKey,
        row: DirectoryRow,
    ) -> Result<(), StoreError> {
        self.writes.fetch_add(1, Ordering::SeqCst);
        self.ask().await?.put_directory(app, user, row).await?;
        self.written()
    }

    async fn directory(
        &self,
        app: &AppId,
        user: UserKey,
    ) -> Result<Option<DirectoryRow>, StoreError> {
        self.ask().await?.directory(app, user).await
    }

    async fn put_listing(
        &self,
        app: &AppId,
        session: SessionId,
        at: Timestamp,
        listing: Bytes,
    ) -> Result<(), StoreError> {
        self.ask().await?.put_listing(app, session, at, listing).await
    }

    async fn listing(
        &self,
        app: &AppId,
        session: SessionId,
    ) -> Result<Option<Listing>, StoreError> {
        self.ask().await?.listing(app, session).await
    }

    async fn listings(
        &self,
        app: &AppId,
        before: Option<(Timestamp, SessionId)>,
        limit: usize,
    ) -> Result<Vec<Listing>, StoreError> {
        self.ask().await?.listings(app, before, limit).await
    }

    async fn erase(
        &self,
        app: &AppId,
        session: SessionId,
        erasure: Erasure,
    ) -> Result<(), StoreError> {
        self.ask().await?.erase(app, session, erasure).await
    }

    async fn erasure(
        &self,
        app: &AppId,
        session: SessionId,
    ) -> Result<Option<Erasure>, StoreError> {
        self.ask().await?.erasure(app, session).await
    }

    async fn forget(
        &self,
        app: &AppId,
        session: SessionId,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        if self.remembers.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("not now".into()));
        }
        self.ask().await?.forget(app, session, at).await
    }

    fn gone_after(&self, _: &AppId) -> Option<Duration> {
        Some(Duration::from_secs(86_400))
    }

    async fn expire(&self, app: &AppId, before: Timestamp) -> Result<u64, StoreError> {
        self.ask().await?.expire(app, before).await
    }
}
