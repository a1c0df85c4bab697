//! A widget without a screen: speaks the legacy dialect and writes everything down.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest as _, http::HeaderValue},
};

use crate::{
    PATIENCE,
    transcript::{Direction, Entry, Transcript},
};

/// A widget without a screen.
#[derive(Debug)]
pub struct LegacyClient {
    user: String,
    claimed: String,
    /// How far its clock is ahead of ours, in milliseconds.
    skew: i64,
    /// The cookie of a login, for an agent's page.
    agent: Option<String>,
    socket: Option<WebSocketStream<TcpStream>>,
    sockets: usize,
    transcript: Transcript,
}

// === impl LegacyClient ===

impl LegacyClient {
    /// A visitor with this id and this name for the chat. Not connected yet.
    #[must_use]
    pub fn new(user: &str, claimed: &str, skew: i64) -> Self {
        Self {
            user: user.to_owned(),
            claimed: claimed.to_owned(),
            skew,
            agent: None,
            socket: None,
            sockets: 0,
            transcript: Transcript::default(),
        }
    }

    /// The page of an agent about the session `claimed`, with this cookie.
    #[must_use]
    pub fn agent(user: &str, claimed: &str, cookie: &str) -> Self {
        Self { agent: Some(cookie.to_owned()), ..Self::new(user, claimed, 0) }
    }

    /// A user id of the shape that the widget makes up.
    #[must_use]
    pub fn user_id(number: u64) -> String {
        format!("3f1e9a52-77c4-65d1-8b0a-{number:012x}")
    }

    /// Dials, with `path_and_query` as in the widget's `serverUrl`.
    ///
    /// # Errors
    /// The handshake fails.
    pub async fn connect(
        &mut self,
        port: u16,
        path_and_query: &str,
        reason: &str,
    ) -> anyhow::Result<()> {
        self.connect_from(port, path_and_query, reason, None).await
    }

    /// The same with another `Origin` than that of the server's own pages.
    ///
    /// # Errors
    /// The handshake fails.
    pub async fn connect_from(
        &mut self,
        port: u16,
        path_and_query: &str,
        reason: &str,
        origin: Option<&str>,
    ) -> anyhow::Result<()> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        let joint = if path_and_query.contains('?') { '&' } else { '?' };
        let url = format!(
            "ws://127.0.0.1:{port}{path_and_query}{joint}userId={}&isAdmin={}&createWsReason={reason}",
            self.user,
            self.agent.is_some()
        );
        let mut request = url.into_client_request()?;
        let own = format!("http://127.0.0.1:{port}");
        let origin = HeaderValue::from_str(origin.unwrap_or(&own))?;
        request.headers_mut().insert("Origin", origin);
        if let Some(cookie) = &self.agent {
            request.headers_mut().insert("Cookie", HeaderValue::from_str(cookie)?);
        }
        let (socket, _) = client_async(request, stream).await?;
        self.socket = Some(socket);
        self.sockets += 1;
        Ok(())
    }

    /// Says that it is here, as a freshly loaded page does.
    ///
    /// # Errors
    /// The socket is gone.
    pub async fn join(&mut self) -> anyhow::Result<()> {
        self.send("user joined", None).await
    }

    /// Says something typed.
    ///
    /// # Errors
    /// The socket is gone.
    pub async fn say(&mut self, text: &str) -> anyhow::Result<()> {
        let data = json!({ "type": "INTENT_REQUEST", "rawQuery": text, "isNewSession": false,
            "intentId": "NLU_RESULT_PLACEHOLDER", "userId": self.user, "sessionId": self.claimed,
            "platform": "stentor-platform", "channel": "widget", "attributes": { "currentUrl": "http://page/" } });
        self.send("new message", Some(data)).await
    }

    /// Sends a frame as the visitor that it is.
    ///
    /// # Errors
    /// The socket is gone.
    pub async fn send(&mut self, event: &str, data: Option<Value>) -> anyhow::Result<()> {
        let sender = json!({ "deviceId": "Widget", "userId": self.user, "displayName": "Visitor",
            "isAdmin": self.agent.is_some() });
        self.send_as(event, data, sender).await
    }

    /// Sends a frame with any sender.
    ///
    /// # Errors
    /// The socket is gone.
    pub async fn send_as(
        &mut self,
        event: &str,
        data: Option<Value>,
        sender: Value,
    ) -> anyhow::Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
        let mut frame = json!({ "event": event, "sender": sender, "sessionId": self.claimed,
            "timeMs": i64::try_from(now)? + self.skew });
        if let (Some(data), Some(fields)) = (data, frame.as_object_mut()) {
            fields.insert("data".into(), data);
        }
        self.note(Direction::Sent, frame.clone());
        let socket = self.socket.as_mut().context("not connected")?;
        Ok(socket.send(Message::text(frame.to_string())).await?)
    }

    /// Reads until a frame fits, and returns it.
    ///
    /// # Errors
    /// The socket ends, or nothing fits for too long.
    pub async fn wait_for(
        &mut self,
        what: &str,
        fits: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        let reading = async {
            loop {
                let frame = self.next().await?;
                if fits(&frame) {
                    return Ok(frame);
                }
            }
        };
        tokio::time::timeout(PATIENCE, reading)
            .await
            .with_context(|| format!("{what} never came"))?
    }

    /// Reads until a message says this.
    ///
    /// # Errors
    /// As for [`LegacyClient::wait_for`].
    pub async fn wait_for_text(&mut self, text: &str) -> anyhow::Result<Value> {
        let fits = |frame: &Value| {
            frame.get("event").is_some_and(|event| event == "new message")
                && crate::transcript::text(frame) == text
        };
        self.wait_for(text, fits).await
    }

    /// The next frame.
    ///
    /// # Errors
    /// The socket ends.
    pub async fn next(&mut self) -> anyhow::Result<Value> {
        let socket = self.socket.as_mut().context("not connected")?;
        loop {
            match socket.next().await.context("the socket has ended")?? {
                Message::Text(text) => {
                    let frame: Value = serde_json::from_str(&text)?;
                    self.note(Direction::Received, frame.clone());
                    return Ok(frame);
                }
                Message::Close(frame) => {
                    // As a browser does, which answers it, and throws nothing away that is still on its way.
                    let ended = async { while socket.next().await.is_some_and(|it| it.is_ok()) {} };
                    let _ = tokio::time::timeout(PATIENCE, ended).await;
                    anyhow::bail!("closed: {frame:?}")
                }
                _ => {}
            }
        }
    }

    /// Takes what comes for a while.
    ///
    /// # Errors
    /// The socket ends.
    pub async fn listen(&mut self, time: Duration) -> anyhow::Result<()> {
        let until = tokio::time::Instant::now() + time;
        loop {
            match tokio::time::timeout_at(until, self.next()).await {
                Ok(heard) => drop(heard?),
                Err(_) => return Ok(()),
            }
        }
    }

    /// Drops the socket without a word, as a tunnel does.
    pub fn cut(&mut self) {
        self.socket = None;
    }

    /// Everything that went over its sockets.
    #[must_use]
    pub const fn transcript(&self) -> &Transcript {
        &self.transcript
    }

    fn note(&mut self, direction: Direction, frame: Value) {
        self.transcript.entries.push(Entry { socket: self.sockets, direction, frame });
    }
}
