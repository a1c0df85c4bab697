//! Gateways that had no room for what a commit told them: they learn later that they missed something, even if
//! nothing more happens.
//!
//! Knows nothing of what was missed: a gateway that is told how far a session is fetches what it lacks.
//!
//! Overflow: of more than [`SESSIONS_MAX`] sessions of one gateway none is named any more; it is told that it missed
//! more than can be named, and all its sockets look. There are as many gateways as have connections.

use std::{
    collections::{BTreeMap, HashMap},
    mem,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use prost::Message;
use stentor_cluster::{Fanout, PublishOutcome};
use stentor_types::GatewayId;
use stentor_wire::pb;
use tokio_util::sync::CancellationToken;

use crate::{Shared, actors::Key};

/// How often it is tried to tell them.
const EVERY: Duration = Duration::from_secs(2);
/// Sessions of one gateway that are named. For more, a round of all its sockets is no more work than their fetches.
const SESSIONS_MAX: usize = 1_024;
/// Sessions in one message: some tens of kilobytes.
const TOGETHER_MAX: usize = 256;

/// What gateways have to be told.
#[derive(Debug, Default)]
pub(crate) struct Untold(Mutex<BTreeMap<GatewayId, Lacks>>);

#[derive(Debug)]
enum Lacks {
    Sessions(HashMap<Key, pb::SessionHead>),
    TooMany,
}

// === impl Untold ===

impl Untold {
    /// The gateway does not know that the session has come so far.
    pub(crate) fn note(&self, gateway: GatewayId, key: &Key, head: pb::SessionHead) {
        let mut gateways = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lacks = gateways.entry(gateway).or_insert_with(|| Lacks::Sessions(HashMap::new()));
        let Lacks::Sessions(sessions) = lacks else { return };
        if sessions.len() < SESSIONS_MAX || sessions.contains_key(key) {
            sessions.insert(key.clone(), head);
        } else {
            *lacks = Lacks::TooMany;
        }
    }

    /// Tells those that have room by now.
    fn tell<B: Fanout>(&self, bus: &B) {
        let all = mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        for (gateway, lacks) in all {
            match lacks {
                Lacks::TooMany => {
                    let message = pb::Fanout { missed: true, ..Default::default() };
                    let message = message.encode_to_vec().into();
                    if bus.publish(gateway, message) == PublishOutcome::Full {
                        self.put_back(gateway, Lacks::TooMany);
                    }
                }
                Lacks::Sessions(sessions) => self.tell_sessions(bus, gateway, sessions),
            }
        }
    }

    fn tell_sessions<B: Fanout>(
        &self,
        bus: &B,
        gateway: GatewayId,
        sessions: HashMap<Key, pb::SessionHead>,
    ) {
        let mut left: Vec<_> = sessions.into_iter().collect();
        while !left.is_empty() {
            let some = left.split_off(left.len().saturating_sub(TOGETHER_MAX));
            let heads = some.iter().map(|(_, head)| head.clone()).collect();
            let message = pb::Fanout { heads, ..Default::default() };
            if bus.publish(gateway, message.encode_to_vec().into()) == PublishOutcome::Full {
                left.extend(some);
                return self.put_back(gateway, Lacks::Sessions(left.into_iter().collect()));
            }
        }
    }

    /// What has been noted meanwhile is newer.
    fn put_back(&self, gateway: GatewayId, lacks: Lacks) {
        let Lacks::Sessions(sessions) = lacks else {
            let mut gateways = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            gateways.insert(gateway, Lacks::TooMany);
            return;
        };
        let newer = {
            let mut gateways = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            gateways.insert(gateway, Lacks::Sessions(sessions))
        };
        match newer {
            None => {}
            Some(Lacks::TooMany) => self.put_back(gateway, Lacks::TooMany),
            Some(Lacks::Sessions(newer)) => {
                newer.into_iter().for_each(|(key, head)| self.note(gateway, &key, head));
            }
        }
    }
}

/// Tells until told to stop.
pub(crate) async fn run<L, S, B: Fanout>(shared: Arc<Shared<L, S, B>>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => shared.untold.tell(&*shared.bus),
            () = stop.cancelled() => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use bytes::Bytes;
    use stentor_types::{AppId, PlacementKey, SessionId};

    use super::*;

    const GATEWAY: GatewayId = GatewayId(1);

    /// Takes so many messages, and keeps them.
    #[derive(Debug, Default)]
    struct Narrow {
        room: AtomicUsize,
        taken: Mutex<Vec<pb::Fanout>>,
    }

    impl Fanout for Narrow {
        fn publish(&self, _: GatewayId, message: Bytes) -> PublishOutcome {
            let take = |room: usize| room.checked_sub(1);
            if self.room.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_err() {
                return PublishOutcome::Full;
            }
            self.taken.lock().unwrap().push(pb::Fanout::decode(message).unwrap());
            PublishOutcome::Sent
        }

        fn gateways(&self) -> Vec<GatewayId> {
            vec![GATEWAY]
        }

        fn is_gone(&self, _: GatewayId) -> bool {
            false
        }
    }

    fn note(untold: &Untold, session: u64, n: u64) {
        let app = AppId::try_new("demo").unwrap();
        let key = Key { app, session: SessionId::new(PlacementKey(session), 0) };
        untold.note(GATEWAY, &key, pb::SessionHead { epoch: session, n, ..Default::default() });
    }

    /// What the gateway has been told of sessions, in order.
    fn told(bus: &Narrow) -> Vec<(u64, u64)> {
        let taken = bus.taken.lock().unwrap();
        let heads = taken.iter().flat_map(|fanout| &fanout.heads);
        let mut told: Vec<_> = heads.map(|head| (head.epoch, head.n)).collect();
        told.sort_unstable();
        told
    }

    #[test]
    fn i15_a_gateway_without_room_is_told_once_how_far_each_session_is() {
        let (untold, bus) = (Untold::default(), Narrow::default());
        (1..=300).for_each(|session| note(&untold, session, 1));
        untold.tell(&bus);
        assert_eq!(told(&bus), []);
        note(&untold, 7, 2);
        bus.room.store(1, Ordering::SeqCst);
        untold.tell(&bus);
        bus.room.store(10, Ordering::SeqCst);
        untold.tell(&bus);
        untold.tell(&bus);
        let all: Vec<_> = (1..=300).map(|session| (session, 1 + u64::from(session == 7))).collect();
        assert_eq!(told(&bus), all);
        assert_eq!(bus.taken.lock().unwrap().len(), 2);
    }

    #[test]
    fn i15_a_gateway_that_missed_more_than_is_kept_is_told_that_it_missed_something() {
        let (untold, bus) = (Untold::default(), Narrow::default());
        (0..=SESSIONS_MAX as u64).for_each(|session| note(&untold, session, 1));
        untold.tell(&bus);
        note(&untold, 1, 2);
        bus.room.store(10, Ordering::SeqCst);
        untold.tell(&bus);
        untold.tell(&bus);
        let taken = bus.taken.lock().unwrap();
        assert!(matches!(&taken[..], [pb::Fanout { missed: true, .. }]), "{}", taken.len());
    }
}
