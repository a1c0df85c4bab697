//! The sockets that are told of changes in the lists of their app.
//!
//! Each router counts what it tells. Whatever a number is missing of may have been a change in any list: all that
//! watch are told that they missed something.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use stentor_types::AppId;
use stentor_wire::pb;

use crate::{batch::Batch, engine::Registry};

/// Lives of routers whose numbers are remembered. Overflow: all are forgotten, and whoever watches reads its lists
/// again at the next word of each.
const ROUTERS_MAX: usize = 1_024;

/// Who watches, by app.
#[derive(Debug, Default)]
pub(crate) struct Watchers {
    sockets: Mutex<HashMap<AppId, HashSet<u64>>>,
    /// How much each router had told when it last said so.
    told: Mutex<HashMap<u64, u64>>,
}

// === impl Watchers ===

impl Watchers {
    pub(crate) fn add(&self, app: &AppId, socket: u64) {
        let mut watchers = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        watchers.entry(app.clone()).or_default().insert(socket);
    }

    pub(crate) fn remove(&self, app: &AppId, socket: u64) {
        let mut watchers = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sockets) = watchers.get_mut(app) {
            sockets.remove(&socket);
            if sockets.is_empty() {
                watchers.remove(app);
            }
        }
    }

    /// Leaves changes for those who watch. A socket without room is told that it missed something.
    pub(crate) fn tell(&self, sockets: &Registry<Arc<Batch>>, fanout: pb::Fanout) {
        if self.has_missed(&fanout) {
            let watchers = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
            let all: Vec<_> = watchers.values().flatten().copied().collect();
            drop(watchers);
            push(sockets, all, pb::Fanout { listed_missed: true, ..Default::default() });
        }
        if fanout.listed.is_empty() && !fanout.listed_missed {
            return;
        }
        let watchers = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        let known = AppId::try_new(&fanout.app).ok().and_then(|app| watchers.get(&app).cloned());
        drop(watchers);
        push(sockets, known.into_iter().flatten(), fanout);
    }

    /// Whether the router has told something that did not come. What comes again or late is no loss.
    fn has_missed(&self, fanout: &pb::Fanout) -> bool {
        let (router, number) = (fanout.listed_by, fanout.listed_number);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let known = told.get(&router).copied().unwrap_or(0);
        if number <= known {
            return false;
        }
        if told.len() >= ROUTERS_MAX && !told.contains_key(&router) {
            told.clear();
        }
        told.insert(router, number);
        fanout.listed.is_empty() || number > known + 1
    }
}

fn push(
    sockets: &Registry<Arc<Batch>>,
    numbers: impl IntoIterator<Item = u64>,
    fanout: pb::Fanout,
) {
    let batch = Arc::new(Batch::of_changes(fanout));
    for slot in numbers.into_iter().filter_map(|number| sockets.get(number)) {
        slot.push(batch.bytes, Arc::clone(&batch));
    }
}
