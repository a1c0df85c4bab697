//! The sockets that are told of changes in the lists of their app.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use stentor_types::AppId;
use stentor_wire::pb;

use crate::{batch::Batch, engine::Registry};

/// Who watches, by app.
#[derive(Debug, Default)]
pub(crate) struct Watchers(Mutex<HashMap<AppId, HashSet<u64>>>);

// === impl Watchers ===

impl Watchers {
    pub(crate) fn add(&self, app: &AppId, socket: u64) {
        let mut watchers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        watchers.entry(app.clone()).or_default().insert(socket);
    }

    pub(crate) fn remove(&self, app: &AppId, socket: u64) {
        let mut watchers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sockets) = watchers.get_mut(app) {
            sockets.remove(&socket);
            if sockets.is_empty() {
                watchers.remove(app);
            }
        }
    }

    /// Leaves changes for those who watch. A socket without room is told that it missed something.
    pub(crate) fn tell(&self, sockets: &Registry<Arc<Batch>>, fanout: pb::Fanout) {
        let watchers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = AppId::try_new(&fanout.app).ok().and_then(|app| watchers.get(&app).cloned());
        drop(watchers);
        let Some(numbers) = known else { return };
        let batch = Arc::new(Batch::of_changes(fanout));
        for slot in numbers.into_iter().filter_map(|number| sockets.get(number)) {
            slot.push(batch.bytes, Arc::clone(&batch));
        }
    }
}
