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
    at.utc()
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
    fn a_distance_is_as_rough_as_it_is_far() {
        let said = |seconds| rough(Duration::from_secs(seconds));
        assert_eq!(
            [said(119), said(120), said(7_200), said(172_800)],
            ["119 s", "2 min", "2 h", "2 days"]
        );
    }
}
