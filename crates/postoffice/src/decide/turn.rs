//! The bot's turn: one message at a time, three attempts each.

use stentor_types::{Audience, Control, EventKind, EventNumber, FailureReason};

use super::Decision;
use crate::rules::{ATTEMPT_SLACK, ATTEMPTS};

impl Decision<'_> {
    /// Begins the turn of the oldest waiting message if no turn is open and the bot answers.
    pub(super) fn start_turn(&mut self) {
        if self.state.turn.is_some() || self.state.control != Control::Bot {
            return;
        }
        if let Some(turn) = self.state.queue.front().map(|request| request.n) {
            self.begin_attempt(turn, 1);
        }
    }

    /// Begins an attempt. Without a bot it has failed before it began.
    pub(super) fn begin_attempt(&mut self, turn: EventNumber, attempt: u8) {
        let timeout = self.context.rules.bot.map(|bot| bot.timeout).unwrap_or_default();
        let deadline = self.at.after(timeout).after(ATTEMPT_SLACK);
        self.emit(Audience::All, EventKind::TurnStarted { turn, attempt, deadline });
    }

    /// Ends an attempt that failed; says when the next one begins, if there is one.
    pub(super) fn fail_attempt(
        &mut self,
        turn: EventNumber,
        attempt: u8,
        reason: FailureReason,
    ) -> EventNumber {
        let delay = self.context.rules.bot.map_or(1, |bot| bot.retry_delay_s.max(1));
        let delay_s = if attempt < ATTEMPTS { delay } else { 0 };
        self.emit(Audience::All, EventKind::TurnFailed { turn, attempt, delay_s, reason })
    }
}
