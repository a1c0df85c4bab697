//! Erased sessions: a row that says so, and the removal of all else.
//!
//! Whoever writes looks for the row first. One who looked just before it was there comes too late all the same:
//! removals carry the time of the erasure, which is later than whatever they hide.

use std::time::Duration;

use bytes::Bytes;
use stentor_store::Erasure;
use stentor_types::{AppId, SessionId, Timestamp};

use crate::{
    metrics::Kind,
    request::{Connection, RequestError},
    values::{bigint, number, write_time},
};

/// What the tables are made with where nothing else is said: `gc_grace_seconds`, and the window of `messages`. A file is
/// dropped when all in it has ended and its tombstones may go, and what is in it was written within one window.
const GC_GRACE: Duration = Duration::from_secs(864_000);
const WINDOW: Duration = Duration::from_secs(864_000);

/// How long after a session was erased its bytes are in files at the latest, where all is written with a time to
/// live.
pub(crate) fn gone_after(retention: Duration) -> Duration {
    retention.saturating_add(GC_GRACE).saturating_add(WINDOW)
}

impl Connection {
    /// Writes down that a session is erased.
    pub(crate) async fn put_erasure(
        &self,
        app: &AppId,
        session: SessionId,
        erasure: &Erasure,
    ) -> Result<(), RequestError> {
        let (at, certificate) = (bigint(erasure.at.0), &erasure.certificate[..]);
        let values = (app.as_str(), session.to_string(), at, certificate, write_time(erasure.at));
        self.write(Kind::WriteSession, &self.statements().put_erasure, values).await
    }

    /// Whether a session is erased.
    pub(crate) async fn erasure(
        &self,
        app: &AppId,
        session: SessionId,
    ) -> Result<Option<Erasure>, RequestError> {
        let (statement, values) = (&self.statements().erasure, (app.as_str(), session.to_string()));
        let found = self.first::<(i64, Vec<u8>)>(Kind::ReadSession, statement, values).await?;
        Ok(found.map(|(at, certificate)| Erasure {
            at: Timestamp(number(at)),
            certificate: Bytes::from(certificate),
        }))
    }

    /// Removes all that was written of a session before its erasure.
    pub(crate) async fn forget(
        &self,
        app: &AppId,
        session: SessionId,
        at: Timestamp,
    ) -> Result<(), RequestError> {
        let (name, id, statements) = (app.as_str(), session.to_string(), self.statements());
        for bucket in self.buckets(name, &id, 0, i64::MAX).await? {
            let values = (write_time(at), name, &id[..], bucket);
            self.write(Kind::Expire, &statements.forget_events, values).await?;
        }
        // What is left of the session may have been written already, and has the very time of the erasure.
        let before = write_time(Timestamp(at.0.saturating_sub(1)));
        self.write(Kind::Expire, &statements.delete_session, (before, name, &id[..])).await?;
        let values = (name, &id[..]);
        let listed = self.first::<(i64,)>(Kind::ReadListing, &statements.listing_time, values);
        if let Some((listed,)) = listed.await? {
            let listed = Timestamp(number(listed));
            self.remove_listing(Kind::Expire, name, listed, &id).await?;
        }
        let values = (write_time(at), name, &id[..]);
        self.write(Kind::Expire, &statements.forget_listings, values).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_gone_when_the_file_of_the_youngest_event_is() {
        let day = Duration::from_secs(86_400);
        assert_eq!(gone_after(30 * day), 50 * day);
        assert_eq!(gone_after(Duration::MAX), Duration::MAX);
    }
}
