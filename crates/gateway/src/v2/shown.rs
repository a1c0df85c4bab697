//! What one client has of one session, and what it is still to be shown: in order, without a hole.

use std::{collections::VecDeque, sync::Arc};

use stentor_protocol::v2::Viewer;
use stentor_types::{Epoch, EventNumber};

use crate::{batch::Batch, engine::Frames};

/// Batches that may wait behind what is being fetched. What comes beyond them is fetched too.
const HELD_MAX: usize = 32;

/// Events fetched at a time: what is written before more is asked for.
const FETCHED_MAX: u64 = 64;

/// What one client has of one session.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) epoch: Epoch,
    /// Everything up to here was written.
    pub(super) last: EventNumber,
    /// The session's last event, as far as is known here; beyond all numbers while that has to be found out.
    pub(super) head: EventNumber,
    /// The last event that was fanned out, or told to be there, since something was fetched last, whether it was
    /// kept or not; beyond all numbers if something may have been lost since.
    told: EventNumber,
    held: VecDeque<Arc<Batch>>,
}

/// What a batch led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Fine,
    /// The numbering has changed, or events are gone for good: the client has to begin anew.
    Resync,
}

// === impl Shown ===

impl Shown {
    pub(super) fn new(epoch: Epoch, last: EventNumber, head: EventNumber) -> Self {
        Self { epoch, last, head, told: EventNumber::NONE, held: VecDeque::new() }
    }

    /// Takes what was fanned out.
    pub(super) fn take(&mut self, batch: Arc<Batch>) -> Next {
        if batch.epoch != self.epoch {
            // A late one of the old numbering is over.
            return if batch.epoch > self.epoch { Next::Resync } else { Next::Fine };
        }
        let last = batch.events.last().map_or(EventNumber::NONE, |event| event.n);
        self.told = self.told.max(batch.head).max(last);
        self.head = self.head.max(self.told);
        if last > self.last && self.held.len() < HELD_MAX {
            self.held.push_back(batch);
        }
        Next::Fine
    }

    /// Takes what was fetched. The first event tells whether something is gone for good.
    pub(super) fn take_fetched(&mut self, batch: Batch) -> Next {
        match batch.events.first().map(|event| event.n) {
            Some(first) if first > self.last.next() => Next::Resync,
            Some(_) => {
                self.held.push_front(Arc::new(batch));
                Next::Fine
            }
            None if batch.head > self.last => Next::Resync,
            None => Next::Fine,
        }
    }

    /// Something is being fetched from now on.
    pub(super) const fn fetches(&mut self) {
        self.told = EventNumber::NONE;
    }

    /// Skips what is gone for good.
    pub(super) fn skip_to(&mut self, first: EventNumber) {
        self.last = EventNumber(first.0.saturating_sub(1)).max(self.last);
    }

    /// Writes the next batch that fits.
    pub(super) fn write(&mut self, viewer: Viewer, frames: &mut Frames) {
        while frames.is_empty() {
            let Some(batch) = self.held.pop_front() else {
                self.held = VecDeque::new();
                return;
            };
            for event in &batch.events {
                if event.n <= self.last {
                    continue;
                }
                if event.n > self.last.next() {
                    // What is behind the hole comes with what is fetched.
                    break;
                }
                self.last = event.n;
                frames.push(batch.v2_frame(event, viewer));
            }
        }
    }

    /// The first and last event that have to be fetched.
    pub(super) fn missing(&self) -> Option<(EventNumber, EventNumber)> {
        let next = self.last.next();
        let held = self.held.iter().flat_map(|batch| &batch.events).any(|event| event.n == next);
        let to = EventNumber(self.head.0.min(self.last.0.saturating_add(FETCHED_MAX)));
        (self.head > self.last && !held).then_some((next, to))
    }

    /// Deliveries were lost; nobody knows how many.
    pub(super) fn unsure(&mut self) {
        self.held = VecDeque::new();
        self.doubt();
    }

    /// Something may have been lost.
    pub(super) const fn doubt(&mut self) {
        self.head = EventNumber(u64::MAX);
        // What was asked before says nothing about it.
        self.told = EventNumber(u64::MAX);
    }

    /// There is more, or nobody knows yet.
    pub(super) fn is_behind(&self) -> bool {
        self.head > self.last
    }

    /// The head as the owner has told with what was fetched: what was fanned out since is still to be shown.
    pub(super) fn settle_head(&mut self, head: EventNumber) {
        self.head = head.max(self.told).max(self.last);
    }
}

#[cfg(test)]
mod tests {
    use stentor_types::{PlacementKey, SessionId};

    use super::*;

    const EPOCH: Epoch = Epoch(1);

    fn head(n: u64) -> Batch {
        let session = SessionId::new(PlacementKey(1), 1);
        Batch::new(session, EPOCH, EventNumber(n), &[]).unwrap()
    }

    #[test]
    fn p4_what_is_fanned_out_while_something_is_fetched_is_not_forgotten_over_it() {
        let mut shown = Shown::new(EPOCH, EventNumber(3), EventNumber(3));
        shown.doubt();
        assert_eq!(shown.missing().map(|(from, _)| from), Some(EventNumber(4)));
        shown.fetches();
        // Before the answer comes there is one more event, of which only the number has room here.
        assert_eq!(shown.take(Arc::new(head(4))), Next::Fine);
        shown.settle_head(EventNumber(3));
        assert_eq!(shown.take_fetched(head(3)), Next::Fine);
        assert_eq!(shown.missing(), Some((EventNumber(4), EventNumber(4))));
        // An owner that knows of nothing more is believed: it was asked after that was told.
        shown.fetches();
        shown.settle_head(EventNumber(3));
        assert_eq!(shown.take_fetched(head(3)), Next::Fine);
        assert_eq!(shown.missing(), None);
        // Something is lost while an answer is on its way.
        shown.fetches();
        shown.doubt();
        shown.settle_head(EventNumber(3));
        assert!(shown.missing().is_some());
    }
}
