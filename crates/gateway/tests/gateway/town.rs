//! Owners of sessions that know each connection by its whole name, behind a bus that loses messages; and a
//! gateway in front of them.

use std::{
    collections::{BTreeMap, HashMap},
    net::Ipv4Addr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use prost::Message as _;
use stentor_apps::AppSet;
use stentor_cluster::{BusError, GatewayMessage, Ingress};
use stentor_gateway::{Acceptor, Config, Gateway};
use stentor_types::{
    Audience, ConnectionId, Event, EventKind, EventNumber, GatewayId, Partition, PlacementKey,
    SessionId, Stamp,
};
use stentor_wire::{
    connection_from_pb, encode_event, pb,
    pb::{connection_input, input_reply, reply, request},
    session_id, session_to_bytes,
};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::owner::{BEGAN_MS, app, bot_says};

/// Events in one answer at most, so that long holes take several.
const PAGE: usize = 7;

/// A stream of numbers: SplitMix64.
#[derive(Debug, Default)]
pub(crate) struct Dice(pub(crate) u64);

/// The owners and the bus.
#[derive(Debug, Default)]
pub(crate) struct Town(Mutex<State>);

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) dice: Dice,
    /// Percent of requests whose answer is lost, and of those that nobody takes.
    pub(crate) answers_lost: u64,
    pub(crate) unavailable: u64,
    /// Nobody takes anything.
    pub(crate) closed: bool,
    /// Percent of fan-out messages that are lost.
    pub(crate) fanout_lost: u64,
    /// How long an owner takes to answer.
    pub(crate) takes: Duration,
    /// Under which name the gateway listens.
    pub(crate) listens: u64,
    pub(crate) sessions: BTreeMap<SessionId, Session>,
    claimed: HashMap<String, SessionId>,
    fanout: Option<mpsc::Sender<GatewayMessage>>,
    fetching: usize,
    pub(crate) fetching_most: usize,
    /// Fetches and attachments by session id.
    pub(crate) asked: Vec<String>,
    /// The longest request so far.
    pub(crate) longest: usize,
}

#[derive(Debug, Default)]
pub(crate) struct Session {
    pub(crate) events: Vec<Bytes>,
    pub(crate) endpoints: BTreeMap<ConnectionId, Endpoint>,
    departed: HashMap<ConnectionId, u64>,
    clients: HashMap<Bytes, u64>,
    /// Texts of the messages that were taken.
    pub(crate) said: Vec<String>,
}

#[derive(Debug, Default)]
pub(crate) struct Endpoint {
    counter: u64,
    client: Option<Bytes>,
}

/// A gateway in front of them.
pub(crate) struct TownRig {
    pub(crate) town: Arc<Town>,
    pub(crate) acceptor: Acceptor<Town>,
    drain: CancellationToken,
    running: tokio::task::JoinHandle<Result<(), stentor_gateway::GatewayFailed>>,
}

// === impl Dice ===

impl Dice {
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end.max(1)
    }

    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

// === impl Town ===

impl Ingress for Town {
    async fn request(&self, _: Partition, request: Bytes) -> Result<Bytes, BusError> {
        let bytes = request.len();
        let request = pb::Request::decode(request).unwrap();
        let is_fetch = matches!(request.kind, Some(request::Kind::Fetch(_)));
        let takes = self.with(|state| {
            state.longest = state.longest.max(bytes);
            if is_fetch {
                state.fetching += 1;
                state.fetching_most = state.fetching_most.max(state.fetching);
            }
            state.takes
        });
        tokio::time::sleep(takes).await;
        self.with(|state| {
            state.fetching -= usize::from(is_fetch);
            if state.closed || state.dice.percent(state.unavailable) {
                return Err(BusError::Unavailable);
            }
            let kind = state.serve(request);
            if state.dice.percent(state.answers_lost) {
                return Err(BusError::NoAnswer);
            }
            Ok(pb::Reply { kind: Some(kind) }.encode_to_vec().into())
        })
    }
}

impl Town {
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.0.lock().unwrap())
    }
}

// === impl State ===

impl State {
    pub(crate) fn session(&mut self, claimed: &str) -> SessionId {
        let next = self.claimed.len() as u128 + 1;
        let new = || SessionId::new(PlacementKey(7), next);
        *self.claimed.entry(claimed.to_owned()).or_insert_with(new)
    }

    /// Two names for one session.
    pub(crate) fn alias(&mut self, name: &str, claimed: &str) {
        let session = self.session(claimed);
        self.claimed.insert(name.to_owned(), session);
    }

    /// Something happens in a session; whoever takes part is told, unless that is lost.
    pub(crate) fn happen(&mut self, id: SessionId, kind: EventKind) -> u64 {
        let session = self.sessions.entry(id).or_default();
        let n = session.events.len() as u64 + 1;
        let stamp = Stamp(BEGAN_MS + 2 * (n as i64 - 1));
        let event =
            encode_event(&Event { n: EventNumber(n), stamp, audience: Audience::All, kind });
        session.events.push(event.clone());
        let message = pb::Fanout {
            app: "demo".to_owned(),
            session: session_to_bytes(id),
            epoch: 1,
            events: vec![event],
            connections: session.connections(GatewayId(self.listens)),
            head: n,
            ..Default::default()
        };
        if !message.connections.is_empty() && !self.dice.percent(self.fanout_lost) {
            self.tell(GatewayMessage::Fanout(message.encode_to_vec().into()));
        }
        n
    }

    pub(crate) fn bot_says(&mut self, session: SessionId, text: &str) -> u64 {
        self.happen(session, bot_says(text))
    }

    /// Every owner repeats how far its sessions are.
    pub(crate) fn tell_heads(&mut self) {
        self.tell_heads_of(1);
    }

    /// The same in a certain numbering.
    pub(crate) fn tell_heads_of(&mut self, epoch: u64) {
        let heads = self.sessions.iter().map(|(id, session)| pb::SessionHead {
            app: "demo".to_owned(),
            session: session_to_bytes(*id),
            epoch,
            n: session.events.len() as u64,
            connections: session.connections(GatewayId(self.listens)),
        });
        let heads = heads.filter(|head| !head.connections.is_empty()).collect();
        let message = pb::Fanout { heads, ..Default::default() };
        self.tell(GatewayMessage::Fanout(message.encode_to_vec().into()));
    }

    /// The gateway has another name, and hears under no other.
    pub(crate) fn rename(&mut self, name: u64) {
        self.listens = name;
        self.tell(GatewayMessage::Renamed(GatewayId(name)));
    }

    /// Owners find out that a life of the gateway is gone.
    pub(crate) fn lose(&mut self, gateway: GatewayId) {
        let ids: Vec<_> = self.sessions.keys().copied().collect();
        for id in ids {
            let session = self.sessions.get_mut(&id).unwrap();
            let gone: Vec<_> =
                session.endpoints.keys().filter(|name| name.gateway == gateway).copied().collect();
            for name in &gone {
                session.detach(*name);
            }
            if !gone.is_empty() {
                self.happen(id, EventKind::Unknown);
            }
        }
    }

    pub(crate) fn tell(&self, message: GatewayMessage) {
        self.fanout.as_ref().unwrap().try_send(message).unwrap();
    }

    fn serve(&mut self, request: pb::Request) -> reply::Kind {
        match request.kind.unwrap() {
            request::Kind::Connection(request) => {
                let connection = connection_from_pb(request.connection).unwrap();
                let results = request.inputs.into_iter().map(|input| {
                    let kind = Some(self.input(connection, input.kind.unwrap()));
                    pb::InputReply { kind }
                });
                reply::Kind::Connection(pb::ConnectionReply { results: results.collect() })
            }
            request::Kind::Fetch(fetch) => {
                let id = session_id(&fetch.session).unwrap();
                let events = &self.sessions.get(&id).unwrap().events;
                let (from, to) = (fetch.from as usize, (fetch.to as usize).min(events.len()));
                let page = events.iter().take(to).skip(from - 1).take(PAGE).cloned().collect();
                let head = events.len() as u64;
                self.asked.push(format!("fetch {from}"));
                reply::Kind::Fetch(pb::FetchReply {
                    epoch: 1,
                    events: page,
                    head,
                    try_again: false,
                })
            }
            request::Kind::Signal(_) => reply::Kind::Signalled(true),
            request::Kind::List(_) => reply::Kind::List(pb::ListReply::default()),
            request::Kind::Outcome(_) => panic!("a gateway knows no outcomes"),
            request::Kind::Explain(_) | request::Kind::Erase(_) => panic!("nobody asks that here"),
        }
    }

    fn input(
        &mut self,
        connection: ConnectionId,
        input: connection_input::Kind,
    ) -> input_reply::Kind {
        match input {
            connection_input::Kind::Attach(attach) => self.attach(connection, attach),
            connection_input::Kind::Say(say) => {
                let id = session_id(&say.session).unwrap();
                let session = self.sessions.entry(id).or_default();
                let Some(endpoint) = session.endpoints.get_mut(&connection) else {
                    return input_reply::Kind::AttachFirst(true);
                };
                let counter = match &endpoint.client {
                    Some(client) => session.clients.entry(client.clone()).or_default(),
                    None => &mut endpoint.counter,
                };
                if say.counter <= *counter {
                    return input_reply::Kind::Duplicate(0);
                }
                if say.counter > *counter + 1 {
                    return input_reply::Kind::Gap(*counter + 1);
                }
                *counter = say.counter;
                session.said.push(say.text.unwrap_or_default());
                self.asked.push(format!("say as {}", connection.gateway.0));
                input_reply::Kind::Committed(self.happen(id, EventKind::Unknown))
            }
            connection_input::Kind::Detach(detach) => {
                let id = session_id(&detach.session).unwrap();
                self.asked.push(format!("detach {}", connection.number));
                self.sessions.entry(id).or_default().detach(connection);
                input_reply::Kind::Committed(self.happen(id, EventKind::Unknown))
            }
            connection_input::Kind::Control(_)
            | connection_input::Kind::Draft(_)
            | connection_input::Kind::End(_)
            | connection_input::Kind::Refuse(_) => input_reply::Kind::Nothing(true),
        }
    }

    fn attach(&mut self, connection: ConnectionId, attach: pb::AttachInput) -> input_reply::Kind {
        let named = attach.session.as_deref().map(|id| session_id(id).unwrap());
        let id = match (named, &attach.claimed) {
            (Some(id), _) => id,
            (None, Some(claimed)) => self.session(claimed),
            (None, None) => return input_reply::Kind::NoSession(true),
        };
        self.asked.push(format!("attach as {}", connection.gateway.0));
        let session = self.sessions.entry(id).or_default();
        let departed = session.departed.remove(&connection).unwrap_or(0);
        let client = attach.client.map(|claim| claim.instance);
        let taken = client.as_ref().and_then(|client| session.clients.get(client)).copied();
        let endpoint = session.endpoints.entry(connection).or_default();
        endpoint.counter = endpoint.counter.max(departed).max(attach.counter);
        endpoint.client = client;
        let view = endpoint.client.is_some();
        let n = self.happen(id, EventKind::Unknown);
        let view = view
            .then(|| pb::SessionView { counter: taken.unwrap_or(0), ..pb::SessionView::default() });
        input_reply::Kind::Attached(pb::AttachedReply {
            session: session_to_bytes(id),
            epoch: 1,
            n,
            stamp: BEGAN_MS + 2 * (n as i64 - 1),
            view,
            ..Default::default()
        })
    }
}

// === impl Session ===

impl Session {
    fn connections(&self, gateway: GatewayId) -> Vec<u64> {
        let here = self.endpoints.keys().filter(|connection| connection.gateway == gateway);
        here.map(|connection| connection.number).collect()
    }

    fn detach(&mut self, connection: ConnectionId) {
        if let Some(endpoint) = self.endpoints.remove(&connection) {
            self.departed.insert(connection, endpoint.counter);
        }
    }
}

// === impl TownRig ===

impl TownRig {
    pub(crate) async fn new(seed: u64) -> Self {
        let (fanout, messages) = mpsc::channel(10_000);
        let town = Arc::new(Town::default());
        town.with(|state| {
            state.dice = Dice(seed);
            state.listens = 1;
            state.fanout = Some(fanout);
        });
        let (_, apps) = watch::channel(Arc::new(AppSet::new([app("demo")])));
        let config = Config { dev: true, ..Config::new(GatewayId(1)) };
        let registry = prometheus::Registry::new();
        let gateway = Gateway::new(config, Arc::clone(&town), messages, apps, &registry).unwrap();
        let acceptor = gateway.acceptor();
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let drain = CancellationToken::new();
        let running = tokio::spawn(gateway.run(listener, drain.clone()));
        Self { town, acceptor, drain, running }
    }

    /// Waits until the owners know something.
    pub(crate) async fn until(&self, what: &str, fits: impl Fn(&mut State) -> bool) {
        for _ in 0..600_000 {
            if self.town.with(|state| fits(state)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("never: {what}; {:?}", self.town.with(|state| state.asked.clone()));
    }

    pub(crate) async fn end(self) {
        self.drain.cancel();
        self.running.await.unwrap().unwrap();
    }
}
