//! Erasing a session for a program: who may, and what came of it.
//!
//! The router that owns the session does it, and looks at the token itself. Knows nothing of how it is done.

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use serde_json::json;
use stentor_cluster::Ingress;
use stentor_protocol::{
    api::Certificate,
    v2::{Code, RoleName},
};
use stentor_types::{Epoch, EventNumber, SessionId, Timestamp};
use stentor_wire::{pb, pb::erase_reply::Kind, session_to_bytes};

use super::{
    Answer, answer,
    api::{Caller, bearer, problem, refused},
    frames,
};
use crate::asking;

/// How long it may take. All effects of the app since the session began are read.
const ERASED_WITHIN: Duration = Duration::from_secs(30);

/// Erases a session of the caller's app, and answers with the certificate.
pub(super) async fn erase<B: Ingress>(
    caller: &Caller<'_, B>,
    session: SessionId,
    headers: &HeaderMap,
) -> Result<Answer, Answer> {
    // It cannot be taken back, so it is for programs, and not for whoever is logged in at some browser.
    let token = bearer(headers).filter(|_| caller.principal.role == RoleName::Integration);
    let token = token.ok_or_else(|| {
        let text = "only a token of role `integration` lets sessions be erased";
        problem(StatusCode::FORBIDDEN, "forbidden", text)
    })?;
    let request = pb::EraseRequest { session: session_to_bytes(session), token: token.to_owned() };
    let kind = pb::request::Kind::Erase(request);
    match caller.ask_for(ERASED_WITHIN, session.partition(), kind).await {
        Some(asking::Answer::Erased(kind)) => told(session, kind),
        Some(asking::Answer::Malformed) => Err(problem(
            StatusCode::NOT_IMPLEMENTED,
            "older",
            "the router that owns the session has an older version, which erases only by `stentor erase`",
        )),
        _ => Err(not_now()),
    }
}

fn told(session: SessionId, kind: Kind) -> Result<Answer, Answer> {
    Err(match kind {
        Kind::Certificate(known) => {
            let numbers = (Epoch(known.epoch), EventNumber(known.events));
            let times = (Timestamp(known.hidden_at), known.gone_at.map(Timestamp));
            let certificate = Certificate::new((known.app, session), numbers, times.0, times.1);
            return Ok(answer::json(StatusCode::OK, &json!(certificate)));
        }
        Kind::NoSession(_) => refused(Code::NoSession),
        Kind::NeedsVersion(needed) => {
            let text = format!(
                "the cluster has a version below {needed}, and its members would not understand an erased session; \
                 bring all of them to this version, then `stentor upgrade finalize`"
            );
            problem(StatusCode::CONFLICT, "needsVersion", &text)
        }
        Kind::Forbidden(_) => problem(
            StatusCode::FORBIDDEN,
            "forbidden",
            "the router that owns the session does not believe the token; has it the same file of the app?",
        ),
        Kind::Damaged(_) => refused(Code::Damaged),
        Kind::TryAgainMs(_) => not_now(),
    })
}

fn not_now() -> Answer {
    let text = "the session is not wholly erased yet: does a router own it, and does its database answer? Send the \
                same again, and it goes on where it was";
    frames::retry_later(problem(StatusCode::SERVICE_UNAVAILABLE, "busy", text))
}
