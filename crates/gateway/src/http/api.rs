//! The HTTP API for integrators: who asks, for what, and how it is answered.
//!
//! What changes a session goes over a connection of the second dialect that lives as long as the request, so it
//! is taken, refused and made durable exactly like what comes over a socket.

use std::{future::poll_fn, net::IpAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use hyper::body::Incoming;
use serde_json::{Value, json};
use stentor_apps::App;
use stentor_cluster::Ingress;
use stentor_protocol::{
    api::{Accepted, BODY_BYTES_MAX, Call, KEY_BYTES_MAX, NewMessage, NoRoute, Taking, find},
    v2::Code,
};
use stentor_types::{Partition, SessionId};
use stentor_wire::pb;
use tokio_tungstenite::tungstenite::Utf8Bytes;
use xxhash_rust::xxh3::xxh3_128;

use super::{
    Answer, answer, body, erase,
    frames::{self, Life},
    handshake, read,
};
use crate::{
    asking::{self, Asking},
    identify::{DeviceCookie, Principal, random},
    legacy::Stranger,
    metrics::Refusal,
    shared::Shared,
    v2::Exchanged,
};

/// How long the owner of a session may take.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Somebody who may ask.
pub(super) struct Caller<'a, B> {
    pub(super) shared: &'a Arc<Shared<B>>,
    pub(super) app: Arc<App>,
    pub(super) principal: Principal,
    stranger: Stranger,
    /// How the same person says hello to the second dialect.
    hello: Value,
}

/// Whether a path belongs to the API.
pub(super) fn is_mine(path: &str) -> bool {
    path.starts_with("/api/v1/sessions")
}

/// Answers a request.
pub(super) async fn serve<B: Ingress>(
    shared: &Arc<Shared<B>>,
    peer: IpAddr,
    request: Request<Incoming>,
    life: &Life,
) -> Answer {
    try_serve(shared, peer, request, life).await.unwrap_or_else(|answer| answer)
}

async fn try_serve<B: Ingress>(
    shared: &Arc<Shared<B>>,
    peer: IpAddr,
    request: Request<Incoming>,
    life: &Life,
) -> Result<Answer, Answer> {
    let path = request.uri().path().to_owned();
    let (call, sid) = find(request.method().as_str(), &path).map_err(|no| match no {
        NoRoute::Path => answer::no_route(),
        NoRoute::Method(allowed) => answer::no_method(allowed),
    })?;
    let caller = caller(shared, peer, &request)?;
    let query = request.uri().query().unwrap_or_default().to_owned();
    if call == Call::List {
        return read::list(&caller, &query).await;
    }
    let session: SessionId = sid.parse().map_err(|_| refused(Code::NoSession))?;
    match call {
        Call::Events => return read::events(&caller, session, &query).await,
        Call::Transcript => return read::transcript(&caller, session, &query).await,
        Call::Erase => return erase::erase(&caller, session, request.headers()).await,
        Call::List | Call::Post | Call::Take | Call::Release | Call::End => {}
    }
    if !caller.principal.may_work() {
        return Err(refused(Code::Forbidden));
    }
    let client = client(&caller.principal, request.headers())?;
    let body = body::read(request, BODY_BYTES_MAX).await?;
    let sid = session.to_string();
    let deed = match call {
        Call::Post => {
            let message: NewMessage = parse(&body)?;
            json!({ "t": "send", "sid": sid, "mid": 1, "text": message.text, "note": message.note })
        }
        Call::Take => {
            let taking: Taking = if body.is_empty() { Taking::default() } else { parse(&body)? };
            json!({ "t": "take", "ref": 2, "sid": sid, "displayName": taking.display_name })
        }
        Call::Release => json!({ "t": "release", "ref": 2, "sid": sid }),
        _ => json!({ "t": "end", "ref": 2, "sid": sid }),
    };
    let open = json!({ "t": "open", "ref": 1, "sid": sid, "client": client });
    let frames = [caller.hello, open, deed].map(|frame| Utf8Bytes::from(frame.to_string()));
    frames::run(shared, caller.stranger, frames.into(), life).await.map(|answers| told(&answers))
}

/// Who asks: by a bearer token, or on a page of our own by the cookie of a login.
fn caller<'a, B: Ingress>(
    shared: &'a Arc<Shared<B>>,
    peer: IpAddr,
    request: &Request<Incoming>,
) -> Result<Caller<'a, B>, Answer> {
    let device = DeviceCookie::read(request.headers());
    let stranger = handshake::stranger(shared, peer, request, device, true).map_err(|refused| {
        shared.metrics.refused(refused.refusal());
        refused.problem()
    })?;
    let apps = shared.apps();
    let token = bearer(request.headers());
    let unauthorised = |text: &str| {
        shared.metrics.refused(Refusal::Token);
        let mut answer = problem(StatusCode::UNAUTHORIZED, "unauthorised", text);
        let wanted = HeaderValue::from_static("Bearer");
        answer.headers_mut().insert(header::WWW_AUTHENTICATE, wanted);
        answer
    };
    let (app, principal, hello) = match (token, &stranger.login) {
        (Some(token), _) => {
            let told =
                stentor_tokens::inspect(token).map_err(|error| unauthorised(&error.to_string()))?;
            let app = apps
                .get(&told.2.aud)
                .ok_or_else(|| unauthorised("the token's `aud` is no app of this router"))?;
            let principal =
                Principal::vouched(app, token).map_err(|error| unauthorised(&error.to_string()))?;
            (app, principal, json!({ "t": "hello", "app": app.id.as_str(), "token": token }))
        }
        (None, Some(cookie)) => {
            let claims = shared.logins.claims(cookie);
            let app = claims.as_ref().and_then(|claims| apps.get(&claims.aud));
            let known = app.and_then(|app| Some((app, shared.logins.principal(app, cookie)?)));
            let (app, principal) = known.ok_or_else(|| unauthorised("nobody is logged in here"))?;
            (app, principal, json!({ "t": "hello", "app": app.id.as_str(), "login": true }))
        }
        (None, None) => return Err(unauthorised("send `Authorization: Bearer TOKEN`")),
    };
    if !principal.is_staff() {
        return Err(refused(Code::Forbidden));
    }
    if !shared.limiter.may_speak(principal.visitor.user, &principal.limits(app)) {
        shared.metrics.refused(Refusal::TooFast);
        return Err(refused(Code::TooFast));
    }
    Ok(Caller { shared, app: Arc::clone(app), principal, stranger, hello })
}

/// The token of a request.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (kind, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    kind.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The client instance of a request: the same for the same key of the same caller, else a new one.
fn client(principal: &Principal, headers: &HeaderMap) -> Result<String, Answer> {
    let Some(key) = headers.get("idempotency-key") else {
        return Ok(format!("{:032x}", random()));
    };
    let printable = key.as_bytes().iter().all(|byte| (0x20..0x7f).contains(byte));
    if !(1..=KEY_BYTES_MAX).contains(&key.len()) || !printable {
        let text = "Idempotency-Key: must have 1 to 128 printable ASCII characters";
        return Err(problem(StatusCode::BAD_REQUEST, "malformed", text));
    }
    let named = [principal.visitor.user.to_string().as_bytes(), b"\0", key.as_bytes()].concat();
    Ok(format!("{:032x}", xxh3_128(&named)))
}

fn parse<'a, T: serde::Deserialize<'a>>(body: &'a [u8]) -> Result<T, Answer> {
    serde_json::from_slice(body).map_err(|error| {
        // Says which field and what was expected; the value may be a secret.
        let text = error.to_string();
        let text = text.split(" at line ").next().unwrap_or_default();
        let text = match text.split_once(", expected ") {
            Some((_, expected)) => format!("the body: expected {expected}"),
            None => format!("the body: {text}"),
        };
        problem(StatusCode::BAD_REQUEST, "malformed", &text)
    })
}

/// What became of it.
fn told(exchanged: &Exchanged) -> Answer {
    let frames = exchanged.answers.split(|byte| *byte == b'\n');
    let frames: Vec<Value> =
        frames.filter_map(|frame| serde_json::from_slice(frame).ok()).collect();
    let is = |frame: &&Value, kinds: &[&str]| {
        frame.get("t").and_then(Value::as_str).is_some_and(|kind| kinds.contains(&kind))
    };
    if let Some(done) = frames.iter().find(|frame| is(frame, &["ack", "done"])) {
        let accepted = Accepted { n: done.get("n").and_then(Value::as_u64) };
        return answer::json(StatusCode::OK, &json!(accepted));
    }
    let Some(refused) = frames.iter().find(|frame| is(frame, &["nack", "refused"])) else {
        return frames::closed(exchanged).unwrap_or_else(|| refused_now(Code::Busy));
    };
    let code = refused.get("code").and_then(Value::as_str).unwrap_or("busy");
    let text = refused.get("text").and_then(Value::as_str).unwrap_or_default();
    frames::retry_later(problem(status(code), code, text))
}

/// Something is not possible, in the words of the second dialect.
pub(super) fn refused(code: Code) -> Answer {
    refused_now(code)
}

fn refused_now(code: Code) -> Answer {
    let name = json!(code);
    let name = name.as_str().unwrap_or_default();
    frames::retry_later(problem(status(name), name, code.advice()))
}

fn status(code: &str) -> StatusCode {
    match code {
        "noSession" => StatusCode::NOT_FOUND,
        "forbidden" => StatusCode::FORBIDDEN,
        "notInControl" | "expired" | "gap" => StatusCode::CONFLICT,
        "erased" => StatusCode::GONE,
        "tooLong" => StatusCode::PAYLOAD_TOO_LARGE,
        "malformed" => StatusCode::BAD_REQUEST,
        "tooFast" | "tooMany" => StatusCode::TOO_MANY_REQUESTS,
        "poison" | "damaged" => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    }
}

pub(super) fn problem(status: StatusCode, code: &str, text: &str) -> Answer {
    answer::problem(status, code, text)
}

impl<B: Ingress> Caller<'_, B> {
    /// Asks the owner of a partition until it answers, or it has taken too long.
    pub(super) async fn ask(
        &self,
        partition: Partition,
        kind: pb::request::Kind,
    ) -> Result<asking::Answer, Answer> {
        self.ask_for(ANSWER_MAX, partition, kind).await.ok_or_else(|| refused(Code::Busy))
    }

    /// The same for so long; nothing if that is too short.
    pub(super) async fn ask_for(
        &self,
        within: Duration,
        partition: Partition,
        kind: pb::request::Kind,
    ) -> Option<asking::Answer> {
        let request =
            pb::Request { app: self.app.id.as_str().to_owned(), kind: Some(kind), deaths: 0 };
        let bus = Arc::clone(&self.shared.bus);
        let mut asking = Asking::new(bus, partition, &request, 0);
        let answered = poll_fn(|context| asking.poll(context, &self.shared.metrics));
        tokio::time::timeout(within, answered).await.ok()
    }
}

/// The value of a parameter of the query; percent-encoding is undone.
pub(super) fn parameter(query: &str, name: &str) -> Option<String> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.into_iter().find(|(known, _)| *known == name)?;
    let spaced = value.replace('+', " ");
    Some(percent_encoding::percent_decode_str(&spaced).decode_utf8_lossy().into_owned())
}

/// A body of JSON that is there already.
pub(super) fn json_body(body: impl Into<Bytes>) -> Answer {
    let mut answer = answer::empty(StatusCode::OK);
    *answer.body_mut() = answer::body(body);
    let kind = HeaderValue::from_static("application/json");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}
