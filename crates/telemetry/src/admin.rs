//! The admin port: `/metrics`, `/healthz`, `/readyz`. Its own listener, never the public one.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus::{Registry, TEXT_FORMAT, TextEncoder};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::readiness::Readiness;

/// How long a peer may take to send its request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// The largest request.
const HEADER_BYTES_MAX: usize = 16 * 1024;
/// Connections at the same time. Overflow: the next one waits to be accepted.
const CONNECTIONS_MAX: usize = 64;

/// The admin port.
#[derive(Clone, Debug)]
pub struct AdminServer {
    registry: Registry,
    readiness: Readiness,
}

// === impl AdminServer ===

impl AdminServer {
    /// Shows these metrics and this readiness.
    #[must_use]
    pub const fn new(registry: Registry, readiness: Readiness) -> Self {
        Self { registry, readiness }
    }

    /// Serves until told to stop.
    pub async fn run(self, listener: TcpListener, stop: CancellationToken) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.cancelled() => return,
            };
            let Ok((stream, _)) = accepted else {
                // Out of descriptors, most likely: give others time to close theirs.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let server = self.clone();
            tokio::spawn(async move {
                let service = service_fn(|request| {
                    let response = server.respond(&request);
                    async { Ok::<_, Infallible>(response) }
                });
                let served = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEADER_TIMEOUT)
                    .max_buf_size(HEADER_BYTES_MAX)
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
                if let Err(cause) = served {
                    debug!(%cause, "an admin connection ended early");
                }
                drop(place);
            });
        }
    }

    fn respond(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET is served here\n".into());
        }
        match request.uri().path() {
            "/healthz" => text(StatusCode::OK, "ok\n".into()),
            "/readyz" => self.ready(),
            "/metrics" => self.metrics(),
            _ => text(StatusCode::NOT_FOUND, "there are /metrics, /healthz and /readyz\n".into()),
        }
    }

    fn ready(&self) -> Response<Full<Bytes>> {
        let missing = self.readiness.missing();
        if missing.is_empty() {
            return text(StatusCode::OK, "ready\n".into());
        }
        text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {}\n", missing.join(", ")))
    }

    fn metrics(&self) -> Response<Full<Bytes>> {
        match TextEncoder::new().encode_to_string(&self.registry.gather()) {
            Ok(body) => {
                let mut response = text(StatusCode::OK, body);
                let kind = header::HeaderValue::from_static(TEXT_FORMAT);
                response.headers_mut().insert(header::CONTENT_TYPE, kind);
                response
            }
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        }
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let kind = header::HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
