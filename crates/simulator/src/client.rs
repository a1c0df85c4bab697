//! Clients of the second dialect, of visitors and of agents. They number their messages, keep them until they
//! are answered, and come back where they were.

mod heard;
mod moves;

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use stentor_types::{ClientInstance, Epoch, EventNumber, Mid, Role, SessionId, UserKey};

use crate::{
    browser::{Fate, Message, request_json},
    frames::{Act, Open, Send, Target, Up},
    socket::{End, Frame},
    world::{Job, World},
};

const SECOND_US: u64 = 1_000_000;
/// How long an answer is waited for before everything is sent again.
const PATIENCE_US: u64 = 10 * SECOND_US;
/// Messages that are kept. Beyond it nothing more can be written.
const OUTBOX_MAX: usize = 40;
/// Of so many messages one makes no sense.
const SENSELESS_EVERY: usize = 40;
/// Tabs of one client in one session.
const TABS: usize = 2;

/// One installation of a client.
#[derive(Debug)]
pub(crate) struct Client {
    user_id: String,
    user: UserKey,
    role: Role,
    /// Its token lets it listen only.
    listens: bool,
    pub(crate) threads: Vec<Thread>,
}

/// What it has stored of one session.
#[derive(Debug)]
pub(crate) struct Thread {
    /// A visitor's own name for it.
    name: Option<String>,
    session: Option<SessionId>,
    instance: ClientInstance,
    /// The session has been opened as this instance: messages may be numbered.
    known: bool,
    /// The highest number given.
    last: u64,
    /// The highest number that is known to be dealt with.
    settled: u64,
    /// Messages written before the session was opened.
    unnumbered: VecDeque<(usize, bool)>,
    outbox: VecDeque<Kept>,
    /// The session does not exist, or is somebody else's.
    guesses: bool,
    pub(crate) tabs: Vec<Tab>,
}

/// A message that has not been answered.
#[derive(Clone, Copy, Debug)]
struct Kept {
    counter: u64,
    message: usize,
    note: bool,
}

/// One page, with a socket of its own.
#[derive(Debug, Default)]
pub(crate) struct Tab {
    /// Counts dials: what was remembered for an earlier one is void.
    life: u64,
    pub(crate) on: bool,
    socket: Option<u64>,
    reference: u64,
    opened: bool,
    /// What was known to be dealt with when it asked for the session.
    settled: u64,
    /// It is going to send again what has not been taken.
    sends_soon: bool,
    /// It is going to look whether everything was answered.
    looks: bool,
    /// The last event that it has.
    pub(crate) cursor: Option<(Epoch, EventNumber)>,
    /// Answers of the bot that came too late and that nobody has dealt with.
    drafts: BTreeSet<EventNumber>,
}

/// A tab of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seat {
    pub(crate) client: usize,
    pub(crate) thread: usize,
    pub(crate) tab: usize,
}

/// What a tab remembers to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remember {
    Dial,
    Open,
    /// Send what has not been taken.
    Send,
    /// Send what has not been answered.
    Look,
}

// === impl Client ===

impl Client {
    pub(crate) const fn new(user_id: String, user: UserKey, role: Role, listens: bool) -> Self {
        Self { user_id, user, role, listens, threads: Vec::new() }
    }
}

// === impl Thread ===

impl Thread {
    fn new(name: Option<String>, session: Option<SessionId>, instance: ClientInstance) -> Self {
        Self {
            name,
            session,
            instance,
            known: false,
            last: 0,
            settled: 0,
            unnumbered: VecDeque::new(),
            outbox: VecDeque::new(),
            guesses: false,
            tabs: (0..TABS).map(|_| Tab::default()).collect(),
        }
    }
}

// === impl World ===

impl World {
    pub(crate) fn thread(&self, seat: Seat) -> Option<&Thread> {
        self.clients.get(seat.client)?.threads.get(seat.thread)
    }

    fn thread_mut(&mut self, seat: Seat) -> Option<&mut Thread> {
        self.clients.get_mut(seat.client)?.threads.get_mut(seat.thread)
    }

    fn seat(&self, seat: Seat) -> Option<&Tab> {
        self.thread(seat)?.tabs.get(seat.tab)
    }

    fn seat_mut(&mut self, seat: Seat) -> Option<&mut Tab> {
        self.thread_mut(seat)?.tabs.get_mut(seat.tab)
    }

    /// All tabs of all clients.
    pub(crate) fn seats(&self) -> Vec<Seat> {
        let mut seats = Vec::new();
        for (client, of) in self.clients.iter().enumerate() {
            for (thread, of) in of.threads.iter().enumerate() {
                seats.extend((0..of.tabs.len()).map(|tab| Seat { client, thread, tab }));
            }
        }
        seats
    }

    /// A tab is opened.
    pub(crate) fn client_comes(&mut self, seat: Seat) {
        let Some(tab) = self.seat_mut(seat) else { return };
        if !std::mem::replace(&mut tab.on, true) {
            self.client_dials(seat);
        }
    }

    /// A tab is closed. What is stored stays.
    pub(crate) fn client_leaves(&mut self, seat: Seat) {
        let life = self.new_life();
        let Some(tab) = self.seat_mut(seat) else { return };
        (tab.on, tab.opened, tab.life) = (false, false, life);
        if let Some(socket) = tab.socket.take() {
            self.socket_leave(socket);
        }
    }

    fn client_dials(&mut self, seat: Seat) {
        let life = self.new_life();
        let Some(client) = self.clients.get(seat.client) else { return };
        let (user_id, role, listens) = (client.user_id.clone(), client.role, client.listens);
        let socket = self.accept_second(End::Client(seat), &user_id, role, listens);
        let Some(tab) = self.seat_mut(seat) else { return };
        (tab.life, tab.socket, tab.opened) = (life, socket, false);
        (tab.sends_soon, tab.looks) = (false, false);
        match socket {
            Some(_) => self.client_opens(seat),
            None => self.client_remembers(seat, 5 * SECOND_US, Remember::Dial),
        }
    }

    /// The socket of a tab is gone.
    pub(crate) fn client_cut(&mut self, seat: Seat, socket: u64) {
        let Some(tab) = self.seat_mut(seat).filter(|tab| tab.socket == Some(socket)) else {
            return;
        };
        (tab.socket, tab.opened) = (None, false);
        let delay = self.rng.between(SECOND_US / 2, 5 * SECOND_US);
        self.client_remembers(seat, delay, Remember::Dial);
    }

    fn client_remembers(&mut self, seat: Seat, delay: u64, what: Remember) {
        let Some(life) = self.seat(seat).map(|tab| tab.life) else { return };
        self.after(delay, Job::Remember { seat, life, what });
    }

    /// The time to do it has come.
    pub(crate) fn remembered(&mut self, seat: Seat, life: u64, what: Remember) {
        let Some(tab) = self.seat(seat).filter(|tab| tab.life == life && tab.on) else { return };
        let (opened, connected) = (tab.opened, tab.socket.is_some());
        match what {
            Remember::Dial if !connected => self.client_dials(seat),
            Remember::Open if connected && !opened => self.client_opens(seat),
            Remember::Send => {
                if let Some(tab) = self.seat_mut(seat) {
                    tab.sends_soon = false;
                }
                self.client_sends_again(seat);
            }
            Remember::Look => {
                if let Some(tab) = self.seat_mut(seat) {
                    tab.looks = false;
                }
                self.client_sends_again(seat);
            }
            Remember::Dial | Remember::Open => {}
        }
    }

    /// Asks for the session, from where the tab stopped.
    fn client_opens(&mut self, seat: Seat) {
        let by_name = self.rng.percent(10);
        let Some(thread) = self.thread_mut(seat) else { return };
        let target = match (&thread.name, thread.session) {
            (Some(name), session) if by_name || session.is_none() => Target::Name(name.clone()),
            (_, Some(session)) => Target::Session(session),
            (_, None) => return,
        };
        let (client, last, settled) = (thread.instance, thread.last, thread.settled);
        let Some(tab) = thread.tabs.get_mut(seat.tab) else { return };
        (tab.opened, tab.settled) = (false, settled);
        tab.reference += 1;
        let Some(socket) = tab.socket else { return };
        let (reference, resume) = (tab.reference, tab.cursor);
        let open = Open { reference, target, client, last, resume };
        self.socket_up(socket, Frame::Second(Up::Open(open)));
    }

    /// Somebody writes something. It is kept until it is answered.
    fn client_says(&mut self, seat: Seat, note: bool) {
        let number = self.messages.len();
        let Some(client) = self.clients.get_mut(seat.client) else { return };
        let author = client.user;
        let Some(thread) = client.threads.get_mut(seat.thread) else { return };
        if thread.outbox.len() + thread.unnumbered.len() >= OUTBOX_MAX {
            return;
        }
        thread.unnumbered.push_back((number, note));
        let message = Message { text: format!("message {number}"), author, fate: Fate::Under };
        self.messages.push(message);
        self.client_numbers(seat);
        let newest = self.thread(seat).and_then(|thread| thread.outbox.back()).copied();
        if let Some(newest) = newest.filter(|newest| newest.message == number) {
            self.client_sends(seat, newest);
        }
    }

    /// Messages get their numbers once it is known that the session knows the client.
    fn client_numbers(&mut self, seat: Seat) {
        let Some(thread) = self.thread_mut(seat).filter(|thread| thread.known) else { return };
        let Some(session) = thread.session else { return };
        let client = thread.instance;
        let mut numbered = Vec::new();
        while let Some((message, note)) = thread.unnumbered.pop_front() {
            thread.last += 1;
            let counter = thread.last;
            thread.outbox.push_back(Kept { counter, message, note });
            numbered.push((Mid { client, counter }, message, note));
        }
        for (mid, message, note) in numbered {
            self.ledger.sent(Some(session), mid, message, note);
        }
    }

    fn client_sends(&mut self, seat: Seat, kept: Kept) {
        let Some(socket) = self.seat(seat).filter(|tab| tab.opened).and_then(|tab| tab.socket)
        else {
            return;
        };
        let noise = self.rng.next();
        let Some(text) = self.messages.get(kept.message).map(|message| &message.text) else {
            return;
        };
        let Kept { counter, message, note } = kept;
        // Now and then one says nothing that could be taken.
        let senseless = message % SENSELESS_EVERY == 7;
        let data = if senseless {
            Bytes::new()
        } else {
            request_json(text, false, noise).to_string().into()
        };
        let send = Send { counter, note, data, message };
        self.socket_up(socket, Frame::Second(Up::Send(send)));
        let looks = self.seat_mut(seat).map(|tab| std::mem::replace(&mut tab.looks, true));
        if looks == Some(false) {
            self.client_remembers(seat, PATIENCE_US, Remember::Look);
        }
    }

    /// The whole outbox again, in order.
    fn client_sends_again(&mut self, seat: Seat) {
        let kept = self.thread(seat).map(|thread| thread.outbox.clone()).unwrap_or_default();
        for kept in kept {
            self.client_sends(seat, kept);
        }
    }

    fn client_acts(&mut self, seat: Seat, act: Act) {
        let Some(tab) = self.seat_mut(seat).filter(|tab| tab.opened) else { return };
        let Some(socket) = tab.socket else { return };
        tab.reference += 1;
        let reference = tab.reference;
        self.socket_up(socket, Frame::Second(Up::Act { reference, act }));
    }

    /// What was stored is lost, or is worth nothing any more: another instance begins.
    fn client_begins_anew(&mut self, seat: Seat) {
        let instance = ClientInstance(self.rng.next_128());
        let Some(thread) = self.thread_mut(seat) else { return };
        let unsent = std::mem::take(&mut thread.outbox);
        thread.instance = instance;
        (thread.known, thread.last, thread.settled) = (false, 0, 0);
        for kept in unsent {
            if let Some(message) = self.messages.get_mut(kept.message) {
                message.lose();
            }
        }
        for tab in 0..TABS {
            let seat = Seat { tab, ..seat };
            if self.seat(seat).is_some_and(|tab| tab.on && tab.socket.is_some()) {
                self.client_opens(seat);
            }
        }
    }
}
