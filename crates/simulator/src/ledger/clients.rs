//! Client instances that number messages across connections: each number once, in order, without holes, and
//! a forgotten instance never begins anew.

use std::collections::{BTreeMap, BTreeSet};

use stentor_postoffice::{CLIENTS_MAX, State};
use stentor_types::{ClientInstance, Event, EventKind, EventNumber, Mid, SessionId, UserKey};

use super::ensure;
use crate::world::Violation;

/// The client instances of one session, and its legacy connections, which are no less.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    known: BTreeMap<ClientInstance, Known>,
    forgotten: BTreeSet<ClientInstance>,
    /// The last message taken from each legacy connection.
    connections: BTreeMap<ClientInstance, u64>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    user: UserKey,
    counter: u64,
    used: EventNumber,
}

// === impl Clients ===

impl Clients {
    pub(crate) fn happened(&mut self, event: &Event, id: SessionId) -> Result<(), Violation> {
        match &event.kind {
            EventKind::Attached { client: Some(client), user, .. } => {
                self.attached(event.n, *client, *user, id)
            }
            EventKind::Said(said) => {
                let of = self.known.get(&said.mid.client).is_none_or(|it| it.user == said.user);
                ensure(of, "S3", || format!("{id}: event {} under another's client", event.n))?;
                self.took(said.mid, event.n, id)
            }
            EventKind::Rejected { mid, .. } => self.took(*mid, event.n, id),
            _ => Ok(()),
        }
    }

    fn attached(
        &mut self,
        n: EventNumber,
        client: ClientInstance,
        user: UserKey,
        id: SessionId,
    ) -> Result<(), Violation> {
        ensure(!self.forgotten.contains(&client), "P2", || {
            format!("{id}: event {n}: {client:?} was forgotten, and is taken as new")
        })?;
        if let Some(known) = self.known.get_mut(&client) {
            known.used = n;
            return ensure(known.user == user, "S3", || format!("{id}: {n}: another's client"));
        }
        if self.known.len() >= CLIENTS_MAX {
            let oldest = self.known.iter().min_by_key(|(_, known)| known.used);
            // One that never said anything may come again as if it were new.
            if let Some((oldest, counter)) = oldest.map(|(client, known)| (*client, known.counter))
            {
                self.known.remove(&oldest);
                self.forgotten.extend((counter > 0).then_some(oldest));
            }
        }
        self.known.insert(client, Known { user, counter: 0, used: n });
        Ok(())
    }

    /// Messages are taken in the order in which they were sent, each once.
    fn took(&mut self, mid: Mid, n: EventNumber, id: SessionId) -> Result<(), Violation> {
        ensure(!self.forgotten.contains(&mid.client), "P2", || {
            format!("{id}: event {n}: a message of a client that was forgotten")
        })?;
        if let Some(known) = self.known.get_mut(&mid.client) {
            let before = std::mem::replace(&mut known.counter, mid.counter);
            known.used = n;
            return ensure(mid.counter == before + 1, "I6", || {
                format!("{id}: message {} of a client after {before}", mid.counter)
            });
        }
        // A connection counts on when its socket changes sessions.
        let before = self.connections.insert(mid.client, mid.counter);
        ensure(before.is_none_or(|before| mid.counter > before), "I6", || {
            format!("{id}: message {} of a connection after {before:?}", mid.counter)
        })
    }

    /// Whether it was told rightly that it is not known (any more).
    pub(crate) fn is_unknown(&self, client: ClientInstance) -> bool {
        !self.known.contains_key(&client)
    }

    /// The state agrees.
    pub(crate) fn check(&self, state: &State, id: SessionId) -> Result<(), Violation> {
        let found = state.clients.iter().map(|(id, it)| (*id, it.user, it.taken.counter));
        let expected = self.known.iter().map(|(id, it)| (*id, it.user, it.counter));
        ensure(found.eq(expected), "I10", || format!("{id}: clients {:?}", state.clients))?;
        let bounded = state.clients.values().all(|client| client.taken.recent.len() <= 16);
        ensure(bounded, "I15", || format!("{id}: the numbers of a client have no bound"))
    }
}
