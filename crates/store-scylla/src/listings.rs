//! Lists of sessions, the newest first.
//!
//! A session has its listing in a partition of its own (`listings`), and its place in the partition of a day
//! of its app (`sessions_by_app`). A write that moves it makes the new place, then the new listing, and only
//! then removes the old ones; whoever is interrupted in between, or writes at the same time as another,
//! leaves a place too many. So the listing decides: a place whose time is not that of its session's newest
//! listing is passed over, and removed if it is older. Removals carry the time of what they remove, and hide
//! nothing else.

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use scylla::{response::PagingState, serialize::row::SerializeRow};
use stentor_store::Listing;
use stentor_types::{AppId, SessionId, Timestamp};

use crate::{
    metrics::Kind,
    request::{Connection, RequestError},
    values::{Life, bigint, day, number, write_time},
};

/// Listings read at a time, for one page of a list.
const READS_AT_ONCE: usize = 16;

/// A place in a list as it is read: at, session.
pub(crate) type Place = (i64, String);

impl Connection {
    /// Gives a session its place, unless it has a later one.
    pub(crate) async fn put_listing(
        &self,
        app: &AppId,
        listing: Listing,
        life: Life,
    ) -> Result<(), RequestError> {
        let Life::Seconds(ttl) = life else {
            self.metrics().too_old.inc();
            return Ok(());
        };
        let (app, session, at) = (app.as_str(), listing.session.to_string(), listing.at);
        let statements = self.statements();
        let values = (app, &session[..]);
        let (before, erased) = tokio::try_join!(
            self.first::<(i64,)>(Kind::ReadListing, &statements.listing_time, values),
            self.first::<(i64, Vec<u8>)>(Kind::ReadListing, &statements.erasure, values),
        )?;
        if erased.is_some() {
            return Ok(());
        }
        let before = before.map(|(before,)| Timestamp(number(before)));
        if before.is_some_and(|before| before >= at) {
            return Ok(());
        }
        let (time, kind) = (write_time(at), Kind::WriteListing);
        tokio::try_join!(
            self.write(kind, &statements.put_day, (app, day(at), time, ttl)),
            self.write(
                kind,
                &statements.put_place,
                (app, day(at), bigint(at.0), &session[..], time, ttl)
            ),
        )?;
        let text = &listing.listing[..];
        let values = (app, &session[..], bigint(at.0), text, time, ttl);
        self.write(kind, &statements.put_listing, values).await?;
        match before {
            Some(before) => self.remove_listing(kind, app, before, &session).await,
            None => Ok(()),
        }
    }

    /// A session's listing, which is its newest.
    pub(crate) async fn listing(
        &self,
        app: &AppId,
        session: SessionId,
    ) -> Result<Option<Listing>, RequestError> {
        let found = self.newest(Kind::ReadListing, app.as_str(), &session.to_string()).await?;
        Ok(found.map(|(at, listing)| Listing { at, session, listing }))
    }

    /// The list of an app from a place on.
    pub(crate) async fn listings(
        &self,
        app: &AppId,
        before: Option<(Timestamp, SessionId)>,
        limit: usize,
    ) -> Result<Vec<Listing>, RequestError> {
        let mut found = Vec::new();
        if limit == 0 {
            return Ok(found);
        }
        let app = app.as_str();
        let newest = before.map_or(i32::MAX, |(at, _)| day(at));
        let statements = self.statements();
        let days = self.all::<(i32,)>(Kind::ReadList, &statements.days, (app, newest)).await?;
        for (day,) in days {
            match before {
                Some((at, session)) if day == newest => {
                    let after = (app, day, bigint(at.0), session.to_string());
                    let places = &statements.places_after;
                    self.list_day(app, day, places, &after, limit, &mut found).await?;
                }
                _ => {
                    let places = &statements.places;
                    self.list_day(app, day, places, &(app, day), limit, &mut found).await?;
                }
            }
            if found.len() >= limit {
                break;
            }
        }
        Ok(found)
    }

    /// Adds what a day has, until there are `limit`.
    async fn list_day(
        &self,
        app: &str,
        day: i32,
        places: &scylla::statement::prepared::PreparedStatement,
        values: &impl SerializeRow,
        limit: usize,
        found: &mut Vec<Listing>,
    ) -> Result<(), RequestError> {
        let mut next = Some(PagingState::start());
        while let Some(state) = next {
            let (page, after) = self.page::<Place>(Kind::ReadList, places, values, state).await?;
            next = after;
            let mut page = page.into_iter().peekable();
            while page.peek().is_some() {
                let wanted = limit.saturating_sub(found.len());
                if wanted == 0 {
                    return Ok(());
                }
                let some: Vec<_> = page.by_ref().take(wanted).collect();
                let listed: Vec<_> =
                    some.into_iter().map(|place| self.at_place(app, day, place)).collect();
                let listed = stream::iter(listed).buffered(READS_AT_ONCE);
                let listed: Vec<_> = listed.try_collect().await?;
                found.extend(listed.into_iter().flatten());
            }
        }
        Ok(())
    }

    /// The listing of the session that has this place; none if it has left it, or has not come yet.
    async fn at_place(
        &self,
        app: &str,
        day: i32,
        (place, name): Place,
    ) -> Result<Option<Listing>, RequestError> {
        let Ok(session) = name.parse::<SessionId>() else {
            tracing::warn!(app, day, "a place in a list names no session");
            return Ok(None);
        };
        let place = Timestamp(number(place));
        let Some((at, listing)) = self.newest(Kind::ReadList, app, &name).await? else {
            return Ok(None);
        };
        if place < at {
            self.metrics().stale_places.inc();
            // Whoever reads the list next passes over it again if this fails.
            if let Err(cause) = self.remove_listing(Kind::ReadList, app, place, &name).await {
                tracing::debug!(%session, %cause, "a place that its session has left stays");
            }
        }
        Ok((place == at).then_some(Listing { at, session, listing }))
    }

    async fn newest(
        &self,
        kind: Kind,
        app: &str,
        session: &str,
    ) -> Result<Option<(Timestamp, Bytes)>, RequestError> {
        let statement = &self.statements().listing;
        let found = self.first::<(i64, Vec<u8>)>(kind, statement, (app, session)).await?;
        Ok(found.map(|(at, listing)| (Timestamp(number(at)), Bytes::from(listing))))
    }

    /// Removes one listing of a session and the place that belongs to it.
    pub(crate) async fn remove_listing(
        &self,
        kind: Kind,
        app: &str,
        at: Timestamp,
        session: &str,
    ) -> Result<(), RequestError> {
        let (statements, time) = (self.statements(), write_time(at));
        tokio::try_join!(
            self.write(kind, &statements.delete_listing, (time, app, session, bigint(at.0))),
            self.write(kind, &statements.delete_place, (time, app, day(at), bigint(at.0), session)),
        )?;
        Ok(())
    }
}
