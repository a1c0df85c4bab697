//! A stream that somebody has deleted, and the one in its place.
//!
//! What was in it and not in the history is gone, which nothing here can mend. But numbering can go on: the
//! stream is made anew under another incarnation, and every session begins a new epoch when it finds that what
//! it follows is not there. Places in the new stream are higher than any in the old one, so that nobody who
//! still knows the old one takes one for the other.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use async_nats::jetstream::stream::Config;
use stentor_cluster::LogError;
use stentor_types::Incarnation;

use super::NatsLog;
use crate::stream::{self, OpenError};

/// Between two looks whether the stream is there.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// For how long the broker must say that there is no stream: while it starts, it may not know yet.
const MISSING_FOR: Duration = Duration::from_secs(2);
/// For how long a log is known to be the same: shorter than it takes to make another.
const CERTAIN_FOR: Duration = Duration::from_secs(1);
/// After that time it has to say so from the beginning.
const FORGET_AFTER: Duration = Duration::from_secs(10);
/// How long it may take to answer: whoever writes waits for it.
const ANSWER_FOR: Duration = Duration::from_millis(500);

/// Which log it is, and whether its stream is there.
#[derive(Debug)]
pub(crate) struct Renewal {
    now: Mutex<Now>,
    /// Whether a stream that is not there may be made. Whoever only looks makes nothing.
    may_make: bool,
}

#[derive(Debug)]
struct Now {
    incarnation: Incarnation,
    /// When the stream was found to be of this incarnation.
    checked: Option<Instant>,
    looked: Option<Instant>,
    /// Since when the broker has said that it is not there, and when it did so last.
    missing: Option<(Instant, Instant)>,
}

/// What to do about a stream that cannot be written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// Somebody has just looked.
    NotYet,
    /// Ask the broker whether it is there.
    Ask,
}

// === impl Renewal ===

impl Renewal {
    pub(crate) const fn new(incarnation: Incarnation, may_make: bool) -> Self {
        let now = Now { incarnation, checked: None, looked: None, missing: None };
        Self { now: Mutex::new(now), may_make }
    }

    pub(crate) fn incarnation(&self) -> Incarnation {
        self.now().incarnation
    }

    fn look(&self, at: Instant) -> Look {
        let mut now = self.now();
        if !self.may_make || now.looked.is_some_and(|looked| at < looked + LOOK_EVERY) {
            return Look::NotYet;
        }
        now.looked = Some(at);
        Look::Ask
    }

    /// The broker says that the stream is not there. True once it has said so for long enough.
    fn is_missing(&self, at: Instant) -> bool {
        let mut now = self.now();
        let since = match now.missing {
            Some((since, last)) if at < last + FORGET_AFTER => since,
            _ => at,
        };
        now.missing = Some((since, at));
        at >= since + MISSING_FOR
    }

    /// Whether nobody can have made another log since it was looked at: that takes longer.
    fn is_certain(&self, at: Instant) -> bool {
        self.now().checked.is_some_and(|checked| at < checked + CERTAIN_FOR)
    }

    /// The stream is there, with this incarnation. True if it is another than before.
    fn found(&self, incarnation: Incarnation, at: Instant) -> bool {
        let mut now = self.now();
        (now.checked, now.missing) = (Some(at), None);
        std::mem::replace(&mut now.incarnation, incarnation) != incarnation
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl NatsLog ===

impl NatsLog {
    /// A record follows one that is not there: perhaps because all of the log is another one.
    pub(super) async fn check_log(&self) -> Result<(), LogError> {
        if !self.renewal.is_certain(Instant::now()) {
            self.info().await?;
        }
        Ok(())
    }

    /// Takes note of which log a stream with this configuration is.
    pub(super) fn belongs_to(&self, config: &Config) {
        let Some(incarnation) = stream::incarnation_in(config) else { return };
        if self.renewal.found(incarnation, Instant::now()) {
            self.known.clear();
            self.scans.clear();
            self.metrics.renewed.inc();
            tracing::error!(%incarnation, "the log is another one than before; what was in it and not in the history is lost, and every session begins a new numbering");
        }
    }

    /// Nobody takes what is written: looks whether the stream is there, and makes it if it surely is not.
    pub(super) async fn look_for_the_stream(&self) {
        if self.renewal.look(Instant::now()) == Look::NotYet {
            return;
        }
        let asking = stream::config(&self.connection, &self.settings);
        let Ok(found) = tokio::time::timeout(ANSWER_FOR, asking).await else { return };
        let found = match found {
            Err(OpenError::Missing(name)) if self.renewal.is_missing(Instant::now()) => {
                tracing::error!(
                    stream = name,
                    "the stream of the log is not there any more; it is made anew"
                );
                stream::remake(&self.connection, &self.settings, first_place()).await
            }
            found => found,
        };
        match found {
            Ok(config) => self.belongs_to(&config),
            Err(cause) => tracing::debug!(%cause, "the stream of the log is not there"),
        }
    }
}

/// Higher than any place that there has ever been: nobody writes a message per microsecond.
fn first_place() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_missing_only_when_the_broker_has_said_so_for_long_enough() {
        let renewal = Renewal::new(Incarnation(1), true);
        let begin = Instant::now();
        assert_eq!(renewal.look(begin), Look::Ask);
        assert_eq!(renewal.look(begin + LOOK_EVERY / 2), Look::NotYet);
        assert!(!renewal.is_missing(begin));
        assert!(!renewal.is_missing(begin + MISSING_FOR / 2));
        assert!(!renewal.found(Incarnation(1), begin), "it was only late");
        assert!(!renewal.is_missing(begin + MISSING_FOR));
        let again = begin + Duration::from_secs(60);
        assert!(!renewal.is_missing(again), "that was long ago");
        assert!(renewal.is_missing(again + MISSING_FOR));
        assert!(renewal.found(Incarnation(2), again));
        assert_eq!(renewal.incarnation(), Incarnation(2));
        assert!(renewal.is_certain(again + CERTAIN_FOR / 2));
        assert!(!renewal.is_certain(again + CERTAIN_FOR));
    }

    #[test]
    fn whoever_only_looks_makes_nothing() {
        assert_eq!(Renewal::new(Incarnation(1), false).look(Instant::now()), Look::NotYet);
    }
}
