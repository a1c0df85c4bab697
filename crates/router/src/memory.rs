//! How much memory sessions take, and who has to leave when it is too much.
//!
//! Every session in memory has a [`Room`], whose size it tells after each change. When all together are too large,
//! those that were used least lately are asked to leave, which they do between two commits and never while one,
//! or an attempt that no connector has taken, is open. They are loaded again when somebody asks for them.
//!
//! Sizes are estimates from above: of what a session holds, not of what the allocator makes of it. Overflow:
//! sessions that are to be loaded wait for a moment, then are loaded all the same; those at work cannot be asked to
//! leave, so the limit is exceeded by as much as is being worked on.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use stentor_postoffice::State;
use tokio::sync::Notify;

use crate::metrics::Metrics;

/// What sessions may take if nothing else is said.
pub(crate) const MEMORY_MAX: u64 = 1 << 30;
/// How long a session that is to be loaded waits for room.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A session with nothing in it: its task, mailbox, and places in maps.
const SESSION_BYTES: usize = 6 * 1024;
/// What one of each takes, keys and nodes of maps included.
const EVENT_BYTES: usize = 64;
const PERSON_BYTES: usize = 512;
const ENDPOINT_BYTES: usize = 384;
const CLIENT_BYTES: usize = 384;
const DEPARTED_BYTES: usize = 64;
const SEGMENT_BYTES: usize = 64;
const TEXT_BYTES: usize = 128;

/// All sessions in memory. A clone is a handle to the same ones.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    limit: u64,
    metrics: Metrics,
    rooms: Mutex<Rooms>,
}

#[derive(Debug, Default)]
struct Rooms {
    /// By when they were used last, of those that have not been asked to leave.
    by_use: BTreeMap<u64, (u64, Arc<Notify>)>,
    uses: u64,
    used: u64,
    /// Part of `used`: of those that were asked to leave and have not.
    leaving: u64,
}

/// What one session takes. Dropping it gives that back.
#[derive(Debug)]
pub(crate) struct Room {
    memory: Memory,
    used_at: u64,
    bytes: u64,
    leave: Arc<Notify>,
}

// === impl Memory ===

impl Memory {
    pub(crate) fn new(limit: u64, metrics: Metrics) -> Self {
        Self { shared: Arc::new(Shared { limit, metrics, rooms: Mutex::default() }) }
    }

    /// A place for a session that is about to be loaded. Waits for a moment while there is too little room.
    pub(crate) async fn room(&self) -> Room {
        let until = tokio::time::Instant::now() + PATIENCE;
        while self.is_over() && tokio::time::Instant::now() < until {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let mut room =
            Room { memory: self.clone(), used_at: 0, bytes: 0, leave: Arc::new(Notify::new()) };
        room.resize(SESSION_BYTES);
        room
    }

    fn is_over(&self) -> bool {
        self.rooms().used > self.shared.limit
    }

    fn rooms(&self) -> MutexGuard<'_, Rooms> {
        self.shared.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Rooms ===

impl Rooms {
    /// Asks as many to leave as have to, those used least lately first. Returns how many.
    fn make_room(&mut self, limit: u64) -> u64 {
        let mut asked = 0;
        while self.used.saturating_sub(self.leaving) > limit {
            let Some((_, (bytes, leave))) = self.by_use.pop_first() else { break };
            self.leaving = self.leaving.saturating_add(bytes);
            // Kept for one that does not wait for it just now.
            leave.notify_one();
            asked += 1;
        }
        asked
    }

    /// Takes a room out. It is among those that leave if it is not among the others.
    fn take_out(&mut self, used_at: u64, bytes: u64) {
        self.used = self.used.saturating_sub(bytes);
        if self.by_use.remove(&used_at).is_none() && used_at > 0 {
            self.leaving = self.leaving.saturating_sub(bytes);
        }
    }
}

// === impl Room ===

impl Room {
    /// The session was used, and takes so much now.
    pub(crate) fn resize(&mut self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let shared = Arc::clone(&self.memory.shared);
        let mut rooms = self.memory.rooms();
        rooms.take_out(self.used_at, self.bytes);
        rooms.uses += 1;
        self.used_at = rooms.uses;
        // What it was asked before it was used again counts no more.
        self.leave = Arc::new(Notify::new());
        self.bytes = bytes;
        rooms.used = rooms.used.saturating_add(bytes);
        rooms.by_use.insert(self.used_at, (bytes, Arc::clone(&self.leave)));
        let asked = rooms.make_room(shared.limit);
        shared.metrics.memory(rooms.used, asked);
    }

    /// Returns when the session is to leave. Cancel safe.
    pub(crate) async fn wanted(&self) {
        self.leave.notified().await;
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut rooms = self.memory.rooms();
        rooms.take_out(self.used_at, self.bytes);
        self.memory.shared.metrics.memory(rooms.used, 0);
    }
}

/// What a session takes in memory. `recent` are bytes and number of the events that it keeps.
pub(crate) fn weight(state: &State, (recent_bytes, recent): (usize, usize)) -> usize {
    let bodies = |bodies: &mut dyn Iterator<Item = &Bytes>| -> usize {
        bodies.map(|body| body.len() + TEXT_BYTES).sum()
    };
    let lines = state.covered.iter().flat_map(|covered| &covered.lines);
    [
        SESSION_BYTES,
        recent_bytes + recent * EVENT_BYTES,
        state.participants.len() * PERSON_BYTES,
        state.endpoints.len() * ENDPOINT_BYTES,
        state.clients.len() * CLIENT_BYTES,
        state.departed.len() * DEPARTED_BYTES,
        state.lapsed.len() * PERSON_BYTES,
        state.devices.values().map(|segments| (segments.len() + 1) * SEGMENT_BYTES).sum(),
        bodies(&mut state.queue.iter().map(|request| &request.body)),
        bodies(&mut state.turn.iter().map(|turn| &turn.request.body)),
        bodies(&mut state.drafts.values()),
        lines.map(|line| line.name.len() + line.text.len() + TEXT_BYTES).sum(),
    ]
    .into_iter()
    .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(limit: u64) -> Memory {
        Memory::new(limit, Metrics::new(&prometheus::Registry::new()).unwrap())
    }

    async fn is_wanted(room: &Room) -> bool {
        tokio::time::timeout(Duration::from_millis(1), room.wanted()).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn cluster_20_whoever_was_used_least_lately_leaves_first() {
        let size = u64::try_from(SESSION_BYTES).unwrap();
        let memory = memory(3 * size);
        let mut rooms = Vec::new();
        for _ in 0..3 {
            rooms.push(memory.room().await);
        }
        rooms[0].resize(SESSION_BYTES);
        let _fourth = memory.room().await;
        assert!(is_wanted(&rooms[1]).await, "it was used least lately");
        assert!(!is_wanted(&rooms[0]).await && !is_wanted(&rooms[2]).await);
    }

    #[tokio::test(start_paused = true)]
    async fn cluster_20_nobody_else_is_asked_for_what_is_about_to_be_free() {
        let size = u64::try_from(SESSION_BYTES).unwrap();
        let memory = memory(2 * size);
        let rooms = [memory.room().await, memory.room().await];
        let third = memory.room().await;
        assert!(is_wanted(&rooms[0]).await && !is_wanted(&rooms[1]).await);
        // It takes its time. What is waited for is its leaving.
        let begun = tokio::time::Instant::now();
        let [first, second] = rooms;
        let (fourth, ()) = tokio::join!(memory.room(), async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            drop(first);
        });
        assert!(begun.elapsed() >= Duration::from_millis(100));
        assert!(is_wanted(&second).await && !is_wanted(&third).await);
        drop((second, third, fourth));
        let rooms = memory.rooms();
        assert_eq!((rooms.used, rooms.leaving, rooms.by_use.len()), (0, 0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_used_again_before_it_has_left_is_counted_once() {
        let memory = memory(1);
        let mut room = memory.room().await;
        room.resize(100);
        room.resize(200);
        assert_eq!(memory.rooms().used, 200);
        drop(room);
        let rooms = memory.rooms();
        assert_eq!((rooms.used, rooms.leaving), (0, 0));
    }
}
