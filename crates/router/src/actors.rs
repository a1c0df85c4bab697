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
};

use stentor_cluster::{Effects, Entity, EntityKind, Fanout, Log};
use stentor_store::Store;
use stentor_types::{AppId, SessionId};
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use crate::{
    Shared,
    actor::{self, Command},
};

/// Commands that may wait for one session. Overflow: the request is answered "try again".
const MAILBOX_MAX: usize = 64;

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
    tasks: TaskTracker,
    loading: Arc<AtomicUsize>,
}

// === impl Key ===

impl Key {
    pub(crate) fn entity(&self) -> Entity {
        Entity { app: self.app.clone(), kind: EntityKind::Session(self.session) }
    }
}

// === impl Actors ===

impl<L: Log, S: Store, B: Fanout + Effects> Actors<L, S, B> {
    pub(crate) fn new(shared: Arc<Shared<L, S, B>>) -> Self {
        Self {
            shared,
            mailboxes: Arc::default(),
            tasks: TaskTracker::new(),
            loading: Arc::default(),
        }
    }

    pub(crate) const fn shared(&self) -> &Arc<Shared<L, S, B>> {
        &self.shared
    }

    /// Puts a command into a session's mailbox, loading the session if need be.
    ///
    /// # Errors
    /// The command itself, when the mailbox is full.
    pub(crate) fn send(&self, key: &Key, command: Command) -> Result<(), Command> {
        let mut mailboxes = self.mailboxes.lock().unwrap_or_else(PoisonError::into_inner);
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
        let (actors, key) = (self.clone(), key.clone());
        self.tasks.spawn(async move {
            actor::run(&actors, key.clone(), commands).await;
            actors.ended(&key);
        });
        Ok(())
    }

    /// Wakes a session whose deadline has come; false if its mailbox is full.
    pub(crate) fn wake(&self, key: &Key) -> bool {
        self.send(key, Command::Tick).is_ok()
    }

    /// Waits until every actor has finished what it had begun. Mailboxes take nothing from now on.
    pub(crate) async fn stop(&self) {
        self.mailboxes.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Sessions that are being loaded just now.
    pub(crate) fn loading(&self) -> usize {
        self.loading.load(Ordering::Relaxed)
    }

    /// A session that was being loaded is in memory, or given up.
    pub(crate) fn loaded(&self) {
        self.loading.fetch_sub(1, Ordering::Relaxed);
    }

    fn ended(&self, key: &Key) {
        self.shared.metrics.actors_ended();
        let mut mailboxes = self.mailboxes.lock().unwrap_or_else(PoisonError::into_inner);
        // It may have been replaced already.
        if mailboxes.get(key).is_some_and(mpsc::Sender::is_closed) {
            mailboxes.remove(key);
        }
    }
}

impl<L, S, B> Clone for Actors<L, S, B> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            mailboxes: Arc::clone(&self.mailboxes),
            tasks: self.tasks.clone(),
            loading: Arc::clone(&self.loading),
        }
    }
}

impl<L, S, B> std::fmt::Debug for Actors<L, S, B> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Actors").finish_non_exhaustive()
    }
}
