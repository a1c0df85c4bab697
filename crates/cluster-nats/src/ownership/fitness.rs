//! Whether a router may decide anything, and what it shows of itself.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use stentor_types::Partition;
use tracing::info;

use super::{
    holdings::Holdings,
    keeper::{Keeper, Outcome},
    records::ReadError,
};
use crate::{
    clock,
    readiness::{BusState, Trouble},
};

/// A comparison of clocks that takes longer says nothing.
const ANSWER_FOR: Duration = Duration::from_secs(1);

impl Keeper {
    /// Compares the clock with the broker's now and then, and at once until that has worked.
    pub(super) fn compare(&mut self, now: Duration) {
        let every =
            self.clock_offset.map_or(self.timings.records_every, |_| self.timings.clock_every);
        let is_due = self.compared_at.is_none_or(|at| now >= at + every);
        if !is_due || !self.book.is_read || !self.connection.is_up() {
            return;
        }
        self.compared_at = Some(now);
        let (records, wall) = (self.records.clone(), self.wall);
        self.tasks.spawn(async move {
            let (asked, before) = (clock::now(), unix_micros(wall));
            let time = records.time().await;
            let now = unix_micros(wall);
            // The broker looked at its clock somewhere in between. Where is not known of a process that was
            // frozen meanwhile, nor of a line that was down.
            let is_prompt = clock::now().saturating_sub(asked) < ANSWER_FOR;
            let offset = time.map(|time| i128::midpoint(before, now) - time);
            Outcome::Compared(if is_prompt { offset } else { Err(ReadError::Silent) })
        });
    }

    /// Nothing if the broker's time is not known.
    pub(super) fn clock_is_right(&self) -> Option<bool> {
        let tolerance = self.timings.clock_tolerance.as_micros();
        self.clock_offset.map(|offset| offset.unsigned_abs() <= tolerance)
    }

    /// Whatever this router would decide, it would decide wrongly: its clock is off, or the cluster has left
    /// its version behind.
    pub(super) fn must_not_decide(&self) -> bool {
        self.clock_is_right() == Some(false) || self.holdings.finalized() > self.members.version()
    }

    /// The version that this router would have to know.
    pub(super) fn outdated(&self) -> Option<u32> {
        let found = self.beyond.values().copied().max().unwrap_or_default();
        let needed = self.holdings.finalized().max(found);
        (needed > self.members.version()).then_some(needed)
    }

    /// How many partitions are this router's for certain. One that is not heard may have lost them all.
    fn surely_owned(&self) -> usize {
        // In this order: a heartbeat that ends a silence counts after the lapse is counted.
        let is_fresh = self.members.is_fresh();
        sure_of(&self.holdings, is_fresh, self.members.lapses())
    }

    pub(super) fn show(&self) {
        let mut troubles = Vec::new();
        if !self.connection.is_up() {
            troubles.push(Trouble::Unreachable);
        } else if !self.members.view().hears_itself(clock::now()) {
            troubles.push(Trouble::Unheard);
        }
        if !self.records_are_read {
            troubles.push(Trouble::NoRecords);
        }
        if let Some(needed) = self.outdated() {
            troubles.push(Trouble::Outdated(needed, self.members.version()));
        }
        match self.clock_is_right() {
            Some(true) => {}
            Some(false) => {
                let seconds = self.clock_offset.unwrap_or_default() / 1_000_000;
                troubles.push(Trouble::ClockOff(i64::try_from(seconds).unwrap_or(i64::MAX)));
            }
            None => troubles.push(Trouble::ClockUnknown),
        }
        let terms: Vec<_> =
            Partition::all().filter_map(|partition| self.holdings.get(partition)).collect();
        let owned = terms.len();
        let highest = terms.iter().map(|(term, _)| *term).max().unwrap_or_default();
        self.desk.metrics.owned.set(i64::try_from(self.surely_owned()).unwrap_or(i64::MAX));
        self.desk.metrics.term.set(i64::try_from(highest).unwrap_or(i64::MAX));
        let state = BusState { troubles, owned, taking_up: self.taking_up };
        self.state.send_if_modified(|shown| {
            let changed = *shown != state;
            if shown.troubles != state.troubles {
                info!(%state, "the bus");
            }
            *shown = state;
            changed
        });
    }
}

/// How many partitions nobody else can have taken.
fn sure_of(holdings: &Holdings, is_fresh: bool, lapses: u64) -> usize {
    let sure = Partition::all().filter(|partition| holdings.is_sure(*partition, lapses));
    if is_fresh { sure.count() } else { 0 }
}

fn unix_micros(wall: fn() -> SystemTime) -> i128 {
    let now = wall().duration_since(UNIX_EPOCH).unwrap_or_default();
    i128::try_from(now.as_micros()).unwrap_or_default()
}
