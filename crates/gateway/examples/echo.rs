//! The socket engine alone: `echo --listen 127.0.0.1:9001` sends everything back, for conformance suites; with
//! `--rooms`, what a socket says goes to all who came by the same URL, for benchmarks.

use std::{
    collections::HashMap,
    convert::Infallible,
    error::Error,
    future::{Ready, poll_fn, ready},
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use stentor_gateway::{
    engine::{Closing, Frames, Handler, Registry, Slot, Socket, accept_key},
    metrics::{CloseReason, Metrics},
};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// Those who hear each other.
type Room = Arc<Mutex<Vec<Arc<Slot<Bytes>>>>>;

/// What all sockets have in common.
#[derive(Debug)]
struct Shared {
    sockets: Registry<Bytes>,
    metrics: Arc<Metrics>,
    /// By URL; nothing if everybody hears only themselves.
    rooms: Option<Mutex<HashMap<String, Room>>>,
}

/// Sends everything back, or to all in the room.
#[derive(Debug)]
struct Echo {
    number: u64,
    shared: Arc<Shared>,
    room: Option<Room>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let listen = match (arguments.next().as_deref(), arguments.next()) {
        (Some("--listen"), Some(address)) => address,
        _ => "127.0.0.1:9001".to_owned(),
    };
    let rooms = arguments.next().is_some_and(|flag| flag == "--rooms").then(Mutex::default);
    let metrics = Arc::new(Metrics::new(&prometheus::Registry::new())?);
    let sockets = Registry::new(64 * 1024 * 1024);
    let shared = Arc::new(Shared { sockets, metrics, rooms });
    let tended = Arc::clone(&shared);
    tokio::spawn(async move { tended.sockets.tend().await });
    let listener = TcpListener::bind(listen).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(serve(stream, Arc::clone(&shared)));
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let url = Arc::new(Mutex::new(String::new()));
    let seen = Arc::clone(&url);
    let service = service_fn(move |request: Request<Incoming>| {
        *seen.lock().unwrap_or_else(PoisonError::into_inner) = request.uri().to_string();
        answer(request)
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(5))
        .max_buf_size(16 * 1024)
        .serve_connection(TokioIo::new(stream), service);
    if poll_fn(|context| connection.poll_without_shutdown(context)).await.is_err() {
        return;
    }
    let parts = connection.into_parts();
    let slot = shared.sockets.open();
    let room = shared.rooms.as_ref().map(|rooms| {
        let url = std::mem::take(&mut *url.lock().unwrap_or_else(PoisonError::into_inner));
        let mut rooms = rooms.lock().unwrap_or_else(PoisonError::into_inner);
        let room = Arc::clone(rooms.entry(url).or_default());
        room.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&slot));
        room
    });
    let metrics = Arc::clone(&shared.metrics);
    let echo = Echo { number: slot.number(), shared, room };
    let socket = Socket::new(parts.io.into_inner(), &parts.read_buf, echo, slot, metrics).await;
    tokio::spawn(socket);
}

fn answer(request: Request<Incoming>) -> Ready<Result<Response<Full<Bytes>>, Infallible>> {
    let mut answer = Response::new(Full::default());
    if let Some(key) = accept_key(&request) {
        *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let fields = answer.headers_mut();
        fields.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        fields.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        fields.insert(header::SEC_WEBSOCKET_ACCEPT, key);
    } else {
        *answer.status_mut() = StatusCode::UPGRADE_REQUIRED;
        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    ready(Ok(answer))
}

// === impl Echo ===

impl Handler for Echo {
    type Delivery = Bytes;

    fn text(&mut self, message: Utf8Bytes, frames: &mut Frames) -> Result<(), Closing> {
        let Some(room) = &self.room else {
            frames.push(message.into());
            return Ok(());
        };
        // A copy: a part of the read buffer would make it grow for good.
        let message = Bytes::copy_from_slice(message.as_bytes());
        for member in &*room.lock().unwrap_or_else(PoisonError::into_inner) {
            member.push(message.len(), message.clone());
        }
        Ok(())
    }

    fn binary(&mut self, message: Bytes, frames: &mut Frames) -> Result<(), Closing> {
        frames.push_binary(message);
        Ok(())
    }

    fn takes_messages(&self) -> bool {
        true
    }

    fn poll_work(&mut self, _: &mut Context<'_>, _: &mut Frames) -> Poll<Closing> {
        Poll::Pending
    }

    fn takes_deliveries(&self) -> bool {
        true
    }

    fn deliver(&mut self, message: Bytes, frames: &mut Frames) -> Result<(), Closing> {
        frames.push(message);
        Ok(())
    }

    fn refill(&mut self, _: &mut Context<'_>, _: &mut Frames) -> Result<(), Closing> {
        Ok(())
    }

    fn poll_finish(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    fn ended(&mut self, _: CloseReason) {
        self.shared.sockets.remove(self.number);
        if let Some(room) = &self.room {
            let mut room = room.lock().unwrap_or_else(PoisonError::into_inner);
            room.retain(|member| member.number() != self.number);
        }
    }
}
