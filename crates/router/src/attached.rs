//! Which sessions hold connections of which gateway, so that they can be told when it is gone.
//!
//! Holds one entry per session and gateway, for sessions in memory or not; they are as many as there are
//! connections. What a partition had is forgotten when somebody else serves it.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use stentor_cluster::{Effects, Fanout, Log, Ownership};
use stentor_store::Store;
use stentor_types::{GatewayId, Partition};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::{
    actor::Command,
    actors::{Actors, Key},
};

/// How often gateways are looked at. They are gone only after many times as long.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Sessions by gateway.
#[derive(Debug, Default)]
pub(crate) struct Attached(Mutex<HashMap<GatewayId, HashSet<Key>>>);

// === impl Attached ===

impl Attached {
    /// The session held connections of `before` and holds those of `now`.
    pub(crate) fn change(
        &self,
        key: &Key,
        before: &BTreeSet<GatewayId>,
        now: &BTreeSet<GatewayId>,
    ) {
        if before == now {
            return;
        }
        let mut gateways = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for gateway in before.difference(now) {
            if let Some(sessions) = gateways.get_mut(gateway) {
                sessions.remove(key);
                if sessions.is_empty() {
                    gateways.remove(gateway);
                }
            }
        }
        for gateway in now.difference(before) {
            gateways.entry(*gateway).or_default().insert(key.clone());
        }
    }

    /// Forgets the sessions of a partition.
    pub(crate) fn forget(&self, partition: Partition) {
        let mut gateways = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        gateways.retain(|_, sessions| {
            sessions.retain(|key| key.session.partition() != partition);
            !sessions.is_empty()
        });
    }

    fn gateways(&self) -> Vec<GatewayId> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
    }

    fn of(&self, gateway: GatewayId) -> Vec<Key> {
        let gateways = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        gateways.get(&gateway).into_iter().flatten().cloned().collect()
    }
}

/// Tells sessions of gateways that are gone, until told to stop. Whoever has no place for it now is told
/// with the next look.
pub(crate) async fn run<L: Log, S: Store, B: Fanout + Effects + Ownership>(
    actors: Actors<L, S, B>,
    stop: CancellationToken,
) {
    let mut known = HashSet::new();
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = stop.cancelled() => return,
        }
        let shared = actors.shared();
        let gateways = shared.attached.gateways();
        known.retain(|gateway| gateways.contains(gateway));
        for gateway in gateways.into_iter().filter(|gateway| shared.bus.is_gone(*gateway)) {
            let sessions = shared.attached.of(gateway);
            if known.insert(gateway) {
                info!(gateway = gateway.0, sessions = sessions.len(), "a gateway is gone");
            }
            for key in sessions {
                actors.wait_for_a_place().await;
                // One whose mailbox is full, or that is somebody else's by now, is left alone.
                let _ = actors.send(&key, Command::GatewayGone { gateway });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use stentor_types::{AppId, PlacementKey, SessionId};

    use super::*;

    #[test]
    fn a_session_is_known_by_the_gateways_that_it_holds_now() {
        let attached = Attached::default();
        let app = AppId::try_new("demo").unwrap();
        let key = |number| Key {
            app: app.clone(),
            session: SessionId::new(PlacementKey(number), number.into()),
        };
        let set = |numbers: &[u64]| numbers.iter().map(|number| GatewayId(*number)).collect();
        attached.change(&key(1), &set(&[]), &set(&[1, 2]));
        attached.change(&key(2), &set(&[]), &set(&[1]));
        attached.change(&key(1), &set(&[1, 2]), &set(&[2]));
        assert_eq!(attached.of(GatewayId(1)), [key(2)]);
        assert_eq!(attached.of(GatewayId(2)), [key(1)]);
        attached.forget(key(1).session.partition());
        assert_eq!(attached.gateways(), [GatewayId(1)]);
    }
}
