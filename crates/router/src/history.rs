//! The latest events of a session in memory, and the older ones from log and store.

use std::collections::VecDeque;

use bytes::Bytes;
use stentor_cluster::{Log, LogError};
use stentor_store::{Store, StoreError};
use stentor_types::{Event, EventNumber};
use stentor_wire::{DecodeError, decode_commit, decode_event};

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

/// The latest events of a session, dense.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    events: VecDeque<(EventNumber, Bytes)>,
    bytes: usize,
}

// === impl Recent ===

impl Recent {
    pub(crate) fn push(&mut self, n: EventNumber, event: Bytes) {
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

/// Events `from..=to` from the log and, where it no longer has them, from the store; ordered, and
/// complete except for what has expired.
pub(crate) async fn read<L: Log, S: Store, B>(
    shared: &Shared<L, S, B>,
    key: &Key,
    from: EventNumber,
    to: EventNumber,
    head: EventNumber,
) -> Result<Vec<(EventNumber, Bytes)>, HistoryError> {
    let wanted = head.0.saturating_sub(from.0).saturating_add(1);
    let mut events = Vec::new();
    for record in shared.log.read_tail(&key.entity(), wanted).await? {
        let decoded = decode_commit(&record.record)?;
        for (event, bytes) in decoded.commit.events.iter().zip(decoded.events) {
            if (from..=to).contains(&event.n) {
                events.push((event.n, bytes));
            }
        }
    }
    let logged = events.first().map_or(to.next(), |(n, _)| *n);
    if logged <= from {
        return Ok(events);
    }
    let last = EventNumber(logged.0.saturating_sub(1));
    let stored = shared.store.events(&key.app, key.session, from, last).await?;
    let mut all: Vec<_> = stored.into_iter().map(|event| (event.n, event.event)).collect();
    all.append(&mut events);
    Ok(all)
}
