//! How inputs become events. Each kind of input has a file; what they share stands here.

mod clock;
mod on_attach;
mod on_control;
mod on_draft;
mod on_erase;
mod on_outcome;
mod on_say;
mod on_tick;
mod turn;

use stentor_types::{
    Audience, ConnectionId, Event, EventKind, EventNumber, GatewayId, Input, InputKind, Mid,
    RejectCode, Reply, Role, SessionId, Stamp, Timestamp, UserKey,
};

use crate::{
    commit::{BotRequest, Commit},
    session::Context,
    state::{Endpoint, State},
};

/// A decision in the making: the state as it will be, and how it came to be.
pub(crate) struct Decision<'a> {
    session: SessionId,
    context: &'a Context<'a>,
    /// The state after the events so far. A scratch copy: the session itself is not touched.
    state: State,
    /// When this is decided: strictly above the commit before.
    at: Timestamp,
    commit: Commit,
}

impl<'a> Decision<'a> {
    pub(crate) fn new(session: SessionId, state: &State, context: &'a Context<'a>) -> Self {
        let at = context.now.max(Timestamp(state.last_at.0.saturating_add(1)));
        let commit = Commit {
            epoch: state.epoch,
            first: state.n.next(),
            at,
            events: Vec::new(),
            requests: Vec::new(),
            effects: Vec::new(),
            next_deadline: None,
            replies: Vec::new(),
        };
        Self { session, context, state: state.clone(), at, commit }
    }

    /// Takes the next input.
    pub(crate) fn take(&mut self, input: &Input) {
        let reply = match &input.kind {
            kind if self.state.erased => self.on_erased(kind),
            InputKind::Erase => self.on_erase(),
            InputKind::Attach(attach) => self.on_attach(attach, input.at),
            InputKind::Say(say) => self.on_say(say, input.at),
            InputKind::Detach { connection, delivered } => self.on_detach(*connection, *delivered),
            InputKind::GatewayLost { gateway } => self.on_gateway_lost(*gateway),
            InputKind::Refuse { connection, mid, code, body } => {
                self.on_refuse(*connection, *mid, *code, body)
            }
            InputKind::Outcome { effect, result } => self.on_outcome(*effect, result),
            InputKind::Control(change) => self.on_control(change),
            InputKind::Draft { user, turn, action } => self.on_draft(*user, *turn, *action),
            InputKind::End { user } => self.on_end(*user),
            InputKind::Tick => self.on_tick(),
        };
        self.commit.replies.push(reply);
    }

    /// The commit.
    pub(crate) fn finish(mut self) -> Commit {
        self.commit.next_deadline = self.state.next_deadline();
        // At most one attempt is open; it is new if it was not open before this decision.
        if let Some(effect) = self.state.open_effect() {
            let begun = self.commit.events.iter().any(|event| match &event.kind {
                EventKind::TurnStarted { turn, attempt, .. } => {
                    *turn == effect.id.turn && *attempt == effect.id.attempt
                }
                _ => false,
            });
            if begun {
                self.commit.effects.push(effect);
            }
        }
        self.commit
    }

    /// Makes an event of `kind` and folds it in.
    fn emit(&mut self, audience: Audience, kind: EventKind) -> EventNumber {
        self.emit_above(audience, kind, None, None)
    }

    /// The same, stamped above `floor`, with the Request that belongs to it.
    fn emit_above(
        &mut self,
        audience: Audience,
        kind: EventKind,
        floor: Option<i64>,
        request: Option<bytes::Bytes>,
    ) -> EventNumber {
        let stamp = self.next_stamp(floor);
        let event = Event { n: self.state.n.next(), stamp, audience, kind };
        self.state.fold(&event, request.as_ref(), self.at);
        let n = event.n;
        self.commit.events.push(event);
        if let Some(body) = request {
            self.commit.requests.push(BotRequest { n, body });
        }
        n
    }

    /// The stamp of the next event, above `floor`.
    fn next_stamp(&self, floor: Option<i64>) -> Stamp {
        let now = i64::try_from(self.at.as_millis()).unwrap_or(i64::MAX / 2);
        let least = self.state.last_stamp.0.saturating_add(2);
        let above = floor.map_or(least, |floor| floor.saturating_add(1));
        let stamp = now.max(least).max(above);
        // Even: what a gateway says on its own account is stamped odd, so the two never meet.
        Stamp(stamp.saturating_add(stamp & 1))
    }

    /// A connection is gone.
    fn on_detach(&mut self, connection: ConnectionId, delivered: Option<EventNumber>) -> Reply {
        let Some(endpoint) = self.state.endpoints.get(&connection) else { return Reply::Nothing };
        let leaves_at = self.at.after(self.grace(endpoint.user));
        // Nobody was written what does not exist yet.
        let delivered = delivered.map(|n| n.min(self.state.n));
        let detached = EventKind::Detached { connection, delivered, leaves_at };
        Reply::Committed(self.emit(Audience::Staff, detached))
    }

    /// All connections of a gateway are gone.
    fn on_gateway_lost(&mut self, gateway: GatewayId) -> Reply {
        if !self.state.endpoints.keys().any(|connection| connection.gateway == gateway) {
            return Reply::Nothing;
        }
        // One event for all: the longer grace, since nobody pressed Leave.
        let leaves_at = self.at.after(self.context.rules.visitor_grace);
        Reply::Committed(self.emit(Audience::Staff, EventKind::GatewayLost { gateway, leaves_at }))
    }

    /// A message is refused for good, whatever it says.
    fn on_refuse(
        &mut self,
        connection: ConnectionId,
        mid: Mid,
        code: RejectCode,
        body: &bytes::Bytes,
    ) -> Reply {
        let Some(endpoint) = self.state.endpoints.get(&connection) else {
            return Reply::AttachFirst;
        };
        if let Some(reply) = self.not_next(endpoint, connection, mid) {
            return reply;
        }
        self.emit(Audience::Staff, EventKind::Rejected { mid, code, body: body.clone() });
        Reply::Rejected(code)
    }

    /// Whether somebody's coming or going is told as one of many only. `comes` is 1 for whoever comes, 0 for whoever
    /// goes. A visitor's never is: who serves them waits for it.
    fn is_counted(&self, role: Role, comes: usize) -> bool {
        let there = self.state.participants.len().saturating_add(comes);
        role == Role::Agent && there > self.context.crowd_min
    }

    /// How long somebody without a connection stays.
    fn grace(&self, user: UserKey) -> std::time::Duration {
        match self.state.participants.get(&user).map(|participant| participant.role) {
            Some(Role::Agent) => self.context.rules.agent_grace,
            _ => self.context.rules.visitor_grace,
        }
    }

    /// The answer to a message that is not the next one of its client; nothing if it is.
    fn not_next(&self, endpoint: &Endpoint, connection: ConnectionId, mid: Mid) -> Option<Reply> {
        if mid.client != endpoint.client.unwrap_or_else(|| connection.into()) {
            // Taking it would leave a hole in somebody else's numbers. If the connection has named its client,
            // an attachment as an earlier one came late: it may name it again.
            return Some(match endpoint.client {
                Some(_) => Reply::AttachFirst,
                None => Reply::Rejected(RejectCode::NotPermitted),
            });
        }
        let Some(taken) = self.state.taken(endpoint) else {
            return Some(Reply::Rejected(RejectCode::Expired));
        };
        if mid.counter <= taken.counter {
            return Some(Reply::Duplicate(taken.event_of(mid.counter)));
        }
        let expected = taken.counter.saturating_add(1);
        (mid.counter > expected).then_some(Reply::Gap(expected))
    }
}
