//! A widget without a browser.

use std::{net::IpAddr, time::Duration};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use stentor_cluster::Ingress;
use stentor_gateway::Acceptor;
use tokio::io::DuplexStream;
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Error, Message, client::IntoClientRequest, protocol::CloseFrame},
};

use crate::owner::{LOCAL, ORIGIN, Rig, USER};

/// A widget without a browser.
pub(crate) struct Client {
    pub(crate) ws: WebSocketStream<DuplexStream>,
    time_ms: i64,
}

// === impl Client ===

impl Client {
    /// As the widget does it, in memory: a paused clock must not run ahead of the network.
    pub(crate) async fn open(rig: &Rig) -> Self {
        let query = format!("appId=demo&userId={USER}&isAdmin=false&createWsReason=emitNoWs");
        Self::dial(rig, &format!("/?{query}"), &[("origin", ORIGIN)]).await.unwrap()
    }

    pub(crate) async fn dial(
        rig: &Rig,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, Error> {
        Self::dial_from(rig, LOCAL, path, headers, 64 * 1024).await
    }

    pub(crate) async fn dial_from(
        rig: &Rig,
        peer: IpAddr,
        path: &str,
        headers: &[(&'static str, &str)],
        buffer: usize,
    ) -> Result<Self, Error> {
        Self::dial_to(&rig.acceptor, peer, path, headers, buffer).await
    }

    pub(crate) async fn dial_to<B: Ingress>(
        acceptor: &Acceptor<B>,
        peer: IpAddr,
        path: &str,
        headers: &[(&'static str, &str)],
        buffer: usize,
    ) -> Result<Self, Error> {
        let (near, far) = tokio::io::duplex(buffer);
        let acceptor = acceptor.clone();
        tokio::spawn(async move { acceptor.serve(far, peer).await });
        let mut request = format!("ws://gateway{path}").into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().append(*name, value.parse().unwrap());
        }
        let (ws, _) = client_async(request, near).await?;
        Ok(Self { ws, time_ms: 1_795_344_650_000 })
    }

    pub(crate) async fn join(&mut self, session: &str) {
        let frame = self.frame("user joined", session);
        self.send(frame.to_string()).await;
    }

    pub(crate) async fn say(&mut self, session: &str, text: &str) {
        let mut frame = self.frame("new message", session);
        frame["data"] = request(text);
        self.send(frame.to_string()).await;
    }

    pub(crate) fn frame(&mut self, event: &str, session: &str) -> Value {
        self.time_ms += 10;
        json!({
            "event": event,
            "sessionId": session,
            "timeMs": self.time_ms,
            "sender": {
                "deviceId": "Widget", "userId": USER, "displayName": "Visitor", "isAdmin": false,
                "urlAttributes": { "path": ["", "prod"] },
            },
        })
    }

    pub(crate) async fn send(&mut self, text: String) {
        self.ws.send(Message::text(text)).await.unwrap();
    }

    /// The next frame, as `event text from sender`.
    pub(crate) async fn line(&mut self) -> String {
        let frame = self.next().await;
        let event = frame["event"].as_str().unwrap().to_owned();
        let text = frame["data"]["outputSpeech"]["displayText"].as_str().map(str::to_owned);
        text.map_or(event.clone(), |text| format!("{event}: {text}"))
    }

    pub(crate) async fn lines(&mut self, count: usize) -> Vec<String> {
        let mut lines = Vec::new();
        for _ in 0..count {
            lines.push(self.line().await);
        }
        lines
    }

    pub(crate) async fn next(&mut self) -> Value {
        loop {
            let message = tokio::time::timeout(Duration::from_secs(600), self.ws.next());
            match message.await.expect("something comes").expect("the socket is open").unwrap() {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// Nothing comes for so long.
    pub(crate) async fn silence(&mut self, long: Duration) {
        let deadline = tokio::time::Instant::now() + long;
        loop {
            match tokio::time::timeout_at(deadline, self.ws.next()).await {
                Err(_) => return,
                Ok(Some(Ok(Message::Ping(_)))) => {}
                Ok(other) => panic!("{other:?}"),
            }
        }
    }

    /// Nothing comes for so long but signs of life.
    pub(crate) async fn silence_but_beats(&mut self, long: Duration) {
        let deadline = tokio::time::Instant::now() + long;
        loop {
            match tokio::time::timeout_at(deadline, self.ws.next()).await {
                Err(_) => return,
                Ok(Some(Ok(Message::Ping(_)))) => {}
                Ok(Some(Ok(Message::Text(text)))) if text.contains("\"beat\"") => {}
                Ok(other) => panic!("{other:?}"),
            }
        }
    }

    /// How the gateway closes the socket; nothing if it breaks.
    pub(crate) async fn closed(&mut self) -> Option<CloseFrame> {
        loop {
            let message = tokio::time::timeout(Duration::from_secs(600), self.ws.next());
            match message.await.expect("it is closed") {
                Some(Ok(Message::Close(frame))) => return frame,
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return None,
            }
        }
    }
}

pub(crate) fn request(text: &str) -> Value {
    json!({
        "type": "INTENT_REQUEST", "rawQuery": text, "sessionId": "s", "userId": "u",
        "isNewSession": false, "intentId": "NLU_RESULT_PLACEHOLDER",
        "platform": "stentor-platform", "channel": "widget", "attributes": {},
    })
}
