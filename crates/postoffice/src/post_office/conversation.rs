//! A session with its latest events.

use std::collections::VecDeque;

use stentor_types::{Event, EventNumber};

use crate::{Commit, Session};

/// Events kept to be shown again: a replay reaches back 300 at most.
const EVENTS_MAX: usize = 300;

/// A session, and as much of its log as somebody may still want to see.
#[derive(Debug)]
pub(super) struct Conversation {
    pub(super) session: Session,
    events: VecDeque<Event>,
}

// === impl Conversation ===

impl Conversation {
    pub(super) const fn new(session: Session) -> Self {
        Self { session, events: VecDeque::new() }
    }

    pub(super) fn apply(&mut self, commit: &Commit) {
        self.session.apply(commit);
        self.events.extend(commit.events.iter().cloned());
        let surplus = self.events.len().saturating_sub(EVENTS_MAX);
        self.events.drain(..surplus);
    }

    /// Events from `from` to before `to`, oldest first.
    pub(super) fn events(
        &self,
        from: EventNumber,
        to: EventNumber,
    ) -> impl DoubleEndedIterator<Item = &Event> {
        self.events.iter().filter(move |event| (from..to).contains(&event.n))
    }

    /// Nobody is here and nothing is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.session.state().endpoints.is_empty() && self.session.state().turn.is_none()
    }
}
