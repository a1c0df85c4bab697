//! A message arrives.

use stentor_types::{
    Audience, Control, EventKind, Notice, RejectCode, Reply, Role, Said, Say, Timestamp, TurnEnd,
};

use super::Decision;
use crate::rules::{QUEUE_BYTES_MAX, QUEUE_MAX};

impl Decision<'_> {
    pub(super) fn on_say(&mut self, say: &Say, at: Timestamp) -> Reply {
        let Some(endpoint) = self.state.endpoints.get(&say.connection) else {
            return Reply::AttachFirst;
        };
        if let Some(reply) = self.not_next(endpoint, say.connection, say.mid) {
            return reply;
        }
        let (user, legacy) = (endpoint.user, endpoint.client.is_none());
        let participant = self.state.participants.get(&user);
        let role = participant.map(|participant| participant.role);
        let display_name = participant.and_then(|participant| participant.display_name.clone());
        let may = match role {
            _ if !endpoint.permissions.sends => Err(RejectCode::NotPermitted),
            Some(Role::Visitor) if !say.note => Ok(Role::Visitor),
            Some(Role::Agent) if say.note || self.holds_control(user) => Ok(Role::Agent),
            // Their widget still shows that they are in: it does not know that it was away for long.
            Some(Role::Agent) if legacy && self.state.lapsed.contains_key(&user) => {
                let name = self.state.lapsed.get(&user).cloned().flatten();
                self.take_control(user, name.as_deref());
                Ok(Role::Agent)
            }
            Some(Role::Agent) => Err(RejectCode::NotInControl),
            Some(Role::Visitor) | None => Err(RejectCode::NotPermitted),
        };
        let role = match may {
            Ok(role) => role,
            Err(code) => {
                let body = bytes::Bytes::new();
                self.emit(Audience::Staff, EventKind::Rejected { mid: say.mid, code, body });
                return Reply::Rejected(code);
            }
        };
        let floor = say.client_time.and_then(|time| self.measure_clock(user, time, at));
        let said = Said {
            user,
            role,
            alias: self.alias(user),
            // Visitors are seen under their alias.
            display_name: display_name.filter(|_| role == Role::Agent),
            mid: say.mid,
            text: say.text.clone(),
            greeting: say.greeting,
            body: say.body.clone(),
        };
        let for_bot = role == Role::Visitor
            && self.state.control == Control::Bot
            && self.context.rules.bot.is_some();
        let request = for_bot.then(|| say.request.clone());
        let audience = if say.note { Audience::Staff } else { Audience::All };
        let n = self.emit_above(audience, EventKind::Said(said), floor, request);
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
