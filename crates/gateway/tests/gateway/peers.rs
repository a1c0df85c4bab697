//! A widget and a client of the second dialect that keep what they were shown, and say what they are told to.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::{SinkExt, StreamExt, stream::SplitSink};
use serde_json::{Value, json};
use tokio::io::DuplexStream;
use tokio_tungstenite::{WebSocketStream, tungstenite::Message};

use crate::{
    client::{Client, request},
    owner::{LOCAL, ORIGIN},
    town::TownRig,
};

/// Frames in the order in which they came; a last one says how the socket ended.
pub(crate) type Heard = Arc<Mutex<Vec<Value>>>;

/// A widget that never forgets.
pub(crate) struct Widget {
    pub(crate) heard: Heard,
    out: SplitSink<WebSocketStream<DuplexStream>, Message>,
    user: String,
    session: String,
}

/// A client of the second dialect: says one thing at a time, and the same again until it is acked.
pub(crate) struct Second {
    pub(crate) heard: Heard,
    out: Arc<tokio::sync::Mutex<SplitSink<WebSocketStream<DuplexStream>, Message>>>,
    pub(crate) sid: String,
    mids: u64,
}

// === impl Widget ===

impl Widget {
    pub(crate) async fn join(rig: &TownRig, number: u64, session: &str) -> Self {
        let user = format!("1b9d6bcd-bbfd-65d4-9f1a-{number:012x}");
        let path = format!("/?appId=demo&userId={user}&isAdmin=false&createWsReason=emitNoWs");
        let origin = [("origin", ORIGIN)];
        let client = Client::dial_to(&rig.acceptor, LOCAL, &path, &origin, 64 * 1024).await;
        let (out, heard) = listen(client.unwrap().ws);
        let mut widget = Self { heard, out, user, session: session.to_owned() };
        widget.send("user joined", None).await;
        until(&widget.heard, "joined", |frames| {
            frames.iter().any(|frame| frame["event"] == "user joined")
        })
        .await;
        widget
    }

    pub(crate) async fn say(&mut self, text: &str) {
        self.send("new message", Some(request(text))).await;
    }

    async fn send(&mut self, event: &str, data: Option<Value>) {
        let mut frame = json!({
            "event": event,
            "sessionId": self.session,
            "timeMs": 1_795_344_650_000_i64,
            "sender": {
                "deviceId": "Widget", "userId": self.user, "displayName": "Visitor", "isAdmin": false,
                "urlAttributes": { "path": ["", "prod"] },
            },
        });
        if let Some(data) = data {
            frame["data"] = data;
        }
        self.out.send(Message::text(frame.to_string())).await.unwrap();
    }

    /// What the bot has said, in the order in which it was shown.
    pub(crate) fn texts(&self) -> Vec<String> {
        let heard = self.heard.lock().unwrap();
        let texts = heard.iter().filter_map(|frame| {
            assert!(frame.get("closed").is_none(), "{frame}");
            frame["data"]["outputSpeech"]["displayText"].as_str().map(str::to_owned)
        });
        texts.collect()
    }
}

// === impl Second ===

impl Second {
    /// One that has asked for a session and has no answer yet.
    pub(crate) async fn dial(rig: &TownRig, instance: u64, name: &str) -> Self {
        let headers = [("origin", ORIGIN), ("sec-websocket-protocol", "stentor.v2")];
        let client = Client::dial_to(&rig.acceptor, LOCAL, "/", &headers, 64 * 1024).await;
        let (out, heard) = listen(client.unwrap().ws);
        let out = Arc::new(tokio::sync::Mutex::new(out));
        let client = Self { heard, out, sid: String::new(), mids: 0 };
        client.send(&json!({ "t": "hello", "app": "demo" })).await;
        let open = json!({
            "t": "open", "ref": 1, "name": name, "client": format!("{instance:032x}"), "lastMid": 0,
        });
        client.send(&open).await;
        client
    }

    pub(crate) async fn open(rig: &TownRig, instance: u64, name: &str) -> Self {
        let mut client = Self::dial(rig, instance, name).await;
        let opened = |frame: &Value| frame["t"] == "opened";
        until(&client.heard, "opened", |frames| frames.iter().any(opened)).await;
        let frames = client.heard.lock().unwrap().clone();
        client.sid =
            frames.iter().find(|frame| opened(frame)).unwrap()["sid"].as_str().unwrap().to_owned();
        client
    }

    /// Closes its socket.
    pub(crate) async fn leave(&self) {
        self.out.lock().await.close().await.unwrap();
    }

    pub(crate) async fn send(&self, frame: &Value) {
        self.out.lock().await.send(Message::text(frame.to_string())).await.unwrap();
    }

    /// Says something, again and again until it is acked.
    pub(crate) fn say(&mut self, text: &str) -> tokio::task::JoinHandle<()> {
        self.mids += 1;
        let (sid, mid, text) = (self.sid.clone(), self.mids, text.to_owned());
        let (out, heard) = (Arc::clone(&self.out), Arc::clone(&self.heard));
        tokio::spawn(async move {
            let acked = |mid: u64| move |frame: &Value| frame["t"] == "ack" && frame["mid"] == mid;
            if mid > 1 {
                until(&heard, "the ack before", |frames| frames.iter().any(acked(mid - 1))).await;
            }
            let frame = json!({ "t": "send", "sid": sid, "mid": mid, "text": text });
            loop {
                out.lock().await.send(Message::text(frame.to_string())).await.unwrap();
                let refusals = nacks(&heard, mid);
                until(&heard, "an answer", |frames| {
                    frames.iter().any(acked(mid)) || count_nacks(frames, mid) > refusals
                })
                .await;
                if heard.lock().unwrap().iter().any(acked(mid)) {
                    return;
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        })
    }

    /// Numbers of the events in the order in which they came, and the first one that had to come.
    pub(crate) fn numbers(&self) -> (u64, Vec<u64>) {
        let heard = self.heard.lock().unwrap();
        let mut from = 0;
        let mut numbers = Vec::new();
        for frame in &*heard {
            assert!(frame.get("closed").is_none() && frame["t"] != "resync", "{frame}");
            match frame["t"].as_str() {
                Some("opened") => from = frame["from"].as_u64().unwrap(),
                Some("event") => numbers.push(frame["n"].as_u64().unwrap()),
                _ => {}
            }
        }
        (from, numbers)
    }
}

fn nacks(heard: &Heard, mid: u64) -> usize {
    count_nacks(&heard.lock().unwrap(), mid)
}

pub(crate) fn count_nacks(frames: &[Value], mid: u64) -> usize {
    frames.iter().filter(|frame| frame["t"] == "nack" && frame["mid"] == mid).count()
}

fn listen(
    ws: WebSocketStream<DuplexStream>,
) -> (SplitSink<WebSocketStream<DuplexStream>, Message>, Heard) {
    let (out, mut read) = ws.split();
    let heard = Heard::default();
    let frames = Arc::clone(&heard);
    tokio::spawn(async move {
        while let Some(Ok(message)) = read.next().await {
            match message {
                Message::Text(text) => {
                    frames.lock().unwrap().push(serde_json::from_str(&text).unwrap());
                }
                Message::Close(close) => {
                    let code = close.map(|close| u16::from(close.code));
                    frames.lock().unwrap().push(json!({ "closed": code }));
                    return;
                }
                _ => {}
            }
        }
    });
    (out, heard)
}

/// Waits until a peer has heard something.
pub(crate) async fn until(heard: &Heard, what: &str, fits: impl Fn(&[Value]) -> bool) {
    for _ in 0..600_000 {
        if fits(&heard.lock().unwrap()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("never: {what}; {:?}", heard.lock().unwrap());
}
