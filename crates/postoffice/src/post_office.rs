//! Many sessions over a log in memory, for a chat router inside another program.
//!
//! The embedder owns the sockets, the clock and the way to the bot: it calls a handler, and does what
//! the answer lists, in order. Speaks the legacy dialect.

mod conversation;
mod enter;
mod fan_out;
mod outgoing;
mod people;

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};
use stentor_protocol::{
    BotAnswer, ClientEvent, ClientFrame, ConnectUrl, FrameError, RequestError, RequestIdentity,
    UrlError, normalise, rebuild,
};
use stentor_types::{
    AppId, BotResult, ConnectionId, ControlChange, EventNumber, FailureReason, GatewayId, Input,
    InputKind, Role, SessionId, Timestamp, UserKey,
};

pub use self::outgoing::{AskBot, Outgoing};
use self::{
    conversation::Conversation,
    people::{Connection, Person},
};
use crate::{Directory, Rules, rules::CROWD_MIN, session::Context};

/// The embedder's own number for one of its sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Socket(pub u64);

/// What a post office is like.
#[derive(Clone)]
pub struct Options {
    /// The app whose sessions these are.
    pub app: AppId,
    /// How its bot appears to visitors.
    pub bot: BotProfile,
    /// How its sessions are conducted.
    pub rules: Rules,
    /// Sessions in memory. One more ends the one that has been idle longest; if none is idle, the visitor
    /// is refused.
    pub sessions_max: usize,
    /// Random bits of which session ids are made: whoever knows them can guess ids.
    pub seed: u128,
}

/// How the bot appears to visitors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BotProfile {
    /// Never changes: the widget draws one participant per id.
    pub user_id: String,
    /// The name in its lines.
    pub display_name: Option<String>,
    /// Address of its picture.
    pub avatar_path: Option<String>,
}

/// Somebody who works for the app, as the embedder has found out.
#[derive(Clone, PartialEq, Eq)]
pub struct Agent {
    /// Their id within the app.
    pub user_id: String,
    /// The name that visitors see.
    pub display_name: Option<String>,
}

/// A call that did nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The dialled address cannot be read.
    #[error("failed to read the dialled address")]
    Url(#[from] UrlError),
    /// The address names another app.
    #[error("the address names another app")]
    OtherApp,
    /// The socket was never connected, or is disconnected.
    #[error("the socket is not connected")]
    NotConnected,
    /// The frame cannot be read.
    #[error("failed to read the frame")]
    Frame(#[from] FrameError),
    /// The frame's message is no Request that a visitor may send.
    #[error("failed to read the message in the frame")]
    Request(#[from] RequestError),
    /// Neither address nor frame says whose the connection is.
    #[error("neither the address nor the frame names a user")]
    NoUser,
    /// There is no such session.
    #[error("there is no such session")]
    NoSession,
    /// As many sessions are busy as there may be.
    #[error("all sessions are busy")]
    Full,
}

/// Many sessions of one app.
#[derive(Debug)]
pub struct PostOffice {
    options: Options,
    sockets: BTreeMap<Socket, Connection>,
    /// Which socket a connection is.
    connections: BTreeMap<ConnectionId, Socket>,
    sessions: BTreeMap<SessionId, Conversation>,
    directories: BTreeMap<UserKey, Directory>,
    /// When sessions must be woken.
    due: BTreeSet<(Timestamp, SessionId)>,
    /// Counts connections; a socket's number may come again, a connection's does not.
    connected: u64,
    /// Counts ids.
    drawn: u64,
}

/// The only gateway there is.
const GATEWAY: GatewayId = GatewayId(1);

// === impl Options ===

impl Options {
    /// Defaults for an app: a bot named "Bot", 10,000 sessions.
    #[must_use]
    pub fn new(app: AppId, seed: u128) -> Self {
        Self {
            app,
            bot: BotProfile { user_id: "bot".into(), display_name: None, avatar_path: None },
            rules: Rules::default(),
            sessions_max: 10_000,
            seed,
        }
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Options").field("app", &self.app).finish_non_exhaustive()
    }
}

// === impl Agent ===

impl std::fmt::Debug for Agent {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Agent")
    }
}

// === impl PostOffice ===

impl PostOffice {
    /// A post office without sessions.
    #[must_use]
    pub const fn new(options: Options) -> Self {
        Self {
            options,
            sockets: BTreeMap::new(),
            connections: BTreeMap::new(),
            sessions: BTreeMap::new(),
            directories: BTreeMap::new(),
            due: BTreeSet::new(),
            connected: 0,
            drawn: 0,
        }
    }

    /// A widget has dialled `url` (path and query). A visitor who has been here before is back in the
    /// session that they used last, and is shown what they missed.
    ///
    /// # Errors
    /// The address cannot be read or names another app: close the socket.
    pub fn connect(
        &mut self,
        socket: Socket,
        url: &str,
        now: Timestamp,
    ) -> Result<Vec<Outgoing>, Refusal> {
        let url = ConnectUrl::parse(url)?;
        if url.app_id.is_some_and(|app| app != self.options.app.as_str()) {
            return Err(Refusal::OtherApp);
        }
        let mut out = self.disconnect(socket, now);
        let person = url.user_id.map(|user| Person::visitor(&self.options.app, user));
        let latest = person.as_ref().and_then(|person| self.latest(person.user));
        self.add(socket, person);
        match latest {
            Some(session) => out.extend(self.attach(socket, session, None, None, now)),
            // Some widgets never ask to join and wait for this all the same.
            None => out.push(Outgoing::confirm(socket, now)),
        }
        Ok(out)
    }

    /// Somebody who works for the app looks into a session, as the embedder has allowed.
    ///
    /// # Errors
    /// There is no such session.
    pub fn connect_agent(
        &mut self,
        socket: Socket,
        session: SessionId,
        agent: Agent,
        now: Timestamp,
    ) -> Result<Vec<Outgoing>, Refusal> {
        if !self.sessions.contains_key(&session) {
            return Err(Refusal::NoSession);
        }
        let mut out = self.disconnect(socket, now);
        let person = Person::agent(&self.options.app, agent);
        self.add(socket, Some(person));
        out.extend(self.attach(socket, session, None, None, now));
        Ok(out)
    }

    /// A frame has come over a socket.
    ///
    /// # Errors
    /// The frame or the Request in it cannot be read; nothing has happened. [`Refusal::Full`]: close
    /// the socket, its widget comes back.
    pub fn message(
        &mut self,
        socket: Socket,
        frame: &str,
        now: Timestamp,
    ) -> Result<Vec<Outgoing>, Refusal> {
        let frame = ClientFrame::parse(frame.as_bytes())?;
        let role = self.identify(socket, &frame)?;
        match (frame.event, role) {
            (ClientEvent::UserJoined, _) => {
                let found = self.find(socket, &frame, now)?;
                let session = found.session;
                let mut out = self.enter(socket, found, now)?;
                out.extend(self.attach(socket, session, Some(&frame), None, now));
                Ok(out)
            }
            (ClientEvent::NewMessage, _) => self.say(socket, &frame, now),
            (ClientEvent::BargeIn, Role::Agent) => self.take_control(socket, now),
            (ClientEvent::BargeOut, Role::Agent) => self.release(socket, now),
            // Visitors have no control to take.
            (ClientEvent::BargeIn | ClientEvent::BargeOut, Role::Visitor) => Ok(Vec::new()),
        }
    }

    /// A socket is closed. Its visitor stays for the grace that the rules give.
    pub fn disconnect(&mut self, socket: Socket, now: Timestamp) -> Vec<Outgoing> {
        let out = self.detach(socket, now);
        if let Some(connection) = self.sockets.remove(&socket) {
            self.connections.remove(&connection.id);
        }
        out
    }

    /// The bot has answered [`Outgoing::AskBot`], or it failed to. What comes late or twice changes nothing.
    pub fn answer(&mut self, ask: &AskBot, result: BotResult, now: Timestamp) -> Vec<Outgoing> {
        let outcome = InputKind::Outcome { effect: ask.id, result };
        self.decide(ask.session, vec![outcome], now)
    }

    /// The same with the body of the bot's HTTP answer, whatever it is: it is made harmless.
    pub fn answer_with_body(
        &mut self,
        ask: &AskBot,
        content_type: Option<&str>,
        body: &[u8],
        now: Timestamp,
    ) -> Vec<Outgoing> {
        let result = match normalise(content_type, body) {
            BotAnswer::Reply(reply) if reply.has_content || reply.handoff => {
                BotResult::Reply { body: reply.body, handoff: reply.handoff }
            }
            BotAnswer::Reply(_) | BotAnswer::Empty => BotResult::Empty,
            BotAnswer::NotAResponse(_) => BotResult::Failed(FailureReason::BadAnswer),
        };
        self.answer(ask, result, now)
    }

    /// An agent answers the visitor from now on; what the bot still says becomes a draft.
    ///
    /// # Errors
    /// The socket is no agent's.
    pub fn take_control(
        &mut self,
        socket: Socket,
        now: Timestamp,
    ) -> Result<Vec<Outgoing>, Refusal> {
        self.control(socket, |user| ControlChange::Take { user, display_name: None }, now)
    }

    /// An agent no longer answers the visitor; the bot does again when none is left.
    ///
    /// # Errors
    /// The socket is no agent's.
    pub fn release(&mut self, socket: Socket, now: Timestamp) -> Result<Vec<Outgoing>, Refusal> {
        self.control(socket, |user| ControlChange::Release { user }, now)
    }

    /// Time has come for what was due.
    pub fn tick(&mut self, now: Timestamp) -> Vec<Outgoing> {
        let due: Vec<_> = self.due.range(..=(now, LAST)).map(|(_, session)| *session).collect();
        due.into_iter()
            .flat_map(|session| self.decide(session, vec![InputKind::Tick], now))
            .collect()
    }

    /// When [`PostOffice::tick`] must be called next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.due.first().map(|(at, _)| *at)
    }

    /// The session that a socket takes part in.
    #[must_use]
    pub fn session_of(&self, socket: Socket) -> Option<SessionId> {
        self.sockets.get(&socket)?.session
    }

    fn say(
        &mut self,
        socket: Socket,
        frame: &ClientFrame<'_>,
        now: Timestamp,
    ) -> Result<Vec<Outgoing>, Refusal> {
        let known = self.sockets.get(&socket).and_then(|connection| connection.session);
        let found = self.find(socket, frame, now)?;
        let session = found.session;
        let connection = self.sockets.get(&socket).ok_or(Refusal::NotConnected)?;
        let person = connection.person.as_ref().ok_or(Refusal::NoUser)?;
        let id = session.to_string();
        let identity = RequestIdentity { user_id: &person.user_id, session_id: &id };
        let request = rebuild(frame.data.unwrap_or_default(), identity)?;
        let mut out = self.enter(socket, found, now)?;
        let connection = self.sockets.get_mut(&socket).ok_or(Refusal::NotConnected)?;
        let say = connection.say(request, frame.time_ms);
        if known == Some(session) {
            out.extend(self.decide(session, vec![InputKind::Say(say)], now));
        } else {
            out.extend(self.attach(socket, session, Some(frame), Some(say), now));
        }
        Ok(out)
    }

    fn control(
        &mut self,
        socket: Socket,
        change: fn(UserKey) -> ControlChange,
        now: Timestamp,
    ) -> Result<Vec<Outgoing>, Refusal> {
        let connection = self.sockets.get(&socket).ok_or(Refusal::NotConnected)?;
        let agent = connection.person.as_ref().filter(|person| person.role == Role::Agent);
        let user = agent.ok_or(Refusal::NoUser)?.user;
        let session = connection.session.ok_or(Refusal::NoSession)?;
        Ok(self.decide(session, vec![InputKind::Control(change(user))], now))
    }

    /// Decides, applies, and lists what follows.
    fn decide(
        &mut self,
        session: SessionId,
        inputs: Vec<InputKind>,
        now: Timestamp,
    ) -> Vec<Outgoing> {
        let Some(conversation) = self.sessions.get_mut(&session) else { return Vec::new() };
        let inputs: Vec<_> = inputs.into_iter().map(|kind| Input { at: now, kind }).collect();
        let context = Context { now, rules: &self.options.rules, crowd_min: CROWD_MIN };
        let commit = conversation.session.decide(&inputs, &context);
        let before = conversation.session.next_deadline();
        conversation.apply(&commit);
        if let Some(before) = before {
            self.due.remove(&(before, session));
        }
        self.due.extend(commit.next_deadline.map(|at| (at, session)));
        self.outgoing(session, &inputs, &commit)
    }

    /// The session that a visitor used last.
    fn latest(&self, user: UserKey) -> Option<SessionId> {
        let entry = self.directories.get(&user)?.entries.first()?;
        Some(entry.session).filter(|session| self.sessions.contains_key(session))
    }

    fn add(&mut self, socket: Socket, person: Option<Person>) {
        self.connected += 1;
        let id = ConnectionId { gateway: GATEWAY, number: self.connected };
        let connection =
            Connection { id, person, session: None, sent: 0, written: EventNumber::NONE };
        self.sockets.insert(socket, connection);
        self.connections.insert(id, socket);
    }

    /// 128 bits that nobody can guess who does not know the seed.
    fn draw(&mut self) -> u128 {
        self.drawn += 1;
        let digest = Sha256::new()
            .chain_update(self.options.seed.to_be_bytes())
            .chain_update(self.drawn.to_be_bytes())
            .finalize();
        digest.iter().take(16).fold(0, |id, byte| id << 8 | u128::from(*byte))
    }
}

/// Above every session, for the end of a range.
const LAST: SessionId = SessionId::new(stentor_types::PlacementKey(u64::MAX), u128::MAX);
