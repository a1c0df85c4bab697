//! Repeats which event of a session was the last, where fan-out may get lost: a gateway that missed the
//! last message of a conversation would otherwise never know.
//!
//! Holds one entry per session that was written to in the last seconds.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use prost::Message;
use stentor_cluster::Fanout;
use stentor_types::{Epoch, EventNumber, GatewayId};
use stentor_wire::{pb, session_to_bytes};
use tokio_util::sync::CancellationToken;

use crate::{Shared, actors::Key};

/// How often heads are repeated: what was lost is noticed within this time and a fetch.
const EVERY: Duration = Duration::from_secs(2);
/// How long a session's head is repeated: long enough for four repetitions to get lost.
const LASTING: Duration = Duration::from_secs(10);
/// Sessions in one message: some tens of kilobytes.
const TOGETHER_MAX: usize = 256;

/// The sessions whose heads are repeated.
#[derive(Debug, Default)]
pub(crate) struct Heads(Mutex<HashMap<Key, Entry>>);

#[derive(Debug)]
struct Entry {
    epoch: Epoch,
    n: EventNumber,
    receivers: BTreeMap<GatewayId, Vec<u64>>,
    at: Instant,
}

// === impl Heads ===

impl Heads {
    /// The session has this head now.
    pub(crate) fn note(
        &self,
        key: &Key,
        (epoch, n): (Epoch, EventNumber),
        receivers: BTreeMap<GatewayId, Vec<u64>>,
    ) {
        let entry = Entry { epoch, n, receivers, at: Instant::now() };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), entry);
    }

    /// What each gateway is to be told.
    fn due(&self) -> BTreeMap<GatewayId, Vec<pb::SessionHead>> {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|_, entry| entry.at.elapsed() < LASTING);
        let mut told: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (key, entry) in &*entries {
            for (gateway, connections) in &entry.receivers {
                told.entry(*gateway).or_default().push(pb::SessionHead {
                    app: key.app.as_str().to_owned(),
                    session: session_to_bytes(key.session),
                    epoch: entry.epoch.0,
                    n: entry.n.0,
                    connections: connections.clone(),
                });
            }
        }
        told
    }
}

/// Repeats heads until told to stop.
pub(crate) async fn run<L, S, B: Fanout>(shared: Arc<Shared<L, S, B>>, stop: CancellationToken) {
    if !B::LOSSY {
        return;
    }
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = stop.cancelled() => return,
        }
        for (gateway, heads) in shared.heads.due() {
            for heads in heads.chunks(TOGETHER_MAX) {
                let message = pb::Fanout { heads: heads.to_vec(), ..Default::default() };
                // One that finds no place comes again.
                let _ = shared.bus.publish(gateway, message.encode_to_vec().into());
            }
        }
    }
}
