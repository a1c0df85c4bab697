//! Events: partitions of 4,096 of a session, so that a long conversation is not one large partition.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use stentor_store::{Projection, StoredEvent};
use stentor_types::{AppId, EventNumber, SessionId, Timestamp};

use crate::{
    metrics::Kind,
    request::{Connection, RequestError},
    values::{Life, bigint, bucket, number, write_time},
};

/// Bytes of events written at once, far below the 16 MiB that a database takes for one partition.
const WRITE_BYTES_MAX: usize = 512 << 10;
/// Events written at once.
const WRITE_EVENTS_MAX: usize = 512;
/// Writes of one projection at a time.
const WRITES_AT_ONCE: usize = 8;
/// Buckets that are read without asking first whether they are there.
const BUCKETS_UNASKED: i64 = 3;
/// The first bucket that is written down as being there: a session without it has only the first.
const FIRST_LISTED: i64 = 1;

/// An event as it is written: app, session, bucket, n, at, event, write time, time to live.
type EventValues<'a> = (&'a str, &'a str, i64, i64, i64, &'a [u8], i64, i32);

impl Connection {
    /// Events first and then the row: whoever sees the row finds its events.
    pub(crate) async fn project(
        &self,
        projection: Projection,
        life: impl Fn(Timestamp) -> Life,
    ) -> Result<(), RequestError> {
        let Projection { app, session, mut events, mut row } = projection;
        if let Some(erased) = self.erasure(&app, session).await? {
            events.clear();
            row = row.filter(|row| row.at >= erased.at);
        }
        let id = session.to_string();
        let mut buckets: BTreeMap<i64, Vec<EventValues<'_>>> = BTreeMap::new();
        for event in &events {
            let Life::Seconds(ttl) = life(event.at) else {
                self.metrics().too_old.inc();
                continue;
            };
            let (bucket, n, at) = (bucket(event.n), bigint(event.n.0), bigint(event.at.0));
            let time = write_time(event.at);
            let values = (app.as_str(), &id[..], bucket, n, at, &event.event[..], time, ttl);
            buckets.entry(bucket).or_default().push(values);
        }
        // Whoever reads looks for buckets before events.
        for (bucket, values) in buckets.range(FIRST_LISTED..) {
            let newest = values.iter().map(|values| (values.6, values.7)).max();
            let Some((time, ttl)) = newest else { continue };
            let values = (app.as_str(), &id[..], *bucket, time, ttl);
            self.write(Kind::WriteEvents, &self.statements().put_bucket, values).await?;
        }
        let writes: Vec<_> = buckets.into_values().flat_map(in_writes).collect();
        let put = &self.statements().put_event;
        let writes: Vec<_> =
            writes.into_iter().map(|rows| self.write_all(Kind::WriteEvents, put, rows)).collect();
        stream::iter(writes).buffer_unordered(WRITES_AT_ONCE).try_collect::<()>().await?;
        if let Some(row) = row {
            self.put_session(&app, session, &row, life(row.at)).await?;
        }
        Ok(())
    }

    /// Events of a session that are there, in order.
    pub(crate) async fn events(
        &self,
        app: &AppId,
        session: SessionId,
        from: EventNumber,
        to: EventNumber,
    ) -> Result<Vec<StoredEvent>, RequestError> {
        // The database counts with a sign; no session has that many events.
        let to = to.min(EventNumber(number(i64::MAX)));
        if from > to {
            return Ok(Vec::new());
        }
        let (app, session) = (app.as_str(), session.to_string());
        let statement = &self.statements().events;
        let mut events = Vec::new();
        for bucket in self.buckets(app, &session, bucket(from), bucket(to)).await? {
            let values = (app, &session[..], bucket, bigint(from.0), bigint(to.0));
            let found =
                self.all::<(i64, i64, Vec<u8>)>(Kind::ReadEvents, statement, values).await?;
            events.extend(found.into_iter().map(|(n, at, event)| StoredEvent {
                n: EventNumber(number(n)),
                at: Timestamp(number(at)),
                event: Bytes::from(event),
            }));
        }
        Ok(events)
    }

    /// The buckets of that range that may have events, in order.
    pub(crate) async fn buckets(
        &self,
        app: &str,
        session: &str,
        from: i64,
        to: i64,
    ) -> Result<Vec<i64>, RequestError> {
        if to - from < BUCKETS_UNASKED {
            return Ok((from..=to).collect());
        }
        let values = (app, session, from.max(FIRST_LISTED), to);
        let statement = &self.statements().buckets;
        let listed = self.all::<(i64,)>(Kind::ReadEvents, statement, values).await?;
        let first = (from < FIRST_LISTED).then_some(0);
        Ok(first.into_iter().chain(listed.into_iter().map(|(bucket,)| bucket)).collect())
    }
}

/// The events of one bucket in pieces that the database takes at once.
fn in_writes(rows: Vec<EventValues<'_>>) -> Vec<Vec<EventValues<'_>>> {
    let mut writes: Vec<Vec<EventValues<'_>>> = Vec::new();
    let mut bytes = 0_usize;
    for row in rows {
        let size = row.5.len();
        match writes.last_mut() {
            Some(last)
                if last.len() < WRITE_EVENTS_MAX
                    && bytes.saturating_add(size) <= WRITE_BYTES_MAX =>
            {
                last.push(row);
                bytes = bytes.saturating_add(size);
            }
            _ => {
                writes.push(vec![row]);
                bytes = size;
            }
        }
    }
    writes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_written_in_bounded_pieces_and_in_order() {
        let (small, large, huge) =
            (vec![0; 10], vec![0; WRITE_BYTES_MAX / 3], vec![0; 2 * WRITE_BYTES_MAX]);
        let sizes = [&large, &large, &large, &small, &huge, &small];
        let rows: Vec<EventValues<'_>> =
            (0..).zip(sizes).map(|(n, event)| ("", "", 0, n, 0, &event[..], 0, 0)).collect();
        let writes = in_writes(rows);
        let numbers: Vec<Vec<i64>> =
            writes.iter().map(|rows| rows.iter().map(|row| row.3).collect()).collect();
        assert_eq!(numbers, [vec![0, 1, 2], vec![3], vec![4], vec![5]]);
        let many = (0..1_000).map(|n| ("", "", 0, n, 0, &[][..], 0, 0)).collect();
        let counts: Vec<_> = in_writes(many).iter().map(Vec::len).collect();
        assert_eq!(counts, [512, 488]);
    }
}
