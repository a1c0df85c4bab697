//! How events change a state. There is no other way in which a state changes.
//!
//! Folding never fails: what does not fit (an event of a later version, say) moves the numbers on
//! and nothing else.

use std::collections::VecDeque;

use bytes::Bytes;
use stentor_protocol::{HandBackLine, with_hand_back};
use stentor_types::{
    Audience, ClientInstance, ClockSegment, ConnectionId, Control, ControlEpoch, Event, EventKind,
    EventNumber, Mid, Notice, Role, Said, Stamp, Timestamp, TurnEnd, UserKey,
};

use crate::{
    rules::{
        ATTEMPTS, CLAIM_WAIT, CLIENTS_MAX, COVERED_LINE_BYTES_MAX, COVERED_LINES_MAX, CROWD_EVERY,
        DEPARTED_MAX, DEVICES_MAX, DRAFT_BYTES_MAX, DRAFTS_MAX, LAPSED_MAX, SEGMENTS_MAX,
    },
    state::{
        Client, Covered, Crowd, Endpoint, Line, Participant, Request, State, Taken, Turn,
        TurnPhase, Waiting,
    },
};

impl State {
    /// Folds one event in. `request` is the Request that belongs to it, if one does; `at` is the time
    /// of its commit.
    pub(crate) fn fold(&mut self, event: &Event, request: Option<&Bytes>, at: Timestamp) {
        self.n = event.n;
        self.last_stamp = event.stamp;
        self.last_at = at;
        if self.is_shown(&event.kind) {
            self.last_shown = event.n;
        }
        match &event.kind {
            EventKind::Opened { visitor, claimed } => {
                self.visitor = Some(*visitor);
                self.claimed.clone_from(claimed);
            }
            EventKind::Joined { user, role, alias, display_name, counted } => {
                if *counted {
                    let crowd = self.crowd_at(at);
                    crowd.joined = crowd.joined.saturating_add(1);
                }
                let participant = Participant {
                    role: *role,
                    alias: alias.clone(),
                    display_name: display_name.clone(),
                    connections: 0,
                    leaves_at: None,
                    delivered: self
                        .participants
                        .get(user)
                        .map_or(EventNumber::NONE, |p| p.delivered),
                };
                self.participants.insert(*user, participant);
            }
            EventKind::Attached { connection, user, counter, permissions, client } => {
                if let Some(client) = client {
                    self.fold_client(event.n, *client, *user);
                }
                self.departed.retain(|(gone, _)| gone != connection);
                let endpoint = self.endpoints.entry(*connection).or_insert_with(|| {
                    if let Some(participant) = self.participants.get_mut(user) {
                        participant.connections += 1;
                    }
                    Endpoint {
                        user: *user,
                        permissions: *permissions,
                        client: *client,
                        taken: Taken { counter: *counter, ..Taken::default() },
                    }
                });
                endpoint.permissions = *permissions;
                endpoint.client = *client;
                if *counter > endpoint.taken.counter {
                    endpoint.taken = Taken { counter: *counter, ..Taken::default() };
                }
                if let Some(participant) = self.participants.get_mut(user) {
                    participant.leaves_at = None;
                }
            }
            EventKind::Detached { connection, delivered, leaves_at } => {
                if let Some(endpoint) = self.endpoints.remove(connection) {
                    self.connection_gone(*connection, &endpoint, *delivered, *leaves_at);
                }
            }
            EventKind::GatewayLost { gateway, leaves_at } => {
                let (gone, stay) = std::mem::take(&mut self.endpoints)
                    .into_iter()
                    .partition(|(connection, _)| connection.gateway == *gateway);
                self.endpoints = stay;
                let gone: std::collections::BTreeMap<_, _> = gone;
                for (connection, endpoint) in &gone {
                    self.connection_gone(*connection, endpoint, None, *leaves_at);
                }
            }
            EventKind::Left { user, counted, .. } => {
                if *counted {
                    let crowd = self.crowd_at(at);
                    crowd.left = crowd.left.saturating_add(1);
                }
                self.participants.remove(user);
            }
            EventKind::Crowd { .. } => self.crowd = None,
            EventKind::Clock { user, segment } => self.fold_clock(*user, *segment),
            EventKind::Said(said) => self.fold_said(event, said, request),
            EventKind::TurnStarted { turn, attempt, deadline } => {
                self.fold_turn_started(*turn, *attempt, *deadline);
            }
            EventKind::TurnFailed { turn, attempt, delay_s, .. } => {
                if *attempt >= ATTEMPTS {
                    self.end_turn(*turn);
                } else if let Some(open) = self.turn.as_mut().filter(|open| open.request.n == *turn)
                {
                    let until = at.after(std::time::Duration::from_secs(u64::from(*delay_s)));
                    open.phase = TurnPhase::Waiting { until };
                }
            }
            EventKind::Replied { turn, handoff, .. } => {
                self.end_turn(*turn);
                // In a session that was ended meanwhile nobody waits.
                if *handoff && self.waiting.is_none() && !self.ended {
                    self.waiting = Some(Waiting { since: at, tell_at: Some(at.after(CLAIM_WAIT)) });
                }
            }
            EventKind::Draft { turn, body } => {
                self.end_turn(*turn);
                self.fold_draft(*turn, body);
            }
            EventKind::DraftSent { turn, .. } | EventKind::DraftDone { turn, .. } => {
                self.drafts.remove(turn);
            }
            EventKind::TurnEnded { turn, how } => self.fold_turn_ended(*turn, *how),
            EventKind::ControlChanged { control, epoch } => {
                self.fold_control(event.n, control, *epoch);
            }
            EventKind::SteppedIn { user, display_name, .. } => {
                self.lapsed.remove(user);
                if let Some(participant) = self.participants.get_mut(user) {
                    participant.display_name.clone_from(display_name);
                }
            }
            EventKind::SteppedOut { user, lapsed, display_name, .. } => {
                if *lapsed && self.lapsed.len() < LAPSED_MAX {
                    self.lapsed.insert(*user, display_name.clone());
                }
            }
            EventKind::Ended { .. } => {
                self.ended = true;
                self.waiting = None;
                self.lapsed.clear();
            }
            EventKind::Erased => self.fold_erased(),
            EventKind::Rejected { mid, .. } => self.fold_mid(*mid, event.n),
            EventKind::Notice { notice: Notice::NobodyFree, .. } => {
                if let Some(waiting) = &mut self.waiting {
                    waiting.tell_at = None;
                }
            }
            EventKind::Notice { notice: Notice::QueueFull, .. } | EventKind::Unknown => {}
        }
    }

    /// Nothing is left but how far it had come. Named one by one nowhere: what a later version adds to a state
    /// is forgotten too.
    fn fold_erased(&mut self) {
        let forgotten = Self::new(self.epoch);
        let (n, last_stamp, last_at) = (self.n, self.last_stamp, self.last_at);
        *self = Self { n, last_stamp, last_at, ended: true, erased: true, ..forgotten };
    }

    /// Whether clients are shown an event of this kind under its stamp.
    fn is_shown(&self, kind: &EventKind) -> bool {
        match kind {
            // Nobody is shown their own coming.
            EventKind::Joined { counted, .. } => !counted && !self.participants.is_empty(),
            EventKind::Left { counted, .. } => !counted,
            EventKind::Said(_)
            | EventKind::Replied { .. }
            | EventKind::DraftSent { .. }
            | EventKind::SteppedIn { .. }
            | EventKind::SteppedOut { .. }
            | EventKind::Notice { .. }
            | EventKind::TurnFailed { .. } => true,
            _ => false,
        }
    }

    /// What has not been told yet of who came and went.
    fn crowd_at(&mut self, at: Timestamp) -> &mut Crowd {
        let tell_at = at.after(CROWD_EVERY);
        self.crowd.get_or_insert(Crowd { joined: 0, left: 0, tell_at })
    }

    fn connection_gone(
        &mut self,
        connection: ConnectionId,
        endpoint: &Endpoint,
        delivered: Option<EventNumber>,
        leaves_at: Timestamp,
    ) {
        if endpoint.taken.counter > 0 {
            if self.departed.len() >= DEPARTED_MAX {
                self.departed.pop_front();
            }
            self.departed.push_back((connection, endpoint.taken.counter));
        }
        let Some(participant) = self.participants.get_mut(&endpoint.user) else { return };
        participant.connections = participant.connections.saturating_sub(1);
        if let Some(delivered) = delivered {
            participant.delivered = participant.delivered.max(delivered);
        }
        if participant.connections == 0 {
            participant.leaves_at = Some(leaves_at);
        }
    }

    fn fold_clock(&mut self, user: UserKey, segment: ClockSegment) {
        if !self.devices.contains_key(&user) && self.devices.len() >= DEVICES_MAX {
            return;
        }
        let segments = self.devices.entry(user).or_default();
        if segments.is_empty() && segment.floor > Stamp(0) {
            // It has been shown session time so far; a replay must show the same again.
            segments.push(ClockSegment::IDENTITY);
        }
        if segments.len() >= SEGMENTS_MAX {
            segments.remove(0);
        }
        segments.push(segment);
    }

    fn fold_said(&mut self, event: &Event, said: &Said, request: Option<&Bytes>) {
        self.fold_mid(said.mid, event.n);
        if event.audience == Audience::Staff {
            return;
        }
        if said.role == Role::Visitor {
            self.ended = false;
        }
        if let Some(body) = request {
            self.queue.push_back(Request { n: event.n, body: body.clone() });
        } else if self.control != Control::Bot {
            self.cover(event.n, said);
        }
    }

    /// Message `mid` has become event `n`.
    fn fold_mid(&mut self, mid: Mid, n: EventNumber) {
        if let Some(client) = self.clients.get_mut(&mid.client) {
            client.taken.take(mid.counter, n);
            client.used = n;
        } else if let Some(endpoint) = self.endpoints.get_mut(&mid.client.connection()) {
            endpoint.taken.take(mid.counter, n);
        }
    }

    fn fold_client(&mut self, n: EventNumber, instance: ClientInstance, user: UserKey) {
        if let Some(client) = self.clients.get_mut(&instance) {
            client.used = n;
            return;
        }
        if self.clients.len() >= CLIENTS_MAX {
            let oldest = self.clients.iter().min_by_key(|(_, client)| client.used);
            if let Some(oldest) = oldest.map(|(instance, _)| *instance) {
                self.clients.remove(&oldest);
            }
        }
        self.clients.insert(instance, Client { user, taken: Taken::default(), used: n });
    }

    fn fold_draft(&mut self, turn: EventNumber, body: &Bytes) {
        self.drafts.insert(turn, body.clone());
        loop {
            let bytes: usize = self.drafts.values().map(Bytes::len).sum();
            if self.drafts.len() <= DRAFTS_MAX && bytes <= DRAFT_BYTES_MAX {
                return;
            }
            self.drafts.pop_first();
        }
    }

    fn fold_control(&mut self, n: EventNumber, control: &Control, epoch: ControlEpoch) {
        let kind_changed = self.control_epoch != epoch;
        self.control = control.clone();
        self.control_epoch = epoch;
        if *control == Control::Bot {
            return;
        }
        self.waiting = None;
        if kind_changed {
            // People answer what was waiting: the bot never sees it.
            self.queue.clear();
            // A span that the bot has not been told of yet goes on.
            self.covered.get_or_insert(Covered { from: n, to: n, lines: VecDeque::new() });
        }
    }

    /// Remembers for the bot what was said while it was silent.
    fn cover(&mut self, n: EventNumber, said: &Said) {
        let Some(covered) = &mut self.covered else { return };
        covered.to = n;
        let Some(text) = &said.text else { return };
        if covered.lines.len() >= COVERED_LINES_MAX {
            covered.lines.pop_front();
        }
        let name = said.display_name.as_deref().unwrap_or(said.alias.as_str());
        covered.lines.push_back(Line {
            role: said.role,
            name: name.to_owned(),
            text: shortened(text, COVERED_LINE_BYTES_MAX).to_owned(),
        });
    }

    fn fold_turn_started(&mut self, turn: EventNumber, attempt: u8, deadline: Timestamp) {
        let request = match self.queue.iter().position(|request| request.n == turn) {
            Some(place) => self.queue.remove(place).map(|request| self.with_covered(request)),
            None => self.turn.take().map(|open| open.request),
        };
        self.turn = request.map(|request| Turn {
            request,
            attempt,
            control_epoch: self.control_epoch,
            phase: TurnPhase::Calling { deadline },
        });
    }

    /// The bot is told what was said while people answered, with the first Request that goes out to it: one
    /// that still waits may yet be given up.
    fn with_covered(&mut self, request: Request) -> Request {
        let Some(covered) = self.covered.take() else { return request };
        let lines = covered.lines.iter().map(|line| HandBackLine {
            role: match line.role {
                Role::Visitor => "visitor",
                Role::Agent => "agent",
            },
            name: &line.name,
            text: &line.text,
        });
        let body = with_hand_back(&request.body, covered.from.0, covered.to.0, lines);
        Request { body, ..request }
    }

    fn fold_turn_ended(&mut self, turn: EventNumber, how: TurnEnd) {
        match how {
            TurnEnd::Empty | TurnEnd::Stale => self.end_turn(turn),
            TurnEnd::Overflow => self.queue.retain(|request| request.n != turn),
            // An attempt that is out stays open until it comes back: there is never a second one.
            TurnEnd::Interrupted => {
                self.turn =
                    self.turn.take().filter(|open| matches!(open.phase, TurnPhase::Calling { .. }));
            }
        }
    }

    fn end_turn(&mut self, turn: EventNumber) {
        self.turn = self.turn.take().filter(|open| open.request.n != turn);
    }
}

/// The first `max` bytes, or a little less: no character is cut.
pub(crate) fn shortened(text: &str, max: usize) -> &str {
    let end = text.floor_char_boundary(max);
    text.get(..end).unwrap_or_default()
}
