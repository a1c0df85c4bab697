//! An attempt to ask the bot has ended.

use stentor_types::{Audience, BotResult, EffectId, EventKind, Reply, TurnEnd};

use super::Decision;
use crate::state::TurnPhase;

impl Decision<'_> {
    pub(super) fn on_outcome(&mut self, effect: EffectId, result: &BotResult) -> Reply {
        let Some(turn) = &self.state.turn else { return Reply::Nothing };
        let awaited = matches!(turn.phase, TurnPhase::Calling { .. })
            && turn.request.n == effect.turn
            && turn.attempt == effect.attempt
            && self.state.epoch == effect.epoch;
        if !awaited {
            return Reply::Nothing;
        }
        // Asked under an older control epoch: somebody else answers the visitor by now.
        let stale = turn.control_epoch != self.state.control_epoch;
        let turn = effect.turn;
        let n = match result {
            BotResult::Reply { body, .. } if stale => {
                self.emit(Audience::Staff, EventKind::Draft { turn, body: body.clone() })
            }
            BotResult::Empty | BotResult::Failed(_) if stale => {
                self.emit(Audience::Staff, EventKind::TurnEnded { turn, how: TurnEnd::Stale })
            }
            BotResult::Reply { body, handoff } => self.emit(
                Audience::All,
                EventKind::Replied { turn, body: body.clone(), handoff: *handoff },
            ),
            BotResult::Empty => {
                self.emit(Audience::All, EventKind::TurnEnded { turn, how: TurnEnd::Empty })
            }
            BotResult::Failed(reason) => self.fail_attempt(turn, effect.attempt, *reason),
        };
        self.start_turn();
        Reply::Committed(n)
    }
}
