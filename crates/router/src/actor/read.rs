//! What has happened in a session, for whoever asks: from memory, else from log and store.

use stentor_cluster::{Effects, Fanout, Log, Ownership};
use stentor_store::Store;
use stentor_types::EventNumber;
use stentor_wire::pb;
use tracing::warn;

use super::{ANSWER_BYTES_MAX, Actor, erase};
use crate::history;

/// Events handed out by one fetch.
const FETCH_MAX: u64 = 500;

impl<L: Log, S: Store, B: Fanout + Effects + Ownership> Actor<'_, L, S, B> {
    /// Events `from..=to`, from memory if it has them all. What cannot be read just now is left out.
    pub(crate) async fn events(
        &self,
        from: EventNumber,
        to: EventNumber,
    ) -> Vec<(EventNumber, bytes::Bytes)> {
        self.try_events(from, to).await.unwrap_or_default()
    }

    async fn try_events(
        &self,
        from: EventNumber,
        to: EventNumber,
    ) -> Option<Vec<(EventNumber, bytes::Bytes)>> {
        if self.session.state().erased {
            return Some(erase::erased_events(self.session.state(), from, to));
        }
        if let Some(events) = self.recent.range(from, to) {
            return Some(events);
        }
        let head = self.session.state().n;
        match history::read(self.actors.shared(), &self.key, from, to, head).await {
            Ok(events) => Some(events),
            Err(cause) => {
                let chain = crate::metrics::chain(&cause);
                warn!(app = %self.key.app, session = %self.key.session, cause = chain, "older events could not be read");
                None
            }
        }
    }

    pub(super) async fn fetch(&self, from: EventNumber, to: EventNumber) -> pb::FetchReply {
        let state = self.session.state();
        let last = to.0.min(from.0.saturating_add(FETCH_MAX - 1)).min(state.n.0);
        let events = self.try_events(from, EventNumber(last)).await;
        pb::FetchReply {
            epoch: state.epoch.0,
            try_again: events.is_none(),
            // Whoever lacks more asks for the rest.
            events: first_of(events.into_iter().flatten().map(|(_, event)| event)),
            head: state.n.0,
        }
    }
}

/// The first of some events: as many as an answer may hold.
fn first_of(events: impl Iterator<Item = bytes::Bytes>) -> Vec<bytes::Bytes> {
    let mut bytes = 0_usize;
    let fits = events.enumerate().take_while(|(place, event)| {
        bytes = bytes.saturating_add(event.len());
        *place == 0 || bytes <= ANSWER_BYTES_MAX
    });
    fits.map(|(_, event)| event).collect()
}
