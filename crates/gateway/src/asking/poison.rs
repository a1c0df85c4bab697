//! What owners may be gone over: counted, asked alone, and given up on in the end.
//!
//! The bus says when the owner that had a request was replaced before it answered. From then on the request has
//! one input, and says how many owners it has outlived. After the second, the next one writes down what it is about
//! to try before it does, and whoever comes after refuses what it finds written. A fourth owner gone over
//! one input means that it does not end so; then the input is not asked any more, whoever is to blame.

use bytes::Bytes;
use prost::Message;
use stentor_wire::{letter_of_input, pb, pb::input_reply};
use tracing::error;

use super::Answer;
use crate::shared;

/// Owners that may be gone over one input. Losing one is ordinary, the second is a bad sign, and the third was warned;
/// if it takes a fourth, what they write down for each other is not what ends it.
const DEATHS_MAX: u32 = 4;
/// What is asked with it comes after it.
const AFTER_MS: u32 = 100;

/// What is known against a request.
#[derive(Debug, Default)]
pub(super) struct Suspicion {
    /// Owners that were gone before they had answered.
    deaths: u32,
    /// Inputs that were taken out, to be asked after the first.
    later: usize,
}

/// What is to be asked of the next owner.
#[derive(Debug)]
pub(super) enum Next {
    /// The request, with a word of warning.
    Ask(Bytes),
    /// The input is not tried again. If it has a number, that is used up by asking this.
    GiveUp { letter: Bytes, ask: Option<Bytes> },
}

// === impl Suspicion ===

impl Suspicion {
    /// The owner that had the request is gone.
    pub(super) fn owner_gone(&mut self, request: &Bytes) -> Next {
        self.deaths = self.deaths.saturating_add(1);
        let Ok(mut asked) = pb::Request::decode(request.clone()) else {
            return Next::Ask(request.clone());
        };
        let deaths = self.deaths;
        // Only inputs are what the next owner can be warned of.
        let Some(pb::request::Kind::Connection(connection)) = &mut asked.kind else {
            return Next::Ask(request.clone());
        };
        self.later = self.later.saturating_add(connection.inputs.len().saturating_sub(1));
        connection.inputs.truncate(1);
        asked.deaths = deaths;
        if deaths < DEATHS_MAX {
            return Next::Ask(asked.encode_to_vec().into());
        }
        let Some(input) = connection.inputs.first_mut() else {
            return Next::Ask(request.clone());
        };
        let session = input.kind.as_ref().and_then(session_of);
        let mut letter = letter_of_input(input);
        letter.at = shared::now().0;
        letter.app.clone_from(&asked.app);
        letter.reason = pb::DeadReason::RoutersGone.into();
        letter.detail = format!("{deaths} routers were gone before they had answered");
        error!(
            app = asked.app,
            session,
            what = letter.what,
            deaths,
            "routers are gone over an input; it is refused for good"
        );
        let refusal = match &input.kind {
            Some(pb::connection_input::Kind::Say(say)) => Some(pb::RefuseInput {
                session: say.session.clone(),
                counter: say.counter,
                client: say.client.clone(),
                poison: true,
            }),
            // A refusal that does the same harm has nothing in it that could be left out.
            _ => None,
        };
        let letter = letter.encode_to_vec().into();
        let Some(refusal) = refusal else { return Next::GiveUp { letter, ask: None } };
        input.kind = Some(pb::connection_input::Kind::Refuse(refusal));
        // It is another input now, which nobody has died of.
        (self.deaths, asked.deaths) = (0, 0);
        Next::GiveUp { letter, ask: Some(asked.encode_to_vec().into()) }
    }

    /// An answer with a result for every input that there was: those taken out are to be asked now.
    pub(super) fn complete(&self, mut answer: Answer) -> Answer {
        if let Answer::Inputs(results) = &mut answer {
            let later = pb::InputReply { kind: Some(input_reply::Kind::TryAgainMs(AFTER_MS)) };
            results.extend(std::iter::repeat_n(later, self.later));
        }
        answer
    }
}

fn session_of(kind: &pb::connection_input::Kind) -> Option<String> {
    use pb::connection_input::Kind;
    let bytes = match kind {
        Kind::Say(say) => &say.session,
        Kind::Detach(detach) => &detach.session,
        Kind::Control(control) => &control.session,
        Kind::Draft(draft) => &draft.session,
        Kind::End(end) => &end.session,
        Kind::Refuse(refuse) => &refuse.session,
        Kind::Attach(attach) => attach.session.as_ref()?,
    };
    Some(stentor_wire::session_id(bytes).ok()?.to_string())
}

#[cfg(test)]
mod tests {
    use pb::connection_input::Kind;

    use super::*;

    fn request(count: u64) -> Bytes {
        let say = |counter| pb::ConnectionInput {
            received_at: 1,
            kind: Some(Kind::Say(pb::SayInput {
                counter,
                body: "{}".into(),
                request: "{\"accessToken\":\"secret\"}".into(),
                ..Default::default()
            })),
        };
        let inputs = (1..=count).map(say).collect();
        let kind =
            pb::request::Kind::Connection(pb::ConnectionRequest { inputs, ..Default::default() });
        pb::Request { app: "demo".into(), kind: Some(kind), deaths: 0 }.encode_to_vec().into()
    }

    fn inputs(request: &Bytes) -> (u32, Vec<pb::ConnectionInput>) {
        let request = pb::Request::decode(request.clone()).unwrap();
        let Some(pb::request::Kind::Connection(connection)) = request.kind else { panic!() };
        (request.deaths, connection.inputs)
    }

    #[test]
    fn f16_an_input_that_four_owners_are_gone_over_is_refused_and_its_copy_kept() {
        let mut suspicion = Suspicion::default();
        let mut asked = request(3);
        for deaths in 1..DEATHS_MAX {
            let Next::Ask(next) = suspicion.owner_gone(&asked) else { panic!("{deaths}") };
            let (told, inputs) = inputs(&next);
            assert_eq!((told, inputs.len()), (deaths, 1));
            asked = next;
        }
        let Next::GiveUp { letter, ask } = suspicion.owner_gone(&asked) else { panic!() };
        let letter = pb::DeadLetter::decode(letter).unwrap();
        assert_eq!((letter.reason(), letter.counter), (pb::DeadReason::RoutersGone, 1));
        assert_eq!(letter.body, "{}");
        let (told, inputs) = inputs(&ask.unwrap());
        let Some(Kind::Refuse(refuse)) = &inputs[0].kind else { panic!("{inputs:?}") };
        assert_eq!((told, refuse.counter, refuse.poison), (0, 1, true));
    }

    #[test]
    fn what_was_asked_with_it_is_asked_after_it() {
        let mut suspicion = Suspicion::default();
        let Next::Ask(next) = suspicion.owner_gone(&request(3)) else { panic!() };
        let Next::Ask(_) = suspicion.owner_gone(&next) else { panic!() };
        let result = pb::InputReply { kind: Some(input_reply::Kind::Committed(7)) };
        let Answer::Inputs(results) = suspicion.complete(Answer::Inputs(vec![result])) else {
            panic!()
        };
        assert_eq!(results.len(), 3);
        assert!(matches!(results[2].kind, Some(input_reply::Kind::TryAgainMs(_))));
    }

    #[test]
    fn what_has_no_number_is_given_up_without_asking_anybody() {
        let attach = pb::ConnectionInput {
            received_at: 1,
            kind: Some(Kind::Attach(pb::AttachInput::default())),
        };
        let kind = pb::request::Kind::Connection(pb::ConnectionRequest {
            inputs: vec![attach],
            ..Default::default()
        });
        let request = pb::Request { app: "demo".into(), kind: Some(kind), deaths: 0 };
        let mut asked: Bytes = request.encode_to_vec().into();
        let mut suspicion = Suspicion::default();
        for _ in 1..DEATHS_MAX {
            let Next::Ask(next) = suspicion.owner_gone(&asked) else { panic!() };
            asked = next;
        }
        let Next::GiveUp { ask, .. } = suspicion.owner_gone(&asked) else { panic!() };
        assert!(ask.is_none());
    }
}
