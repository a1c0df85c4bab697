//! Leaves a bot alone that has failed too often, and tries it again now and then.

use std::time::{Duration, Instant};

/// Failures in a row after which a bot is left alone: less than two visitors' three attempts.
const FAILURES_MAX: u32 = 5;
/// How long it is left alone before one call tries it again. As long as the session waits between
/// attempts by default, so that the next attempt is the trial.
const PAUSE: Duration = Duration::from_secs(5);

/// The breaker of one app.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    failures: u32,
    open_since: Option<Instant>,
    trying: bool,
}

// === impl Breaker ===

impl Breaker {
    /// Whether a call may be made now. If it may while the breaker is open, it is the trial.
    pub(crate) fn permits(&mut self, now: Instant) -> bool {
        let Some(since) = self.open_since else { return true };
        if self.trying || now.duration_since(since) < PAUSE {
            return false;
        }
        self.trying = true;
        true
    }

    /// A call has ended.
    pub(crate) const fn ended(&mut self, well: bool, now: Instant) {
        self.trying = false;
        if well {
            self.failures = 0;
            self.open_since = None;
            return;
        }
        self.failures = self.failures.saturating_add(1);
        if self.failures >= FAILURES_MAX {
            self.open_since = Some(now);
        }
    }

    pub(crate) const fn is_open(&self) -> bool {
        self.open_since.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f6_a_bot_that_fails_is_left_alone_and_tried_again() {
        let start = Instant::now();
        let mut breaker = Breaker::default();
        for _ in 0..FAILURES_MAX {
            assert!(breaker.permits(start));
            breaker.ended(false, start);
        }
        assert!(!breaker.permits(start));
        let later = start + PAUSE;
        assert!(breaker.permits(later), "one call tries");
        assert!(!breaker.permits(later), "only one");
        breaker.ended(false, later);
        assert!(!breaker.permits(later), "it failed: left alone again");
        assert!(breaker.permits(later + PAUSE));
        breaker.ended(true, later + PAUSE);
        assert!(!breaker.is_open() && breaker.permits(later + PAUSE));
    }
}
