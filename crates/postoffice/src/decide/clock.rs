//! What is known of a device's clock.
//!
//! A legacy client sorts what it shows by stamps of two clocks, its own and ours. So what is sent to
//! it is stamped in its own time, by an offset that is measured once and kept until it is clearly
//! wrong: an offset that followed every message would make replays differ from what was first sent.
//!
//! A frame is stamped when it is queued and may be sent up to 10 s later. So a measured offset is never
//! above the true one, and one that is too low does no harm: an answer is stamped above the message
//! that it answers in any case.

use stentor_types::{Audience, ClockSegment, EventKind, EventNumber, Stamp, Timestamp, UserKey};

use super::Decision;
use crate::rules::{CLOCK_DELAY_MS, CLOCK_TOLERANCE_MS, DEVICES_MAX};

/// How far a clock may be off before we stop believing in it: 50 years. Stamps stay exact numbers in
/// JavaScript.
const OFFSET_MAX_MS: i64 = 50 * 365 * 86_400_000;

impl Decision<'_> {
    /// Measures a device's clock by a frame that it stamped `client_time` and that reached us `at`.
    /// Returns the frame's own stamp brought to session time, to stamp its event above it.
    pub(super) fn measure_clock(
        &mut self,
        user: UserKey,
        client_time: i64,
        at: Timestamp,
    ) -> Option<i64> {
        let offset = client_time.saturating_sub(millis(at));
        if offset.saturating_abs() > OFFSET_MAX_MS {
            return None;
        }
        let known = self.state.devices.contains_key(&user);
        let change = offset.saturating_sub(self.state.clock(user).offset_ms);
        if !known || !(-CLOCK_DELAY_MS..=CLOCK_TOLERANCE_MS).contains(&change) {
            self.set_clock(user, offset);
        }
        let own = client_time.saturating_sub(self.state.clock(user).offset_ms);
        // A device that cannot be remembered must not drag everybody else's time along.
        // The gateway's clock may be ahead of ours.
        Some(own.min(millis(self.at.max(at)).saturating_add(CLOCK_TOLERANCE_MS)))
    }

    fn set_clock(&mut self, user: UserKey, offset: i64) {
        let known = self.state.devices.contains_key(&user);
        if !known && self.state.devices.len() >= DEVICES_MAX {
            return;
        }
        let from = self.state.n.next();
        let floor = if known || self.was_shown(user) {
            self.state.clock(user).translate(from, self.next_stamp(None))
        } else {
            Stamp(0)
        };
        let segment = ClockSegment { from, offset_ms: offset.saturating_sub(offset & 1), floor };
        self.emit(Audience::Staff, EventKind::Clock { user, segment });
    }

    /// Whether a device may have been shown anything so far.
    fn was_shown(&self, user: UserKey) -> bool {
        self.state.participants.contains_key(&user) && self.state.last_shown > EventNumber::NONE
    }
}

fn millis(at: Timestamp) -> i64 {
    i64::try_from(at.as_millis()).unwrap_or(i64::MAX / 2)
}
