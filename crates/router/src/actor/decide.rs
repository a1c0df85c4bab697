//! Deciding without letting one bad input take others down.

use std::panic::{AssertUnwindSafe, catch_unwind};

use stentor_cluster::{Effects, Fanout, Log, Ownership};
use stentor_postoffice::{Commit, Context, Session};
use stentor_store::Store;
use stentor_types::{ConnectionId, GatewayId, Input, InputKind, RejectCode};
use tracing::error;

use super::Actor;
use crate::rules;

impl<L: Log, S: Store, B: Fanout + Effects + Ownership> Actor<'_, L, S, B> {
    /// What the inputs mean, and the session as it will be. An input that makes the core panic is
    /// replaced in `inputs` by its refusal.
    pub(super) fn decide(&self, inputs: &mut [Input]) -> (Commit, Session) {
        loop {
            if let Some(decided) = self.try_decide(inputs) {
                return decided;
            }
            self.actors.shared().metrics.panic_caught();
            let culprit = (0..inputs.len()).find(|last| {
                inputs.get(..=*last).is_some_and(|part| self.try_decide(part).is_none())
            });
            let Some(input) = culprit.and_then(|place| inputs.get_mut(place)) else { continue };
            error!(app = %self.key.app, session = %self.key.session, "an input made the session logic panic; it is refused for good");
            input.kind = refusal(&input.kind);
        }
    }

    fn try_decide(&self, inputs: &[Input]) -> Option<(Commit, Session)> {
        let shared = self.actors.shared();
        let rules = rules::of(&shared.apps.borrow(), &self.key.app);
        let context = Context { now: shared.clock.now(), rules: &rules };
        // Neither deciding nor folding a copy changes anything that outlives a panic.
        let attempt = catch_unwind(AssertUnwindSafe(|| {
            if let Some(fail_point) = &shared.fail_point {
                inputs.iter().for_each(|input| fail_point(input));
            }
            let mut commit = self.session.decide(inputs, &context);
            if let Some(later) = shared.later() {
                later.decided(&mut commit);
            }
            let mut after = self.session.clone();
            after.apply(&commit);
            (commit, after)
        }));
        attempt.ok()
    }
}

/// What takes the place of an input that cannot be decided about.
fn refusal(kind: &InputKind) -> InputKind {
    match kind {
        InputKind::Say(say) => InputKind::Refuse {
            connection: say.connection,
            mid: say.mid,
            code: RejectCode::Poison,
            body: say.body.clone(),
        },
        // A connection that does not exist: nothing happens.
        _ => InputKind::Detach {
            connection: ConnectionId { gateway: GatewayId(0), number: 0 },
            delivered: None,
        },
    }
}
