//! Who is at the other end of a socket.

use bytes::Bytes;
use stentor_protocol::VisitorRequest;
use stentor_types::{
    AppId, ConnectionId, EventNumber, Mid, PlacementKey, Role, Say, SessionId, UserKey, Visitor,
};

use super::Agent;

/// A user as a connection has shown to be. Holds the user's id, a secret.
pub(super) struct Person {
    pub(super) user_id: String,
    pub(super) user: UserKey,
    pub(super) placement: PlacementKey,
    pub(super) role: Role,
    pub(super) display_name: Option<String>,
}

/// A socket that is open.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) id: ConnectionId,
    /// Nobody until an address or a frame says who.
    pub(super) person: Option<Person>,
    /// The session that it takes part in.
    pub(super) session: Option<SessionId>,
    /// Messages that came over it.
    pub(super) sent: u64,
    /// The last event of its session that it was sent, or need not be sent.
    pub(super) written: EventNumber,
}

// === impl Person ===

impl Person {
    pub(super) fn visitor(app: &AppId, user_id: String) -> Self {
        let Visitor { user, placement } = Visitor::of(app, &user_id);
        Self { user_id, user, placement, role: Role::Visitor, display_name: None }
    }

    pub(super) fn agent(app: &AppId, agent: Agent) -> Self {
        // Not a visitor's key, even if a visitor claims the agent's id.
        let Visitor { user, placement } = Visitor::of(app, &format!("agent\0{}", agent.user_id));
        let Agent { user_id, display_name } = agent;
        Self { user_id, user, placement, role: Role::Agent, display_name }
    }
}

impl std::fmt::Debug for Person {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Person").field("role", &self.role).finish_non_exhaustive()
    }
}

// === impl Connection ===

impl Connection {
    /// The next message that came over it.
    pub(super) fn say(&mut self, request: VisitorRequest, client_time: Option<i64>) -> Say {
        self.sent += 1;
        let visitor = self.person.as_ref().is_some_and(|person| person.role == Role::Visitor);
        Say {
            connection: self.id,
            mid: Mid { client: self.id.into(), counter: self.sent },
            client_time,
            text: request.text,
            greeting: request.is_greeting,
            note: false,
            body: request.for_record,
            request: if visitor { request.for_bot } else { Bytes::new() },
        }
    }
}
