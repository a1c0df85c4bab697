//! No store at all: for clusters without a database, which remember as far as their log reaches.

use std::time::Duration;

use bytes::Bytes;
use stentor_types::{AppId, EventNumber, SessionId, Timestamp, UserKey};

use crate::port::{
    DirectoryRow, Erasure, Listing, Projection, SessionRow, Store, StoreError, StoredEvent,
};

/// Takes everything and keeps nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoStore;

impl Store for NoStore {
    async fn project(&self, _: Projection) -> Result<(), StoreError> {
        Ok(())
    }

    async fn events(
        &self,
        _: &AppId,
        _: SessionId,
        _: EventNumber,
        _: EventNumber,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        Ok(Vec::new())
    }

    async fn session(&self, _: &AppId, _: SessionId) -> Result<Option<SessionRow>, StoreError> {
        Ok(None)
    }

    async fn put_directory(
        &self,
        _: &AppId,
        _: UserKey,
        _: DirectoryRow,
    ) -> Result<(), StoreError> {
        Ok(())
    }

    async fn directory(&self, _: &AppId, _: UserKey) -> Result<Option<DirectoryRow>, StoreError> {
        Ok(None)
    }

    async fn put_listing(
        &self,
        _: &AppId,
        _: SessionId,
        _: Timestamp,
        _: Bytes,
    ) -> Result<(), StoreError> {
        Ok(())
    }

    async fn listing(&self, _: &AppId, _: SessionId) -> Result<Option<Listing>, StoreError> {
        Ok(None)
    }

    async fn listings(
        &self,
        _: &AppId,
        _: Option<(Timestamp, SessionId)>,
        _: usize,
    ) -> Result<Vec<Listing>, StoreError> {
        Ok(Vec::new())
    }

    async fn erase(&self, _: &AppId, _: SessionId, _: Erasure) -> Result<(), StoreError> {
        Ok(())
    }

    async fn erasure(&self, _: &AppId, _: SessionId) -> Result<Option<Erasure>, StoreError> {
        Ok(None)
    }

    async fn forget(&self, _: &AppId, _: SessionId, _: Timestamp) -> Result<(), StoreError> {
        Ok(())
    }

    fn gone_after(&self, _: &AppId) -> Option<Duration> {
        Some(Duration::ZERO)
    }

    async fn expire(&self, _: &AppId, _: Timestamp) -> Result<u64, StoreError> {
        Ok(0)
    }
}
