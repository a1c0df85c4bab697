//! Our numbers as CQL has them, and how long a row lives.

use std::time::{Duration, SystemTime};

use stentor_types::{EventNumber, Timestamp};

/// Events in one partition of the database. Part of every key: it never changes.
///
/// Messages of 1 KiB make it 4 MiB, far below the 100 MiB at which partitions begin to hurt.
const BUCKET_EVENTS: u64 = 4_096;
/// A day in microseconds: the partition of a list.
const DAY_MICROS: u64 = 86_400_000_000;
/// The longest time to live that CQL takes: 20 years.
const TTL_SECONDS_MAX: u64 = 630_720_000;

/// How much longer something is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// So many seconds; 0 means for ever, as in CQL.
    Seconds(i32),
    /// It would be gone at once.
    Over,
}

/// A number as `bigint`. What does not fit keeps its bits and comes back as it was; no such number is met in
/// real life: half of them take 292,000 years of microseconds.
pub(crate) const fn bigint(number: u64) -> i64 {
    number.cast_signed()
}

/// The number that [`bigint`] was given.
pub(crate) const fn number(bigint: i64) -> u64 {
    bigint.cast_unsigned()
}

/// The CQL timestamp of a write.
pub(crate) fn write_time(at: Timestamp) -> i64 {
    i64::try_from(at.0).unwrap_or(i64::MAX)
}

/// The partition of an event within its session.
pub(crate) const fn bucket(n: EventNumber) -> i64 {
    bigint(n.0 / BUCKET_EVENTS)
}

/// The partition of a place within the list of its app.
pub(crate) fn day(at: Timestamp) -> i32 {
    // 2^64 microseconds are 213 million days.
    i32::try_from(at.0 / DAY_MICROS).unwrap_or(i32::MAX)
}

/// How much longer something of that time is kept. By the time of its commit and not that of its writing: a
/// repeated write ends when the first one does.
pub(crate) fn life(retention: Option<Duration>, at: Timestamp, now: Timestamp) -> Life {
    let Some(retention) = retention else { return Life::Seconds(0) };
    let left = at.after(retention).since(now);
    if left.is_zero() {
        return Life::Over;
    }
    let seconds = left.as_secs().saturating_add(1).min(TTL_SECONDS_MAX);
    Life::Seconds(i32::try_from(seconds).unwrap_or(i32::MAX))
}

/// By the clock of this machine.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp(0).after(since)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(count: u64) -> Timestamp {
        Timestamp(count * 1_000_000)
    }

    #[test]
    fn a_row_lives_as_long_as_its_commit_may_whenever_it_is_written() {
        let retention = Some(Duration::from_secs(100));
        assert_eq!(life(retention, seconds(1_000), seconds(1_000)), Life::Seconds(101));
        assert_eq!(life(retention, seconds(1_000), seconds(1_060)), Life::Seconds(41));
        assert_eq!(life(retention, seconds(1_000), Timestamp(1_099_999_999)), Life::Seconds(1));
        assert_eq!(life(retention, seconds(1_000), seconds(1_100)), Life::Over);
        assert_eq!(life(retention, seconds(1_000), seconds(9_000)), Life::Over);
        assert_eq!(life(None, Timestamp(0), seconds(9_000)), Life::Seconds(0));
        assert_eq!(
            life(Some(Duration::MAX), seconds(1_000), seconds(1_000)),
            Life::Seconds(630_720_000)
        );
    }

    #[test]
    fn numbers_come_back_as_they_were() {
        for one in [0, 1, 4_096, u64::MAX / 2, u64::MAX / 2 + 1, u64::MAX] {
            assert_eq!(number(bigint(one)), one);
        }
        assert_eq!(write_time(Timestamp(u64::MAX)), i64::MAX);
    }

    #[test]
    fn partitions_never_change() {
        assert_eq!([1, 4_095, 4_096, 8_192].map(|n| bucket(EventNumber(n))), [0, 0, 1, 2]);
        assert_eq!(day(Timestamp(86_399_999_999)), 0);
        assert_eq!(day(Timestamp(86_400_000_000)), 1);
        assert_eq!(day(Timestamp(u64::MAX)), 213_503_982);
    }
}
