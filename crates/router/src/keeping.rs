//! How what has left the log is kept: which of two ways this router goes.
//!
//! A log of its own is emptied into the store record by record (`retention`). A shared log forgets by
//! age, so everything in it is copied to the store as it comes (`projector`).

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use stentor_cluster::{LogError, PartitionLog};
use stentor_types::Partition;
use tokio::time::Instant;

use crate::projector::Backlog;

/// How long a store that was too slow is not asked again: sessions that are loaded one after the other must
/// not each wait for it.
const QUIET: Duration = Duration::from_secs(2);

/// Whether everything that the log has forgotten of a partition is in the store.
type Seen<L> = for<'a> fn(
    &'a L,
    Partition,
) -> Pin<Box<dyn Future<Output = Result<bool, LogError>> + Send + 'a>>;

/// How what has left the log is kept.
pub(crate) struct Keeping<L> {
    /// What is to be written to the store; nothing if that is not done as it comes.
    backlog: Option<Arc<Backlog>>,
    /// Nothing: the log forgets only what it is told to, once the store has it.
    seen: Option<Seen<L>>,
    /// Until when the store is not asked for what can be done without.
    quiet: Mutex<Option<Instant>>,
}

// === impl Keeping ===

impl<L> Keeping<L> {
    /// Old records are moved.
    pub(crate) const fn moved() -> Self {
        Self { backlog: None, seen: None, quiet: Mutex::new(None) }
    }

    /// What is to be written to the store, if it is written as it comes.
    pub(crate) const fn backlog(&self) -> Option<&Arc<Backlog>> {
        self.backlog.as_ref()
    }

    /// The log forgets by age, and is shared with others.
    pub(crate) const fn is_shared(&self) -> bool {
        self.seen.is_some()
    }

    /// The store does not answer, as far as is known from what was last written to it and read from it.
    pub(crate) fn store_is_down(&self) -> bool {
        let quiet = *self.quiet.lock().unwrap_or_else(PoisonError::into_inner);
        quiet.is_some_and(|until| until > Instant::now())
            || self.backlog.as_ref().is_some_and(|backlog| backlog.is_down())
    }

    /// The store has not answered in time.
    pub(crate) fn store_was_late(&self) {
        let mut quiet = self.quiet.lock().unwrap_or_else(PoisonError::into_inner);
        *quiet = Some(Instant::now() + QUIET);
    }

    /// Whether everything that the log has forgotten of a partition is in the store.
    pub(crate) async fn seen(&self, log: &L, partition: Partition) -> Result<bool, LogError> {
        match self.seen {
            Some(seen) => seen(log, partition).await,
            None => Ok(true),
        }
    }
}

impl<L: PartitionLog> Keeping<L> {
    /// Everything is copied to the store as it comes; nothing is, if there is no store to speak of.
    pub(crate) fn shared(store: bool) -> Self {
        let backlog = store.then(|| Arc::new(Backlog::default()));
        let seen: Seen<L> = |log, partition| Box::pin(seen(log, partition));
        Self { backlog, seen: Some(seen), quiet: Mutex::new(None) }
    }
}

impl<L> fmt::Debug for Keeping<L> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Keeping").field("shared", &self.is_shared()).finish_non_exhaustive()
    }
}

/// All before the cursor is in the store, all before the first sequence has been forgotten.
async fn seen<L: PartitionLog>(log: &L, partition: Partition) -> Result<bool, LogError> {
    // In this order: the first sequence may grow, but never beyond what the cursor is by then.
    let first = log.first().await?;
    let cursor = log.cursor(partition).await?;
    Ok(cursor.is_some_and(|cursor| cursor >= first))
}
