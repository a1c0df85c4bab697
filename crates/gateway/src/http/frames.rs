//! The second dialect over plain requests: where WebSockets do not get through.

use std::{collections::VecDeque, net::IpAddr, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Either;
use hyper::body::Incoming;
use stentor_cluster::Ingress;
use stentor_protocol::v2::OPEN_MAX;
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::tungstenite::Utf8Bytes;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Answer, answer,
    body::{self, Pieces},
    handshake,
};
use crate::{
    engine::{Closing, Slot},
    identify::DeviceCookie,
    legacy::Stranger,
    shared::Shared,
    v2::{Connection, Exchanged, Line},
};

/// Longest body, in bytes: some messages of the greatest length.
const BODY_BYTES_MAX: usize = 1024 * 1024;
/// Frames in one request: a greeting, all sessions that a connection may have, and as many messages.
const FRAMES_MAX: usize = 1 + 2 * OPEN_MAX;
/// Pieces of a stream that may wait for the peer; what comes then waits where its budget counts.
const PIECES_MAX: usize = 4;

/// What a new connection needs to live.
#[derive(Clone)]
pub(super) struct Life {
    pub(super) tasks: TaskTracker,
    pub(super) drain: CancellationToken,
}

/// `POST /v2/stream`: events as they happen.
pub(super) async fn stream<B: Ingress>(
    shared: &Arc<Shared<B>>,
    peer: IpAddr,
    request: Request<Incoming>,
    life: &Life,
) -> Answer {
    let (headers, begun) = begin(shared, peer, request, life).await;
    let answer = begun.map(|(handler, slot, frames)| {
        let (pieces, body) = mpsc::channel(PIECES_MAX);
        life.tasks.spawn(Line::stream(Arc::clone(shared), handler, slot, frames, pieces));
        let mut answer = Response::new(Either::Right(Pieces::new(body)));
        let fields = answer.headers_mut();
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        // Proxies must not gather what is to arrive at once.
        let name = header::HeaderName::from_static("x-accel-buffering");
        fields.insert(name, HeaderValue::from_static("no"));
        answer
    });
    share(&headers, answer.unwrap_or_else(|answer| answer))
}

/// `POST /v2/frames`: some frames, and their answers.
pub(super) async fn exchange<B: Ingress>(
    shared: &Arc<Shared<B>>,
    peer: IpAddr,
    request: Request<Incoming>,
    life: &Life,
) -> Answer {
    let (headers, begun) = begin(shared, peer, request, life).await;
    let answer = match begun {
        Ok(begun) => match exchange_with(shared, begun, life).await {
            Some(exchanged) => closed(&exchanged).unwrap_or_else(|| answers(exchanged)),
            None => unavailable(),
        },
        Err(answer) => answer,
    };
    share(&headers, answer)
}

/// The answers to some frames of somebody, who may be closed at any time.
pub(super) async fn run<B: Ingress>(
    shared: &Arc<Shared<B>>,
    stranger: Stranger,
    frames: VecDeque<Utf8Bytes>,
    life: &Life,
) -> Result<Exchanged, Answer> {
    let (handler, slot) = connect(shared, stranger, life)?;
    let exchanged = exchange_with(shared, (handler, slot, frames), life).await;
    exchanged.ok_or_else(unavailable)
}

/// Lives in a task of its own: whoever hangs up must not leave half of a connection behind.
async fn exchange_with<B: Ingress>(
    shared: &Arc<Shared<B>>,
    (handler, slot, frames): Begun<B>,
    life: &Life,
) -> Option<Exchanged> {
    let (done, exchanged) = oneshot::channel();
    life.tasks.spawn(Line::exchange(Arc::clone(shared), handler, slot, frames, done));
    exchanged.await.ok()
}

type Begun<B> = (Connection<B>, Arc<Slot<Arc<crate::batch::Batch>>>, VecDeque<Utf8Bytes>);

/// Reads the frames, and opens a connection for whoever sent them.
async fn begin<B: Ingress>(
    shared: &Arc<Shared<B>>,
    peer: IpAddr,
    request: Request<Incoming>,
    life: &Life,
) -> (HeaderMap, Result<Begun<B>, Answer>) {
    let device = DeviceCookie::read(request.headers());
    let headers = request.headers().clone();
    let stranger = match handshake::stranger(shared, peer, &request, device, true) {
        Ok(stranger) => stranger,
        Err(refused) => {
            shared.metrics.refused(refused.refusal());
            return (headers, Err(refused.problem()));
        }
    };
    let begun = open(shared, stranger, request, life).await;
    (headers, begun)
}

async fn open<B: Ingress>(
    shared: &Arc<Shared<B>>,
    stranger: Stranger,
    request: Request<Incoming>,
    life: &Life,
) -> Result<Begun<B>, Answer> {
    let body = body::read(request, BODY_BYTES_MAX).await?;
    let frames =
        lines(&body).map_err(|text| answer::problem(StatusCode::BAD_REQUEST, "malformed", text))?;
    let (handler, slot) = connect(shared, stranger, life)?;
    Ok((handler, slot, frames))
}

type Connected<B> = (Connection<B>, Arc<Slot<Arc<crate::batch::Batch>>>);

fn connect<B: Ingress>(
    shared: &Arc<Shared<B>>,
    stranger: Stranger,
    life: &Life,
) -> Result<Connected<B>, Answer> {
    if life.drain.is_cancelled() {
        return Err(unavailable());
    }
    let slot = shared.sockets.open();
    shared.metrics.opened(std::time::Duration::ZERO);
    if life.drain.is_cancelled() {
        slot.close(Closing::DRAIN);
    }
    let handler = Connection::new(Arc::clone(shared), slot.number(), stranger);
    Ok((handler, slot))
}

fn lines(body: &Bytes) -> Result<VecDeque<Utf8Bytes>, &'static str> {
    let text = std::str::from_utf8(body).map_err(|_| "the body is not UTF-8")?;
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let frames: VecDeque<_> = lines.map(Utf8Bytes::from).collect();
    match frames.len() {
        0 => Err("the body holds no frame; the first one is a `hello`"),
        1..=FRAMES_MAX => Ok(frames),
        _ => Err("the body holds more than 129 frames"),
    }
}

/// The answer, if the connection was closed before everything was answered.
pub(super) fn closed(exchanged: &Exchanged) -> Option<Answer> {
    let closing = exchanged.closing?;
    let code = u16::from(closing.code);
    let status = match code {
        4029 => StatusCode::TOO_MANY_REQUESTS,
        4401 => StatusCode::UNAUTHORIZED,
        4403 => StatusCode::FORBIDDEN,
        4404 => StatusCode::NOT_FOUND,
        4500 => StatusCode::BAD_REQUEST,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    // What was answered before counts all the same.
    let frames = exchanged.answers.split(|byte| *byte == b'\n');
    let frames: Vec<serde_json::Value> =
        frames.filter_map(|frame| serde_json::from_slice(frame).ok()).collect();
    let told = serde_json::json!({ "code": code, "text": closing.text, "frames": frames });
    Some(retry_later(answer::json(status, &told)))
}

fn answers(exchanged: Exchanged) -> Answer {
    let mut answer = answer::empty(StatusCode::OK);
    *answer.body_mut() = answer::body(exchanged.answers);
    let kind = HeaderValue::from_static("application/x-ndjson");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}

fn unavailable() -> Answer {
    let status = StatusCode::SERVICE_UNAVAILABLE;
    retry_later(answer::problem(status, "busy", "this gateway goes away; come back"))
}

/// Says when to come back, where coming back helps.
pub(super) fn retry_later(mut answer: Answer) -> Answer {
    if matches!(answer.status(), StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
        answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    answer
}

/// Lets the page read the answer. Nothing is given away: without the token in the body there is nothing in it.
fn share(headers: &HeaderMap, mut answer: Answer) -> Answer {
    if let Some(origin) = headers.get(header::ORIGIN) {
        let fields = answer.headers_mut();
        fields.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        fields.insert(header::VARY, HeaderValue::from_static("Origin"));
    }
    answer
}
