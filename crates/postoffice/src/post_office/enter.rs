//! Into which session a connection comes, and how it leaves one.

use stentor_protocol::ClientFrame;
use stentor_types::{
    Attach, Epoch, InputKind, Permissions, Role, Say, SessionId, Timestamp, UserKey,
};

use super::{Outgoing, PostOffice, Refusal, Socket, conversation::Conversation, people::Person};
use crate::{Directory, Resolved, Session};

/// A session, and the visitor's directory if it is to change.
pub(super) struct Found {
    pub(super) session: SessionId,
    directory: Option<(UserKey, Directory)>,
}

// === impl PostOffice ===

impl PostOffice {
    /// What the person at the other end is here. Where the address did not say who, the first frame does.
    pub(super) fn identify(
        &mut self,
        socket: Socket,
        frame: &ClientFrame<'_>,
    ) -> Result<Role, Refusal> {
        let connection = self.sockets.get_mut(&socket).ok_or(Refusal::NotConnected)?;
        let app = &self.options.app;
        let person = match &mut connection.person {
            Some(person) => person,
            None => {
                let user_id = frame.sender.user_id.clone().ok_or(Refusal::NoUser)?;
                connection.person.insert(Person::visitor(app, user_id))
            }
        };
        if person.role == Role::Visitor {
            person.display_name.clone_from(&frame.sender.display_name);
        }
        Ok(person.role)
    }

    /// The session that a frame is for. Changes nothing that anybody could notice.
    pub(super) fn find(
        &mut self,
        socket: Socket,
        frame: &ClientFrame<'_>,
        now: Timestamp,
    ) -> Result<Found, Refusal> {
        let fresh = self.draw();
        let connection = self.sockets.get(&socket).ok_or(Refusal::NotConnected)?;
        let person = connection.person.as_ref().ok_or(Refusal::NoUser)?;
        if person.role == Role::Agent {
            let session = connection.session.ok_or(Refusal::NoSession)?;
            return Ok(Found { session, directory: None });
        }
        let claimed = frame.claimed_session.as_deref().unwrap_or_default();
        let directory = self.directories.get(&person.user).cloned().unwrap_or_default();
        match directory.resolve(Some(claimed), SessionId::new(person.placement, fresh), now) {
            Resolved::Known(session) => Ok(Found { session, directory: None }),
            Resolved::Changed(session, directory) => {
                Ok(Found { session, directory: Some((person.user, directory)) })
            }
            // Only without a claim.
            Resolved::Nowhere => Err(Refusal::NoSession),
        }
    }

    /// Makes the session if it is new, and leaves the one before.
    pub(super) fn enter(
        &mut self,
        socket: Socket,
        found: Found,
        now: Timestamp,
    ) -> Result<Vec<Outgoing>, Refusal> {
        let Found { session, directory } = found;
        if !self.sessions.contains_key(&session) {
            self.make_room()?;
            let created = Session::new(session, Epoch(now.as_secs()));
            self.sessions.insert(session, Conversation::new(created));
        }
        if let Some((user, mut directory)) = directory {
            // One of them may just have made room.
            directory.entries.retain(|entry| self.sessions.contains_key(&entry.session));
            self.directories.insert(user, directory);
        }
        let before = self.session_of(socket);
        let elsewhere = before.is_some_and(|before| before != session);
        Ok(if elsewhere { self.detach(socket, now) } else { Vec::new() })
    }

    /// Attaches a connection to a session, and says what came with it.
    pub(super) fn attach(
        &mut self,
        socket: Socket,
        session: SessionId,
        frame: Option<&ClientFrame<'_>>,
        say: Option<Say>,
        now: Timestamp,
    ) -> Vec<Outgoing> {
        let Some(connection) = self.sockets.get_mut(&socket) else { return Vec::new() };
        let Some(person) = &connection.person else { return Vec::new() };
        let attach = Attach {
            connection: connection.id,
            user: person.user,
            role: person.role,
            display_name: person.display_name.clone(),
            claimed: frame.and_then(|frame| frame.claimed_session.clone()),
            client_time: frame.and_then(|frame| frame.time_ms),
            counter: connection.sent.saturating_sub(u64::from(say.is_some())),
            permissions: Permissions::ALL,
            client: None,
            existing: false,
        };
        connection.session = Some(session);
        let inputs = std::iter::once(InputKind::Attach(attach)).chain(say.map(InputKind::Say));
        self.decide(session, inputs.collect(), now)
    }

    /// Takes a connection out of its session, if it is in one.
    pub(super) fn detach(&mut self, socket: Socket, now: Timestamp) -> Vec<Outgoing> {
        let Some(connection) = self.sockets.get_mut(&socket) else { return Vec::new() };
        let Some(session) = connection.session.take() else { return Vec::new() };
        let delivered = (connection.written.0 > 0).then_some(connection.written);
        connection.written = stentor_types::EventNumber::NONE;
        let detach = InputKind::Detach { connection: connection.id, delivered };
        self.decide(session, vec![detach], now)
    }

    /// Ends the session that has been idle longest if there are as many as there may be.
    fn make_room(&mut self) -> Result<(), Refusal> {
        if self.sessions.len() < self.options.sessions_max {
            return Ok(());
        }
        let idle = self.sessions.iter().filter(|(_, conversation)| conversation.is_idle());
        let (ended, conversation) = idle
            .min_by_key(|(id, conversation)| (conversation.session.state().last_at, **id))
            .ok_or(Refusal::Full)?;
        let (ended, state) = (*ended, conversation.session.state());
        if let Some(deadline) = state.next_deadline() {
            self.due.remove(&(deadline, ended));
        }
        if let Some(visitor) = state.visitor
            && let Some(directory) = self.directories.get_mut(&visitor)
        {
            directory.entries.retain(|entry| entry.session != ended);
            if directory.entries.is_empty() {
                self.directories.remove(&visitor);
            }
        }
        self.sessions.remove(&ended);
        Ok(())
    }
}
