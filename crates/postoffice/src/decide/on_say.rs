//! A message arrives.

use stentor_types::{
    Alias, Audience, Control, EventKind, Notice, RejectCode, Reply, Role, Said, Say, Timestamp,
    TurnEnd,
};

use super::{Decision, not_next};
use crate::rules::{QUEUE_BYTES_MAX, QUEUE_MAX};

impl Decision<'_> {
    pub(super) fn on_say(&mut self, say: &Say, at: Timestamp) -> Reply {
        let Some(endpoint) = self.state.endpoints.get(&say.connection) else {
            return Reply::AttachFirst;
        };
        if let Some(reply) = not_next(endpoint, say.connection, say.mid) {
            return reply;
        }
        let (user, sends) = (endpoint.user, endpoint.permissions.sends);
        let role = self.state.participants.get(&user).map(|participant| participant.role);
        let in_control = match (&self.state.control, role) {
            (_, Some(Role::Visitor)) => true,
            (Control::Agents(agents), Some(Role::Agent)) => agents.contains(&user),
            _ => false,
        };
        if !sends || !in_control {
            let code = RejectCode::NotPermitted;
            let body = bytes::Bytes::new();
            self.emit(Audience::Staff, EventKind::Rejected { mid: say.mid, code, body });
            return Reply::Rejected(code);
        }
        let floor = say.client_time.and_then(|time| self.measure_clock(user, time, at));
        let alias = match self.state.participants.get(&user) {
            Some(participant) => participant.alias.clone(),
            None => Alias::of(&self.session, user),
        };
        let said = Said {
            user,
            alias,
            mid: say.mid,
            text: say.text.clone(),
            greeting: say.greeting,
            body: say.body.clone(),
        };
        let for_bot = role == Some(Role::Visitor)
            && self.state.control == Control::Bot
            && self.context.rules.bot.is_some();
        let request = for_bot.then(|| say.request.clone());
        let n = self.emit_above(Audience::All, EventKind::Said(said), floor, request);
        self.start_turn();
        self.bound_queue();
        Reply::Committed(n)
    }

    /// Gives up the oldest waiting messages while more wait than may.
    fn bound_queue(&mut self) {
        loop {
            let bytes: usize = self.state.queue.iter().map(|request| request.body.len()).sum();
            let within = self.state.queue.len() <= QUEUE_MAX && bytes <= QUEUE_BYTES_MAX;
            let Some(oldest) = self.state.queue.front().filter(|_| !within) else { return };
            let turn = oldest.n;
            self.emit(Audience::Staff, EventKind::TurnEnded { turn, how: TurnEnd::Overflow });
            let text = self.context.rules.queue_full_text.clone();
            self.emit(Audience::All, EventKind::Notice { notice: Notice::QueueFull, text });
        }
    }
}
