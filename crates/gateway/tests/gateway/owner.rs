//! An owner of sessions that does as it is told, and a gateway in front of it.

use std::{
    collections::{HashMap, VecDeque},
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use prost::Message as _;
use stentor_apps::{App, AppSet, Limits, Texts};
use stentor_cluster::{BusError, GatewayMessage, Ingress};
use stentor_gateway::{Acceptor, Config, Gateway, GatewayFailed};
use stentor_types::{
    AppId, Audience, Event, EventKind, EventNumber, GatewayId, Partition, PlacementKey, SessionId,
    Stamp,
};
use stentor_wire::{
    encode_event, pb,
    pb::{connection_input, input_reply, reply, request},
    session_to_bytes,
};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

pub(crate) const ORIGIN: &str = "https://shop.example";
pub(crate) const USER: &str = "1b9d6bcd-bbfd-65d4-9f1a-0c1e5f2a7d33";
/// Session time of event 1 of every session.
pub(crate) const BEGAN_MS: i64 = 1_800_000_000_000;

/// What goes wrong with a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Trouble {
    Unavailable,
    /// It is done, and the answer is lost.
    NoAnswer,
    TryAgain,
    /// The session has forgotten the connection.
    AttachFirst,
    /// It is longer than the bus carries.
    TooLarge,
    /// There is no answer at all until the attempt is given up.
    Hangs,
    Refused,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    /// Sessions by claimed id; the newest last.
    sessions: Vec<(String, SessionId)>,
    pub(crate) events: HashMap<SessionId, Vec<Bytes>>,
    /// What is shown again at the next attachment.
    pub(crate) replay: Vec<Bytes>,
    pub(crate) typing: bool,
    pub(crate) segments: Vec<pb::Clock>,
    pub(crate) troubles: VecDeque<Trouble>,
    /// How messages are answered, without anything being done.
    pub(crate) answer: Option<input_reply::Kind>,
    /// What comes of erasing.
    pub(crate) erasing: Option<reply::Kind>,
    /// Messages are always answered with "attach first".
    pub(crate) forgets: bool,
    /// What was asked, in order, in a few words.
    pub(crate) asked: Vec<String>,
    pub(crate) says: Vec<pb::SayInput>,
    pub(crate) detached: Vec<pb::DetachInput>,
    pub(crate) users: Vec<Bytes>,
    taken: u64,
}

/// An owner of sessions that does as it is told.
#[derive(Debug, Default)]
pub(crate) struct Owner(pub(crate) Mutex<State>);

/// A gateway in front of it.
pub(crate) struct Rig {
    pub(crate) owner: Arc<Owner>,
    pub(crate) acceptor: Acceptor<Owner>,
    pub(crate) fanout: mpsc::Sender<GatewayMessage>,
    pub(crate) apps: watch::Sender<Arc<AppSet>>,
    /// Whether the gateway is cut off.
    pub(crate) line: watch::Sender<bool>,
    pub(crate) drain: CancellationToken,
    pub(crate) running: tokio::task::JoinHandle<Result<(), GatewayFailed>>,
    pub(crate) registry: prometheus::Registry,
}

// === impl Owner ===

impl Ingress for Owner {
    async fn request(&self, _: Partition, request: Bytes) -> Result<Bytes, BusError> {
        let request = pb::Request::decode(request).unwrap();
        let trouble = self.0.lock().unwrap().troubles.pop_front();
        match trouble {
            Some(Trouble::Unavailable) => return Err(BusError::Unavailable),
            Some(Trouble::TooLarge) => return Err(BusError::TooLarge { bytes: 2, max: 1 }),
            Some(Trouble::Hangs) => std::future::pending().await,
            _ => {}
        }
        let kind = self.0.lock().unwrap().serve(request, trouble);
        if matches!(trouble, Some(Trouble::NoAnswer)) {
            return Err(BusError::NoAnswer);
        }
        Ok(pb::Reply { kind: Some(kind) }.encode_to_vec().into())
    }
}

impl Owner {
    pub(crate) fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock().unwrap())
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        self.with(|state| state.asked.clone())
    }

    pub(crate) fn session(&self, claimed: &str) -> SessionId {
        self.with(|state| state.session(claimed))
    }

    /// Adds an event to a session without telling anybody.
    pub(crate) fn add(&self, session: SessionId, kind: EventKind) -> Bytes {
        self.with(|state| state.add(session, kind))
    }

    /// Waits until something was asked.
    pub(crate) async fn until(&self, what: impl Fn(&State) -> bool) {
        self.until_after(1, what).await;
    }

    /// The same where it takes minutes.
    pub(crate) async fn until_minutes(&self, what: impl Fn(&State) -> bool) {
        self.until_after(10, what).await;
    }

    async fn until_after(&self, pause_ms: u64, what: impl Fn(&State) -> bool) {
        for _ in 0..60_000 {
            if self.with(|state| what(state)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        }
        panic!("never asked: {:?}", self.asked());
    }
}

// === impl State ===

impl State {
    fn session(&mut self, claimed: &str) -> SessionId {
        if let Some((_, session)) = self.sessions.iter().find(|(known, _)| known == claimed) {
            return *session;
        }
        let session = SessionId::new(PlacementKey(7), self.sessions.len() as u128 + 1);
        self.sessions.push((claimed.to_owned(), session));
        session
    }

    fn add(&mut self, session: SessionId, kind: EventKind) -> Bytes {
        let events = self.events.entry(session).or_default();
        let n = events.len() as u64 + 1;
        let stamp = Stamp(BEGAN_MS + 2 * (n as i64 - 1));
        let event = Event { n: EventNumber(n), stamp, audience: Audience::All, kind };
        let bytes = encode_event(&event);
        events.push(bytes.clone());
        bytes
    }

    fn serve(&mut self, request: pb::Request, trouble: Option<Trouble>) -> reply::Kind {
        match request.kind.unwrap() {
            request::Kind::Connection(request) => {
                if matches!(request.inputs[0].kind, Some(connection_input::Kind::Attach(_))) {
                    self.users.push(request.user.clone());
                }
                let results = request.inputs.into_iter().map(|input| {
                    let kind = match trouble {
                        Some(Trouble::TryAgain) => input_reply::Kind::TryAgainMs(500),
                        Some(Trouble::AttachFirst) => input_reply::Kind::AttachFirst(true),
                        Some(Trouble::Refused) => input_reply::Kind::Rejected(1),
                        _ => self.input(input.kind.unwrap()),
                    };
                    pb::InputReply { kind: Some(kind) }
                });
                reply::Kind::Connection(pb::ConnectionReply { results: results.collect() })
            }
            request::Kind::Fetch(fetch) => {
                self.asked.push(format!("fetch {} to {}", fetch.from, fetch.to));
                let session = stentor_wire::session_id(&fetch.session).unwrap();
                let events = self.events.get(&session).into_iter().flatten();
                let from = usize::try_from(fetch.from - 1).unwrap();
                let count = usize::try_from(fetch.to + 1 - fetch.from).unwrap();
                let events = events.skip(from).take(count).cloned().collect();
                reply::Kind::Fetch(pb::FetchReply { epoch: 1, events, ..Default::default() })
            }
            request::Kind::Signal(_) => reply::Kind::Signalled(true),
            request::Kind::List(_) => reply::Kind::List(pb::ListReply::default()),
            request::Kind::Outcome(_) => panic!("a gateway knows no outcomes"),
            request::Kind::Erase(erase) => {
                self.asked.push(format!("erase by {}", erase.token));
                self.erasing.clone().unwrap()
            }
            request::Kind::Explain(_) => panic!("operators ask that"),
        }
    }

    fn input(&mut self, input: connection_input::Kind) -> input_reply::Kind {
        match input {
            connection_input::Kind::Attach(attach) => {
                self.asked.push(match &attach.claimed {
                    Some(claimed) => format!("attach {claimed} after {}", attach.counter),
                    None => format!("attach after {}", attach.counter),
                });
                let session = match attach.claimed {
                    Some(claimed) => self.session(&claimed),
                    None => match self.sessions.last() {
                        Some((_, session)) => *session,
                        None => return input_reply::Kind::NoSession(true),
                    },
                };
                let n = self.add(session, EventKind::Unknown);
                drop(n);
                let n = self.events[&session].len() as u64;
                input_reply::Kind::Attached(pb::AttachedReply {
                    session: session_to_bytes(session),
                    epoch: 1,
                    n,
                    stamp: BEGAN_MS + 2 * (n as i64 - 1),
                    segments: self.segments.clone(),
                    replay: std::mem::take(&mut self.replay),
                    typing: self.typing,
                    view: None,
                })
            }
            connection_input::Kind::Say(_) if self.answer.is_some() => self.answer.clone().unwrap(),
            connection_input::Kind::Say(_) if self.forgets => input_reply::Kind::AttachFirst(true),
            connection_input::Kind::Say(say) => {
                self.asked.push(format!("say {}", say.counter));
                if say.counter <= self.taken {
                    return input_reply::Kind::Duplicate(0);
                }
                self.taken = say.counter;
                let session = stentor_wire::session_id(&say.session).unwrap();
                self.add(session, EventKind::Unknown);
                self.says.push(say);
                input_reply::Kind::Committed(self.events[&session].len() as u64)
            }
            connection_input::Kind::Detach(detach) => {
                self.asked.push("detach".to_owned());
                self.detached.push(detach);
                input_reply::Kind::Committed(1)
            }
            connection_input::Kind::Control(_)
            | connection_input::Kind::Draft(_)
            | connection_input::Kind::End(_) => input_reply::Kind::Nothing(true),
            connection_input::Kind::Refuse(refuse) => {
                self.asked.push(format!("refuse {}", refuse.counter));
                self.taken = self.taken.max(refuse.counter);
                input_reply::Kind::Rejected(pb::RejectCode::Malformed.into())
            }
        }
    }
}

// === impl Rig ===

impl Rig {
    pub(crate) async fn new() -> Self {
        Self::with(|config| config, |app| app).await
    }

    pub(crate) async fn with(
        configure: impl FnOnce(Config) -> Config,
        change: impl FnOnce(App) -> App,
    ) -> Self {
        let owner = Arc::new(Owner::default());
        let (fanout, messages) = mpsc::channel(1_000);
        let (apps, apps_end) = watch::channel(Arc::new(AppSet::new([change(app("demo"))])));
        let registry = prometheus::Registry::new();
        let config = configure(Config::new(GatewayId(9)));
        let gateway =
            Gateway::new(config, Arc::clone(&owner), messages, apps_end, &registry).unwrap();
        let (line, line_end) = watch::channel(false);
        let gateway = gateway.told_of_its_line_by(line_end);
        let acceptor = gateway.acceptor();
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let drain = CancellationToken::new();
        let running = tokio::spawn(gateway.run(listener, drain.clone()));
        Self { owner, acceptor, fanout, apps, line, drain, running, registry }
    }

    /// Tells the gateway what happened in a session. Events that the gateway is not told were missed.
    pub(crate) async fn fan_out(&self, session: SessionId, events: &[Bytes], to: &[u64]) {
        let head = self.owner.with(|state| state.events[&session].len() as u64);
        let message = pb::Fanout {
            app: "demo".to_owned(),
            session: session_to_bytes(session),
            epoch: 1,
            events: events.to_vec(),
            connections: to.to_vec(),
            head,
            ..Default::default()
        };
        self.fanout.send(GatewayMessage::Fanout(message.encode_to_vec().into())).await.unwrap();
    }

    /// The bot says something to everybody whose connection has one of these numbers.
    pub(crate) async fn bot_says(&self, session: SessionId, text: &str, to: &[u64]) {
        let event = self.owner.add(session, bot_says(text));
        // The owner tells a gateway everything; attachments and messages came before.
        let all = self.owner.with(|state| state.events[&session].clone());
        drop(event);
        self.fan_out(session, &all, to).await;
    }

    pub(crate) fn metric(&self, name: &str) -> f64 {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == name);
        family.map_or(0.0, |family| {
            family.get_metric().iter().map(|metric| metric.get_counter().get_value()).sum()
        })
    }
}

pub(crate) fn bot_says(text: &str) -> EventKind {
    EventKind::Replied {
        turn: EventNumber(1),
        body: serde_json::json!({ "outputSpeech": { "displayText": text } }).to_string().into(),
        handoff: false,
    }
}

pub(crate) fn app(name: &str) -> App {
    App {
        id: AppId::try_new(name).unwrap(),
        bot: None,
        origins: vec![ORIGIN.to_owned()],
        texts: Texts::default(),
        limits: Limits::default(),
        log_retention: Duration::from_secs(60),
        history_retention: Duration::from_secs(60),
        visitor_grace: Duration::from_secs(60),
        agent_grace: Duration::from_secs(60),
        keys: stentor_tokens::Keys::default(),
        revoked: std::collections::BTreeSet::new(),
        widget: Default::default(),
    }
}

pub(crate) const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
