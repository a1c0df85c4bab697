//! Deadlines that have passed.

use stentor_types::{Audience, EventKind, FailureReason, Notice, Reply, Role, TurnEnd};

use super::Decision;
use crate::state::{Crowd, TurnPhase};

impl Decision<'_> {
    pub(super) fn on_tick(&mut self) -> Reply {
        let before = self.state.n;
        self.turn_due();
        self.graces_due();
        self.waiting_due();
        self.crowd_due();
        if self.state.n == before { Reply::Nothing } else { Reply::Committed(self.state.n) }
    }

    fn turn_due(&mut self) {
        let Some(turn) = &self.state.turn else { return };
        let (n, attempt) = (turn.request.n, turn.attempt);
        let stale = turn.control_epoch != self.state.control_epoch;
        match turn.phase {
            TurnPhase::Calling { deadline } if deadline <= self.at => {
                if stale {
                    self.emit(
                        Audience::Staff,
                        EventKind::TurnEnded { turn: n, how: TurnEnd::Stale },
                    );
                } else {
                    self.fail_attempt(n, attempt, FailureReason::TimedOut);
                }
                self.start_turn();
            }
            TurnPhase::Waiting { until } if until <= self.at => {
                self.begin_attempt(n, attempt.saturating_add(1));
                self.start_turn();
            }
            TurnPhase::Calling { .. } | TurnPhase::Waiting { .. } => {}
        }
    }

    fn graces_due(&mut self) {
        let due: Vec<_> = self
            .state
            .participants
            .iter()
            .filter(|(_, participant)| participant.leaves_at.is_some_and(|at| at <= self.at))
            .map(|(user, participant)| (*user, participant.alias.clone(), participant.role))
            .collect();
        for (user, alias, role) in due {
            // Agents listen without a trace: only colleagues see them go.
            let audience = match role {
                Role::Visitor => Audience::All,
                Role::Agent => Audience::Staff,
            };
            self.release(user, true);
            let counted = self.is_counted(role, 0);
            self.emit(audience, EventKind::Left { user, alias, counted });
        }
    }

    fn crowd_due(&mut self) {
        let Some(crowd) = self.state.crowd.filter(|crowd| crowd.tell_at <= self.at) else { return };
        let total = u32::try_from(self.state.participants.len()).unwrap_or(u32::MAX);
        let Crowd { joined, left, .. } = crowd;
        // Those who are counted are of staff, and visitors are not told who listens.
        self.emit(Audience::Staff, EventKind::Crowd { total, joined, left });
    }

    /// The visitor is told that nobody has come; the mark stays.
    fn waiting_due(&mut self) {
        let told = self.state.waiting.and_then(|waiting| waiting.tell_at);
        if told.is_some_and(|at| at <= self.at) {
            let text = self.context.rules.nobody_free_text.clone();
            self.emit(Audience::All, EventKind::Notice { notice: Notice::NobodyFree, text });
        }
    }
}
