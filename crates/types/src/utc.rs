//! Points in time as people and programs read them. Knows no clock.

use crate::Timestamp;

// === impl Timestamp ===

impl Timestamp {
    /// In UTC, as RFC 3339 has it: `2026-03-01T12:00:00.000123Z`.
    #[must_use]
    pub fn utc(self) -> String {
        let (seconds, micros) = (self.0 / 1_000_000, self.0 % 1_000_000);
        let (days, rest) = (seconds / 86_400, seconds % 86_400);
        let (year, month, day) = civil(days);
        let (hours, minutes) = (rest / 3_600, rest / 60 % 60);
        format!(
            "{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{:02}.{micros:06}Z",
            rest % 60
        )
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_of_all_kinds_of_years_have_their_names() {
        let named = |seconds: u64| Timestamp(seconds * 1_000_000 + 7).utc();
        assert_eq!(named(0), "1970-01-01T00:00:00.000007Z");
        assert_eq!(named(951_782_399), "2000-02-28T23:59:59.000007Z");
        assert_eq!(named(951_782_400), "2000-02-29T00:00:00.000007Z");
        assert_eq!(named(1_772_323_199), "2026-02-28T23:59:59.000007Z");
        assert_eq!(named(1_772_323_200), "2026-03-01T00:00:00.000007Z");
        assert_eq!(named(4_107_542_400), "2100-03-01T00:00:00.000007Z");
    }
}
