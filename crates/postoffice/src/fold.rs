//! How events change a state. There is no other way in which a state changes.
//!
//! Folding never fails: what does not fit (an event of a later version, say) moves the numbers on
//! and nothing else.

use bytes::Bytes;
use stentor_types::{
    ClockSegment, ConnectionId, Control, Event, EventKind, EventNumber, Said, Stamp, Timestamp,
    TurnEnd, UserKey,
};

use crate::{
    rules::{ATTEMPTS, DEPARTED_MAX, DEVICES_MAX, RECENT_MAX, SEGMENTS_MAX},
    state::{Endpoint, Participant, Request, State, Turn, TurnPhase},
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
            EventKind::Joined { user, role, alias, display_name } => {
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
            EventKind::Attached { connection, user, counter, permissions } => {
                self.departed.retain(|(gone, _)| gone != connection);
                let endpoint = self.endpoints.entry(*connection).or_insert_with(|| {
                    if let Some(participant) = self.participants.get_mut(user) {
                        participant.connections += 1;
                    }
                    Endpoint {
                        user: *user,
                        permissions: *permissions,
                        counter: *counter,
                        recent: std::collections::VecDeque::new(),
                    }
                });
                endpoint.permissions = *permissions;
                if *counter > endpoint.counter {
                    endpoint.counter = *counter;
                    endpoint.recent.clear();
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
            EventKind::Left { user, .. } => {
                self.participants.remove(user);
            }
            EventKind::Clock { user, segment } => self.fold_clock(*user, *segment),
            EventKind::Said(said) => self.fold_said(event.n, said, request),
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
            EventKind::Replied { turn, .. } | EventKind::Draft { turn, .. } => self.end_turn(*turn),
            EventKind::TurnEnded { turn, how } => self.fold_turn_ended(*turn, *how),
            EventKind::ControlChanged { control, epoch } => {
                let kind_changed = self.control_epoch != *epoch;
                self.control = control.clone();
                self.control_epoch = *epoch;
                if kind_changed && *control != Control::Bot {
                    // People answer what was waiting: the bot never sees it.
                    self.queue.clear();
                }
            }
            EventKind::Rejected { mid, .. } => {
                if let Some(endpoint) = self.endpoints.get_mut(&mid.client.connection()) {
                    endpoint.take(mid.counter, event.n);
                }
            }
            EventKind::Notice { .. } | EventKind::Unknown => {}
        }
    }

    /// Whether clients are shown an event of this kind under its stamp.
    fn is_shown(&self, kind: &EventKind) -> bool {
        match kind {
            // Nobody is shown their own coming.
            EventKind::Joined { .. } => !self.participants.is_empty(),
            EventKind::Left { .. }
            | EventKind::Said(_)
            | EventKind::Replied { .. }
            | EventKind::Notice { .. }
            | EventKind::TurnFailed { .. } => true,
            _ => false,
        }
    }

    fn connection_gone(
        &mut self,
        connection: ConnectionId,
        endpoint: &Endpoint,
        delivered: Option<EventNumber>,
        leaves_at: Timestamp,
    ) {
        if endpoint.counter > 0 {
            if self.departed.len() >= DEPARTED_MAX {
                self.departed.pop_front();
            }
            self.departed.push_back((connection, endpoint.counter));
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

    fn fold_said(&mut self, n: EventNumber, said: &Said, request: Option<&Bytes>) {
        if let Some(endpoint) = self.endpoints.get_mut(&said.mid.client.connection()) {
            endpoint.take(said.mid.counter, n);
        }
        if let Some(body) = request {
            self.queue.push_back(Request { n, body: body.clone() });
        }
    }

    fn fold_turn_started(&mut self, turn: EventNumber, attempt: u8, deadline: Timestamp) {
        let request = match self.queue.iter().position(|request| request.n == turn) {
            Some(place) => self.queue.remove(place),
            None => self.turn.take().map(|open| open.request),
        };
        self.turn = request.map(|request| Turn {
            request,
            attempt,
            control_epoch: self.control_epoch,
            phase: TurnPhase::Calling { deadline },
        });
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

// === impl Endpoint ===

impl Endpoint {
    /// Message `counter` has become event `n`.
    fn take(&mut self, counter: u64, n: EventNumber) {
        self.counter = counter;
        if self.recent.len() >= RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(n);
    }

    /// The event that message `counter` became, while that is remembered.
    pub(crate) fn event_of(&self, counter: u64) -> Option<EventNumber> {
        let back = usize::try_from(self.counter.checked_sub(counter)?).ok()?;
        self.recent.iter().rev().nth(back).copied()
    }
}
