//! Who is shown what after a decision.

use stentor_protocol::{
    LegacyView,
    outgoing::{Device, OutSender},
};
use stentor_types::{EventNumber, Input, InputKind, Reply, Role, SessionId};

use super::{
    AskBot, BotProfile, Outgoing, PostOffice, Socket,
    conversation::Conversation,
    people::{Connection, Person},
};
use crate::{Commit, Session};

/// Frames that a visitor is shown again at most.
const VISITOR_REPLAY_MAX: usize = 100;
/// Frames that an agent is shown again at most.
const AGENT_REPLAY_MAX: usize = 200;

impl PostOffice {
    pub(super) fn outgoing(
        &mut self,
        session: SessionId,
        inputs: &[Input],
        commit: &Commit,
    ) -> Vec<Outgoing> {
        let mut out = Vec::new();
        let Some(conversation) = self.sessions.get(&session) else { return out };
        for (input, reply) in inputs.iter().zip(&commit.replies) {
            let id = match &input.kind {
                InputKind::Attach(attach) => attach.connection,
                InputKind::Say(say) => say.connection,
                _ => continue,
            };
            let Some(socket) = self.connections.get(&id) else { continue };
            let Some(connection) = self.sockets.get_mut(socket) else { continue };
            match (&input.kind, reply) {
                (InputKind::Attach(_), Reply::Committed(n)) => {
                    welcome(&mut out, *socket, connection, conversation, *n, &self.options.bot);
                }
                (InputKind::Attach(_), _) => {
                    connection.session = None;
                    out.push(Outgoing::no_access(*socket, input.at));
                }
                (_, Reply::Rejected(code)) => {
                    out.push(Outgoing::Refused { socket: *socket, code: *code });
                }
                _ => {}
            }
        }
        if !commit.is_empty() {
            for id in conversation.session.state().endpoints.keys() {
                let Some(socket) = self.connections.get(id) else { continue };
                let Some(connection) = self.sockets.get_mut(socket) else { continue };
                fan_out(&mut out, *socket, connection, conversation, commit, &self.options.bot);
            }
        }
        out.extend(commit.effects.iter().map(|effect| {
            let (deadline, request) = (effect.deadline, effect.request.clone());
            Outgoing::AskBot(AskBot { session, id: effect.id, deadline, request })
        }));
        out
    }
}

/// What a connection is shown that has just been attached: it is confirmed, the bot is here, what was
/// missed, and whether the bot is typing.
fn welcome(
    out: &mut Vec<Outgoing>,
    socket: Socket,
    connection: &mut Connection,
    conversation: &Conversation,
    attached: EventNumber,
    bot: &BotProfile,
) {
    let Some(person) = &connection.person else { return };
    let view = view(person, conversation, bot);
    let session = &conversation.session;
    // What it was written already it has: only the socket may have lost something, not we.
    let from = match connection.written {
        EventNumber::NONE => session.replay_from(),
        written => written.next(),
    };
    connection.written = attached;
    let stamp = conversation
        .events(attached, attached.next())
        .next()
        .map_or(session.state().last_stamp, |event| event.stamp);
    let shown = match person.role {
        Role::Visitor => VISITOR_REPLAY_MAX,
        Role::Agent => AGENT_REPLAY_MAX,
    };
    let missed = conversation.events(from, attached);
    let latest = missed.rev().filter(|event| Session::replays(person.user, event));
    let mut replay: Vec<_> = latest.filter_map(|event| view.replay(event)).take(shown).collect();
    replay.reverse();
    let is_asked = |effect: &crate::Effect| {
        let state = session.state();
        let current =
            state.turn.as_ref().is_some_and(|turn| turn.control_epoch == state.control_epoch);
        current && effect.id.turn < attached
    };
    let typing = session.open_effect().filter(is_asked).map(|_| view.typing(attached, stamp));
    let frames = view.attached(attached, stamp).into_iter().chain(replay).chain(typing);
    out.extend(frames.map(|text| Outgoing::Frame { socket, text }));
}

/// What a connection is shown of a decision.
fn fan_out(
    out: &mut Vec<Outgoing>,
    socket: Socket,
    connection: &mut Connection,
    conversation: &Conversation,
    commit: &Commit,
    bot: &BotProfile,
) {
    let Some(person) = &connection.person else { return };
    let view = view(person, conversation, bot);
    let new = commit.events.iter().filter(|event| event.n > connection.written);
    out.extend(
        new.flat_map(|event| view.frames(event)).map(|text| Outgoing::Frame { socket, text }),
    );
    connection.written = connection.written.max(commit.last());
}

fn view<'a>(
    person: &Person,
    conversation: &'a Conversation,
    bot: &'a BotProfile,
) -> LegacyView<'a> {
    let clock = conversation.session.state().devices.get(&person.user);
    LegacyView {
        user: person.user,
        role: person.role,
        clock: clock.map(Vec::as_slice).unwrap_or_default(),
        bot: OutSender {
            device: Device::Bot,
            user_id: &bot.user_id,
            display_name: bot.display_name.as_deref(),
            avatar_path: bot.avatar_path.as_deref(),
        },
    }
}
