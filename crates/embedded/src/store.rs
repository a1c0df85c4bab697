//! The store port.

use std::time::Duration;

use bytes::Bytes;
use stentor_store::{
    DirectoryRow, Erasure, Listing, Projection, SessionRow, Store, StoreError, StoredEvent,
};
use stentor_types::{AppId, Epoch, EventNumber, Incarnation, SessionId, Timestamp, UserKey};

use crate::{
    keys,
    open::Embedded,
    read::ReadError,
    values::{self, Damage, timed, untimed},
    writer::{Change, Table, WriteFailed},
};

/// Values removed with one write.
const EXPIRE_MAX: usize = 1_000;

impl Store for Embedded {
    async fn project(&self, projection: Projection) -> Result<(), StoreError> {
        let Projection { app, session, events, row } = projection;
        let mut changes: Vec<_> = events
            .into_iter()
            .map(|event| {
                let key = keys::event(&app, session, event.n);
                let value = timed(event.at, &[], &event.event);
                Change::Put { table: Table::Events, key, value }
            })
            .collect();
        if let Some(row) = row {
            let key = keys::session(&app, session);
            let (high, low) = ((row.log.0 >> 64) as u64, row.log.0 as u64);
            let numbers = [row.epoch.0, row.projected.0, row.first.0, high, low];
            let value = timed(row.at, &numbers, &row.state);
            changes.push(Change::Put { table: Table::Sessions, key, value });
        }
        self.writer.change(changes).await.map_err(fatal)
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
        let range = keys::event(app, session, from)..=keys::event(app, session, to);
        let read = self.blocking(move |this| {
            let mut events = Vec::new();
            for pair in this.tables.events.range(range) {
                let (key, sealed) = pair.into_inner()?;
                let value = values::unseal(&key, &sealed.into()).map_err(damage)?;
                let (at, [], event) = untimed(&value).map_err(damage)?;
                let n = key.split_at_checked(key.len().saturating_sub(8)).map(|(_, n)| n);
                let n = n.and_then(|n| n.try_into().ok()).map_or(0, u64::from_be_bytes);
                events.push(StoredEvent { n: EventNumber(n), at, event });
            }
            Ok(events)
        });
        read.await.map_err(|error| store_error(error, session))
    }

    async fn session(
        &self,
        app: &AppId,
        session: SessionId,
    ) -> Result<Option<SessionRow>, StoreError> {
        let key = keys::session(app, session);
        let read = self.blocking(move |this| {
            let Some(sealed) = this.tables.sessions.get(&key)? else { return Ok(None) };
            let value = values::unseal(&key, &sealed.into()).map_err(damage)?;
            let (at, [epoch, projected, first, high, low], state) =
                untimed(&value).map_err(damage)?;
            let (projected, first) = (EventNumber(projected), EventNumber(first));
            let log = Incarnation(u128::from(high) << 64 | u128::from(low));
            Ok(Some(SessionRow { epoch: Epoch(epoch), projected, first, at, log, state }))
        });
        read.await.map_err(|error| store_error(error, session))
    }

    async fn put_directory(
        &self,
        app: &AppId,
        user: UserKey,
        row: DirectoryRow,
    ) -> Result<(), StoreError> {
        let key = keys::directory(app, user);
        let value = timed(row.at, &[], &row.directory);
        let change = Change::Put { table: Table::Directories, key, value };
        self.writer.change(vec![change]).await.map_err(fatal)
    }

    async fn directory(
        &self,
        app: &AppId,
        user: UserKey,
    ) -> Result<Option<DirectoryRow>, StoreError> {
        let key = keys::directory(app, user);
        let read = self.blocking(move |this| {
            let Some(sealed) = this.tables.directories.get(&key)? else { return Ok(None) };
            let value = values::unseal(&key, &sealed.into()).map_err(damage)?;
            let (at, [], directory) = untimed(&value).map_err(damage)?;
            Ok(Some(DirectoryRow { at, directory }))
        });
        read.await.map_err(|error| store_error(error, user))
    }

    async fn put_listing(
        &self,
        app: &AppId,
        session: SessionId,
        at: Timestamp,
        listing: Bytes,
    ) -> Result<(), StoreError> {
        let change = Change::List { app: app.clone(), session, at, listing };
        self.writer.change(vec![change]).await.map_err(fatal)
    }

    async fn listing(
        &self,
        app: &AppId,
        session: SessionId,
    ) -> Result<Option<Listing>, StoreError> {
        let (app, key) = (app.clone(), keys::session(app, session));
        let read = self.blocking(move |this| this.tables.listing(&app, &key, session));
        read.await.map_err(|error| store_error(error, session))
    }

    async fn listings(
        &self,
        app: &AppId,
        before: Option<(Timestamp, SessionId)>,
        limit: usize,
    ) -> Result<Vec<Listing>, StoreError> {
        let (prefix, first) =
            (keys::app_prefix(app), before.map(|(at, id)| keys::place(app, at, id)));
        let read = self.blocking(move |this| this.tables.listings(&prefix, first, limit));
        read.await.map_err(|error| store_error(error, app))
    }

    async fn erase(
        &self,
        app: &AppId,
        session: SessionId,
        erasure: Erasure,
    ) -> Result<(), StoreError> {
        let key = keys::session(app, session);
        let value = timed(erasure.at, &[], &erasure.certificate);
        let change = Change::Put { table: Table::Erasures, key, value };
        self.writer.change(vec![change]).await.map_err(fatal)
    }

    async fn erasure(
        &self,
        app: &AppId,
        session: SessionId,
    ) -> Result<Option<Erasure>, StoreError> {
        let key = keys::session(app, session);
        let read = self.blocking(move |this| {
            let Some(sealed) = this.tables.erasures.get(&key)? else { return Ok(None) };
            let value = values::unseal(&key, &sealed.into()).map_err(damage)?;
            let (at, [], certificate) = untimed(&value).map_err(damage)?;
            Ok(Some(Erasure { at, certificate }))
        });
        read.await.map_err(|error| store_error(error, session))
    }

    async fn forget(
        &self,
        app: &AppId,
        session: SessionId,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let (key, place) =
            (keys::session(app, session), |at| keys::place(app, Timestamp(at), session));
        let prefix = key.clone();
        let listed = self.blocking(move |this| {
            let mut events = Vec::new();
            for pair in this.tables.events.prefix(&prefix) {
                events.push(pair.key()?.to_vec());
            }
            let listing = this.tables.listings.get(&prefix)?;
            let listed = listing.and_then(|sealed| {
                let value = values::unseal(&prefix, &sealed.into()).ok()?;
                values::take(&mut &value[..]).ok()
            });
            Ok((events, listed))
        });
        let (events, listed) = listed.await.map_err(|error| store_error(error, session))?;
        let expire = |table, key, before| Change::Expire { table, key, before };
        let mut changes: Vec<_> =
            events.into_iter().map(|key| expire(Table::Events, key, u64::MAX)).collect();
        changes.extend(listed.map(|listed| expire(Table::Places, place(listed), u64::MAX)));
        changes.push(expire(Table::Listings, key.clone(), u64::MAX));
        changes.push(expire(Table::Sessions, key, at.0));
        while !changes.is_empty() {
            let rest = changes.split_off(changes.len().min(EXPIRE_MAX));
            let now = std::mem::replace(&mut changes, rest);
            self.writer.change(now).await.map_err(fatal)?;
        }
        // What is removed is on the disk until its tables are written anew.
        let rewritten = self.blocking(|this| Ok(this.tables.rewrite()?));
        rewritten.await.map_err(|error| store_error(error, session))
    }

    /// From the tables at once. But the journal keeps what it has until so much has been written that it is begun
    /// anew ([`crate::Options::journal_bytes`]), and nobody can say when that will be.
    fn gone_after(&self, _: &AppId) -> Option<Duration> {
        None
    }

    async fn expire(&self, app: &AppId, before: Timestamp) -> Result<u64, StoreError> {
        let prefix = keys::app_prefix(app);
        let listed = self.blocking(move |this| {
            let mut old = Vec::new();
            let tables = [
                (Table::Events, &this.tables.events),
                (Table::Sessions, &this.tables.sessions),
                (Table::Directories, &this.tables.directories),
                (Table::Listings, &this.tables.listings),
                (Table::Places, &this.tables.places),
            ];
            for (table, keyspace) in tables {
                for pair in keyspace.prefix(&prefix) {
                    let (key, sealed) = pair.into_inner()?;
                    let value = values::unseal(&key, &sealed.into());
                    // What is damaged cannot be too young to go: it stays, for somebody to look at.
                    let at = value.and_then(|value| values::take(&mut &value[..]));
                    if at.is_ok_and(|at| at < before.0) {
                        old.push((table, key.to_vec()));
                    }
                }
            }
            Ok(old)
        });
        let mut old = listed.await.map_err(|error| store_error(error, app))?;
        let events = old.iter().filter(|(table, _)| *table == Table::Events).count();
        while !old.is_empty() {
            let rest = old.split_off(old.len().min(EXPIRE_MAX));
            let now = std::mem::replace(&mut old, rest);
            let changes =
                now.into_iter().map(|(table, key)| Change::Expire { table, key, before: before.0 });
            self.writer.change(changes.collect()).await.map_err(fatal)?;
        }
        Ok(u64::try_from(events).unwrap_or(u64::MAX))
    }
}

const fn damage(_: Damage) -> ReadError {
    ReadError::Damage(stentor_types::Sequence(0), "it does not fit its checksum")
}

fn store_error(error: ReadError, what: impl std::fmt::Display) -> StoreError {
    match error {
        ReadError::Damage(..) => StoreError::Corrupt { what: what.to_string() },
        ReadError::Later(cause) => StoreError::Unavailable(cause),
    }
}

fn fatal(cause: WriteFailed) -> StoreError {
    StoreError::Fatal(Box::new(cause))
}
