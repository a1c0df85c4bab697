//! Who is here: connections come and go, people leave when their grace is over and not before.

use std::collections::BTreeMap;

use stentor_postoffice::{CROWD_EVERY, Rules, State};
use stentor_types::{
    Audience, ConnectionId, Event, EventKind, Permissions, Role, SessionId, Timestamp, UserKey,
};

use super::ensure;
use crate::world::{CROWD, Violation};

/// The people of one session.
#[derive(Debug, Default)]
pub(crate) struct Presence {
    connections: BTreeMap<ConnectionId, Place>,
    people: BTreeMap<UserKey, Person>,
    visitor: Option<UserKey>,
    /// Comings and goings that have not been told, since when, and when the last count was.
    untold: Option<(u32, u32, Timestamp)>,
    counted_at: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    user: UserKey,
    permissions: Permissions,
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
        // Agents come and go without a trace: visitors see them when they step in.
        let trace = |role: Role| {
            ensure((role == Role::Agent) == (event.audience == Audience::Staff), "I20", || {
                format!(
                    "{id}: event {n}: a visitor or agent comes or goes for {:?}",
                    event.audience
                )
            })
        };
        match &event.kind {
            EventKind::Opened { visitor, .. } => {
                self.visitor = Some(*visitor);
                Ok(())
            }
            EventKind::Joined { user, role, counted, .. } => {
                trace(*role)?;
                one_of_many(event, *role, *counted, self.people.len() + 1, id)?;
                if *counted {
                    self.untold.get_or_insert((0, 0, at)).0 += 1;
                }
                let own = self.visitor == Some(*user);
                ensure(own == (*role == Role::Visitor), "S3", || {
                    format!("{id}: event {n}: {role:?} is somebody else's part")
                })?;
                let before = self.people.insert(*user, Person { role: *role, leaves: None });
                ensure(before.is_none(), "I22", || format!("{id}: event {n} joins twice"))
            }
            EventKind::Attached { connection, user, permissions, .. } => {
                let place = Place { user: *user, permissions: *permissions };
                self.connections.insert(*connection, place);
                if let Some(person) = self.people.get_mut(user) {
                    person.leaves = None;
                }
                ensure(self.people.contains_key(user), "I22", || format!("{id}: {n} by nobody"))
            }
            EventKind::Detached { connection, leaves_at, .. } => {
                let user = self.connections.remove(connection).map(|place| place.user);
                ensure(user.is_some(), "I22", || format!("{id}: event {n} of no connection"))?;
                self.gone(user, at, *leaves_at, rules, id)
            }
            EventKind::GatewayLost { gateway, leaves_at } => {
                let lost: Vec<_> = self
                    .connections
                    .iter()
                    .filter(|(connection, _)| connection.gateway == *gateway)
                    .map(|(connection, place)| (*connection, place.user))
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
            EventKind::Left { user, counted, .. } => {
                let role = self.people.get(user).map_or(Role::Visitor, |person| person.role);
                one_of_many(event, role, *counted, self.people.len(), id)?;
                if *counted {
                    self.untold.get_or_insert((0, 0, at)).1 += 1;
                }
                let person = self.people.remove(user);
                person.map_or(Ok(()), |person| trace(person.role))?;
                let may =
                    person.and_then(|person| person.leaves).is_some_and(|leaves| leaves <= at);
                ensure(may, "I22", || format!("{id}: event {n}: {person:?} leaves at {at}"))?;
                Ok(())
            }
            EventKind::Crowd { total, joined, left } => {
                let there = u32::try_from(self.people.len()).unwrap_or(u32::MAX);
                let told = self.untold.take();
                let true_count = told.map(|(came, went, _)| (there, came, went));
                ensure(true_count == Some((*total, *joined, *left)), "R20", || {
                    format!("{id}: event {n} counts {total}, +{joined} -{left}, not {true_count:?}")
                })?;
                let last = self.counted_at.replace(at);
                let since = told.map(|(.., since)| since).into_iter().chain(last).max();
                let early = since.is_some_and(|since| at < since.after(CROWD_EVERY));
                ensure(!early, "R20", || format!("{id}: event {n} counts again after {since:?}"))
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
        if self.connections.values().any(|place| place.user == user) {
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

    pub(crate) const fn visitor(&self) -> Option<UserKey> {
        self.visitor
    }

    /// Whether somebody is an agent who is here and may do more than listen.
    pub(crate) fn may_work(&self, user: UserKey) -> bool {
        self.people.get(&user).is_some_and(|person| person.role == Role::Agent)
            && self
                .connections
                .values()
                .any(|place| place.user == user && place.permissions == Permissions::ALL)
    }

    /// Whether somebody's grace is over.
    pub(crate) fn may_leave(&self, user: UserKey, at: Timestamp) -> bool {
        let leaves = self.people.get(&user).and_then(|person| person.leaves);
        leaves.is_some_and(|leaves| leaves <= at)
    }

    /// When the next one leaves, or is counted.
    pub(crate) fn due(&self) -> Option<Timestamp> {
        let told = self.untold.map(|(.., since)| since.after(CROWD_EVERY));
        self.people.values().filter_map(|person| person.leaves).chain(told).min()
    }

    /// Whose a connection is, if it may do more than listen.
    pub(crate) fn speaker(&self, connection: ConnectionId) -> Option<UserKey> {
        let place = self.connections.get(&connection)?;
        place.permissions.sends.then_some(place.user)
    }

    /// The state agrees.
    pub(crate) fn check(&self, state: &State, id: SessionId) -> Result<(), Violation> {
        let connections = state.endpoints.iter().map(|(id, at)| (*id, at.user, at.permissions));
        let expected = self.connections.iter().map(|(id, at)| (*id, at.user, at.permissions));
        ensure(connections.eq(expected), "I10", || format!("{id}: connections"))?;
        let people = state.participants.iter().map(|(user, person)| (user, person.leaves_at));
        let expected = self.people.iter().map(|(user, person)| (user, person.leaves));
        ensure(people.eq(expected), "I22", || {
            format!("{id}: {:?}, expected {:?}", state.participants, self.people)
        })
    }
}

/// Where many take part, agents are counted, and nobody else is.
fn one_of_many(
    event: &Event,
    role: Role,
    counted: bool,
    there: usize,
    id: SessionId,
) -> Result<(), Violation> {
    ensure(counted == (role == Role::Agent && there > CROWD), "R20", || {
        format!("{id}: event {}: {role:?}, one of {there}, counted: {counted}", event.n)
    })
}
