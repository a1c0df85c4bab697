//! One conversation.

use stentor_types::{
    Audience, Epoch, Event, EventKind, EventNumber, Input, SessionId, Timestamp, UserKey,
};

use crate::{
    commit::{Commit, Effect},
    decide::Decision,
    rules::{ATTEMPT_SLACK, Rules},
    state::{State, TurnPhase},
};

/// How far back a replay goes. Attachments count as events too, so this is more than the hundred
/// messages that a visitor is shown at most.
const REPLAY_EVENTS: u64 = 300;

/// What a decision depends on besides the session.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Now, by the owner's clock.
    pub now: Timestamp,
    /// What the app lays down.
    pub rules: &'a Rules,
    /// Participants beyond which the coming and going of agents is counted ([`EventKind::Crowd`]) and not told of
    /// each: [`CROWD_MIN`], or `usize::MAX` while somebody reads what is written who does not know that.
    ///
    /// [`CROWD_MIN`]: crate::CROWD_MIN
    pub crowd_min: usize,
}

/// One conversation of a visitor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    id: SessionId,
    state: State,
}

// === impl Session ===

impl Session {
    /// A session in which nothing has happened yet. `epoch` is the Unix second in which its numbering
    /// begins.
    #[must_use]
    pub const fn new(id: SessionId, epoch: Epoch) -> Self {
        Self { id, state: State::new(epoch) }
    }

    /// A session as it was at a snapshot.
    #[must_use]
    pub const fn restore(id: SessionId, state: State) -> Self {
        Self { id, state }
    }

    /// Its id.
    #[must_use]
    pub const fn id(&self) -> SessionId {
        self.id
    }

    /// What it is now.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// Decides what the inputs mean, in order. Changes nothing: a refused commit is simply dropped.
    ///
    /// A rejected input is a reply in the commit, not an error.
    #[must_use]
    pub fn decide(&self, inputs: &[Input], context: &Context<'_>) -> Commit {
        let mut decision = Decision::new(self.id, &self.state, context);
        for input in inputs {
            decision.take(input);
        }
        decision.finish()
    }

    /// Folds one commit in; the only way a session changes.
    pub fn apply(&mut self, commit: &Commit) {
        self.state.epoch = commit.epoch;
        for event in &commit.events {
            let request = commit.requests.iter().find(|request| request.n == event.n);
            self.state.fold(event, request.map(|request| &request.body), commit.at);
        }
    }

    /// When `decide` must be called next even if nothing arrives.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.state.next_deadline()
    }

    /// The attempt to ask the bot that is out just now. After a restart it is made again under the
    /// same id.
    #[must_use]
    pub fn open_effect(&self) -> Option<Effect> {
        self.state.open_effect()
    }

    /// The first event that a connection must be shown again when it attaches anew.
    ///
    /// What was written to the user's other connections says nothing about this one: it may be a tab
    /// that was hidden long before those were closed, and no legacy client says which one it is.
    #[must_use]
    pub fn replay_from(&self) -> EventNumber {
        EventNumber(self.state.n.0.saturating_sub(REPLAY_EVENTS).max(1))
    }

    /// Whether a legacy client of `user` is shown this event again when it attaches anew: messages of
    /// others and their coming and going, but never what is their own, failures or typing.
    #[must_use]
    pub fn replays(user: UserKey, event: &Event) -> bool {
        match &event.kind {
            _ if event.audience == Audience::Staff => false,
            EventKind::SteppedIn { user: other, .. }
            | EventKind::SteppedOut { user: other, .. } => *other != user,
            EventKind::Said(said) => said.user != user && !said.greeting,
            EventKind::Replied { .. } | EventKind::DraftSent { .. } | EventKind::Notice { .. } => {
                true
            }
            EventKind::Joined { user: other, counted, .. }
            | EventKind::Left { user: other, counted, .. } => !counted && *other != user,
            _ => false,
        }
    }
}

// === impl State ===

impl State {
    /// The attempt that is out just now.
    pub(crate) fn open_effect(&self) -> Option<Effect> {
        let turn = self.turn.as_ref()?;
        let TurnPhase::Calling { deadline } = turn.phase else { return None };
        let slack = u64::try_from(ATTEMPT_SLACK.as_micros()).unwrap_or(0);
        Some(Effect {
            id: stentor_types::EffectId {
                epoch: self.epoch,
                turn: turn.request.n,
                attempt: turn.attempt,
            },
            deadline: Timestamp(deadline.0.saturating_sub(slack)),
            request: turn.request.body.clone(),
        })
    }
}
