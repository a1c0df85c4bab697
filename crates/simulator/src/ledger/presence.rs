//! Who is here: connections come and go, people leave when their grace is over and not before.

use std::collections::BTreeMap;

use stentor_postoffice::{Rules, State};
use stentor_types::{ConnectionId, Event, EventKind, Role, SessionId, Timestamp, UserKey};

use super::ensure;
use crate::world::Violation;

/// The people of one session.
#[derive(Debug, Default)]
pub(crate) struct Presence {
    connections: BTreeMap<ConnectionId, UserKey>,
    people: BTreeMap<UserKey, Person>,
}

#[derive(Clone, Copy, Debug)]
struct Person {
    role: Role,
    /// When they may leave, while they have no connection.
    leaves: Option<Timestamp>,
}

// === impl Presence ===

impl Presence {
    pub(crate) fn happened(
        &mut self,
        event: &Event,
        at: Timestamp,
        rules: &Rules,
        id: SessionId,
    ) -> Result<(), Violation> {
        let n = event.n;
        match &event.kind {
            EventKind::Joined { user, role, .. } => {
                let before = self.people.insert(*user, Person { role: *role, leaves: None });
                ensure(before.is_none(), "I22", || format!("{id}: event {n} joins twice"))
            }
            EventKind::Attached { connection, user, .. } => {
                self.connections.insert(*connection, *user);
                if let Some(person) = self.people.get_mut(user) {
                    person.leaves = None;
                }
                ensure(self.people.contains_key(user), "I22", || format!("{id}: {n} by nobody"))
            }
            EventKind::Detached { connection, leaves_at, .. } => {
                let user = self.connections.remove(connection);
                ensure(user.is_some(), "I22", || format!("{id}: event {n} of no connection"))?;
                self.gone(user, at, *leaves_at, rules, id)
            }
            EventKind::GatewayLost { gateway, leaves_at } => {
                let lost: Vec<_> = self
                    .connections
                    .iter()
                    .filter(|(connection, _)| connection.gateway == *gateway)
                    .map(|(connection, user)| (*connection, *user))
                    .collect();
                ensure(!lost.is_empty(), "I22", || format!("{id}: event {n} loses nobody"))?;
                for (connection, _) in &lost {
                    self.connections.remove(connection);
                }
                for (_, user) in lost {
                    self.gone(Some(user), at, *leaves_at, rules, id)?;
                }
                Ok(())
            }
            EventKind::Left { user, .. } => {
                let person = self.people.remove(user);
                let may =
                    person.and_then(|person| person.leaves).is_some_and(|leaves| leaves <= at);
                ensure(may, "I22", || format!("{id}: event {n}: {person:?} leaves at {at}"))?;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn gone(
        &mut self,
        user: Option<UserKey>,
        at: Timestamp,
        leaves_at: Timestamp,
        rules: &Rules,
        id: SessionId,
    ) -> Result<(), Violation> {
        let Some(user) = user else { return Ok(()) };
        if self.connections.values().any(|other| *other == user) {
            return Ok(());
        }
        let Some(person) = self.people.get_mut(&user) else { return Ok(()) };
        let grace = match person.role {
            Role::Visitor => rules.visitor_grace,
            Role::Agent => rules.agent_grace,
        };
        person.leaves = Some(leaves_at);
        ensure(leaves_at >= at.after(grace), "I22", || format!("{id}: grace of {grace:?} is cut"))
    }

    /// The state agrees.
    pub(crate) fn check(&self, state: &State, id: SessionId) -> Result<(), Violation> {
        let connections = state.endpoints.iter().map(|(id, endpoint)| (id, &endpoint.user));
        ensure(connections.eq(self.connections.iter()), "I10", || format!("{id}: connections"))?;
        let people = state.participants.iter().map(|(user, person)| (user, person.leaves_at));
        let expected = self.people.iter().map(|(user, person)| (user, person.leaves));
        ensure(people.eq(expected), "I22", || {
            format!("{id}: {:?}, expected {:?}", state.participants, self.people)
        })
    }
}
