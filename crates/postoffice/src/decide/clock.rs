//! What is known of a device's clock.
//!
//! A legacy client sorts what it shows by stamps of two clocks, its own and ours. So what is sent to
//! it is stamped in its own time, by an offset that is measured once and kept until it is clearly
//! wrong: an offset that followed every message would make replays differ from what was first sent.

use stentor_types::{Audience, ClockSegment, EventKind, Timestamp, UserKey};

use super::Decision;
use crate::rules::{CLOCK_DELAY_MS, CLOCK_TOLERANCE_MS, JOIN_DELAY_MS};

/// How far a clock may be off before we stop believing in it: 50 years. Stamps stay exact numbers in
/// JavaScript.
const OFFSET_MAX_MS: i64 = 50 * 365 * 86_400_000;

impl Decision<'_> {
    /// Measures by a wish to join, which the widget stamps early: only a gross error moves the clock.
    pub(super) fn clock_by_join(&mut self, user: UserKey, client_time: i64, at: Timestamp) {
        let offset = client_time.saturating_add(JOIN_DELAY_MS).saturating_sub(millis(at));
        let change = offset.saturating_sub(self.state.clock(user).offset_ms);
        if change.abs() > CLOCK_DELAY_MS {
            self.set_clock(user, offset);
        }
    }

    /// Measures by a message, which is stamped when it is sent, or up to 10 s before if the connection
    /// was down. Returns the message's own stamp brought to session time, to stamp the event above it.
    pub(super) fn clock_by_message(
        &mut self,
        user: UserKey,
        client_time: i64,
        at: Timestamp,
    ) -> Option<i64> {
        let offset = client_time.saturating_sub(millis(at));
        if offset.abs() > OFFSET_MAX_MS {
            return None;
        }
        let change = offset.saturating_sub(self.state.clock(user).offset_ms);
        if !(-CLOCK_DELAY_MS..=CLOCK_TOLERANCE_MS).contains(&change) {
            self.set_clock(user, offset);
        }
        Some(client_time.saturating_sub(self.state.clock(user).offset_ms))
    }

    fn set_clock(&mut self, user: UserKey, offset: i64) {
        if offset.abs() > OFFSET_MAX_MS {
            return;
        }
        let offset_ms = offset.saturating_sub(offset & 1);
        let before = self.state.clock(user);
        let from = self.state.n.next();
        // The floor is what the last event was shown as. Nothing that was shown before is a floor of 0.
        let floor = before.translate(self.state.n, self.state.last_stamp);
        let segment = ClockSegment { from, offset_ms, floor };
        self.emit(Audience::Staff, EventKind::Clock { user, segment });
    }
}

fn millis(at: Timestamp) -> i64 {
    i64::try_from(at.as_millis()).unwrap_or(i64::MAX / 2)
}
