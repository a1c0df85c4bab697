//! A browser without a screen, as far as plain requests go: it keeps cookies, and reads streams.

use anyhow::Context as _;
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::PATIENCE;

/// A browser at a page of the server itself.
#[derive(Clone, Debug)]
pub struct Web {
    /// The server's.
    pub port: u16,
    /// What is sent as `Origin`; nothing: a program.
    pub origin: Option<String>,
    /// What is sent as `Cookie`.
    pub cookie: Option<String>,
    /// What is sent as bearer token.
    pub bearer: Option<String>,
    /// What is sent as `Idempotency-Key`.
    pub key: Option<String>,
}

/// A stream of server-sent events.
#[derive(Debug)]
pub struct Streamed {
    body: Incoming,
    read: Vec<u8>,
}

// === impl Web ===

impl Web {
    /// At a page of the server on this port.
    #[must_use]
    pub fn new(port: u16) -> Self {
        let origin = Some(format!("http://127.0.0.1:{port}"));
        Self { port, origin, cookie: None, bearer: None, key: None }
    }

    /// A request and its whole answer. A cookie that comes with it is kept.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn ask(
        &mut self,
        method: Method,
        path: &str,
        body: &str,
    ) -> anyhow::Result<(StatusCode, String)> {
        let answer = self.send(method, path, body).await?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        for cookie in headers.get_all(header::SET_COOKIE) {
            let pair = cookie.to_str()?.split(';').next().unwrap_or_default().to_owned();
            self.cookie = Some(pair).filter(|pair| !pair.ends_with('='));
        }
        let body = tokio::time::timeout(PATIENCE, answer.into_body().collect()).await??;
        Ok((status, String::from_utf8(body.to_bytes().to_vec())?))
    }

    /// The same with a JSON answer.
    ///
    /// # Errors
    /// There is no answer, or it is no JSON.
    pub async fn json(
        &mut self,
        method: Method,
        path: &str,
        body: &str,
    ) -> anyhow::Result<(StatusCode, Value)> {
        let (status, text) = self.ask(method, path, body).await?;
        let value = serde_json::from_str(&text).with_context(|| format!("{status}: {text}"))?;
        Ok((status, value))
    }

    /// Frames of the second dialect, and their answers.
    ///
    /// # Errors
    /// There is no answer, or not 200.
    pub async fn exchange(&mut self, frames: &[Value]) -> anyhow::Result<Vec<Value>> {
        let (status, text) = self.ask(Method::POST, "/v2/frames", &lines(frames)).await?;
        anyhow::ensure!(status == StatusCode::OK, "{status}: {text}");
        text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }

    /// A stream of the second dialect.
    ///
    /// # Errors
    /// There is none.
    pub async fn stream(&self, frames: &[Value]) -> anyhow::Result<Streamed> {
        let answer = self.send(Method::POST, "/v2/stream", &lines(frames)).await?;
        anyhow::ensure!(answer.status() == StatusCode::OK, "{}", answer.status());
        Ok(Streamed { body: answer.into_body(), read: Vec::new() })
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: &str,
    ) -> anyhow::Result<http::Response<Incoming>> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, format!("127.0.0.1:{}", self.port));
        let bearer = self.bearer.as_ref().map(|token| format!("Bearer {token}"));
        for (name, value) in [
            (header::ORIGIN, &self.origin),
            (header::COOKIE, &self.cookie),
            (header::AUTHORIZATION, &bearer),
            (header::HeaderName::from_static("idempotency-key"), &self.key),
        ] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        let request = request.body(Full::new(Bytes::from(body.to_owned())))?;
        Ok(tokio::time::timeout(PATIENCE, sender.send_request(request)).await??)
    }
}

// === impl Streamed ===

impl Streamed {
    /// The next event's data; nothing at the end. What is told as `close` comes as `{"close": …}`.
    ///
    /// # Errors
    /// It takes too long, or is no JSON.
    pub async fn next(&mut self) -> anyhow::Result<Option<Value>> {
        loop {
            if let Some(end) = self.read.windows(2).position(|pair| pair == b"\n\n") {
                let event: Vec<u8> = self.read.drain(..end + 2).collect();
                let event = String::from_utf8(event)?;
                let closes = event.starts_with("event: close");
                let data = event.lines().find_map(|line| line.strip_prefix("data: "));
                let data: Value = serde_json::from_str(data.context("an event without data")?)?;
                return Ok(Some(if closes { serde_json::json!({ "close": data }) } else { data }));
            }
            let Some(frame) = tokio::time::timeout(PATIENCE, self.body.frame()).await? else {
                return Ok(None);
            };
            if let Ok(data) = frame?.into_data() {
                self.read.extend_from_slice(&data);
            }
        }
    }

    /// The next one that fits.
    ///
    /// # Errors
    /// The stream ends before.
    pub async fn until(&mut self, fits: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        while let Some(value) = self.next().await? {
            if fits(&value) {
                return Ok(value);
            }
        }
        anyhow::bail!("the stream has ended")
    }
}

fn lines(frames: &[Value]) -> String {
    frames.iter().map(|frame| format!("{frame}\n")).collect()
}
