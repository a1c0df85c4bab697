//! The bot's turn: one message at a time, three attempts each.

use stentor_types::{Audience, Control, EventKind, EventNumber, FailureReason};

use super::Decision;
use crate::rules::{ATTEMPT_SLACK, ATTEMPTS};

impl Decision<'_> {
    /// Begins the turn of the oldest waiting message if no turn is open and the bot answers.
    ///
    /// An app that has lost its bot fails everything that still waits for it.
    pub(super) fn start_turn(&mut self) {
        while self.state.turn.is_none() && self.state.control == Control::Bot {
            let Some(turn) = self.state.queue.front().map(|request| request.n) else { return };
            self.begin_attempt(turn, 1);
        }
    }

    /// Begins an attempt. Without a bot it has failed before it began.
    pub(super) fn begin_attempt(&mut self, turn: EventNumber, attempt: u8) {
        let bot = self.context.rules.bot;
        let timeout = bot.map(|bot| bot.timeout).unwrap_or_default();
        let deadline = self.at.after(timeout).after(ATTEMPT_SLACK);
        self.emit(Audience::All, EventKind::TurnStarted { turn, attempt, deadline });
        if bot.is_none() {
            self.fail_attempt(turn, attempt, FailureReason::NotAllowed);
        }
    }

    /// Ends an attempt that failed; says when the next one begins, if there is one: without a bot
    /// there is none.
    pub(super) fn fail_attempt(
        &mut self,
        turn: EventNumber,
        attempt: u8,
        reason: FailureReason,
    ) -> EventNumber {
        let (attempt, delay_s) = match self.context.rules.bot {
            Some(bot) if attempt < ATTEMPTS => (attempt, bot.retry_delay_s.max(1)),
            Some(_) => (attempt, 0),
            None => (ATTEMPTS, 0),
        };
        self.emit(Audience::All, EventKind::TurnFailed { turn, attempt, delay_s, reason })
    }
}
