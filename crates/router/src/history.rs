//! The latest events of a session in memory, and the older ones from log and store.

mod pages;

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use stentor_cluster::{Log, LogError};
use stentor_store::{Store, StoreError};
use stentor_types::{Event, EventNumber};
use stentor_wire::{DecodeError, decode_commit_by, decode_event};

use crate::{Shared, actors::Key};

/// Events kept in memory per session: most replays need no more.
const RECENT_MAX: usize = 128;
/// Bytes kept in memory per session.
const RECENT_BYTES_MAX: usize = 128 * 1024;

/// Older events could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HistoryError {
    #[error("failed to read the log")]
    Log(#[from] LogError),
    #[error("failed to read the store")]
    Store(#[from] StoreError),
    #[error("failed to decode a record")]
    Decode(#[from] DecodeError),
}

// === impl HistoryError ===

impl HistoryError {
    /// Something of this one session is damaged, and stays so.
    pub(crate) const fn is_damage(&self) -> bool {
        matches!(
            self,
            Self::Decode(_)
                | Self::Log(LogError::Corrupt { .. })
                | Self::Store(StoreError::Corrupt { .. })
        )
    }
}

/// The latest events of a session, dense.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    events: VecDeque<(EventNumber, Bytes)>,
    bytes: usize,
}

// === impl Recent ===

impl Recent {
    pub(crate) fn push(&mut self, n: EventNumber, event: Bytes) {
        if self.events.back().is_some_and(|(last, _)| last.next() != n) {
            *self = Self::default();
        }
        // Copied: a slice would keep its whole record alive.
        let event = Bytes::copy_from_slice(&event);
        self.bytes += event.len();
        self.events.push_back((n, event));
        while self.events.len() > RECENT_MAX
            || (self.bytes > RECENT_BYTES_MAX && self.events.len() > 1)
        {
            let Some((_, oldest)) = self.events.pop_front() else { return };
            self.bytes -= oldest.len();
        }
    }

    /// Their bytes and their number.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.bytes, self.events.len())
    }

    /// The latest of them that `look` finds something in.
    pub(crate) fn latest<T>(&self, look: impl Fn(&Event) -> Option<T>) -> Option<T> {
        let events = self.events.iter().rev();
        events.filter_map(|(_, bytes)| look(&decode_event(bytes).ok()?)).next()
    }

    /// Events `from..=to` out of memory, or nothing if some of them are not there.
    pub(crate) fn range(
        &self,
        from: EventNumber,
        to: EventNumber,
    ) -> Option<Vec<(EventNumber, Bytes)>> {
        if from > to {
            return Some(Vec::new());
        }
        let (first, _) = self.events.front()?;
        if *first > from {
            return None;
        }
        Some(self.events.iter().filter(|(n, _)| (from..=to).contains(n)).cloned().collect())
    }
}

/// Events `from..=to` from the log and, where it does not have them, from the store; ordered, and
/// complete except for what has expired.
///
/// The log comes first: it has everything that the store may not have yet. It lacks what it has forgotten,
/// and what was written to the log that was there before it.
pub(crate) async fn read<L: Log, S: Store, B>(
    shared: &Shared<L, S, B>,
    key: &Key,
    from: EventNumber,
    to: EventNumber,
    head: EventNumber,
) -> Result<Vec<(EventNumber, Bytes)>, HistoryError> {
    let mut all = BTreeMap::new();
    for record in pages::records(&*shared.log, &key.entity(), from, to.min(head)).await? {
        // Nothing is decided here: events are passed on, whatever version they are for.
        let decoded = decode_commit_by(&record.record, u32::MAX)?;
        for (event, bytes) in decoded.commit.events.iter().zip(decoded.events) {
            if (from..=to).contains(&event.n) {
                all.insert(event.n, bytes);
            }
        }
    }
    for (first, last) in holes(all.keys().copied(), from, to.min(head)) {
        let stored = shared.store.events(&key.app, key.session, first, last).await?;
        all.extend(stored.into_iter().map(|event| (event.n, event.event)));
    }
    Ok(all.into_iter().collect())
}

/// What of `from..=to` is not among `there`, which is ordered.
fn holes(
    there: impl Iterator<Item = EventNumber>,
    from: EventNumber,
    to: EventNumber,
) -> Vec<(EventNumber, EventNumber)> {
    let mut holes = Vec::new();
    let mut next = from;
    for n in there.chain([to.next()]) {
        if n > next {
            holes.push((next, EventNumber(n.0.saturating_sub(1))));
        }
        next = n.next();
    }
    holes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_log_lacks_is_asked_for_and_nothing_else() {
        let holes = |there: &[u64], from, to| {
            let there = there.iter().map(|n| EventNumber(*n));
            let holes = holes(there, EventNumber(from), EventNumber(to));
            holes.into_iter().map(|(first, last)| (first.0, last.0)).collect::<Vec<_>>()
        };
        assert_eq!(holes(&[1, 2, 3], 1, 3), []);
        assert_eq!(holes(&[3, 4, 7], 1, 9), [(1, 2), (5, 6), (8, 9)]);
        assert_eq!(holes(&[], 2, 4), [(2, 4)]);
        assert_eq!(holes(&[], 5, 4), []);
    }

    #[test]
    fn recent_events_are_dense() {
        let mut recent = Recent::default();
        for n in [1, 2, 5, 6] {
            recent.push(EventNumber(n), Bytes::new());
        }
        assert_eq!(recent.range(EventNumber(2), EventNumber(6)), None);
        assert_eq!(
            recent.range(EventNumber(5), EventNumber(6)).map(|events| events.len()),
            Some(2)
        );
    }
}
