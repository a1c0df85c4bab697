//! Which sessions are in memory, and how to reach them.
//!
//! An actor is a cache of its session's log: it may be dropped at any time between commits, and two
//! of them for a moment do no harm, since only one can win the compare-and-set.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use stentor_cluster::{Effects, Entity, EntityKind, Fanout, Log, Ownership};
use stentor_store::Store;
use stentor_types::{AppId, PARTITIONS, Partition, SessionId};
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use crate::{
    Shared,
    actor::{self, Command},
};

/// Commands that may wait for one session. Overflow: the request is answered "try again".
const MAILBOX_MAX: usize = 64;

/// Sessions that are loaded at the same time on the router's own account. Others wait for a place.
const LOADING_MAX: usize = 256;
/// How often a place is looked for.
const LOADING_PAUSE: Duration = Duration::from_millis(5);

/// A session within its app.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(crate) app: AppId,
    pub(crate) session: SessionId,
}

/// The sessions in memory. A clone is a handle to the same ones.
pub(crate) struct Actors<L, S, B> {
    shared: Arc<Shared<L, S, B>>,
    mailboxes: Arc<Mutex<HashMap<Key, mpsc::Sender<Command>>>>,
    /// Running sessions, by partition.
    tasks: Arc<[TaskTracker]>,
    loading: Arc<AtomicUsize>,
}

/// What a running session takes up. Dropping it gives that back, however the session ended.
pub(crate) struct Place<L, S, B> {
    actors: Actors<L, S, B>,
    key: Key,
    is_loading: bool,
}

// === impl Key ===

impl Key {
    pub(crate) fn entity(&self) -> Entity {
        Entity { app: self.app.clone(), kind: EntityKind::Session(self.session) }
    }
}

// === impl Actors ===

impl<L: Log, S: Store, B: Fanout + Effects + Ownership> Actors<L, S, B> {
    pub(crate) fn new(shared: Arc<Shared<L, S, B>>) -> Self {
        Self {
            shared,
            mailboxes: Arc::default(),
            tasks: (0..PARTITIONS).map(|_| TaskTracker::new()).collect(),
            loading: Arc::default(),
        }
    }

    pub(crate) const fn shared(&self) -> &Arc<Shared<L, S, B>> {
        &self.shared
    }

    /// Puts a command into a session's mailbox, loading the session if need be.
    ///
    /// # Errors
    /// The command itself, when the mailbox is full or the session is somebody else's.
    pub(crate) fn send(&self, key: &Key, command: Command) -> Result<(), Command> {
        let partition = key.session.partition();
        let Some(tasks) = self.tasks.get(usize::from(partition.number())) else {
            return Err(command);
        };
        let mut mailboxes = self.mailboxes.lock().unwrap_or_else(PoisonError::into_inner);
        // Asked under the lock: whoever gives the partition up empties the mailboxes afterwards.
        if !self.shared.served.has(partition) {
            return Err(command);
        }
        let mut command = command;
        if let Some(mailbox) = mailboxes.get(key) {
            match mailbox.try_send(command) {
                Ok(()) => return Ok(()),
                Err(mpsc::error::TrySendError::Full(back)) => return Err(back),
                Err(mpsc::error::TrySendError::Closed(back)) => command = back,
            }
        }
        let (mailbox, commands) = mpsc::channel(MAILBOX_MAX);
        mailbox.try_send(command).map_err(mpsc::error::TrySendError::into_inner)?;
        mailboxes.insert(key.clone(), mailbox);
        self.shared.metrics.actors_started();
        self.loading.fetch_add(1, Ordering::Relaxed);
        let mut place = Place { actors: self.clone(), key: key.clone(), is_loading: true };
        tasks.spawn(async move {
            let (actors, key) = (place.actors.clone(), place.key.clone());
            actor::run(&actors, key, commands, &mut place).await;
        });
        Ok(())
    }

    /// Wakes a session whose deadline has come; false if its mailbox is full. One that is somebody else's
    /// is theirs to wake.
    pub(crate) fn wake(&self, key: &Key) -> bool {
        let mine = self.shared.served.has(key.session.partition());
        !mine || self.send(key, Command::Tick).is_ok()
    }

    /// Serves a partition no longer: its mailboxes take nothing from now on. What is in them is still done,
    /// unless somebody else has the partition already.
    pub(crate) fn close(&self, partition: Partition) {
        self.shared.served.set(partition, false);
        let mut mailboxes = self.mailboxes.lock().unwrap_or_else(PoisonError::into_inner);
        mailboxes.retain(|key, _| key.session.partition() != partition);
        drop(mailboxes);
        self.shared.attached.forget(partition);
    }

    /// Waits until every session of a partition has finished what it had begun.
    pub(crate) async fn wait(&self, partition: Partition) {
        let Some(tasks) = self.tasks.get(usize::from(partition.number())) else { return };
        tasks.close();
        tasks.wait().await;
        tasks.reopen();
    }

    /// Closes all partitions and waits for them.
    pub(crate) async fn stop(&self) {
        for partition in Partition::all() {
            self.close(partition);
        }
        for partition in Partition::all() {
            self.wait(partition).await;
        }
    }

    /// Fewer sessions than may be loading at once are loading.
    pub(crate) fn has_a_place(&self) -> bool {
        self.loading.load(Ordering::Relaxed) < LOADING_MAX
    }

    /// Waits while as many sessions as may be loading at once are loading.
    pub(crate) async fn wait_for_a_place(&self) {
        while !self.has_a_place() {
            tokio::time::sleep(LOADING_PAUSE).await;
        }
    }
}

impl<L, S, B> Actors<L, S, B> {
    fn ended(&self, key: &Key) {
        self.shared.metrics.actors_ended();
        let mut mailboxes = self.mailboxes.lock().unwrap_or_else(PoisonError::into_inner);
        // It may have been replaced already.
        if mailboxes.get(key).is_some_and(mpsc::Sender::is_closed) {
            mailboxes.remove(key);
        }
    }
}

// === impl Place ===

impl<L, S, B> Place<L, S, B> {
    /// The session is in memory, or given up.
    pub(crate) fn loaded(&mut self) {
        if std::mem::take(&mut self.is_loading) {
            self.actors.loading.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl<L, S, B> Drop for Place<L, S, B> {
    fn drop(&mut self) {
        self.loaded();
        self.actors.ended(&self.key);
    }
}

impl<L, S, B> Clone for Actors<L, S, B> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            mailboxes: Arc::clone(&self.mailboxes),
            tasks: Arc::clone(&self.tasks),
            loading: Arc::clone(&self.loading),
        }
    }
}

impl<L, S, B> std::fmt::Debug for Actors<L, S, B> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Actors").finish_non_exhaustive()
    }
}
