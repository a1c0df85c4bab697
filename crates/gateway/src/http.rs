//! HTTP on the widgets' port: handshakes, the widget's files, and our own pages.
//!
//! Reading order: this file (which request is what), `handshake`, `files` (the published widget), `inject`
//! (its settings), `answer` (how answers look).

mod answer;
mod api;
mod body;
mod erase;
mod files;
mod frames;
mod handshake;
mod inject;
mod login;
mod read;

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    net::IpAddr,
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use stentor_cluster::Ingress;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::debug;

use self::{body::AnswerBody, frames::Life, handshake::Welcome};
use crate::{
    engine::{Socket, wanted_upgrade},
    legacy::Connection,
    shared::Shared,
    v2,
};

/// How long a peer may take to send the head of a request.
const HEADER_WAIT: Duration = Duration::from_secs(5);
/// Longest head of a request, in bytes; a longer one is refused with 431. A server URL with a token is below 4 KiB.
const HEAD_BYTES_MAX: usize = 8 * 1024;
/// What is read of a request, or written of an answer, at a time.
const BUFFER_BYTES_MAX: usize = 16 * 1024;

/// The description of the HTTP API.
const OPENAPI: &str = include_str!("../../../docs/openapi.json");

type Answer = Response<AnswerBody>;

/// Serves one connection until it ends or becomes a socket, which then runs as a task of its own.
pub(crate) async fn serve<B: Ingress, S>(
    shared: Arc<Shared<B>>,
    stream: S,
    peer: IpAddr,
    tasks: TaskTracker,
    drain: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let accepted = Instant::now();
    let welcome: Arc<Mutex<Option<Welcome>>> = Arc::default();
    let life = Life { tasks: tasks.clone(), drain: drain.clone() };
    let service = service_fn(|request| {
        let (shared, welcome, life) = (Arc::clone(&shared), Arc::clone(&welcome), life.clone());
        let answer = async move {
            Ok::<_, Infallible>(answer(&shared, peer, &welcome, request, &life).await)
        };
        Box::pin(answer) as Pin<Box<dyn Future<Output = _> + Send>>
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_WAIT)
        .max_header_size(HEAD_BYTES_MAX)
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut draining = pin!(drain.cancelled());
    let mut told = false;
    let served = poll_fn(|context| {
        if !told && draining.as_mut().poll(context).is_ready() {
            told = true;
            Pin::new(&mut connection).graceful_shutdown();
        }
        connection.poll_without_shutdown(context)
    });
    if let Err(cause) = served.await {
        debug!(%cause, "connection ended");
        return;
    }
    let parts = connection.into_parts();
    let taken = welcome.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(welcome) = taken else { return };
    let slot = shared.sockets.open();
    shared.metrics.opened(accepted.elapsed());
    debug!(socket = slot.number(), "socket opened");
    let metrics = Arc::clone(&shared.metrics);
    if drain.is_cancelled() {
        slot.close(crate::engine::Closing::DRAIN);
    }
    let stream = parts.io.into_inner();
    let (number, stranger) = (slot.number(), welcome.stranger);
    if welcome.second {
        let handler = v2::Connection::new(Arc::clone(&shared), number, stranger);
        tasks.spawn(Socket::new(stream, &parts.read_buf, handler, slot, metrics).await);
    } else {
        let handler = Connection::new(Arc::clone(&shared), number, stranger);
        tasks.spawn(Socket::new(stream, &parts.read_buf, handler, slot, metrics).await);
    }
}

async fn answer<B: Ingress>(
    shared: &Arc<Shared<B>>,
    peer: IpAddr,
    welcome: &Mutex<Option<Welcome>>,
    request: Request<Incoming>,
    life: &Life,
) -> Answer {
    if wanted_upgrade(&request) {
        return match handshake::shake(shared, peer, &request) {
            Ok((answer, stranger)) => {
                *welcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(stranger);
                answer
            }
            Err(refused) => {
                shared.metrics.refused(refused.refusal());
                refused.answer()
            }
        };
    }
    match (request.method(), request.uri().path()) {
        (&Method::POST, "/v2/stream") => frames::stream(shared, peer, request, life).await,
        (&Method::POST, "/v2/frames") => frames::exchange(shared, peer, request, life).await,
        (&Method::POST, "/api/v1/login") => login::login(shared, peer, request).await,
        (&Method::POST, "/api/v1/logout") => {
            login::logout(&request, peer, &shared.config.trusted_proxies)
        }
        (_, "/v2/stream" | "/v2/frames" | "/api/v1/login" | "/api/v1/logout") => {
            answer::no_method("POST")
        }
        (_, path) if api::is_mine(path) => api::serve(shared, peer, request, life).await,
        (&Method::GET, "/api/v1/openapi.json") => {
            answer::file(&request, "application/json", answer::AN_HOUR, OPENAPI.into())
        }
        (&Method::GET, "/api/v1/me") => login::me(shared, &request),
        (_, "/api/v1/openapi.json" | "/api/v1/me") => answer::no_method("GET"),
        (_, path) if path.starts_with("/api/") || path.starts_with("/v2/") => answer::no_route(),
        (&Method::GET, _) => page(shared, peer, &request).await,
        (&Method::HEAD, _) => answer::without_body(page(shared, peer, &request).await),
        _ => answer::wrong_method("GET, HEAD"),
    }
}

/// Pages and files.
async fn page<B>(shared: &Arc<Shared<B>>, peer: IpAddr, request: &Request<Incoming>) -> Answer {
    let site = &shared.config.site;
    match request.uri().path() {
        "/" => match files::has_widget(&shared.config).await {
            true => answer::page(request, site.widget_page),
            false => answer::page(request, site.chat_page),
        },
        "/agents/widget/" => answer::page(request, site.agents_widget_page),
        "/agents/" => answer::page(request, site.agents_page),
        path => match path.strip_prefix("/widget/") {
            Some(name) => files::serve(shared, peer, request, name).await,
            None => match site.files.iter().find(|(known, ..)| *known == path) {
                Some((_, kind, content)) => {
                    let mut answer = answer::own_file(request, kind, content);
                    // The client is for other people's pages, too.
                    let anybody = HeaderValue::from_static("*");
                    answer.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, anybody);
                    answer
                }
                None => answer::text(StatusCode::NOT_FOUND, "There is nothing here.\n"),
            },
        },
    }
}
