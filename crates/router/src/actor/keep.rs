//! What a session gives to be kept: its state, for the store and for the log.

use std::borrow::Cow;

use stentor_cluster::{Effects, Fanout, Log, Ownership};
use stentor_postoffice::State;
use stentor_store::{SessionRow, Store};
use stentor_types::{EventNumber, Sequence};
use stentor_wire::encode_snapshot_for;

use super::Actor;
use crate::rules;

impl<L: Log, S: Store, B: Fanout + Effects + Ownership> Actor<'_, L, S, B> {
    /// Hands over the state after the last commit. An epoch that no commit has yet is not part of it.
    pub(super) fn hand_row(&self) {
        let shared = self.actors.shared();
        let Some(origin) = self.origin else { return };
        // If the log has nothing of it any more, then nothing that was there can be told in any other way.
        let covers = self.head.unwrap_or(Sequence(u64::MAX));
        let Some(backlog) = shared.keeping.backlog() else { return };
        let state = self.session.state();
        let state = if state.epoch == origin.epoch {
            Cow::Borrowed(state)
        } else {
            Cow::Owned(State { epoch: origin.epoch, ..state.clone() })
        };
        let row = SessionRow {
            epoch: origin.epoch,
            projected: state.n,
            first: EventNumber(1),
            at: state.last_at,
            log: origin.log,
            state: encode_snapshot_for(&state, shared.min_logic()),
        };
        backlog.row(&self.key.entity(), covers, row);
    }

    /// The log may forget the newest snapshot before there is another.
    pub(super) fn snapshot_is_old(&self) -> bool {
        let shared = self.actors.shared();
        let age = shared.clock.now().since(self.snapshot_at);
        self.session.state().n > EventNumber::NONE
            && age >= rules::snapshot_age(&shared.apps.borrow(), &self.key.app)
    }
}
