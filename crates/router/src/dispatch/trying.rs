//! Inputs that an owner may have been lost over: one after the other, and not those that are known to be it.

use stentor_cluster::{Effects, Fanout, Log, Ownership};
use stentor_store::Store;
use stentor_types::{AppId, Partition, PlacementKey};
use stentor_wire::{
    DecodeError, letter_of_input, pb,
    pb::{connection_input::Kind as InputOf, input_reply},
    session_id,
};

use super::Dispatcher;
use crate::{
    actor::Trouble,
    request,
    trials::{Mark, Verdict},
};

impl<L: Log, S: Store, B: Fanout + Effects + Ownership> Dispatcher<L, S, B> {
    /// The inputs of one connection, in order, each on its own.
    pub(super) async fn carefully(
        &self,
        app: AppId,
        mut request: pb::ConnectionRequest,
        partition: Partition,
        deaths: u32,
    ) -> Result<Vec<pb::InputReply>, DecodeError> {
        let shared = self.actors.shared();
        let inputs = std::mem::take(&mut request.inputs);
        let mut results = Vec::with_capacity(inputs.len());
        let count = inputs.len();
        for input in inputs {
            let mark = Mark::of(&app, &request.user, &input);
            let me = (shared.writer, shared.clock.now());
            let begun = shared.trials.begin(&*shared.bus, me, partition, mark, deaths).await;
            let (input, trial) = match begun {
                Verdict::Run => (input, None),
                Verdict::RunAlone(trial) => (input, Some(trial)),
                Verdict::NotNow => {
                    results.push(request::trouble_reply(Trouble::TryAgain));
                    break;
                }
                Verdict::Refuse { again } => match self.refused(&app, input, again) {
                    Some(refusal) => (refusal, None),
                    None => {
                        let kind = input_reply::Kind::Rejected(pb::RejectCode::Poison.into());
                        results.push(pb::InputReply { kind: Some(kind) });
                        continue;
                    }
                },
            };
            let one = pb::ConnectionRequest { inputs: vec![input], ..request.clone() };
            let answered = self.inputs(&app, one).await;
            if let Some(trial) = trial {
                shared.trials.finish(&*shared.bus, shared.writer, trial).await;
            }
            results.extend(answered?);
            if comes_again(&results) {
                break;
            }
        }
        // What comes after it must not overtake it.
        results.resize_with(count, || request::trouble_reply(Trouble::TryAgain));
        Ok(results)
    }

    /// What takes the place of an input that an owner was lost over; nothing if it has no number to be used up. One
    /// copy of it is kept, however often it is asked for.
    fn refused(
        &self,
        app: &AppId,
        input: pb::ConnectionInput,
        again: bool,
    ) -> Option<pb::ConnectionInput> {
        if !again {
            let mut letter = letter_of_input(&input);
            letter.reason = pb::DeadReason::RouterGone.into();
            app.as_str().clone_into(&mut letter.app);
            "a router was lost while it tried it; it is refused for good"
                .clone_into(&mut letter.detail);
            self.actors.shared().bury(letter);
        }
        let Some(InputOf::Say(say)) = input.kind else { return None };
        let refusal = pb::RefuseInput {
            session: say.session,
            counter: say.counter,
            client: say.client,
            poison: true,
        };
        Some(pb::ConnectionInput { kind: Some(InputOf::Refuse(refusal)), ..input })
    }
}

/// Whether the last of these inputs is sent again, and all after it: what has no number would be done before it, and
/// twice.
pub(super) fn comes_again(results: &[pb::InputReply]) -> bool {
    let last = results.last().and_then(|result| result.kind.as_ref());
    matches!(last, Some(input_reply::Kind::TryAgainMs(_) | input_reply::Kind::AttachFirst(_)))
}

/// The partition that a connection's inputs belong to.
pub(super) fn partition(request: &pb::ConnectionRequest) -> Result<Partition, DecodeError> {
    let first = request.inputs.first().and_then(|input| input.kind.as_ref());
    let session = match first {
        Some(InputOf::Say(say)) => Some(&say.session),
        Some(InputOf::Refuse(refuse)) => Some(&refuse.session),
        Some(InputOf::Attach(attach)) => attach.session.as_ref(),
        Some(InputOf::Detach(detach)) => Some(&detach.session),
        Some(InputOf::Control(control)) => Some(&control.session),
        Some(InputOf::Draft(draft)) => Some(&draft.session),
        Some(InputOf::End(end)) => Some(&end.session),
        None => None,
    };
    Ok(match session {
        Some(session) => session_id(session)?.partition(),
        None => PlacementKey(request.placement).partition(),
    })
}
