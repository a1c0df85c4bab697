//! The router: owns partitions, runs the session logic, commits, fans out.
//!
//! A request reaches the actor of its session; the actor lets the core decide; the committer gathers
//! the commits of many sessions into one write; and only when the log has them does anything leave:
//! answers, fan-out, attempts to ask a bot. What is kept in memory is a cache of the log.
//!
//! Knows nothing of sockets, of JSON or of how the log is stored.

mod actor;
mod actors;
mod attached;
mod caught;
mod clock;
mod committer;
mod directories;
mod dispatch;
mod fresh;
mod heads;
mod history;
mod hops;
mod keeping;
mod later;
mod letters;
mod listed;
mod lists;
mod load;
mod memory;
mod metrics;
mod partitions;
mod projector;
mod random;
mod request;
mod retention;
mod rules;
mod searching;
mod served;
mod settle;
mod startup;
mod timers;
mod trials;
mod untold;

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use stentor_apps::AppSet;
use stentor_cluster::{
    Effects, Fanout, IngressRequest, Log, Ownership, OwnershipChange, PartitionLog,
};
use stentor_store::{SessionRow, Store, StoreError};
use stentor_types::{Input, Partition};
use stentor_wire::LOGIC;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use tracing::error;

use self::{
    actors::{Actors, Key},
    caught::caught,
    committer::Committer,
    directories::Directories,
    dispatch::Dispatcher,
    keeping::Keeping,
    metrics::Metrics,
    random::Random,
    timers::Timers,
};
pub use self::{clock::Clock, committer::CommitLimits, later::Later};

/// Looks at an input before it is decided about.
pub type FailPoint = Arc<dyn Fn(&Input) + Send + Sync>;

/// How long a session waits for the store while it is loaded. Without it, it does with what the log has.
const STORE_PATIENCE: Duration = Duration::from_millis(500);

/// What can be set about a router.
#[derive(Clone)]
pub struct Config {
    /// How commits of different sessions are gathered.
    pub commits: CommitLimits,
    /// Where time comes from.
    pub clock: Clock,
    /// Called with each input before it is decided: lets fault tests make one input panic.
    pub fail_point: Option<FailPoint>,
    /// Where what the log forgets is kept.
    pub history: History,
    /// By which version of the rules this router decides; what needs a higher one is not its own.
    pub logic: u32,
    /// What this version writes that the one before did not, once nobody of that version is left.
    pub later: Option<Arc<dyn Later>>,
    /// What the sessions in memory may take together, in bytes. Beyond it those leave that were used least lately.
    pub memory_max: u64,
}

/// Where what a shared log forgets is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum History {
    /// In the store: the log forgets nothing that is not there.
    #[default]
    Store,
    /// Nowhere: the log forgets by age alone, and a session that it has forgotten begins anew.
    Nowhere,
}

/// A router could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A metric of the same name is registered already.
    #[error("failed to register a metric")]
    Metrics(#[from] prometheus::Error),
    /// The operating system has no random numbers.
    #[error("failed to draw random numbers from the operating system")]
    Random(#[from] getrandom::Error),
}

/// The router cannot go on: what the log promised may no longer be believed.
#[derive(Debug, thiserror::Error)]
#[error(
    "the log, or a part of the router, has failed; start again to recover from what is on disk"
)]
pub struct LogFailed;

/// Everything that the parts of a router share.
pub(crate) struct Shared<L, S, B> {
    pub(crate) log: Arc<L>,
    pub(crate) store: Arc<S>,
    pub(crate) bus: Arc<B>,
    pub(crate) apps: watch::Receiver<Arc<AppSet>>,
    pub(crate) committer: Committer,
    pub(crate) timers: Timers,
    pub(crate) clock: Clock,
    pub(crate) lists: lists::Lists,
    pub(crate) served: served::Served,
    pub(crate) keeping: Keeping<L>,
    pub(crate) fresh: fresh::Fresh,
    pub(crate) attached: attached::Attached,
    pub(crate) heads: heads::Heads,
    pub(crate) untold: untold::Untold,
    pub(crate) hops: hops::Hops,
    pub(crate) trials: trials::Trials,
    pub(crate) memory: memory::Memory,
    pub(crate) random: Random,
    pub(crate) metrics: Metrics,
    pub(crate) fail_point: Option<FailPoint>,
    pub(crate) logic: u32,
    pub(crate) later: Option<Arc<dyn Later>>,
    /// Names this life of the router in its commits.
    pub(crate) writer: u64,
    /// Cancelled when the log has failed for good, or a part of the router is lost.
    pub(crate) failed: CancellationToken,
}

/// Keeps what leaves the log until it is told to stop.
type Keeper<L, S, B> =
    fn(Actors<L, S, B>, CancellationToken) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// Begins what runs beside the sessions. A part that panics would be missed by nobody: the router would look
/// well and, say, never wake a session again. So it ends, and is started anew.
struct Begin(CancellationToken);

/// A router over a log, a store and a bus.
pub struct Router<L, S, B> {
    actors: Actors<L, S, B>,
    timers_due: timers::Due,
    committer: committer::Gatherer,
    keeper: Keeper<L, S, B>,
}

// === impl Config ===

impl Default for Config {
    fn default() -> Self {
        Self {
            commits: CommitLimits::default(),
            clock: Clock::system(),
            fail_point: None,
            history: History::Store,
            logic: LOGIC,
            later: None,
            memory_max: memory::MEMORY_MAX,
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut config = formatter.debug_struct("Config");
        config.field("commits", &self.commits).field("history", &self.history);
        config.finish_non_exhaustive()
    }
}

// === impl Begin ===

impl Begin {
    fn part(
        &self,
        name: &'static str,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> JoinHandle<()> {
        let Self(failed) = self;
        let failed = failed.clone();
        tokio::spawn(async move {
            if caught(work).await.is_none() {
                error!(part = name, "a part of the router has panicked; the router ends");
                failed.cancel();
            }
        })
    }
}

// === impl Router ===

impl<L: Log, S: Store, B: Fanout + Effects + Ownership> Router<L, S, B> {
    /// A router over a log of its own: what is older than the log is to keep is moved to the store. It does
    /// nothing before it is run.
    ///
    /// # Errors
    /// A metric is registered twice, or there are no random numbers.
    pub fn new(
        config: Config,
        log: Arc<L>,
        store: Arc<S>,
        bus: Arc<B>,
        apps: watch::Receiver<Arc<AppSet>>,
        registry: &prometheus::Registry,
    ) -> Result<Self, SetupError> {
        let keeper: Keeper<L, S, B> = |actors, stop| Box::pin(retention::run(actors, stop));
        let parts = (log, store, bus);
        Self::with_keeper(config, parts, apps, registry, (Keeping::moved(), keeper))
    }

    fn with_keeper(
        config: Config,
        (log, store, bus): (Arc<L>, Arc<S>, Arc<B>),
        apps: watch::Receiver<Arc<AppSet>>,
        registry: &prometheus::Registry,
        (keeping, keeper): (Keeping<L>, Keeper<L, S, B>),
    ) -> Result<Self, SetupError> {
        let metrics = Metrics::new(registry)?;
        let random = Random::try_new()?;
        let backlog = keeping.backlog().cloned();
        let (committer, gatherer) = Committer::new(config.commits, metrics.clone(), backlog);
        let (timers, timers_due) = Timers::new();
        let shared = Shared {
            log,
            store,
            bus,
            apps,
            committer,
            timers,
            hops: hops::Hops::new(config.clock.now()),
            trials: trials::Trials::default(),
            memory: memory::Memory::new(config.memory_max, metrics.clone()),
            clock: config.clock,
            writer: random.number(),
            lists: lists::Lists::default(),
            served: served::Served::default(),
            keeping,
            fresh: fresh::Fresh::default(),
            attached: attached::Attached::default(),
            heads: heads::Heads::default(),
            untold: untold::Untold::default(),
            random,
            metrics,
            fail_point: config.fail_point,
            logic: config.logic,
            later: config.later,
            failed: CancellationToken::new(),
        };
        let actors = Actors::new(Arc::new(shared));
        Ok(Self { actors, timers_due, committer: gatherer, keeper })
    }

    /// Serves the partitions that it is told to take until `drain` is cancelled, then finishes what is in
    /// flight.
    ///
    /// # Errors
    /// The log has failed for good, or a part of the router has panicked: the process must end and be started anew.
    pub async fn run(
        self,
        requests: mpsc::Receiver<IngressRequest>,
        changes: mpsc::Receiver<OwnershipChange>,
        drain: CancellationToken,
    ) -> Result<(), LogFailed> {
        let shared = Arc::clone(self.actors.shared());
        let failed = shared.failed.clone();
        let stop = CancellationToken::new();
        let begin = Begin(failed.clone());
        let actors = || self.actors.clone();
        let committing =
            begin.part("committer", self.committer.run(Arc::clone(&shared.log), failed.clone()));
        let timing = begin.part("timers", self.timers_due.run(actors(), stop.clone()));
        let keeping = begin.part("keeper", (self.keeper)(actors(), stop.clone()));
        let listing = begin.part("lists", lists::run(Arc::clone(&shared), stop.clone()));
        let missing = begin.part("lost gateways", attached::run(actors(), stop.clone()));
        let repeating = begin.part("heads", heads::run(Arc::clone(&shared), stop.clone()));
        let telling = begin.part("untold", untold::run(Arc::clone(&shared), stop.clone()));
        let directories = Arc::new(Directories::new(Arc::clone(&shared)));
        let owning = partitions::run(actors(), Arc::clone(&directories), changes, stop.clone());
        let owning = begin.part("partitions", owning);
        let dispatcher = Dispatcher::new(self.actors.clone(), directories);
        dispatcher.run(requests, drain, failed.clone()).await;
        stop.cancel();
        self.actors.stop().await;
        timing.abort();
        keeping.abort();
        missing.abort();
        repeating.abort();
        telling.abort();
        owning.abort();
        committing.abort();
        // What has changed until now is written before the end.
        let _ = listing.await;
        if !failed.is_cancelled() {
            lists::flush(&shared).await;
        }
        if failed.is_cancelled() { Err(LogFailed) } else { Ok(()) }
    }
}

impl<L: PartitionLog, S: Store, B: Fanout + Effects + Ownership> Router<L, S, B> {
    /// A router over a log that it shares with others, and that forgets by age: what is committed is copied
    /// to the store as it comes. It does nothing before it is run.
    ///
    /// # Errors
    /// A metric is registered twice, or there are no random numbers.
    pub fn shared(
        config: Config,
        log: Arc<L>,
        store: Arc<S>,
        bus: Arc<B>,
        apps: watch::Receiver<Arc<AppSet>>,
        registry: &prometheus::Registry,
    ) -> Result<Self, SetupError> {
        let keeping = Keeping::shared(config.history == History::Store);
        let keeper: Keeper<L, S, B> = |actors, stop| Box::pin(projector::keep(actors, stop));
        Self::with_keeper(config, (log, store, bus), apps, registry, (keeping, keeper))
    }
}

impl<L, S, B> fmt::Debug for Router<L, S, B> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Router").finish_non_exhaustive()
    }
}

impl<L, S: Store, B> Shared<L, S, B> {
    /// What the store has of a session.
    pub(crate) async fn row(&self, key: &Key) -> Result<Option<SessionRow>, StoreError> {
        self.briefly(self.store.session(&key.app, key.session)).await
    }

    /// Reads from the store, if it answers soon enough for somebody who waits to speak.
    pub(crate) async fn briefly<T>(
        &self,
        read: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        if !self.keeping.is_shared() {
            // A store of our own answers or fails.
            return read.await;
        }
        if self.keeping.store_is_down() {
            return Err(StoreError::Unavailable("it has not answered lately".into()));
        }
        match tokio::time::timeout(STORE_PATIENCE, read).await {
            Ok(answer) => answer,
            Err(late) => {
                self.keeping.store_was_late();
                Err(StoreError::Unavailable(late.into()))
            }
        }
    }
}

impl<L, S, B: Ownership> Shared<L, S, B> {
    /// Makes sure that nobody else serves the partition, before an answer that stands on memory alone.
    pub(crate) async fn fenced(&self, partition: Partition) -> Result<(), actor::Trouble> {
        if self.bus.holds(partition) || self.bus.confirm(partition).await {
            return Ok(());
        }
        Err(actor::Trouble::Moved)
    }
}

impl<L, S, B> fmt::Debug for Shared<L, S, B> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Shared").finish_non_exhaustive()
    }
}
