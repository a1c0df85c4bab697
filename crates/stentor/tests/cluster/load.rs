//! A fault in the middle of conversations: everybody talks before, through and after it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use stentor_testkit::{PATIENCE, cluster::Cluster};
use tokio::{task::JoinHandle, time::Instant};

use crate::{
    checks,
    setting::{is_long, number_from},
    visitors::{self, Legacy, Second, Town},
};

/// Conversations of each dialect in the short version.
const VISITORS: u64 = 8;
/// The same at length.
const VISITORS_LONG: u64 = 150;
/// The least time between two things that somebody says.
const PACE_MIN: Duration = Duration::from_millis(60);
/// What all of them say together per second, at most, so that what is measured is the fault and not the load.
const TEXTS_PER_SECOND: u32 = 100;
/// What each of them says at least before the fault, and after it.
const TEXTS_AROUND: u64 = 4;
/// The longest that an acknowledgement may take by any promise: the broker chooses a new leader.
const OUTAGE_MAX: Duration = Duration::from_secs(12);

/// Everybody, after it all.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) second: Vec<Second>,
    pub(crate) legacy: Vec<Legacy>,
}

/// People who are talking.
pub(crate) struct Load {
    town: Town,
    progress: Vec<Arc<AtomicU64>>,
    second: Vec<JoinHandle<anyhow::Result<Second>>>,
    legacy: Vec<JoinHandle<anyhow::Result<Legacy>>>,
}

/// How long acknowledgements took, shortest first.
#[derive(Debug)]
pub(crate) struct Waits(Vec<Duration>);

// === impl Load ===

impl Load {
    /// Everybody begins, and has got somewhere when this returns.
    pub(crate) async fn begin(cluster: &Cluster) -> Self {
        Self::begin_after(0, cluster).await
    }

    /// The same with other people than the first `gone`.
    pub(crate) async fn begin_after(gone: u64, cluster: &Cluster) -> Self {
        let count = visitors();
        let town = Town {
            ports: cluster.gateway_ports(),
            stop: Arc::new(AtomicBool::new(false)),
            pace: pace(count),
            waits: Arc::default(),
        };
        let mut load = Self { town, progress: vec![], second: vec![], legacy: vec![] };
        for number in gone + 1..=gone + count {
            let progress: Arc<AtomicU64> = Arc::default();
            load.progress.push(Arc::clone(&progress));
            let talking = visitors::second(load.town.clone(), number, progress);
            load.second.push(tokio::spawn(talking));
            let progress: Arc<AtomicU64> = Arc::default();
            load.progress.push(Arc::clone(&progress));
            let talking = visitors::legacy(load.town.clone(), number, progress);
            load.legacy.push(tokio::spawn(talking));
        }
        load.goes_on().await;
        load
    }

    /// Waits until everybody has said several things more.
    pub(crate) async fn goes_on(&mut self) {
        let goals: Vec<u64> = self.said().into_iter().map(|said| said + TEXTS_AROUND).collect();
        let until = Instant::now() + 2 * PATIENCE;
        while self.said().iter().zip(&goals).any(|(said, goal)| said < goal) {
            self.fail_early().await;
            assert!(
                Instant::now() < until,
                "somebody does not get on: {:?}, goals {goals:?}",
                self.said()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// How long acknowledgements took since the last time this was asked.
    pub(crate) fn waits(&self) -> Waits {
        let mut waits = std::mem::take(&mut *self.town.waits.lock().unwrap());
        waits.sort_unstable();
        Waits(waits)
    }

    /// What each has said and seen acknowledged.
    pub(crate) fn said(&self) -> Vec<u64> {
        self.progress.iter().map(|progress| progress.load(Ordering::Relaxed)).collect()
    }

    /// Somebody who has stopped before being told to has failed.
    async fn fail_early(&mut self) {
        if let Some(place) = self.second.iter().position(JoinHandle::is_finished) {
            let ended = self.second.swap_remove(place).await.unwrap();
            panic!("a visitor of the second dialect gave up: {:#}", ended.unwrap_err());
        }
        if let Some(place) = self.legacy.iter().position(JoinHandle::is_finished) {
            let ended = self.legacy.swap_remove(place).await.unwrap();
            panic!("a widget gave up: {:#}", ended.unwrap_err());
        }
    }

    /// Everybody says a little more, stops, and what must always hold is checked.
    pub(crate) async fn end(mut self, cluster: &Cluster) -> Outcome {
        self.goes_on().await;
        self.town.stop.store(true, Ordering::Relaxed);
        let mut outcome = Outcome { second: vec![], legacy: vec![] };
        for visitor in self.second {
            outcome.second.push(visitor.await.unwrap().unwrap_or_else(|error| panic!("{error:#}")));
        }
        for visitor in self.legacy {
            outcome.legacy.push(visitor.await.unwrap().unwrap_or_else(|error| panic!("{error:#}")));
        }
        checks::always(&mut outcome, &cluster.gateway_ports()).await;
        println!("{}", outcome.summary());
        outcome
    }
}

// === impl Waits ===

impl Waits {
    /// So many of a hundred took no longer.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let place = (self.0.len() * percent / 100).min(self.0.len().saturating_sub(1));
        self.0.get(place).copied().unwrap_or_default()
    }
}

// === impl Outcome ===

impl Outcome {
    /// Longest time that an acknowledgement took.
    pub(crate) fn longest_wait(&self) -> Duration {
        self.second.iter().map(|visitor| visitor.longest_wait).max().unwrap_or_default()
    }

    /// Longest time that a reply of the bot took.
    pub(crate) fn longest_turn(&self) -> Duration {
        self.second.iter().map(|visitor| visitor.longest_turn).max().unwrap_or_default()
    }

    /// How often somebody was cut off.
    pub(crate) fn came_back(&self) -> u64 {
        let second = self.second.iter().map(|visitor| visitor.came_back);
        second.chain(self.legacy.iter().map(|visitor| visitor.came_back)).sum()
    }

    /// What widgets said that nobody took.
    pub(crate) fn lost(&self) -> Vec<&String> {
        self.legacy.iter().flat_map(|visitor| &visitor.lost).collect()
    }

    fn summary(&self) -> String {
        let said: u64 = self.second.iter().map(|visitor| visitor.said).sum();
        let widgets: u64 = self.legacy.iter().map(|visitor| visitor.said).sum();
        format!(
            "{said} texts of the second dialect, longest wait {:?}, for the bot {:?}; {widgets} of widgets, lost {}; {} times cut off",
            self.longest_wait(),
            self.longest_turn(),
            self.lost().len(),
            self.came_back(),
        )
    }
}

/// Conversations of each dialect: half of `$CHAOS_VISITORS`, if that is set.
pub(crate) fn visitors() -> u64 {
    let usual = if is_long() { VISITORS_LONG } else { VISITORS };
    number_from("CHAOS_VISITORS").map_or(usual, |all| all.div_ceil(2))
}

/// Between two things that somebody says, with so many conversations of each dialect.
fn pace(visitors: u64) -> Duration {
    let all = u32::try_from(2 * visitors).unwrap();
    PACE_MIN.max(Duration::from_secs(1) * all.saturating_sub(16) / TEXTS_PER_SECOND)
}

/// At length, promises are held to by their numbers, with three times as long for a busy machine. In a gate only
/// silence is a failure: whatever happens, somebody answers within three times the longest outage that is promised.
pub(crate) fn within(outcome: &Outcome, limit: Duration) {
    let longest = outcome.longest_wait();
    println!("the longest acknowledgement took {longest:?}; promised: {limit:?}");
    let allowed = if is_long() { 3 * limit } else { 3 * limit.max(OUTAGE_MAX) };
    assert!(longest <= allowed, "an acknowledgement took {longest:?}, {allowed:?} are allowed");
}
