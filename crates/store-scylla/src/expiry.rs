//! Removes what is old where it was written without a time to live, or with a longer one.
//!
//! CQL cannot ask "what of this app is older": keys are hashed over the nodes. So every key there is gets
//! looked at, page by page, without the data; a task for a quiet hour. Each removal carries the time of
//! what it removes: what is written meanwhile, being later, stays.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use scylla::response::PagingState;
use stentor_types::{AppId, Timestamp};

use crate::{
    listings::Place,
    metrics::Kind,
    request::{Connection, RequestError},
    values::{bigint, day, number, write_time},
};

/// Events removed at once.
const REMOVE_MAX: usize = 500;
/// Removals at a time.
const REMOVALS_AT_ONCE: usize = 8;

impl Connection {
    /// Returns how many events went.
    pub(crate) async fn sweep(&self, app: &AppId, before: Timestamp) -> Result<u64, RequestError> {
        let events = self.sweep_events(app, before).await?;
        self.sweep_rows(app, before).await?;
        self.sweep_listings(app, before).await?;
        Ok(events)
    }

    async fn sweep_events(&self, app: &AppId, before: Timestamp) -> Result<u64, RequestError> {
        let statements = self.statements();
        let mut removed = 0_u64;
        let mut next = Some(PagingState::start());
        while let Some(state) = next {
            let all = &statements.all_buckets;
            let (page, after) =
                self.page::<(String, String, i64)>(Kind::Expire, all, &(), state).await?;
            next = after;
            for (_, session, bucket) in page.into_iter().filter(|(of, ..)| of == app.as_str()) {
                let values = (app.as_str(), &session[..], bucket);
                let times = &statements.event_times;
                let old = self.all::<(i64, i64)>(Kind::Expire, times, values).await?;
                let old: Vec<_> = old
                    .into_iter()
                    .filter(|(_, at)| number(*at) < before.0)
                    .map(|(n, at)| {
                        let time = write_time(Timestamp(number(at)));
                        (time, app.as_str(), &session[..], bucket, n)
                    })
                    .collect();
                let delete = &statements.delete_event;
                let removals: Vec<_> = old
                    .chunks(REMOVE_MAX)
                    .map(|some| self.write_all(Kind::Expire, delete, some.to_vec()))
                    .collect();
                stream::iter(removals)
                    .buffer_unordered(REMOVALS_AT_ONCE)
                    .try_collect::<()>()
                    .await?;
                removed = removed.saturating_add(u64::try_from(old.len()).unwrap_or(u64::MAX));
            }
        }
        Ok(removed)
    }

    async fn sweep_rows(&self, app: &AppId, before: Timestamp) -> Result<(), RequestError> {
        let (statements, app) = (self.statements(), app.as_str());
        let is_old = |of: &str, at: i64| of == app && number(at) < before.0;
        let mut next = Some(PagingState::start());
        while let Some(state) = next {
            let all = &statements.all_sessions;
            let (page, after) =
                self.page::<(String, String, i64)>(Kind::Expire, all, &(), state).await?;
            next = after;
            for (_, session, at) in page.into_iter().filter(|(of, _, at)| is_old(of, *at)) {
                let values = (write_time(Timestamp(number(at))), app, session);
                self.write(Kind::Expire, &statements.delete_session, values).await?;
            }
        }
        let mut next = Some(PagingState::start());
        while let Some(state) = next {
            let all = &statements.all_directories;
            let (page, after) =
                self.page::<(String, Vec<u8>, i64)>(Kind::Expire, all, &(), state).await?;
            next = after;
            for (_, user, at) in page.into_iter().filter(|(of, _, at)| is_old(of, *at)) {
                let values = (write_time(Timestamp(number(at))), app, user);
                self.write(Kind::Expire, &statements.delete_directory, values).await?;
            }
        }
        Ok(())
    }

    async fn sweep_listings(&self, app: &AppId, before: Timestamp) -> Result<(), RequestError> {
        let (statements, app) = (self.statements(), app.as_str());
        let newest = day(before);
        let days = self.all::<(i32,)>(Kind::Expire, &statements.days, (app, newest)).await?;
        for (day,) in days {
            // Above the sign a day's times are negative, all of them: the order within a day holds.
            let values = (app, day, if day < newest { i64::MAX } else { bigint(before.0) });
            let old = self.all::<Place>(Kind::Expire, &statements.places_before, values).await?;
            let removals: Vec<_> = old
                .iter()
                .map(|(at, session)| {
                    self.remove_listing(Kind::Expire, app, Timestamp(number(*at)), session)
                })
                .collect();
            stream::iter(removals).buffer_unordered(REMOVALS_AT_ONCE).try_collect::<()>().await?;
        }
        Ok(())
    }
}
