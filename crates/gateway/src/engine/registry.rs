//! The sockets of this process, by number; and the wheel that pings them.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use super::{
    PING_EVERY,
    pace::Pace,
    slot::{Budget, Slot},
};

/// The wheel visits one shard per turn, so each socket once in [`PING_EVERY`].
const SHARDS: u32 = 50;

/// The sockets of this process.
#[derive(Debug)]
pub struct Registry<D> {
    shards: Vec<Mutex<HashMap<u64, Arc<Slot<D>>>>>,
    last: AtomicU64,
    open: AtomicUsize,
    budget: Arc<Budget>,
    pace: Arc<Pace<D>>,
}

// === impl Registry ===

impl<D> Registry<D> {
    /// None yet. `bytes_max` may wait for all of them together.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            last: AtomicU64::new(0),
            open: AtomicUsize::new(0),
            budget: Arc::new(Budget::new(bytes_max)),
            pace: Arc::new(Pace::new()),
        }
    }

    /// A new socket's slot, under a number that no other socket has had.
    pub fn open(&self) -> Arc<Slot<D>> {
        let number = self.last.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let slot = Arc::new(Slot::new(number, Arc::clone(&self.budget), Arc::clone(&self.pace)));
        if let Some(mut shard) = self.shard(number) {
            shard.insert(number, Arc::clone(&slot));
        }
        self.open.fetch_add(1, Ordering::Relaxed);
        slot
    }

    /// The socket is gone.
    pub fn remove(&self, number: u64) {
        if let Some(mut shard) = self.shard(number)
            && shard.remove(&number).is_some()
        {
            self.open.fetch_sub(1, Ordering::Relaxed);
            // A herd that has left must not keep its memory.
            if shard.capacity() > 64 && shard.len() < shard.capacity() / 4 {
                shard.shrink_to_fit();
            }
        }
    }

    /// The slot of a socket.
    #[must_use]
    pub fn get(&self, number: u64) -> Option<Arc<Slot<D>>> {
        self.shard(number)?.get(&number).cloned()
    }

    /// How many sockets there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// There are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that wait for all of them together.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        self.budget.used()
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Slot<D>>> {
        let mut all = Vec::with_capacity(self.len());
        for shard in &self.shards {
            all.extend(lock(shard).values().cloned());
        }
        all
    }

    /// Pings every socket in its turn and wakes busy ones, for ever. Without it, both do not happen.
    pub async fn tend(&self) {
        tokio::join!(self.turn_wheel(), self.pace.run());
    }

    async fn turn_wheel(&self) {
        let mut turns = tokio::time::interval(PING_EVERY / SHARDS);
        turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        for shard in self.shards.iter().cycle() {
            turns.tick().await;
            let slots: Vec<_> = lock(shard).values().cloned().collect();
            for slot in slots {
                slot.ping();
            }
        }
    }

    fn shard(&self, number: u64) -> Option<MutexGuard<'_, HashMap<u64, Arc<Slot<D>>>>> {
        let shard = usize::try_from(number % u64::from(SHARDS)).unwrap_or(0);
        self.shards.get(shard).map(lock)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
