//! Deciding without letting one bad input take others down.

use std::panic::{AssertUnwindSafe, catch_unwind};

use stentor_cluster::{Effects, Fanout, Log, Ownership};
use stentor_postoffice::{CROWD_MIN, Commit, Context, Session};
use stentor_store::Store;
use stentor_types::{
    BotResult, ConnectionId, FailureReason, GatewayId, Input, InputKind, RejectCode,
};
use stentor_wire::{CROWDS, client_to_bytes, letter_body, pb, session_to_bytes};

use super::Actor;
use crate::{actors::Key, rules};

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
            self.actors.shared().bury(letter(&self.key, &input.kind));
            input.kind = refusal(&input.kind);
        }
    }

    fn try_decide(&self, inputs: &[Input]) -> Option<(Commit, Session)> {
        let shared = self.actors.shared();
        let rules = rules::of(&shared.apps.borrow(), &self.key.app);
        let crowd_min = if shared.min_logic() < CROWDS { usize::MAX } else { CROWD_MIN };
        let context = Context { now: shared.clock.now(), rules: &rules, crowd_min };
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

/// A copy of an input that cannot be decided about.
fn letter(key: &Key, kind: &InputKind) -> pb::DeadLetter {
    let what = match kind {
        InputKind::Attach(_) => "attachment",
        InputKind::Say(_) => "message",
        InputKind::Detach { .. } => "detachment",
        InputKind::GatewayLost { .. } => "lost gateway",
        InputKind::Refuse { .. } => "refused message",
        InputKind::Outcome { .. } => "outcome of an attempt",
        InputKind::Control(_) => "change of control",
        InputKind::Draft { .. } => "draft",
        InputKind::End { .. } => "end",
        InputKind::Erase => "erasure",
        InputKind::Tick => "deadline",
    };
    let mut letter = pb::DeadLetter {
        reason: pb::DeadReason::Panic.into(),
        app: key.app.as_str().to_owned(),
        session: Some(session_to_bytes(key.session)),
        what: what.to_owned(),
        detail: "the session logic panicked over it; it is refused for good".to_owned(),
        ..Default::default()
    };
    if let InputKind::Say(say) = kind {
        letter.client = Some(client_to_bytes(say.mid.client));
        letter.counter = say.mid.counter;
        (letter.body, letter.body_bytes) = letter_body(&say.body);
    }
    letter
}

/// What takes the place of an input for which the log has no room; nothing if it is short already.
pub(super) fn too_large(kind: &InputKind) -> Option<InputKind> {
    match kind {
        InputKind::Say(say) => Some(InputKind::Refuse {
            connection: say.connection,
            mid: say.mid,
            code: RejectCode::Malformed,
            body: bytes::Bytes::new(),
        }),
        InputKind::Outcome { effect, result: BotResult::Reply { .. } } => {
            let result = BotResult::Failed(FailureReason::BadAnswer);
            Some(InputKind::Outcome { effect: *effect, result })
        }
        _ => None,
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
