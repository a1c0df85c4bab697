//! What an owner answers: replies to inputs, the way into a session, events again.

use std::rc::Rc;

use stentor_postoffice::{Session, TurnPhase};
use stentor_types::{Attach, ConnectionId, EventNumber, Input, InputKind, Reply, SessionId};
use stentor_wire::decode_event;

use crate::{
    owner::{Command, Pending},
    traffic::{Answer, Attached, FetchAnswer, ItemAnswer, Request},
    world::{Job, World},
};

/// Messages shown again at most.
pub(crate) const REPLAY_MAX: usize = 100;
/// Events in one page.
const PAGE_MAX: u64 = 50;

// === impl World ===

impl World {
    /// Answers whoever has asked.
    pub(super) fn reply(&mut self, life: u64, session: SessionId, pending: &Pending) {
        for (command, span) in pending.commands.iter().zip(&pending.spans) {
            let Command::Inputs { request, inputs } = command else { continue };
            let replies = pending.replies.iter().skip(span.start).take(span.len());
            let results: Vec<_> = replies
                .zip(inputs)
                .map(|(reply, input)| {
                    self.item_answer(life, session, *reply, input, &pending.attaching)
                })
                .collect();
            self.answer(life, request, results);
        }
    }

    pub(crate) fn answer(&mut self, life: u64, request: &Request, results: Vec<ItemAnswer>) {
        let (connection, gateway) = (request.connection.number, request.gateway);
        let answer = Answer { owner: life, connection, request: request.id, results };
        self.send(Job::Answer { gateway, answer });
    }

    fn item_answer(
        &mut self,
        life: u64,
        session: SessionId,
        reply: Reply,
        input: &Input,
        attaching: &[(ConnectionId, EventNumber)],
    ) -> ItemAnswer {
        match (reply, &input.kind) {
            (Reply::Committed(n), InputKind::Attach(attach)) => {
                let from =
                    attaching.iter().find(|(connection, _)| *connection == attach.connection);
                let from = from.map_or(EventNumber(1), |(_, from)| *from);
                match self.attached_answer(life, session, attach, from, n) {
                    Some(attached) => ItemAnswer::Attached(Rc::new(attached)),
                    None => ItemAnswer::TryAgain,
                }
            }
            (Reply::Committed(n), _) => ItemAnswer::Committed(n),
            (Reply::Duplicate(n), _) => ItemAnswer::Duplicate(n),
            (Reply::Rejected(code), _) => ItemAnswer::Rejected(code),
            (Reply::AttachFirst, _) => ItemAnswer::AttachFirst,
            (Reply::Gap(expected), _) => ItemAnswer::Gap(expected),
            (Reply::Nothing, _) => ItemAnswer::Nothing,
        }
    }

    fn attached_answer(
        &mut self,
        life: u64,
        session: SessionId,
        attach: &Attach,
        from: EventNumber,
        n: EventNumber,
    ) -> Option<Attached> {
        let (user, client) = (attach.user, attach.client.map(|claim| claim.instance));
        // Clients of the second dialect say themselves what they have.
        let from = if client.is_some() { n } else { from };
        let actor = self.actor(life, session)?;
        let state = actor.session.state();
        // Forgotten again within the very batch: it asks once more, and is told so.
        let taken = match client {
            Some(client) => state.clients.get(&client)?.taken.counter,
            None => 0,
        };
        let mut stamp = state.last_stamp;
        let mut replay = Vec::new();
        for (number, bytes) in (1..).map(EventNumber).zip(&actor.events) {
            if number < from || number > n {
                continue;
            }
            let Ok(event) = decode_event(bytes) else { continue };
            if number == n {
                stamp = event.stamp;
            }
            if Session::replays(user, &event) {
                replay.push((number, bytes.clone()));
            }
        }
        replay.drain(..replay.len().saturating_sub(REPLAY_MAX));
        let open = state.turn.as_ref().filter(|turn| turn.control_epoch == state.control_epoch);
        Some(Attached {
            session,
            n,
            stamp,
            segments: state.devices.get(&user).cloned().unwrap_or_default(),
            replay,
            typing: open.is_some_and(|turn| matches!(turn.phase, TurnPhase::Calling { .. })),
            epoch: state.epoch,
            taken,
        })
    }

    /// Events again, from what the owner has.
    pub(crate) fn fetch_from(
        &mut self,
        life: u64,
        gateway: u64,
        connection: u64,
        session: SessionId,
        (from, to): (EventNumber, EventNumber),
    ) {
        if !self.load(life, session) {
            return;
        }
        let Some(actor) = self.actor(life, session) else { return };
        let last = to.0.min(from.0.saturating_add(PAGE_MAX - 1));
        let events = (1..).map(EventNumber).zip(actor.events.iter().cloned());
        let events = events.filter(|(n, _)| (from..=EventNumber(last)).contains(n)).collect();
        let answer = FetchAnswer { connection, session, from, events };
        self.send(Job::FetchAnswer { gateway, answer });
    }
}
