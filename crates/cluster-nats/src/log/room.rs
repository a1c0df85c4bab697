//! How full the stream is, and how many subjects it has: looked at now and then, and said before it hurts.
//!
//! Every router looks, so that the numbers are there whichever of them is asked for its metrics.

use std::time::Duration;

use async_nats::jetstream::stream::Stream;
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

use super::LogMetrics;

/// How often is looked.
const EVERY: Duration = Duration::from_secs(15);
/// A stream as full as this, in percent, is warned of.
const FULL: u64 = 70;
/// Below this it is not any more.
const FULL_NO_MORE: u64 = 60;
/// Subjects, which are sessions and directories: beyond it they cost the server a third of a gigabyte of memory, and
/// its start takes seconds.
const SUBJECTS: u64 = 1_000_000;
const SUBJECTS_NO_MORE: u64 = 900_000;

/// Something that is warned of once, until it is over.
#[derive(Debug, Default)]
struct Alarm(bool);

/// What became of an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    None,
    Begins,
    Ends,
}

/// What a stream takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Room {
    bytes: u64,
    max_bytes: u64,
    subjects: u64,
}

/// Looks until the handle is dropped.
pub(super) fn watch(
    stream: Stream<()>,
    name: String,
    metrics: LogMetrics,
) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(async move {
        let (mut full, mut many) = (Alarm::default(), Alarm::default());
        let mut tick = tokio::time::interval(EVERY);
        loop {
            tick.tick().await;
            // Whoever cannot be asked is complained about by all who want more than that.
            let Ok(info) = stream.get_info().await else { continue };
            let room = Room {
                bytes: info.state.bytes,
                max_bytes: u64::try_from(info.config.max_bytes).unwrap_or(0),
                subjects: info.state.subjects_count,
            };
            show(&metrics, room);
            let Room { bytes, max_bytes, subjects } = room;
            match full.look(percent(room), FULL, FULL_NO_MORE) {
                Change::Begins => warn!(
                    stream = name,
                    bytes,
                    max_bytes,
                    "the stream fills up: what comes then, and what to do, stands in docs/operations.md"
                ),
                Change::Ends => info!(stream = name, bytes, max_bytes, "the stream has room again"),
                Change::None => {}
            }
            match many.look(subjects, SUBJECTS, SUBJECTS_NO_MORE) {
                Change::Begins => warn!(
                    stream = name,
                    subjects,
                    "the stream has very many subjects: what it costs, and what to do, stands in docs/operations.md"
                ),
                Change::Ends => {
                    info!(stream = name, subjects, "the stream has fewer subjects again")
                }
                Change::None => {}
            }
        }
    }))
}

fn show(metrics: &LogMetrics, room: Room) {
    let gauge = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    metrics.bytes.set(gauge(room.bytes));
    metrics.max_bytes.set(gauge(room.max_bytes));
    metrics.subjects.set(gauge(room.subjects));
}

/// A stream without a limit is never full; there is none that we make.
fn percent(room: Room) -> u64 {
    room.bytes.saturating_mul(100).checked_div(room.max_bytes).unwrap_or(0)
}

// === impl Alarm ===

impl Alarm {
    fn look(&mut self, value: u64, begins: u64, ends: u64) -> Change {
        let rings = if self.0 { value >= ends } else { value >= begins };
        match (std::mem::replace(&mut self.0, rings), rings) {
            (false, true) => Change::Begins,
            (true, false) => Change::Ends,
            _ => Change::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cluster_7_a_stream_that_fills_up_is_warned_of_once_and_long_before_it_is_full() {
        let mut alarm = Alarm::default();
        let mut changes = Vec::new();
        for bytes in [0, 60, 69, 70, 99, 100, 65, 70, 59, 70] {
            let room = Room { bytes: bytes << 30, max_bytes: 100 << 30, subjects: 0 };
            changes.push(alarm.look(percent(room), FULL, FULL_NO_MORE));
        }
        let rung: Vec<_> = changes.iter().map(|change| *change == Change::Begins).collect();
        let places: Vec<_> = (0..rung.len()).filter(|place| rung[*place]).collect();
        assert_eq!(places, [3, 9]);
        assert_eq!(changes.iter().filter(|change| **change == Change::Ends).count(), 1);
    }

    #[test]
    fn cluster_12_very_many_subjects_are_warned_of_once_before_they_slow_a_restart_down() {
        let mut alarm = Alarm::default();
        let counts = [0, 999_999, 1_000_000, 1_200_000, 950_000, 1_000_000, 899_999, 1_000_000];
        let changes = counts.map(|count| alarm.look(count, SUBJECTS, SUBJECTS_NO_MORE));
        let rung: Vec<_> =
            (0..counts.len()).filter(|place| changes[*place] == Change::Begins).collect();
        assert_eq!(rung, [2, 7]);
    }

    #[test]
    fn a_stream_without_a_limit_is_never_full() {
        assert_eq!(percent(Room { bytes: u64::MAX, max_bytes: 0, subjects: 0 }), 0);
    }
}
