//! What each system wants to hear and says: joining a room, speaking, coming back.

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::{
    link::Link,
    system::{Dialect, System, token},
};

/// Somebody in a room.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) link: Link,
    dialect: Dialect,
    room: String,
    /// What is needed to come back without missing anything.
    pub(crate) place: Place,
    /// What it was told while it came in.
    pub(crate) early: Vec<Stamp>,
    said: u64,
}

/// Where somebody was. Each system uses some of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    token: String,
    /// Stentor's session, Socket.IO's secret id.
    id: String,
    epoch: Value,
    at: Value,
}

// === impl Member ===

impl Member {
    /// Joins a room. All of a room are tabs of one user, named as the room.
    pub(crate) async fn join(system: &System, room: &str) -> anyhow::Result<Self> {
        let place = Place { token: token(room, false)?, ..Place::default() };
        Self::enter(system.kind.dialect(), system.port(), room, place, false).await
    }

    /// Joins the router as somebody for whom the kernel takes next to nothing while they do not read.
    pub(crate) async fn join_lazily(port: u16, room: &str) -> anyhow::Result<Self> {
        let place = Place { token: token(room, false)?, ..Place::default() };
        Self::enter(Dialect::Stentor, port, room, place, true).await
    }

    /// Joins as somebody who may speak fast: an agent in the room of a visitor.
    pub(crate) async fn speaker(system: &System, room: &str) -> anyhow::Result<Self> {
        if !system.kind.is_ours() {
            return Self::join(system, room).await;
        }
        let visitor = Self::join(system, room).await?;
        let place =
            Place { token: token("speaker", true)?, id: visitor.place.id, ..Place::default() };
        let mut speaker =
            Self::enter(system.kind.dialect(), system.port(), room, place, false).await?;
        let take = json!({"t": "take", "ref": 2, "sid": speaker.place.id});
        speaker.link.say(&take.to_string()).await?;
        speaker.link.until("the floor", |text| text.starts_with(b"{\"t\":\"done\"")).await?;
        Ok(speaker)
    }

    /// Comes back to where somebody was.
    pub(crate) async fn come_back(
        system: &System,
        room: &str,
        place: Place,
    ) -> anyhow::Result<Self> {
        Self::enter(system.kind.dialect(), system.port(), room, place, false).await
    }

    async fn enter(
        dialect: Dialect,
        port: u16,
        room: &str,
        place: Place,
        lazy: bool,
    ) -> anyhow::Result<Self> {
        let (path, protocol) = match dialect {
            Dialect::Stentor => ("/?appId=demo".to_owned(), Some("stentor.v2")),
            Dialect::Lines => (format!("/?room={room}"), None),
            Dialect::SocketIo => ("/socket.io/?EIO=4&transport=websocket".to_owned(), None),
            Dialect::Centrifuge => ("/connection/websocket".to_owned(), None),
        };
        let link = Link::dial(port, &path, protocol, lazy).await?;
        let mut member =
            Self { link, dialect, room: room.to_owned(), place, early: Vec::new(), said: 0 };
        member.greet().await?;
        Ok(member)
    }

    async fn greet(&mut self) -> anyhow::Result<()> {
        match self.dialect {
            Dialect::Stentor => self.greet_stentor().await,
            Dialect::SocketIo => self.greet_socket_io().await,
            Dialect::Centrifuge => self.greet_centrifuge().await,
            Dialect::Lines => Ok(()),
        }
    }

    async fn greet_stentor(&mut self) -> anyhow::Result<()> {
        let Place { token, id, epoch, at } = &self.place;
        let hello = json!({"t": "hello", "app": "demo", "token": token});
        let mut client = [0; 16];
        getrandom::fill(&mut client)?;
        let client = format!("{:032x}", u128::from_be_bytes(client));
        let mut open = json!({"t": "open", "ref": 1, "client": client, "lastMid": 0});
        let fields = open.as_object_mut().context("an object")?;
        if id.is_empty() {
            fields.insert("name".into(), self.room.as_str().into());
        } else {
            fields.insert("sid".into(), id.as_str().into());
        }
        if !at.is_null() {
            fields.insert("resume".into(), json!({"epoch": epoch, "n": at}));
        }
        self.link.say(&hello.to_string()).await?;
        self.link.say(&open.to_string()).await?;
        let opened =
            self.link.until("opened", |text| text.starts_with(b"{\"t\":\"opened\"")).await?;
        let opened: Value = serde_json::from_slice(&opened)?;
        field(&opened, "/sid").as_str().context("sid")?.clone_into(&mut self.place.id);
        self.place.epoch = field(&opened, "/epoch");
        // What it has seen is what it will be told next, less one.
        self.place.at = (field(&opened, "/from").as_u64().context("from")? - 1).into();
        Ok(())
    }

    async fn greet_socket_io(&mut self) -> anyhow::Result<()> {
        self.link.until("open", |text| text.starts_with(b"0{")).await?;
        let Place { token, id, at, .. } = &self.place;
        let mut auth = json!({"token": token, "room": self.room});
        if let (Some(fields), false) = (auth.as_object_mut(), at.is_null()) {
            fields.insert("pid".into(), id.as_str().into());
            fields.insert("offset".into(), at.clone());
        }
        self.link.say(&format!("40{auth}")).await?;
        let connected = loop {
            let text = self.link.until("connected", |text| text.starts_with(b"4")).await?;
            // What was missed comes before the greeting.
            if !text.starts_with(b"42") {
                break text;
            }
            self.early.extend(Stamp::all(&text));
            self.note(&text)?;
        };
        let told: Value = serde_json::from_slice(connected.get(2..).context("no packet")?)?;
        anyhow::ensure!(connected.starts_with(b"40"), "refused: {told}");
        if let Some(id) = field(&told, "/pid").as_str() {
            id.clone_into(&mut self.place.id);
        }
        Ok(())
    }

    async fn greet_centrifuge(&mut self) -> anyhow::Result<()> {
        let Place { token, epoch, at, .. } = &self.place;
        let connect = json!({"id": 1, "connect": {"token": token}});
        let mut subscribe = json!({"channel": self.room});
        if let (Some(fields), false) = (subscribe.as_object_mut(), at.is_null()) {
            fields.insert("recover".into(), true.into());
            fields.insert("epoch".into(), epoch.clone());
            fields.insert("offset".into(), at.clone());
        }
        let subscribe = json!({"id": 2, "subscribe": subscribe});
        self.link.say(&format!("{connect}\n{subscribe}")).await?;
        let mut seen = self.link.until("an answer", |text| text.starts_with(b"{\"id\"")).await?;
        if memchr::memmem::find(&seen, b"\"subscribe\":{").is_none() {
            seen = self.link.until("a subscription", |text| text.starts_with(b"{\"id\":2")).await?;
        }
        let answer =
            seen[..].split(|byte| *byte == b'\n').find(|line| line.starts_with(b"{\"id\":2"));
        let answer = answer.context("no subscription")?;
        self.early.extend(Stamp::all(answer));
        let answer: Value = serde_json::from_slice(answer)?;
        anyhow::ensure!(field(&answer, "/subscribe").is_object(), "refused: {answer}");
        self.place.epoch = field(&answer, "/subscribe/epoch");
        self.place.at = field(&answer, "/subscribe/offset").as_u64().unwrap_or(0).into();
        Ok(())
    }

    /// Says something: the stamp that receivers look for, and padding up to `bytes`.
    pub(crate) async fn say(&mut self, stamp: Stamp, bytes: usize) -> anyhow::Result<()> {
        let text = stamp.text(bytes);
        self.said += 1;
        let said = self.said;
        let frame = match self.dialect {
            Dialect::Stentor => {
                json!({"t": "send", "sid": self.place.id, "mid": said, "text": text}).to_string()
            }
            Dialect::Lines => text,
            Dialect::SocketIo => format!("42{}", json!(["say", text])),
            Dialect::Centrifuge => {
                json!({"id": said + 2, "publish": {"channel": self.room, "data": text}}).to_string()
            }
        };
        self.link.say(&frame).await
    }

    /// The next message of the room, or several in one frame; what keeps the connection alive is answered.
    pub(crate) async fn hear(&mut self) -> anyhow::Result<bytes::BytesMut> {
        loop {
            let text = self.link.next().await?;
            match self.dialect {
                Dialect::SocketIo if text == b"2"[..] => self.link.say("3").await?,
                // A ping may come in one frame with messages.
                Dialect::Centrifuge
                    if text[..].split(|byte| *byte == b'\n').any(|line| line == b"{}") =>
                {
                    self.link.say("{}").await?;
                    if text != b"{}"[..] {
                        return Ok(text);
                    }
                }
                _ => return Ok(text),
            }
        }
    }

    /// Remembers how far it has come.
    pub(crate) fn note(&mut self, text: &[u8]) -> anyhow::Result<()> {
        match self.dialect {
            Dialect::Stentor if text.starts_with(b"{\"t\":\"event\"") => {
                self.place.at = field(&serde_json::from_slice(text)?, "/n");
            }
            Dialect::SocketIo if text.starts_with(b"42") => {
                let said: Value = serde_json::from_slice(text.get(2..).unwrap_or_default())?;
                self.place.at = field(&said, "/2");
            }
            Dialect::Centrifuge if text.starts_with(b"{\"push\"") => {
                for line in text.split(|byte| *byte == b'\n') {
                    let push: Value = serde_json::from_slice(line)?;
                    self.place.at = field(&push, "/push/pub/offset");
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// What is found at a JSON pointer, or null.
fn field(value: &Value, pointer: &str) -> Value {
    value.pointer(pointer).cloned().unwrap_or_default()
}

/// What a message carries: its number, and when it was to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) number: u64,
    /// Microseconds since the benchmark began.
    pub(crate) at: u64,
}

impl Stamp {
    fn text(self, bytes: usize) -> String {
        let Self { number, at } = self;
        format!("{:x<bytes$}", format!("~{number}:{at}~"))
    }

    /// All stamps in a frame, in their order.
    pub(crate) fn all(frame: &[u8]) -> impl Iterator<Item = Self> {
        let mut rest = frame;
        std::iter::from_fn(move || {
            let from = memchr::memchr(b'~', rest)?;
            let after = rest.get(from + 1..)?;
            let to = memchr::memchr(b'~', after)?;
            let stamp = after.get(..to)?;
            rest = after.get(to + 1..)?;
            let (number, at) = std::str::from_utf8(stamp).ok()?.split_once(':')?;
            Some(Self { number: number.parse().ok()?, at: at.parse().ok()? })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_found_wherever_they_are() {
        let (one, two) = (Stamp { number: 1, at: 20 }, Stamp { number: 2, at: 30 });
        let frame = format!("{{\"text\":\"{}\"}}\n[\"{}\"]", one.text(128), two.text(16));
        assert_eq!(Stamp::all(frame.as_bytes()).collect::<Vec<_>>(), [one, two]);
        assert_eq!(one.text(128).len(), 128);
        assert_eq!(Stamp::all(b"no ~ stamp ~ at all").count(), 0);
    }
}
