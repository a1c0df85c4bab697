//! What people do in a session: take over and hand back, wait for somebody, drafts, the end.
//!
//! A model of its own, followed from the events alone; after each record the core's state must agree.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use stentor_postoffice::{CLAIM_WAIT, DRAFT_BYTES_MAX, DRAFTS_MAX, State};
use stentor_types::{
    Control, Event, EventKind, EventNumber, Notice, Said, SessionId, Timestamp, UserKey,
};

use super::{ensure, hand_back::HandBack, presence::Presence};
use crate::world::Violation;

/// The people of one session and what is left for them to do.
#[derive(Debug, Default)]
pub(crate) struct People {
    /// A person is wanted since then; the visitor is told at the second time, once.
    waiting: Option<(Timestamp, Option<Timestamp>)>,
    ended: bool,
    drafts: BTreeMap<EventNumber, Bytes>,
    /// Who lost control because they were gone.
    pub(crate) lapsed: BTreeSet<UserKey>,
    /// Who answers, as visitors are told.
    stepped_in: BTreeSet<UserKey>,
    pub(crate) hand_back: HandBack,
}

/// Where and when, and who is there.
#[derive(Clone, Copy)]
pub(crate) struct Scene<'a> {
    pub(crate) id: SessionId,
    pub(crate) at: Timestamp,
    /// Before the event.
    pub(crate) control: &'a Control,
    pub(crate) presence: &'a Presence,
}

// === impl People ===

impl People {
    pub(crate) fn happened(&mut self, event: &Event, scene: Scene<'_>) -> Result<(), Violation> {
        let Scene { id, at, control, presence } = scene;
        let n = event.n;
        match &event.kind {
            EventKind::Replied { handoff: true, .. } if !self.ended => {
                self.waiting.get_or_insert((at, Some(at.after(CLAIM_WAIT))));
                Ok(())
            }
            EventKind::Notice { notice: Notice::NobodyFree, .. } => {
                let due =
                    self.waiting.and_then(|(_, tell_at)| tell_at).is_some_and(|due| due <= at);
                self.waiting = self.waiting.map(|(since, _)| (since, None));
                ensure(due, "I22", || format!("{id}: event {n}: nobody waits, or is told again"))
            }
            EventKind::ControlChanged { control: after, .. } => {
                self.control_changed(n, after, scene)
            }
            EventKind::SteppedIn { user, .. } => {
                self.lapsed.remove(user);
                let fresh = self.stepped_in.insert(*user);
                ensure(fresh, "I20", || format!("{id}: event {n}: somebody steps in twice"))
            }
            EventKind::SteppedOut { user, lapsed, .. } => {
                let was_in = self.stepped_in.remove(user);
                ensure(was_in, "I20", || format!("{id}: event {n}: somebody steps out twice"))?;
                if *lapsed {
                    self.lapsed.insert(*user);
                    let gone = presence.may_leave(*user, at);
                    ensure(gone, "I22", || {
                        format!("{id}: event {n}: somebody lapses who is here")
                    })?;
                }
                Ok(())
            }
            EventKind::Said(said) => {
                if presence.visitor() == Some(said.user) {
                    self.ended = false;
                }
                Ok(())
            }
            EventKind::Draft { turn, body } => {
                self.drafts.insert(*turn, body.clone());
                while self.drafts.len() > DRAFTS_MAX || self.draft_bytes() > DRAFT_BYTES_MAX {
                    self.drafts.pop_first();
                }
                Ok(())
            }
            EventKind::DraftSent { turn, user, body, .. } => {
                let kept = self.drafts.remove(turn);
                ensure(kept.as_ref() == Some(body), "I20", || {
                    format!("{id}: event {n} sends a draft for {turn}, which there is none of")
                })?;
                ensure(holds(control, *user), "I20", || {
                    format!("{id}: event {n}: a draft is sent by somebody not in control")
                })
            }
            EventKind::DraftDone { turn, user, .. } => {
                let kept = self.drafts.remove(turn);
                ensure(kept.is_some() && presence.may_work(*user), "I18", || {
                    format!("{id}: event {n}: draft {turn} may not be dealt with")
                })
            }
            EventKind::Ended { user, .. } => {
                ensure(!self.ended, "P3", || format!("{id}: event {n} ends what has ended"))?;
                ensure(presence.may_work(*user) && *control == Control::Bot, "I18", || {
                    format!("{id}: event {n} ends it while {control:?} answer")
                })?;
                self.ended = true;
                self.waiting = None;
                self.lapsed.clear();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn control_changed(
        &mut self,
        n: EventNumber,
        after: &Control,
        scene: Scene<'_>,
    ) -> Result<(), Violation> {
        let Scene { id, control, presence, .. } = scene;
        let Control::Agents(agents) = after else { return Ok(()) };
        self.waiting = None;
        let stranger =
            agents.iter().find(|user| !holds(control, **user) && !presence.may_work(**user));
        ensure(stranger.is_none() && !agents.is_empty(), "I18", || {
            format!("{id}: event {n} gives control to {agents:?}, {stranger:?} may not have it")
        })?;
        if *control == Control::Bot {
            self.hand_back.people_took_over(n);
        }
        Ok(())
    }

    /// When the visitor is to be told that nobody has come.
    pub(crate) fn due(&self) -> Option<Timestamp> {
        self.waiting.and_then(|(_, tell_at)| tell_at)
    }

    fn draft_bytes(&self) -> usize {
        self.drafts.values().map(Bytes::len).sum()
    }

    /// A visitor or an agent said something that the bot was not asked.
    pub(crate) fn covered(&mut self, n: EventNumber, said: &Said) {
        self.hand_back.covered(n, said);
    }

    /// The state agrees.
    pub(crate) fn check(&self, state: &State, id: SessionId) -> Result<(), Violation> {
        let waiting = state.waiting.map(|waiting| (waiting.since, waiting.tell_at));
        ensure(waiting == self.waiting, "I10", || {
            format!("{id}: waiting since {waiting:?}, expected {:?}", self.waiting)
        })?;
        ensure(state.ended == self.ended, "I10", || {
            format!("{id}: ended {}, expected {}", state.ended, self.ended)
        })?;
        ensure(!self.ended || waiting.is_none(), "P3", || {
            format!("{id}: it has ended, and a person is wanted")
        })?;
        ensure(state.drafts == self.drafts, "I20", || {
            let kept: Vec<_> = state.drafts.keys().collect();
            format!("{id}: drafts {kept:?}, expected {:?}", self.drafts.keys())
        })?;
        ensure(state.lapsed.keys().eq(self.lapsed.iter()), "I10", || {
            format!("{id}: lapsed {:?}, expected {:?}", state.lapsed.keys(), self.lapsed)
        })?;
        let answering = match &state.control {
            Control::Bot => BTreeSet::new(),
            Control::Agents(agents) => agents.clone(),
        };
        ensure(answering == self.stepped_in, "I20", || {
            format!("{id}: {answering:?} answer, visitors know of {:?}", self.stepped_in)
        })?;
        self.hand_back.check(state, id)
    }
}

/// Whether somebody is in control.
pub(crate) fn holds(control: &Control, user: UserKey) -> bool {
    matches!(control, Control::Agents(agents) if agents.contains(&user))
}
