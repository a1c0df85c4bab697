//! Times as people read them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use stentor_types::Timestamp;

/// The time, by the clock of this machine.
pub(super) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

/// As `2026-03-01T12:00:00.000123Z`.
pub(super) fn utc(at: Timestamp) -> String {
    let (seconds, micros) = (at.0 / 1_000_000, at.0 % 1_000_000);
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hours, minutes) = (rest / 3_600, rest / 60 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{:02}.{micros:06}Z", rest % 60)
}

/// Year, month and day of a day after 1970-01-01, by counting in years that begin in March: then the day that
/// some years have more is the last.
const fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + if month <= 2 { 1 } else { 0 }, month, day)
}

/// How long ago that was, or how long it is until then.
pub(super) fn distance(at: Timestamp) -> String {
    let now = now();
    if at > now {
        format!("in {}", rough(at.since(now)))
    } else {
        format!("{} ago", rough(now.since(at)))
    }
}

fn rough(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_of_all_kinds_of_years_have_their_names() {
        let named = |seconds: u64| utc(Timestamp(seconds * 1_000_000 + 7));
        assert_eq!(named(0), "1970-01-01T00:00:00.000007Z");
        assert_eq!(named(951_782_399), "2000-02-28T23:59:59.000007Z");
        assert_eq!(named(951_782_400), "2000-02-29T00:00:00.000007Z");
        assert_eq!(named(1_772_323_199), "2026-02-28T23:59:59.000007Z");
        assert_eq!(named(1_772_323_200), "2026-03-01T00:00:00.000007Z");
        assert_eq!(named(4_107_542_400), "2100-03-01T00:00:00.000007Z");
    }

    #[test]
    fn a_distance_is_as_rough_as_it_is_far() {
        let said = |seconds| rough(Duration::from_secs(seconds));
        assert_eq!(
            [said(119), said(120), said(7_200), said(172_800)],
            ["119 s", "2 min", "2 h", "2 days"]
        );
    }
}
