//! The socket engine as an echo server, for conformance suites: `echo --listen 127.0.0.1:9001`.

use std::{
    convert::Infallible,
    error::Error,
    future::{Ready, poll_fn, ready},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use stentor_gateway::{
    engine::{Closing, Frames, Handler, Registry, Socket, accept_key},
    metrics::{CloseReason, Metrics},
};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// Sends everything back.
#[derive(Debug)]
struct Echo {
    number: u64,
    sockets: Arc<Registry<()>>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let listen = match (arguments.next().as_deref(), arguments.next()) {
        (Some("--listen"), Some(address)) => address,
        _ => "127.0.0.1:9001".to_owned(),
    };
    let metrics = Arc::new(Metrics::new(&prometheus::Registry::new())?);
    let sockets = Arc::new(Registry::new(64 * 1024 * 1024));
    let wheel = Arc::clone(&sockets);
    tokio::spawn(async move { wheel.tend().await });
    let listener = TcpListener::bind(listen).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(serve(stream, Arc::clone(&sockets), Arc::clone(&metrics)));
    }
}

async fn serve(stream: TcpStream, sockets: Arc<Registry<()>>, metrics: Arc<Metrics>) {
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(5))
        .max_buf_size(16 * 1024)
        .serve_connection(TokioIo::new(stream), service_fn(answer));
    if poll_fn(|context| connection.poll_without_shutdown(context)).await.is_err() {
        return;
    }
    let parts = connection.into_parts();
    let slot = sockets.open();
    let echo = Echo { number: slot.number(), sockets };
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
    type Delivery = ();

    fn text(&mut self, message: Utf8Bytes, frames: &mut Frames) -> Result<(), Closing> {
        frames.push(message.into());
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
        false
    }

    fn deliver(&mut self, (): (), _: &mut Frames) -> Result<(), Closing> {
        Ok(())
    }

    fn refill(&mut self, _: &mut Frames) -> Result<(), Closing> {
        Ok(())
    }

    fn poll_finish(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    fn ended(&mut self, _: CloseReason) {
        self.sockets.remove(self.number);
    }
}
