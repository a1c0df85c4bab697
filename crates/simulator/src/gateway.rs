//! A gateway: sockets, one open request per connection, and events in order or not at all.

use std::{
    collections::{BTreeMap, VecDeque},
    rc::Rc,
};

use bytes::Bytes;
use stentor_protocol::{
    ClientEvent, ClientFrame, LegacyView, RequestIdentity, outgoing,
    outgoing::{Device, OutSender},
    rebuild,
};
use stentor_types::{
    ClockSegment, ConnectionId, ControlChange, Event, EventKind, EventNumber, GatewayId, Mid, Role,
    Say, SessionId, Timestamp, Visitor,
};
use stentor_wire::decode_event;

use crate::{
    browser::{CANARY, Fate},
    socket::{End, Frame, Socket},
    traffic::{Answer, Attached, Fanout, FetchAnswer, Item, ItemAnswer, Request},
    world::{Job, World},
};

/// How long a connection that has not said why it comes is left alone before it is attached to the
/// session that its visitor used last: a loaded page asks to join one second after its socket opens.
const BARE_AFTER_US: u64 = 1_500_000;
/// How long an answer is waited for.
const AGAIN_US: u64 = 1_000_000;
/// How often a request is made before the connection is given up.
const TRIES_MAX: u32 = 90;
/// Frames of a connection that may wait behind its open request.
const WANTS_MAX: usize = 256;
/// Messages in one request.
const SAYS_MAX: usize = 8;
/// Events held back for a connection.
const HELD_MAX: usize = 256;

/// Why a client dials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// A page was loaded: it will ask to join.
    Load,
    /// It lost its socket.
    Again,
    /// It was hidden.
    Wakeup,
}

/// One life of a gateway.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) life: u64,
    pub(crate) connections: BTreeMap<u64, Connection>,
    /// Answers of earlier owners are ignored.
    pub(crate) owner: u64,
    sockets: u64,
    requests: u64,
}

/// One socket as the gateway sees it.
#[derive(Debug)]
pub(crate) struct Connection {
    id: ConnectionId,
    socket: u64,
    user_id: String,
    visitor: Visitor,
    role: Role,
    agent_session: Option<SessionId>,
    pub(crate) session: Option<SessionId>,
    claimed: Option<String>,
    /// Messages that came over it, and how many of them are settled.
    sent: u64,
    settled: u64,
    /// The last event that was written to it or need not be.
    pub(crate) written: EventNumber,
    segments: Vec<ClockSegment>,
    wants: VecDeque<Want>,
    open: Option<Open>,
    must_attach: bool,
    held: BTreeMap<(SessionId, EventNumber), Bytes>,
    head: EventNumber,
    fetching: Option<EventNumber>,
}

/// What a connection wants next.
#[derive(Clone, Debug)]
enum Want {
    Bare,
    Join { at: Timestamp, claimed: Option<String>, time: Option<i64> },
    Say(Saying),
    /// Out of the session that it was in before.
    Leave { session: SessionId, delivered: EventNumber },
    /// The socket is gone.
    End,
}

#[derive(Clone, Debug)]
struct Saying {
    at: Timestamp,
    counter: u64,
    claimed: Option<String>,
    time: Option<i64>,
    data: Bytes,
    message: usize,
}

/// The request that is out.
#[derive(Debug)]
struct Open {
    request: Rc<Request>,
    /// Wants at the front that it carries.
    wants: usize,
    tries: u32,
}

// === impl Gateway ===

impl Gateway {
    pub(crate) const fn new(life: u64, owner: u64) -> Self {
        Self { life, connections: BTreeMap::new(), owner, sockets: 0, requests: 0 }
    }
}

// === impl Connection ===

impl Connection {
    /// Messages that it has taken and not brought into the log yet.
    pub(crate) fn in_hand(&self) -> impl Iterator<Item = usize> {
        self.wants.iter().filter_map(|want| match want {
            Want::Say(saying) => Some(saying.message),
            _ => None,
        })
    }

    fn view(&self) -> LegacyView<'_> {
        LegacyView {
            user: self.visitor.user,
            role: self.role,
            clock: &self.segments,
            bot: OutSender {
                device: Device::Bot,
                user_id: "bot",
                display_name: Some("Bot"),
                avatar_path: None,
            },
        }
    }
}

// === impl World ===

impl World {
    fn connection(&mut self, number: u64) -> Option<&mut Connection> {
        self.gateway.as_mut()?.connections.get_mut(&number)
    }

    /// A client dials. Nobody there: no socket.
    pub(crate) fn accept(
        &mut self,
        end: End,
        user_id: &str,
        agent_session: Option<SessionId>,
        reason: Reason,
    ) -> Option<u64> {
        let now = self.now;
        let socket = self.new_life();
        let app = self.app.clone();
        let gateway = self.gateway.as_mut()?;
        gateway.sockets += 1;
        let number = gateway.sockets;
        let life = gateway.life;
        let role = if agent_session.is_some() { Role::Agent } else { Role::Visitor };
        let mut connection = Connection {
            id: ConnectionId { gateway: GatewayId(life), number },
            socket,
            user_id: user_id.to_owned(),
            visitor: Visitor::of(&app, user_id),
            role,
            agent_session,
            session: None,
            claimed: None,
            sent: 0,
            settled: 0,
            written: EventNumber::NONE,
            segments: Vec::new(),
            wants: VecDeque::new(),
            open: None,
            must_attach: false,
            held: BTreeMap::new(),
            head: EventNumber::NONE,
            fetching: None,
        };
        match (role, reason) {
            (Role::Agent, _) => {
                connection.wants.push_back(Want::Join { at: now, claimed: None, time: None });
            }
            (Role::Visitor, Reason::Wakeup) => connection.wants.push_back(Want::Bare),
            (Role::Visitor, _) => {}
        }
        gateway.connections.insert(number, connection);
        self.sockets.insert(socket, Socket::new(end, life, number));
        self.note(|| format!("{end:?} opens socket {socket} ({reason:?}), connection {number}"));
        if role == Role::Visitor && reason != Reason::Wakeup {
            self.after(BARE_AFTER_US, Job::Bare { gateway: life, connection: number });
        }
        self.pump(number);
        Some(socket)
    }

    /// Nothing was said for a while.
    pub(crate) fn bare(&mut self, number: u64) {
        let Some(connection) = self.connection(number) else { return };
        let silent = connection.session.is_none()
            && connection.open.is_none()
            && connection.wants.is_empty();
        if silent {
            connection.wants.push_back(Want::Bare);
            self.pump(number);
        }
    }

    /// A frame reaches the gateway.
    pub(crate) fn up(&mut self, id: u64, frame: &Frame) {
        let now = self.now;
        let Some(socket) = self.sockets.get_mut(&id).filter(|socket| !socket.cut) else { return };
        let number = socket.connection;
        if let Frame::Text { message: Some(message), .. } = frame {
            socket.rising.retain(|other| other != message);
        }
        let Some(connection) = self.connection(number) else { return };
        match frame {
            Frame::Control { take } => {
                let user = connection.visitor.user;
                let Some(session) = connection.session else { return };
                let change =
                    if *take { ControlChange::Take(user) } else { ControlChange::Release(user) };
                self.send(Job::Control { session, change });
                return;
            }
            Frame::Text { text, message } => {
                let Ok(frame) = ClientFrame::parse(text) else {
                    self.violate("P9", format!("a frame cannot be read: {text:?}"));
                    return;
                };
                let time = frame.time_ms;
                let claimed = frame.claimed_session.clone();
                match (frame.event, message) {
                    (ClientEvent::NewMessage, Some(message)) => {
                        connection.sent += 1;
                        let counter = connection.sent;
                        let mid = Mid { client: connection.id.into(), counter };
                        let data = Bytes::copy_from_slice(frame.data.unwrap_or_default());
                        let claimed = claimed.filter(|_| connection.role == Role::Visitor);
                        let message = *message;
                        let saying = Saying { at: now, counter, claimed, time, data, message };
                        connection.wants.push_back(Want::Say(saying));
                        if let Some(message) = self.messages.get_mut(message) {
                            message.fate = Fate::Taken;
                        }
                        self.ledger.sent(mid, message);
                    }
                    _ => connection.wants.push_back(Want::Join { at: now, claimed, time }),
                }
            }
        }
        let waiting = self.connection(number).map_or(0, |connection| connection.wants.len());
        if waiting > WANTS_MAX {
            self.violate("I15", format!("{waiting} frames of connection {number} wait"));
        }
        self.pump(number);
    }

    /// The gateway learns that a socket is gone.
    pub(crate) fn up_closed(&mut self, id: u64) {
        let Some(number) = self.sockets.get(&id).map(|socket| socket.connection) else { return };
        let Some(connection) = self.connection(number) else { return };
        if connection.socket == id
            && !connection.wants.iter().any(|want| matches!(want, Want::End))
        {
            connection.wants.push_back(Want::End);
            self.pump(number);
        }
    }

    /// Makes the next request of a connection if none is open.
    fn pump(&mut self, number: u64) {
        let Some(connection) =
            self.connection(number).filter(|connection| connection.open.is_none())
        else {
            return;
        };
        let Some(front) = connection.wants.front().cloned() else { return };
        let counter = connection.settled;
        let attach = |claimed, at, time| {
            (connection.agent_session, vec![Item::Attach { at, claimed, client_time: time, counter }])
        };
        let mut covered = 1;
        let (session, items) = match front {
            Want::Bare => attach(None, Timestamp(0), None),
            Want::Join { at, claimed, time } => attach(claimed, at, time),
            Want::Leave { session, delivered } => {
                let delivered = (delivered.0 > 0).then_some(delivered);
                (Some(session), vec![Item::Detach { at: Timestamp(0), delivered }])
            }
            Want::End => match connection.session {
                Some(session) => {
                    let written = connection.written;
                    let delivered = (written.0 > 0).then_some(written);
                    (Some(session), vec![Item::Detach { at: Timestamp(0), delivered }])
                }
                None => {
                    self.hang_up(number);
                    return;
                }
            },
            Want::Say(first) => match connection.session {
                Some(session) if connection.claimed == first.claimed => {
                    let (again, user_id) = (connection.must_attach, connection.user_id.clone());
                    let id = connection.id;
                    let says = connection.wants.iter().map_while(|want| match want {
                        Want::Say(say) if say.claimed == first.claimed => Some(say.clone()),
                        _ => None,
                    });
                    let says: Vec<_> = says.take(SAYS_MAX).collect();
                    covered = says.len();
                    let mut items = Vec::new();
                    if again {
                        let claimed = first.claimed.clone();
                        items.push(Item::Attach {
                            at: first.at,
                            claimed,
                            client_time: None,
                            counter,
                        });
                    }
                    for say in says {
                        let Some(item) = self.rebuilt(id, &user_id, session, &say) else { return };
                        items.push(item);
                    }
                    (Some(session), items)
                }
                _ => {
                    covered = 0;
                    attach(first.claimed, first.at, first.time)
                }
            },
        };
        let now = self.now;
        let Some(gateway) = self.gateway.as_mut() else { return };
        gateway.requests += 1;
        let (id, life) = (gateway.requests, gateway.life);
        let Some(connection) = gateway.connections.get_mut(&number) else { return };
        let items = items.into_iter().map(|item| item.received(now)).collect();
        let request = Rc::new(Request {
            id,
            gateway: life,
            connection: connection.id,
            visitor: connection.visitor,
            role: connection.role,
            session,
            items,
        });
        connection.open = Some(Open { request: Rc::clone(&request), wants: covered, tries: 0 });
        self.ask(life, number, request);
    }

    fn rebuilt(
        &mut self,
        connection: ConnectionId,
        user_id: &str,
        session: SessionId,
        say: &Saying,
    ) -> Option<Item> {
        let id = session.to_string();
        let identity = RequestIdentity { user_id, session_id: &id };
        let Ok(request) = rebuild(&say.data, identity) else {
            self.violate("I18", format!("message {} cannot be rebuilt", say.message));
            return None;
        };
        let visitor = self.connection(connection.number)?.role == Role::Visitor;
        Some(Item::Say {
            at: say.at,
            say: Say {
                connection,
                mid: Mid { client: connection.into(), counter: say.counter },
                client_time: say.time,
                text: request.text,
                greeting: request.is_greeting,
                body: request.for_record,
                request: if visitor { request.for_bot } else { Bytes::new() },
            },
        })
    }

    fn ask(&mut self, gateway: u64, connection: u64, request: Rc<Request>) {
        let id = request.id;
        if let Some(owner) = self.route() {
            self.send(Job::Request { owner, request });
        }
        let again = Job::RequestAgain { gateway, connection, request: id };
        self.after(AGAIN_US, again);
    }

    /// Who is asked: the owner, or one that believes to be it.
    pub(crate) fn route(&mut self) -> Option<u64> {
        let misled = self.rng.percent(25);
        let oldest = self.owners.keys().next().copied();
        if misled { oldest } else { self.current_owner() }
    }

    /// No answer so far: the same request again.
    pub(crate) fn request_again(&mut self, number: u64, id: u64) {
        let Some(connection) = self.connection(number) else { return };
        let Some(open) = connection.open.as_mut().filter(|open| open.request.id == id) else {
            return;
        };
        open.tries += 1;
        if open.tries > TRIES_MAX {
            self.violate("I4", format!("request {id} of connection {number} is never answered"));
            return;
        }
        let request = Rc::clone(&open.request);
        self.ask(request.gateway, number, request);
    }

    /// An owner has answered.
    pub(crate) fn answered(&mut self, answer: &Answer) {
        let Some(gateway) = self.gateway.as_mut().filter(|gateway| gateway.owner <= answer.owner)
        else {
            return;
        };
        gateway.owner = answer.owner;
        let number = answer.connection;
        let Some(connection) = self.connection(number) else { return };
        let Some(open) = connection.open.take_if(|open| open.request.id == answer.request) else {
            return;
        };
        let mut done = 0;
        let mut again = false;
        let mut leave = None;
        let request = &open.request;
        for (item, result) in request.items.iter().zip(&answer.results) {
            let Some(connection) = self.connection(number) else { return };
            match (item, result) {
                (Item::Attach { claimed, .. }, ItemAnswer::Attached(attached)) => {
                    done += usize::from(request.items.len() == 1);
                    connection.must_attach = false;
                    if connection.claimed.is_none() || claimed.is_some() {
                        connection.claimed.clone_from(claimed);
                    }
                    leave = leave.or(self.attached(number, attached));
                }
                (Item::Attach { .. }, ItemAnswer::NoSession) => {
                    done += 1;
                    let time = i64::try_from(self.now.as_millis()).unwrap_or(0) | 1;
                    self.write(number, outgoing::connection_update(true, None, time));
                }
                (Item::Say { say, .. }, ItemAnswer::Committed(n)) => {
                    done += 1;
                    connection.settled = say.mid.counter;
                    self.acked(say.mid, Some(*n));
                }
                (Item::Say { say, .. }, ItemAnswer::Duplicate(n)) => {
                    done += 1;
                    connection.settled = say.mid.counter;
                    self.acked(say.mid, *n);
                }
                (Item::Say { say, .. }, ItemAnswer::Rejected(_)) => {
                    done += 1;
                    connection.settled = say.mid.counter;
                    self.acked(say.mid, None);
                }
                (Item::Say { .. }, ItemAnswer::AttachFirst) => {
                    connection.must_attach = true;
                    break;
                }
                (Item::Detach { .. }, ItemAnswer::Committed(_) | ItemAnswer::Nothing) => done += 1,
                (_, ItemAnswer::TryAgain | ItemAnswer::Gap(_)) => {
                    again = true;
                    break;
                }
                (item, result) => {
                    let message = format!("connection {number}: {item:?} is answered {result:?}");
                    self.violate("I4", message);
                    return;
                }
            }
        }
        let Some(connection) = self.connection(number) else { return };
        if again {
            // After a pause: for the same inputs, but those that are settled.
            let wants = open.wants.saturating_sub(done);
            connection.wants.drain(..done.min(open.wants));
            let items = request.items.iter().skip(done).cloned().collect();
            let request = Rc::new(Request { items, ..Request::clone(request) });
            let id = request.id;
            connection.open = Some(Open { request, wants, tries: open.tries });
            let gateway = self.gateway.as_ref().map_or(0, |gateway| gateway.life);
            self.after(AGAIN_US / 2, Job::RequestAgain { gateway, connection: number, request: id });
            return;
        }
        for _ in 0..done.min(open.wants) {
            if let Some(Want::End) = connection.wants.pop_front() {
                self.hang_up(number);
                return;
            }
        }
        if let Some(want) = leave {
            connection.wants.push_front(want);
        }
        self.pump(number);
    }

    fn hang_up(&mut self, number: u64) {
        if let Some(gateway) = &mut self.gateway {
            gateway.connections.remove(&number);
        }
    }

    /// What an acknowledged message has become must be in the log.
    fn acked(&mut self, mid: Mid, n: Option<EventNumber>) {
        match self.ledger.settled(mid, n) {
            Ok((session, n, message)) => {
                if let Some(message) = self.messages.get_mut(message) {
                    message.fate = Fate::Acked(session, n);
                }
            }
            Err(message) => self.violate("I4", message),
        }
    }

    /// A connection is in a session; returns what is to be done about the one before.
    fn attached(&mut self, number: u64, attached: &Attached) -> Option<Want> {
        if let Err(message) = self.ledger.durable(attached.session, attached.n, None) {
            self.violate("I7", message);
        }
        let mut leave = None;
        let connection = self.connection(number)?;
        let before = connection.session.replace(attached.session);
        let again = before == Some(attached.session) && connection.written.0 > 0;
        if let Some(before) = before.filter(|before| *before != attached.session) {
            let delivered = connection.written;
            leave = Some(Want::Leave { session: before, delivered });
        }
        if !again {
            connection.segments.clone_from(&attached.segments);
            connection.head = EventNumber::NONE;
            connection.fetching = None;
        }
        let view = connection.view();
        let mut frames: Vec<_> = view.attached(attached.n, attached.stamp).into();
        if !again {
            connection.written = attached.n;
            for (n, bytes) in &attached.replay {
                if let Err(message) = self.ledger.durable(attached.session, *n, Some(bytes)) {
                    self.violate("I7", message);
                    return None;
                }
                let connection = self.connection(number)?;
                let Ok(event) = decode_event(bytes) else { continue };
                let view = connection.view();
                let time = view.time_ms(event.n, event.stamp);
                let user = connection.visitor.user;
                if let Some(frame) = view.replay(&event) {
                    frames.push(frame);
                    self.stamped(attached.session, user, event.n, time);
                }
            }
        }
        let connection = self.connection(number)?;
        // Typing may have ended already as far as this connection has been told.
        if attached.typing && connection.written <= attached.n {
            frames.push(connection.view().typing(attached.n, attached.stamp));
        }
        for frame in frames {
            self.write(number, frame);
        }
        self.catch_up(number, attached.n);
        leave
    }

    /// Events reach the gateway.
    pub(crate) fn fanned_out(&mut self, fanout: &Fanout) {
        for number in &fanout.connections {
            let Some(connection) = self.connection(*number) else { continue };
            for (n, bytes) in &fanout.events {
                if connection.held.len() < HELD_MAX {
                    connection.held.insert((fanout.session, *n), bytes.clone());
                }
            }
            if connection.session == Some(fanout.session) {
                self.catch_up(*number, fanout.head);
            }
        }
    }

    /// Writes what is next in line, and fetches what is missing up to `head`.
    fn catch_up(&mut self, number: u64, head: EventNumber) {
        loop {
            let Some(connection) = self.connection(number) else { return };
            let Some(session) = connection.session else { return };
            let next = (session, connection.written.next());
            let Some(bytes) = connection.held.remove(&next) else { break };
            self.show_event(number, session, next.1, &bytes);
            if self.violation.is_some() {
                return;
            }
        }
        let Some(connection) = self.connection(number) else { return };
        let Some(session) = connection.session else { return };
        let written = connection.written;
        connection.head = connection.head.max(head);
        connection.held.retain(|(of, n), _| *of != session || *n > written);
        if connection.head > written && connection.fetching != Some(written.next()) {
            self.fetch(number);
        }
    }

    fn fetch(&mut self, number: u64) {
        let Some(connection) = self.connection(number) else { return };
        let Some(session) = connection.session else { return };
        let (from, to) = (connection.written.next(), connection.head);
        connection.fetching = Some(from);
        let gateway = connection.id.gateway.0;
        if let Some(owner) = self.route() {
            self.send(Job::Fetch { owner, gateway, connection: number, session, from, to });
        }
        self.after(AGAIN_US, Job::FetchAgain { gateway, connection: number, from });
    }

    pub(crate) fn fetch_again(&mut self, number: u64, from: EventNumber) {
        let Some(connection) = self.connection(number) else { return };
        let wanted = connection.fetching == Some(from)
            && connection.written.next() == from
            && connection.head >= from;
        if wanted {
            self.fetch(number);
        }
    }

    pub(crate) fn fetched(&mut self, answer: &FetchAnswer) {
        let Some(connection) = self.connection(answer.connection) else { return };
        if connection.session != Some(answer.session) {
            return;
        }
        if connection.fetching == Some(answer.from) && !answer.events.is_empty() {
            connection.fetching = None;
        }
        for (n, bytes) in &answer.events {
            connection.held.insert((answer.session, *n), bytes.clone());
        }
        self.catch_up(answer.connection, EventNumber::NONE);
    }

    /// Shows one event to one connection.
    fn show_event(&mut self, number: u64, session: SessionId, n: EventNumber, bytes: &Bytes) {
        if let Err(message) = self.ledger.durable(session, n, Some(bytes)) {
            self.violate("I7", message);
            return;
        }
        let Some(connection) = self.connection(number) else { return };
        connection.written = n;
        let Ok(event) = decode_event(bytes) else {
            self.violate("I3", format!("event {n} cannot be read"));
            return;
        };
        let user = connection.visitor.user;
        if let EventKind::Clock { user: whose, segment } = &event.kind
            && *whose == user
            && connection.segments.iter().all(|other| other.from != segment.from)
        {
            if connection.segments.is_empty() && segment.floor.0 > 0 {
                connection.segments.push(ClockSegment::IDENTITY);
            }
            connection.segments.push(*segment);
        }
        let view = connection.view();
        let frames: Vec<_> = view.frames(&event).collect();
        let kept = is_kept(&view, &event);
        let time = view.time_ms(event.n, event.stamp);
        if kept {
            self.stamped(session, user, n, time);
        }
        for frame in frames {
            self.write(number, frame);
        }
    }

    fn stamped(
        &mut self,
        session: SessionId,
        user: stentor_types::UserKey,
        n: EventNumber,
        time: i64,
    ) {
        if let Err(message) = self.ledger.stamped(session, user, n, time) {
            self.violate("P3", message);
        }
    }

    /// Writes a frame. No frame may contain anybody's secrets.
    fn write(&mut self, number: u64, text: Bytes) {
        let Some(socket) = self.connection(number).map(|connection| connection.socket) else {
            return;
        };
        if contains(&text, CANARY.as_bytes()) {
            let text = String::from_utf8_lossy(&text).into_owned();
            self.violate("I23", format!("a secret is sent to connection {number}: {text}"));
            return;
        }
        self.socket_down(socket, text);
    }
}

/// Whether the widget keeps something of the event, known by its stamp.
fn is_kept(view: &LegacyView<'_>, event: &Event) -> bool {
    view.replay(event).is_some() || matches!(event.kind, EventKind::TurnFailed { .. })
}

pub(crate) fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

// === impl Item ===

impl Item {
    /// What has no time of its own is stamped when it is asked for.
    fn received(self, now: Timestamp) -> Self {
        match self {
            Self::Attach { at: Timestamp(0), claimed, client_time, counter } => {
                Self::Attach { at: now, claimed, client_time, counter }
            }
            Self::Detach { at: Timestamp(0), delivered } => Self::Detach { at: now, delivered },
            other => other,
        }
    }
}
