//! A store in memory, for tests and embedders. Nothing survives the process.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use stentor_types::{AppId, EventNumber, SessionId, Timestamp, UserKey};

use crate::port::{
    DirectoryRow, Erasure, Listing, Projection, SessionRow, Store, StoreError, StoredEvent,
};

/// A store in memory.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    events: BTreeMap<(AppId, SessionId, EventNumber), StoredEvent>,
    sessions: BTreeMap<(AppId, SessionId), SessionRow>,
    directories: BTreeMap<(AppId, UserKey), DirectoryRow>,
    listings: BTreeMap<(AppId, SessionId), Listing>,
    /// The same sessions, as they stand in lists.
    places: BTreeMap<AppId, BTreeSet<Reverse<(Timestamp, SessionId)>>>,
    erasures: BTreeMap<(AppId, SessionId), Erasure>,
}

// === impl MemoryStore ===

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn with<T>(&self, work: impl FnOnce(&mut Inner) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Store for MemoryStore {
    async fn project(&self, projection: Projection) -> Result<(), StoreError> {
        let Projection { app, session, events, row } = projection;
        self.with(|inner| {
            let erased = inner.erasures.get(&(app.clone(), session)).map(|erasure| erasure.at);
            for event in events.into_iter().filter(|_| erased.is_none()) {
                let slot = inner.events.entry((app.clone(), session, event.n));
                let kept = slot.or_insert_with(|| event.clone());
                if kept.at < event.at {
                    *kept = event;
                }
            }
            if let Some(row) = row.filter(|row| erased.is_none_or(|erased| row.at >= erased)) {
                let kept = inner.sessions.entry((app, session)).or_insert_with(|| row.clone());
                if kept.at < row.at {
                    *kept = row;
                }
            }
        });
        Ok(())
    }

    async fn events(
        &self,
        app: &AppId,
        session: SessionId,
        from: EventNumber,
        to: EventNumber,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        if from > to {
            return Ok(Vec::new());
        }
        let range = (app.clone(), session, from)..=(app.clone(), session, to);
        Ok(self.with(|inner| inner.events.range(range).map(|(_, event)| event.clone()).collect()))
    }

    async fn session(
        &self,
        app: &AppId,
        session: SessionId,
    ) -> Result<Option<SessionRow>, StoreError> {
        Ok(self.with(|inner| inner.sessions.get(&(app.clone(), session)).cloned()))
    }

    async fn put_directory(
        &self,
        app: &AppId,
        user: UserKey,
        row: DirectoryRow,
    ) -> Result<(), StoreError> {
        self.with(|inner| {
            let kept = inner.directories.entry((app.clone(), user)).or_insert_with(|| row.clone());
            if kept.at < row.at {
                *kept = row;
            }
        });
        Ok(())
    }

    async fn directory(
        &self,
        app: &AppId,
        user: UserKey,
    ) -> Result<Option<DirectoryRow>, StoreError> {
        Ok(self.with(|inner| inner.directories.get(&(app.clone(), user)).cloned()))
    }

    async fn put_listing(
        &self,
        app: &AppId,
        session: SessionId,
        at: Timestamp,
        listing: Bytes,
    ) -> Result<(), StoreError> {
        self.with(|inner| {
            if inner.erasures.contains_key(&(app.clone(), session)) {
                return;
            }
            let kept = inner.listings.get(&(app.clone(), session));
            if kept.is_some_and(|kept| kept.at >= at) {
                return;
            }
            let places = inner.places.entry(app.clone()).or_default();
            if let Some(kept) = kept {
                places.remove(&Reverse((kept.at, session)));
            }
            places.insert(Reverse((at, session)));
            inner.listings.insert((app.clone(), session), Listing { at, session, listing });
        });
        Ok(())
    }

    async fn listing(
        &self,
        app: &AppId,
        session: SessionId,
    ) -> Result<Option<Listing>, StoreError> {
        Ok(self.with(|inner| inner.listings.get(&(app.clone(), session)).cloned()))
    }

    async fn listings(
        &self,
        app: &AppId,
        before: Option<(Timestamp, SessionId)>,
        limit: usize,
    ) -> Result<Vec<Listing>, StoreError> {
        let from = before.map_or(Bound::Unbounded, |before| Bound::Excluded(Reverse(before)));
        Ok(self.with(|inner| {
            let places = inner.places.get(app).into_iter();
            let places = places.flat_map(|places| places.range((from, Bound::Unbounded)));
            let listings = places
                .filter_map(|Reverse((_, id))| inner.listings.get(&(app.clone(), *id)).cloned());
            listings.take(limit).collect()
        }))
    }

    async fn erase(
        &self,
        app: &AppId,
        session: SessionId,
        erasure: Erasure,
    ) -> Result<(), StoreError> {
        self.with(|inner| {
            let slot = inner.erasures.entry((app.clone(), session));
            let kept = slot.or_insert_with(|| erasure.clone());
            if kept.at < erasure.at {
                *kept = erasure;
            }
        });
        Ok(())
    }

    async fn erasure(
        &self,
        app: &AppId,
        session: SessionId,
    ) -> Result<Option<Erasure>, StoreError> {
        Ok(self.with(|inner| inner.erasures.get(&(app.clone(), session)).cloned()))
    }

    async fn forget(
        &self,
        app: &AppId,
        session: SessionId,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let key = (app.clone(), session);
        self.with(|inner| {
            inner.events.retain(|(of, id, _), _| (of, *id) != (app, session));
            if inner.sessions.get(&key).is_some_and(|row| row.at < at) {
                inner.sessions.remove(&key);
            }
            let listing = inner.listings.remove(&key);
            if let (Some(listing), Some(places)) = (listing, inner.places.get_mut(app)) {
                places.remove(&Reverse((listing.at, session)));
            }
        });
        Ok(())
    }

    fn gone_after(&self, _: &AppId) -> Option<Duration> {
        Some(Duration::ZERO)
    }

    async fn expire(&self, app: &AppId, before: Timestamp) -> Result<u64, StoreError> {
        Ok(self.with(|inner| {
            let count = inner.events.len();
            inner.events.retain(|key, event| key.0 != *app || event.at >= before);
            inner.sessions.retain(|key, row| key.0 != *app || row.at >= before);
            inner.directories.retain(|key, row| key.0 != *app || row.at >= before);
            inner.listings.retain(|key, row| key.0 != *app || row.at >= before);
            if let Some(places) = inner.places.get_mut(app) {
                places.retain(|Reverse((at, _))| *at >= before);
            }
            u64::try_from(count - inner.events.len()).unwrap_or(u64::MAX)
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract;

    #[tokio::test]
    async fn p10_the_store_in_memory_keeps_the_contract() {
        contract::all(async || MemoryStore::new()).await;
    }
}
