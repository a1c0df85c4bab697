//! Wakes sessions at their deadlines. The deadlines themselves are durable: they stand in the log.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use stentor_cluster::{Effects, Fanout, Log, Ownership};
use stentor_store::Store;
use stentor_types::Timestamp;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::actors::{Actors, Key};

/// Changes of deadlines that may wait. Overflow: the actor that sets one waits.
const CHANGES_MAX: usize = 4_096;
/// How often deadlines are looked at: they are whole seconds in practice.
const RESOLUTION: Duration = Duration::from_millis(50);

/// Sets deadlines. A clone is a handle to the same timers.
#[derive(Clone, Debug)]
pub(crate) struct Timers {
    changes: mpsc::Sender<(Key, Option<Timestamp>)>,
}

/// The task that wakes sessions.
#[derive(Debug)]
pub(crate) struct Due {
    changes: mpsc::Receiver<(Key, Option<Timestamp>)>,
    by_session: HashMap<Key, Timestamp>,
    by_time: BTreeSet<(Timestamp, Key)>,
}

// === impl Timers ===

impl Timers {
    pub(crate) fn new() -> (Self, Due) {
        let (sender, changes) = mpsc::channel(CHANGES_MAX);
        let due = Due { changes, by_session: HashMap::new(), by_time: BTreeSet::new() };
        (Self { changes: sender }, due)
    }

    /// Replaces the deadline of a session.
    pub(crate) async fn set(&self, key: Key, deadline: Option<Timestamp>) {
        // The receiver is gone only while the router stops.
        let _ = self.changes.send((key, deadline)).await;
    }
}

// === impl Due ===

impl Due {
    /// Wakes sessions until told to stop.
    ///
    /// Inputs of the loop:
    /// - changes: a session has another deadline;
    /// - the interval: time has passed;
    /// - stop: ends the loop.
    pub(crate) async fn run<L: Log, S: Store, B: Fanout + Effects + Ownership>(
        mut self,
        actors: Actors<L, S, B>,
        stop: CancellationToken,
    ) {
        let mut interval = tokio::time::interval(RESOLUTION);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                change = self.changes.recv() => {
                    let Some((key, deadline)) = change else { return };
                    self.set(key, deadline);
                }
                _ = interval.tick() => self.wake(&actors),
                () = stop.cancelled() => return,
            }
        }
    }

    fn set(&mut self, key: Key, deadline: Option<Timestamp>) {
        if let Some(before) = self.by_session.remove(&key) {
            self.by_time.remove(&(before, key.clone()));
        }
        if let Some(deadline) = deadline {
            self.by_time.insert((deadline, key.clone()));
            self.by_session.insert(key, deadline);
        }
    }

    fn wake<L: Log, S: Store, B: Fanout + Effects + Ownership>(
        &mut self,
        actors: &Actors<L, S, B>,
    ) {
        let now = actors.shared().clock.now();
        while let Some((deadline, key)) = self.by_time.first().cloned() {
            if deadline > now {
                return;
            }
            self.set(key.clone(), None);
            if !actors.wake(&key) {
                // Its mailbox is full, so it is awake; it is told again a little later.
                self.set(key, Some(now.after(RESOLUTION)));
            }
        }
    }
}
