//! A client of the second dialect without a screen: keeps an outbox and a cursor, and writes down every event.
//!
//! Checks as it goes that no number is missing, none comes twice with other bytes, and that what was
//! acknowledged is the event that it was said to be.
#![expect(clippy::indexing_slicing, reason = "an absent field of a JSON value reads as null")]

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, bail, ensure};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest as _, http::HeaderValue},
};

use crate::PATIENCE;

/// A client of the second dialect, in one session.
#[derive(Debug)]
pub struct SecondClient {
    /// How the session is asked for: a name of its own, or an id.
    session: Session,
    client: String,
    token: Option<String>,
    /// Of whom it is a visitor.
    app: String,
    socket: Option<WebSocketStream<TcpStream>>,
    /// Its alias.
    pub you: String,
    /// The session's id, once it is known.
    pub sid: String,
    epoch: u64,
    /// The session's last event when it was opened last.
    pub head: u64,
    last: u64,
    mid: u64,
    outbox: BTreeMap<u64, Value>,
    /// What became of the messages that were dealt with.
    pub acked: BTreeMap<u64, Option<u64>>,
    /// Messages that were refused for good, and why.
    pub refused: BTreeMap<u64, String>,
    /// Every event, by its number.
    pub events: BTreeMap<u64, Value>,
    /// How often it was told that its numbering is over, and shown the session anew.
    pub renewed: u64,
    /// Everything else that came, in its order.
    pub others: Vec<Value>,
    reference: u64,
    /// The server could not take something just now; after this time all that is open is sent again.
    retry: Option<Duration>,
    /// Whether it is the script of a page of the server itself, and says so.
    at_page: bool,
    /// Of the server on this port, if it is not the one that it connects to.
    page: Option<u16>,
    /// The promise that was broken to it first. What else fails is the network.
    pub broken: Option<String>,
}

#[derive(Clone, Debug)]
enum Session {
    Name(String),
    Id(String),
}

// === impl SecondClient ===

impl SecondClient {
    /// A visitor at a page of the server itself, with a session of this name. `instance` numbers clients.
    #[must_use]
    pub fn visitor(name: &str, instance: u64) -> Self {
        Self::new(Session::Name(name.to_owned()), instance, None).at_page()
    }

    /// Somebody with a token, in the session with this id.
    #[must_use]
    pub fn with_token(sid: &str, instance: u64, token: &str) -> Self {
        Self::new(Session::Id(sid.to_owned()), instance, Some(token.to_owned()))
    }

    fn new(session: Session, instance: u64, token: Option<String>) -> Self {
        Self {
            session,
            client: format!("{instance:032x}"),
            token,
            app: "demo".to_owned(),
            socket: None,
            you: String::new(),
            sid: String::new(),
            epoch: 0,
            head: 0,
            last: 0,
            mid: 0,
            outbox: BTreeMap::new(),
            acked: BTreeMap::new(),
            refused: BTreeMap::new(),
            events: BTreeMap::new(),
            renewed: 0,
            others: Vec::new(),
            reference: 0,
            retry: None,
            at_page: false,
            page: None,
            broken: None,
        }
    }

    /// The same as script of a page of the server itself.
    #[must_use]
    pub const fn at_page(mut self) -> Self {
        self.at_page = true;
        self
    }

    /// The same in another app than `demo`.
    #[must_use]
    pub fn of(mut self, app: &str) -> Self {
        app.clone_into(&mut self.app);
        self
    }

    /// The same as script of a page of the server on this port, whatever it connects to.
    #[must_use]
    pub const fn at_page_of(mut self, port: u16) -> Self {
        (self.at_page, self.page) = (true, Some(port));
        self
    }

    /// The same with a token of the operator.
    #[must_use]
    pub fn vouched(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    /// The same visitor in another tab.
    #[must_use]
    pub fn other_tab(&self, instance: u64) -> Self {
        let other = Self::new(self.session.clone(), instance, self.token.clone());
        Self { at_page: self.at_page, app: self.app.clone(), ..other }
    }

    /// The same visitor in another tab, which asks for every event of the present numbering.
    #[must_use]
    pub fn from_the_first(&self, instance: u64) -> Self {
        let session = Session::Id(self.sid.clone());
        Self { session, epoch: self.epoch, ..self.other_tab(instance) }
    }

    /// The number of the last event that it has.
    #[must_use]
    pub const fn last(&self) -> u64 {
        self.last
    }

    /// Dials, says hello, opens the session and sends again what was not answered.
    ///
    /// # Errors
    /// Something of it fails, or breaks a promise.
    pub async fn connect(&mut self, port: u16) -> anyhow::Result<()> {
        let page = self.at_page.then(|| self.page.unwrap_or(port));
        let socket = dial(port, &format!("/v2?appId={}", self.app), page).await?;
        self.socket = Some(socket);
        let mut hello = json!({"t": "hello", "app": self.app});
        if let Some(token) = &self.token {
            hello["token"] = token.as_str().into();
        }
        self.send(&hello).await?;
        let welcome = self.until("welcome", |frame| frame["t"] == "welcome").await?;
        if let Some(device) = welcome["device"].as_str() {
            self.token = Some(device.to_owned());
        }
        let mut open = json!({"t": "open", "client": self.client, "lastMid": self.mid});
        match &self.session {
            Session::Name(name) => open["name"] = name.as_str().into(),
            Session::Id(sid) => open["sid"] = sid.as_str().into(),
        }
        if self.epoch > 0 {
            open["resume"] = json!({"epoch": self.epoch, "n": self.last});
        }
        self.retry = None;
        let opened = self.ask(open).await?;
        ensure!(opened["t"] == "opened", "not opened: {opened}");
        let taken = opened["mid"].as_u64().context("mid")?;
        for (mid, frame) in self.outbox.clone() {
            if mid > taken {
                self.send(&frame).await?;
            } else {
                self.outbox.remove(&mid);
                self.acked.entry(mid).or_insert(None);
            }
        }
        Ok(())
    }

    /// Sends a frame with a `ref` and returns its answer.
    ///
    /// # Errors
    /// The socket ends, or no answer comes.
    pub async fn ask(&mut self, mut frame: Value) -> anyhow::Result<Value> {
        self.reference += 1;
        let reference = self.reference;
        frame["ref"] = reference.into();
        self.send(&frame).await?;
        self.until("an answer", move |frame| frame["ref"] == reference).await
    }

    /// Says something; it is sent again with every connection until it is answered. Returns its `mid`.
    ///
    /// # Errors
    /// The socket ends; it stays in the outbox.
    pub async fn say(&mut self, text: &str) -> anyhow::Result<u64> {
        self.say_frame(json!({"text": text})).await
    }

    /// The same with other fields.
    ///
    /// # Errors
    /// The socket ends; it stays in the outbox.
    pub async fn say_frame(&mut self, mut frame: Value) -> anyhow::Result<u64> {
        self.mid += 1;
        frame["t"] = "send".into();
        frame["sid"] = self.sid.as_str().into();
        frame["mid"] = self.mid.into();
        self.outbox.insert(self.mid, frame.clone());
        self.send(&frame).await?;
        Ok(self.mid)
    }

    /// Sends a frame as it is.
    ///
    /// # Errors
    /// The socket ends.
    pub async fn send(&mut self, frame: &Value) -> anyhow::Result<()> {
        let socket = self.socket.as_mut().context("not connected")?;
        Ok(socket.send(Message::text(frame.to_string())).await?)
    }

    /// Reads until a message has been answered.
    ///
    /// # Errors
    /// The socket ends, or no answer comes.
    pub async fn settled(&mut self, mid: u64) -> anyhow::Result<()> {
        while self.outbox.contains_key(&mid) {
            self.next().await?;
        }
        Ok(())
    }

    /// Reads until such an event has come, or returns it if it has.
    ///
    /// # Errors
    /// The socket ends, or it does not come.
    pub async fn event(
        &mut self,
        what: &str,
        fits: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        loop {
            if let Some(event) = self.events.values().find(|event| fits(event)) {
                return Ok(event.clone());
            }
            self.next().await.with_context(|| format!("waiting for {what}"))?;
        }
    }

    async fn until(&mut self, what: &str, fits: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        loop {
            let frame = self.next().await.with_context(|| format!("waiting for {what}"))?;
            if fits(&frame) {
                return Ok(frame);
            }
        }
    }

    /// Reads one frame and deals with it.
    ///
    /// # Errors
    /// The socket ends, or a promise is broken.
    pub async fn next(&mut self) -> anyhow::Result<Value> {
        if let Some(after) = self.retry.take() {
            tokio::time::sleep(after).await;
            for frame in self.outbox.clone().values() {
                self.send(frame).await?;
            }
        }
        let frame = self.next_unchecked().await?;
        if let Err(broken) = self.take(&frame) {
            self.broken.get_or_insert(broken.to_string());
            return Err(broken);
        }
        Ok(frame)
    }

    /// Reads one frame and leaves it at that.
    ///
    /// # Errors
    /// The socket ends.
    pub async fn next_unchecked(&mut self) -> anyhow::Result<Value> {
        let socket = self.socket.as_mut().context("not connected")?;
        loop {
            let message =
                timeout(PATIENCE, socket.next()).await?.context("the socket has ended")??;
            match message {
                Message::Text(text) => return Ok(serde_json::from_str(&text)?),
                Message::Close(frame) => bail!("closed: {frame:?}"),
                _ => {}
            }
        }
    }

    /// The token that makes it the same visitor.
    #[must_use]
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    fn take(&mut self, frame: &Value) -> anyhow::Result<()> {
        match frame["t"].as_str().context("no kind")? {
            "opened" => {
                let epoch = frame["epoch"].as_u64().context("epoch")?;
                let from = frame["from"].as_u64().context("from")?;
                if frame["recovered"] == true {
                    ensure!(from == self.last + 1, "I8: resumed at {from} after {}", self.last);
                    ensure!(epoch == self.epoch, "resumed in another epoch");
                } else {
                    ensure!(frame["view"].is_object(), "no view to begin with: {frame}");
                    ensure!(epoch >= self.epoch, "I16: epoch {epoch} after {}", self.epoch);
                    self.renewed += u64::from(self.epoch > 0 && epoch > self.epoch);
                    self.last = from.saturating_sub(1);
                    self.epoch = epoch;
                }
                self.head = frame["head"].as_u64().context("head")?;
                self.you = frame["you"].as_str().context("you")?.to_owned();
                self.sid = frame["sid"].as_str().context("sid")?.to_owned();
            }
            "event" => self.event_came(frame)?,
            "ack" => {
                let mid = frame["mid"].as_u64().context("mid")?;
                self.outbox.remove(&mid);
                self.acked.insert(mid, frame["n"].as_u64());
            }
            "nack" if frame["final"] == true => {
                let mid = frame["mid"].as_u64().context("mid")?;
                self.outbox.remove(&mid);
                self.refused.insert(mid, frame["code"].as_str().context("code")?.to_owned());
            }
            "nack" => {
                self.retry = frame["retryAfterMs"].as_u64().map(Duration::from_millis);
                self.others.push(frame.clone());
            }
            "beat" => {}
            _ => self.others.push(frame.clone()),
        }
        Ok(())
    }

    fn event_came(&mut self, event: &Value) -> anyhow::Result<()> {
        let n = event["n"].as_u64().context("n")?;
        ensure!(n == self.last + 1, "I8: event {n} after {}: {event}", self.last);
        ensure!(event["epoch"] == self.epoch, "another epoch without a word: {event}");
        self.last = n;
        let known = self.events.insert(n, event.clone());
        ensure!(
            known.is_none_or(|known| same_event(&known, event)),
            "I3: event {n} has changed: {event}"
        );
        Ok(())
    }

    /// Drops the socket without a word, as a tunnel does.
    pub fn cut(&mut self) {
        self.socket = None;
    }

    /// The texts that a person would read, in their order.
    #[must_use]
    pub fn texts(&self) -> Vec<String> {
        self.events.values().filter_map(text_of).collect()
    }

    /// Checks that each of its messages that was acknowledged is exactly one event, and the one that was named.
    ///
    /// # Errors
    /// It is not.
    pub fn check(&self) -> anyhow::Result<()> {
        let mut own = BTreeMap::new();
        for (n, event) in &self.events {
            if event["mid"]["client"] == self.client.as_str() {
                let mid = event["mid"]["n"].as_u64().context("mid")?;
                ensure!(own.insert(mid, *n).is_none(), "I5: message {mid} is two events");
            }
        }
        for (mid, n) in &self.acked {
            let event = own.get(mid).with_context(|| format!("P1: message {mid} is lost"))?;
            ensure!(n.is_none_or(|n| n == *event), "message {mid} is {event}, not {n:?}");
        }
        let order: Vec<_> = own.values().collect();
        ensure!(order.is_sorted(), "I6: out of order: {own:?}");
        Ok(())
    }
}

/// Sends frames over a new socket and returns the code that the server closes it with.
///
/// # Errors
/// The handshake fails, or the socket just ends.
pub async fn closed_after(port: u16, path: &str, frames: &[Value]) -> anyhow::Result<u16> {
    let mut socket = dial(port, path, Some(port)).await?;
    for frame in frames {
        socket.send(Message::text(frame.to_string())).await?;
    }
    loop {
        let message = timeout(PATIENCE, socket.next()).await?.context("the socket has ended")??;
        if let Message::Close(frame) = message {
            return Ok(frame.context("closed without a word")?.code.into());
        }
    }
}

async fn dial(
    port: u16,
    path: &str,
    page: Option<u16>,
) -> anyhow::Result<WebSocketStream<TcpStream>> {
    let mut request = format!("ws://127.0.0.1:{port}{path}").into_client_request()?;
    let headers = request.headers_mut();
    headers.insert("Sec-WebSocket-Protocol", HeaderValue::from_static("stentor.v2"));
    if let Some(page) = page {
        headers.insert("Origin", HeaderValue::from_str(&format!("http://127.0.0.1:{page}"))?);
    }
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let (socket, answer) = client_async(request, stream).await?;
    ensure!(
        answer.headers().get("sec-websocket-protocol").is_some_and(|name| name == "stentor.v2"),
        "the server does not speak the second dialect"
    );
    Ok(socket)
}

/// Whether two are the same event. One that was seen in a numbering that is over may be shown in the next.
#[must_use]
pub fn same_event(known: &Value, event: &Value) -> bool {
    let mut known = known.clone();
    if known["epoch"].as_u64() <= event["epoch"].as_u64() {
        known["epoch"] = event["epoch"].clone();
    }
    known == *event
}

/// What a person would read of an event.
fn text_of(event: &Value) -> Option<String> {
    match event["kind"].as_str()? {
        "message" | "note" | "notice" => Some(event["text"].as_str()?.to_owned()),
        "reply" | "draftSent" | "draft" => {
            let speech = &event["response"]["outputSpeech"];
            let text = speech.as_str().or_else(|| speech["displayText"].as_str())?;
            Some(text.to_owned())
        }
        _ => None,
    }
}
