//! What people with clients of the second dialect do, as the seed says.

use std::rc::Rc;

use stentor_types::{ClientClaim, ConnectionId, Control, DraftAction, GatewayId, Visitor};

use super::*;
use crate::traffic::{Item, Joining, Request};

/// Sessions in which one agent works at the same time.
const THREADS_MAX: usize = 3;
/// More client instances than a session remembers.
const CROWD: usize = stentor_postoffice::CLIENTS_MAX + 4;

impl World {
    /// Visitors and agents with clients of the second dialect.
    pub(crate) fn clients_begin(&mut self) {
        for number in 0..2 {
            // One is the same person as somebody who has a widget; their tabs are in one session.
            let shared = self.rng.percent(50);
            let browser = self.browsers.get(number).filter(|_| shared);
            let (user_id, name) = match browser {
                Some(browser) => (browser.user_id.clone(), browser.claimed.clone()),
                None => {
                    let user_id = format!("{}-client-{number}", crate::browser::CANARY);
                    (user_id, format!("name-{number}"))
                }
            };
            let user = UserKey::of(&self.app, &user_id);
            let mut client = Client::new(user_id, user, Role::Visitor, false);
            let instance = ClientInstance(self.rng.next_128());
            client.threads.push(Thread::new(Some(name), None, instance));
            self.clients.push(client);
        }
        for number in 0..3 {
            // The last one may only listen.
            let listens = number == 2;
            let user_id = format!("{}-agent-{number}", crate::browser::CANARY);
            let user = UserKey::of(&self.app, &user_id);
            self.clients.push(Client::new(user_id, user, Role::Agent, listens));
        }
    }

    /// Somebody with a client of the second dialect does something.
    pub(crate) fn client_moves(&mut self) {
        let client = self.rng.index(self.clients.len());
        let Some(of) = self.clients.get(client) else { return };
        let (role, threads) = (of.role, of.threads.len());
        if role == Role::Agent && (threads == 0 || (threads < THREADS_MAX && self.rng.percent(5))) {
            self.agent_looks_in(client);
            return;
        }
        let thread = self.rng.index(threads);
        let tab = usize::from(self.rng.percent(15));
        let seat = Seat { client, thread, tab };
        if self.thread(seat).is_none_or(|thread| thread.guesses) {
            return;
        }
        if self.seat(seat).is_some_and(|tab| !tab.on) {
            self.note(|| format!("{seat:?} comes"));
            self.client_comes(seat);
            return;
        }
        match role {
            Role::Visitor => self.visitor_acts(seat),
            Role::Agent => self.agent_acts(seat),
        }
    }

    fn visitor_acts(&mut self, seat: Seat) {
        match self.rng.below(100) {
            0..60 => {
                let many = if self.rng.percent(5) { self.rng.between(3, 12) } else { 1 };
                self.note(|| format!("{seat:?} says {many}"));
                for _ in 0..many {
                    self.client_says(seat, false);
                }
            }
            60..64 => self.client_guesses(seat),
            64..66 => {
                self.note(|| format!("{seat:?} forgets everything"));
                self.client_begins_anew(seat);
            }
            66..67 => self.crowd(seat),
            _ => self.client_fares(seat),
        }
    }

    fn agent_acts(&mut self, seat: Seat) {
        let working = self.thread(seat).and_then(|thread| thread.session);
        let story = working.and_then(|session| self.ledger.stories.get(&session));
        let busy = story
            .is_some_and(|story| story.control == Control::Bot && story.state().turn.is_some());
        let late = self.seat(seat).is_some_and(|tab| !tab.drafts.is_empty());
        let act = match self.rng.below(100) {
            // Rather while the bot is still thinking.
            0..40 if busy => Act::Take { display_name: None },
            0..40 if late => {
                let Some(act) = self.any_draft(seat) else { return };
                act
            }
            _ => {
                let Some(act) = self.any_act(seat) else { return };
                act
            }
        };
        self.note(|| format!("{seat:?}: {act:?}"));
        self.client_acts(seat, act);
    }

    fn any_act(&mut self, seat: Seat) -> Option<Act> {
        let act = match self.rng.below(100) {
            0..20 => {
                let named = self.rng.percent(50);
                let display_name = named.then(|| format!("Agent {}", seat.client));
                Act::Take { display_name }
            }
            20..32 => Act::Release,
            32..35 => Act::End,
            35..50 => self.any_draft(seat)?,
            50..68 => {
                self.note(|| format!("{seat:?} speaks"));
                self.client_says(seat, false);
                return None;
            }
            68..80 => {
                self.note(|| format!("{seat:?} writes a note"));
                self.client_says(seat, true);
                return None;
            }
            _ => {
                self.client_fares(seat);
                return None;
            }
        };
        Some(act)
    }

    /// What may happen to any client.
    fn client_fares(&mut self, seat: Seat) {
        let socket = self.seat(seat).and_then(|tab| tab.socket);
        match self.rng.below(10) {
            0..4 => {
                self.note(|| format!("{seat:?} is cut"));
                if let Some(socket) = socket {
                    self.socket_cut(socket);
                }
            }
            4..6 => {
                self.note(|| format!("{seat:?} leaves"));
                self.client_leaves(seat);
            }
            6..9 => {
                self.note(|| format!("{seat:?} sends everything five times"));
                for _ in 0..5 {
                    self.client_sends_again(seat);
                }
            }
            _ => {
                // The page is loaded again and has nothing to show.
                self.note(|| format!("{seat:?} loses its transcript"));
                self.client_leaves(seat);
                if let Some(tab) = self.seat_mut(seat) {
                    tab.cursor = None;
                    tab.drafts.clear();
                }
                self.client_comes(seat);
            }
        }
    }

    /// An agent comes to a session, rather to one of the first, so that several meet.
    fn agent_looks_in(&mut self, client: usize) {
        let sessions: Vec<_> = self.ledger.stories.keys().copied().collect();
        let place = self.rng.index(sessions.len()).min(self.rng.index(sessions.len()));
        let instance = ClientInstance(self.rng.next_128());
        let Some(session) = sessions.get(place).copied() else { return };
        let Some(of) = self.clients.get_mut(client) else { return };
        if of.threads.iter().any(|thread| thread.session == Some(session)) {
            return;
        }
        // The same installation numbers its messages for each session anew.
        let instance = of.threads.first().map_or(instance, |thread| thread.instance);
        of.threads.push(Thread::new(None, Some(session), instance));
        let seat = Seat { client, thread: of.threads.len() - 1, tab: 0 };
        self.note(|| format!("{seat:?} looks into {session}"));
        self.client_comes(seat);
    }

    /// Something about a draft that the agent sees, or about one that there is none of.
    fn any_draft(&mut self, seat: Seat) -> Option<Act> {
        let action = match self.rng.below(4) {
            0 => DraftAction::Dismiss,
            1 => DraftAction::Edited,
            _ => DraftAction::Send,
        };
        let wrong = self.rng.percent(10);
        let tab = self.seat(seat)?;
        let (_, head) = tab.cursor?;
        let place = tab.drafts.iter().next_back().copied();
        let turn = if wrong { EventNumber(self.rng.below(head.0) + 1) } else { place? };
        Some(Act::Draft { turn, action })
    }

    /// Somebody opens a session by an id that they were never told.
    fn client_guesses(&mut self, seat: Seat) {
        let instance = ClientInstance(self.rng.next_128());
        let random = self.rng.next_128();
        let user = self.clients.get(seat.client).map(|client| client.user);
        let stranger = self.ledger.stories.iter().find(|(_, story)| story.state().visitor != user);
        let mine = self.thread(seat).and_then(|thread| thread.session);
        let guess = match (stranger, mine) {
            (Some((session, _)), _) if random.is_multiple_of(2) => *session,
            (_, Some(mine)) => SessionId::new(mine.key(), random),
            _ => return,
        };
        let Some(client) = self.clients.get_mut(seat.client) else { return };
        if client.threads.len() >= THREADS_MAX {
            return;
        }
        let mut thread = Thread::new(None, Some(guess), instance);
        thread.guesses = true;
        client.threads.push(thread);
        let seat = Seat { thread: client.threads.len() - 1, tab: 0, ..seat };
        self.note(|| format!("{seat:?} guesses {guess}"));
        self.client_comes(seat);
    }

    /// So many other instances that the session forgets all it knew.
    fn crowd(&mut self, seat: Seat) {
        let Some(session) = self.thread(seat).and_then(|thread| thread.session) else { return };
        let Some(user) = self.clients.get(seat.client).map(|client| client.user) else { return };
        let Some(life) = self.gateway.as_ref().map(|gateway| gateway.life) else { return };
        let Some(owner) = self.current_owner() else { return };
        let number = u64::MAX - self.new_life();
        let at = self.now;
        let mut items = Vec::new();
        for _ in 0..CROWD {
            let client = ClientClaim { instance: ClientInstance(self.rng.next_128()), last: 0 };
            items.push(Item::Attach(Joining {
                at,
                claimed: None,
                client_time: None,
                counter: 0,
                client: Some(client),
                listens: true,
            }));
        }
        items.push(Item::Detach { at, delivered: None });
        let request = Rc::new(Request {
            id: 0,
            gateway: life,
            connection: ConnectionId { gateway: GatewayId(life), number },
            visitor: Visitor { user, placement: session.key() },
            role: Role::Visitor,
            session: Some(session),
            items,
        });
        self.note(|| format!("{session} is crowded"));
        self.saw("crowds");
        self.after(1_000, Job::Request { owner, request });
    }

    /// Everybody with a client of the second dialect closes it.
    pub(crate) fn clients_leave(&mut self, role: Role) {
        for seat in self.seats() {
            if self.clients.get(seat.client).is_some_and(|client| client.role == role) {
                self.client_leaves(seat);
            }
        }
    }

    /// Everybody who has ever been in a session opens it again.
    pub(crate) fn clients_return(&mut self) {
        for seat in self.seats() {
            let came = self.seat(seat).is_some_and(|tab| tab.cursor.is_some());
            let writes = self.thread(seat).is_some_and(|thread| !thread.guesses) && seat.tab == 0;
            if came || writes {
                self.client_comes(seat);
            }
        }
    }

    /// Every tab has all of its session, and nothing waits for an answer.
    pub(crate) fn check_clients(&mut self) {
        for seat in self.seats() {
            let Some(thread) = self.thread(seat).filter(|thread| !thread.guesses) else { continue };
            let Some(tab) = self.seat(seat).filter(|tab| tab.on) else { continue };
            let head = thread.session.and_then(|session| self.ledger.stories.get(&session));
            let head = head.map(|story| EventNumber(story.events.len() as u64));
            let has = tab.cursor.map(|(_, n)| n);
            let waits = thread.outbox.len() + thread.unnumbered.len();
            if !tab.opened || has != head || waits > 0 {
                let opened = tab.opened;
                let message = format!(
                    "{seat:?} has {has:?} of {head:?} events (open: {opened}), {waits} messages wait"
                );
                self.violate("P1", message);
                return;
            }
        }
    }
}
