//! Agents with the published widget. It knows no notes and no drafts, and after an outage it still shows that
//! they are in.

use stentor_types::{SessionId, UserKey};

use crate::{
    browser::{Fate, Message, request_json},
    gateway::Reason,
    socket::{End, Frame},
    widget::Widget,
    world::World,
};

/// Somebody who works for the app.
#[derive(Debug)]
pub(crate) struct Agent {
    user_id: String,
    pub(crate) user: UserKey,
    /// Where they were last.
    session: Option<SessionId>,
    pub(crate) socket: Option<u64>,
    pub(crate) widget: Widget,
}

// === impl World ===

impl World {
    pub(crate) fn agents_begin(&mut self) {
        for number in 0..2 {
            let user_id = format!("agent\0{number}");
            let user = UserKey::of(&self.app, &user_id);
            let (session, socket, widget) = (None, None, Widget::default());
            self.agents.push(Agent { user_id, user, session, socket, widget });
        }
    }

    pub(crate) fn agent_moves(&mut self) {
        let number = self.rng.index(self.agents.len());
        let take = self.rng.percent(50);
        let Some(socket) = self.agents.get(number).and_then(|agent| agent.socket) else {
            self.agent_comes(number);
            return;
        };
        match self.rng.below(8) {
            0..4 => self.socket_up(socket, Frame::Control { take }),
            4..6 => self.agent_speaks(number, socket),
            6 => self.socket_cut(socket),
            _ => self.agent_goes(number),
        }
    }

    /// To the session where they were, or to another one.
    fn agent_comes(&mut self, number: usize) {
        let (back, at_once) = (self.rng.percent(60), self.rng.percent(50));
        let sessions: Vec<_> = self.ledger.stories.keys().copied().collect();
        let any = sessions.get(self.rng.index(sessions.len())).copied();
        let Some(agent) = self.agents.get(number) else { return };
        let Some(session) = agent.session.filter(|_| back).or(any) else { return };
        let (user, user_id) = (agent.user, agent.user_id.clone());
        let socket = self.accept(End::Agent(number), &user_id, Some(session), Reason::Load);
        let Some(agent) = self.agents.get_mut(number) else { return };
        (agent.socket, agent.session) = (socket, Some(session));
        agent.widget = Widget::default();
        let story = self.ledger.stories.get(&session);
        let lapsed = story.is_some_and(|story| story.people.lapsed.contains(&user));
        if let Some(socket) = socket.filter(|_| lapsed && at_once) {
            self.note(|| format!("agent {number} goes on as if they had not been away"));
            self.agent_speaks(number, socket);
        }
    }

    pub(crate) fn agent_goes(&mut self, number: usize) {
        let socket = self.agents.get_mut(number).and_then(|agent| agent.socket.take());
        if let Some(socket) = socket {
            self.socket_leave(socket);
        }
    }

    fn agent_speaks(&mut self, number: usize, socket: u64) {
        let message = self.messages.len();
        let text = format!("message {message}");
        let Some(author) = self.agents.get(number).map(|agent| agent.user) else { return };
        let data = request_json(&text, false, self.rng.next());
        let frame = serde_json::json!({
            "event": "new message", "sessionId": "agents have none",
            "timeMs": self.now.as_millis(), "data": data,
        });
        self.messages.push(Message { text, author, fate: Fate::Under });
        let text = frame.to_string().into();
        self.socket_up(socket, Frame::Text { text, message: Some(message) });
    }
}
