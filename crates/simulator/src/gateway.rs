//! A gateway: sockets, one open request per connection, and events in order or not at all.

mod answers;
mod asking;
mod second;
mod shown;

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
    Audience, ClientClaim, ClockSegment, ConnectionId, ControlChange, Event, EventKind,
    EventNumber, GatewayId, Mid, Role, Say, SessionId, Timestamp, Visitor,
};
use stentor_wire::decode_event;

use self::second::Second;
use crate::{
    browser::{CANARY, Fate},
    frames::{Act, Open as OpenFrame},
    socket::{End, Frame, Socket},
    traffic::{Answer, Attached, Fanout, FetchAnswer, Item, ItemAnswer, Joining, Request},
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
    /// What there is to know besides if it speaks the second dialect.
    second: Option<Second>,
}

/// What a connection wants next.
#[derive(Clone, Debug)]
enum Want {
    Bare,
    Join {
        at: Timestamp,
        claimed: Option<String>,
        time: Option<i64>,
    },
    Say(Saying),
    /// Into a session, in the second dialect.
    Open(OpenFrame),
    Act {
        reference: u64,
        act: Act,
    },
    /// Out of the session that it was in before.
    Leave {
        session: SessionId,
        delivered: EventNumber,
    },
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
    note: bool,
    message: usize,
}

/// The request that is out.
#[derive(Debug)]
struct Open {
    request: Rc<Request>,
    /// Wants at the front that it carries.
    wants: usize,
    tries: u32,
    /// The last event of each session that somebody was told of before this was asked.
    told: Rc<BTreeMap<SessionId, EventNumber>>,
}

// === impl Gateway ===

impl Gateway {
    pub(crate) const fn new(life: u64, owner: u64) -> Self {
        Self { life, connections: BTreeMap::new(), owner, sockets: 0, requests: 0 }
    }
}

// === impl Connection ===

impl Connection {
    /// Messages that it has taken and not brought into the log yet, and that nobody will send again.
    pub(crate) fn in_hand(&self) -> impl Iterator<Item = usize> {
        self.wants.iter().filter_map(|want| match want {
            Want::Say(saying) if self.second.is_none() => Some(saying.message),
            _ => None,
        })
    }

    /// Nothing is sent until its client opens the session again.
    fn is_behind(&self) -> bool {
        self.second.as_ref().is_some_and(|second| second.behind)
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
        let role = if agent_session.is_some() { Role::Agent } else { Role::Visitor };
        let (socket, number) = self.connect(end, user_id, role, None)?;
        self.note(|| format!("{end:?} opens socket {socket} ({reason:?}), connection {number}"));
        let connection = self.connection(number)?;
        let gateway = connection.id.gateway.0;
        connection.agent_session = agent_session;
        match (role, reason) {
            (Role::Agent, _) => {
                connection.wants.push_back(Want::Join { at: now, claimed: None, time: None });
            }
            (Role::Visitor, Reason::Wakeup) => connection.wants.push_back(Want::Bare),
            (Role::Visitor, _) => {
                self.after(BARE_AFTER_US, Job::Bare { gateway, connection: number })
            }
        }
        self.pump(number);
        Some(socket)
    }

    /// A socket, and what the gateway knows of it.
    fn connect(
        &mut self,
        end: End,
        user_id: &str,
        role: Role,
        second: Option<Second>,
    ) -> Option<(u64, u64)> {
        let socket = self.new_life();
        let visitor = Visitor::of(&self.app, user_id);
        let gateway = self.gateway.as_mut()?;
        gateway.sockets += 1;
        let number = gateway.sockets;
        let life = gateway.life;
        let connection = Connection {
            id: ConnectionId { gateway: GatewayId(life), number },
            socket,
            user_id: user_id.to_owned(),
            visitor,
            role,
            agent_session: None,
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
            second,
        };
        gateway.connections.insert(number, connection);
        self.sockets.insert(socket, Socket::new(end, life, number));
        Some((socket, number))
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
                let change = if *take {
                    ControlChange::Take { user, display_name: None }
                } else {
                    ControlChange::Release { user }
                };
                self.send(Job::Control { session, change });
                return;
            }
            Frame::Second(up) => {
                self.up_second(number, up.clone());
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
                        let saying =
                            Saying { at: now, counter, claimed, time, data, note: false, message };
                        connection.wants.push_back(Want::Say(saying));
                        if let Some(message) = self.messages.get_mut(message) {
                            message.fate = Fate::Taken;
                        }
                        self.ledger.sent(None, mid, message, false);
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
        if connection.socket == id && !connection.wants.iter().any(|want| matches!(want, Want::End))
        {
            connection.wants.push_back(Want::End);
            self.pump(number);
        }
    }
}

pub(crate) fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
