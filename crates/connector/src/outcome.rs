//! Telling the owner of a session how an attempt ended, until it has taken note.

use std::{sync::Arc, time::Duration};

use prost::Message;
use stentor_cluster::{BusError, Ingress};
use stentor_types::FailureReason;
use stentor_wire::{failure_to_pb, pb, session_id};
use tracing::{debug, warn};

use crate::call::Answer;

/// Pauses between tries.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(3),
];
/// Tries before giving up. By then, minutes later, the session has long ended the attempt itself.
const TRIES_MAX: usize = 100;

/// Delivers an outcome. False if nobody took note of it.
pub(crate) async fn deliver<B: Ingress>(bus: &Arc<B>, effect: &pb::Effect, answer: Answer) -> bool {
    let Some(delivered) = try_deliver(bus, effect, answer).await else {
        // The session can be told that much.
        let failed = Answer::Failed(FailureReason::BadAnswer);
        return try_deliver(bus, effect, failed).await.unwrap_or(false);
    };
    delivered
}

/// The same; nothing if the answer is larger than the bus carries.
async fn try_deliver<B: Ingress>(
    bus: &Arc<B>,
    effect: &pb::Effect,
    answer: Answer,
) -> Option<bool> {
    use pb::outcome_request::Result as Outcome;
    let result = match answer {
        Answer::Reply(reply) => {
            Outcome::Answer(pb::OutcomeAnswer { body: reply.body, handoff: reply.handoff })
        }
        Answer::Empty => Outcome::Empty(true),
        Answer::Failed(reason) => Outcome::Failed(failure_to_pb(reason).into()),
    };
    let outcome = pb::OutcomeRequest {
        session: effect.session.clone(),
        epoch: effect.epoch,
        turn: effect.turn,
        attempt: effect.attempt,
        result: Some(result),
    };
    let Ok(session) = session_id(&effect.session) else { return Some(true) };
    let request = pb::Request {
        app: effect.app.clone(),
        kind: Some(pb::request::Kind::Outcome(outcome)),
        deaths: 0,
    };
    let request: bytes::Bytes = request.encode_to_vec().into();
    for attempt in 0..TRIES_MAX {
        match bus.request(session.partition(), request.clone()).await {
            Ok(reply) => {
                if is_settled(reply) {
                    return Some(true);
                }
                debug!(%session, "an outcome was not taken yet");
            }
            Err(cause @ BusError::TooLarge { .. }) => {
                warn!(%session, %cause, "a bot's answer is too long to be delivered");
                return None;
            }
            Err(cause) => debug!(%session, %cause, "an outcome could not be delivered yet"),
        }
        let pause = PAUSES.get(attempt).or_else(|| PAUSES.last()).copied().unwrap_or_default();
        tokio::time::sleep(pause).await;
    }
    warn!(%session, "an outcome could not be delivered; the session ends the attempt itself");
    Some(false)
}

fn is_settled(reply: bytes::Bytes) -> bool {
    use pb::{outcome_reply::Kind as Told, reply::Kind};
    let Ok(reply) = pb::Reply::decode(reply) else { return false };
    match reply.kind {
        Some(Kind::Outcome(outcome)) => matches!(outcome.kind, Some(Told::Settled(true))),
        // It cannot be read, now or later: nothing is gained by saying it again.
        Some(Kind::Malformed(_)) => true,
        _ => false,
    }
}

/// The label of an answer.
pub(crate) const fn label(answer: &Answer) -> &'static str {
    match answer {
        Answer::Reply(_) => "reply",
        Answer::Empty => "empty",
        Answer::Failed(reason) => crate::metrics::label(*reason),
    }
}

/// Whether the bot did what it is there for.
pub(crate) const fn is_well(answer: &Answer) -> bool {
    matches!(answer, Answer::Reply(_) | Answer::Empty)
}
