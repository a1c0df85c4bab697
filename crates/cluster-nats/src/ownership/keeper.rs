//! Keeps the partitions of one router: takes, adopts, asks, hands over.
//!
//! One loop decides; whatever waits for the network runs beside it and comes back as an [`Outcome`].
//! What the router is told comes from here alone, so it is in order for each partition.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures_util::StreamExt;
use stentor_cluster::OwnershipChange;
use stentor_types::{PARTITIONS, Partition};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
    time::MissedTickBehavior,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{
    Found, Holdings, Records,
    plan::{Book, May, Slot, Step, plan},
    record::{Known, Record},
    records::{All, ReadError, WriteError},
};
use crate::{
    clock,
    connect::Connection,
    ingress::{Desk, Serving},
    members::{Members, RouterId, Standing},
    readiness::BusState,
    timings::Timings,
};

/// What has come of something that took time.
pub(super) enum Outcome {
    Read(Result<All, ReadError>),
    Claimed(Partition, Record, &'static str, Result<u64, WriteError>),
    Checked(Partition, u64, Result<Option<Known>, ReadError>),
    /// By how many microseconds this clock is ahead.
    Compared(Result<i128, ReadError>),
    TakenUp,
    Lingered,
    Released(Partition),
    Passed(Partition, Option<Known>),
}

/// Keeps the partitions of one router.
pub(crate) struct Keeper {
    pub(super) me: RouterId,
    pub(super) members: Members,
    pub(super) holdings: Arc<Holdings>,
    pub(super) records: Records,
    pub(super) connection: Connection,
    pub(super) timings: Timings,
    /// This machine's clock, which must agree with the broker's.
    pub(super) wall: fn() -> SystemTime,
    pub(super) desk: Desk,
    pub(super) changes: mpsc::Sender<OwnershipChange>,
    pub(super) book: Book,
    pub(super) serving: BTreeMap<Partition, Serving>,
    pub(super) tasks: JoinSet<Outcome>,
    pub(super) is_draining: bool,
    pub(super) drain_began: Duration,
    /// Partitions handed over whose askers are still sent away.
    pub(super) lingering: usize,
    /// Partitions in which something is for a later version than this router has, and for which.
    pub(super) beyond: BTreeMap<Partition, u32>,
    found: mpsc::Receiver<Found>,
    pub(super) state: watch::Sender<BusState>,
    checking: BTreeSet<Partition>,
    pub(super) taking_up: usize,
    pub(super) records_are_read: bool,
    reading: bool,
    read_at: Option<Duration>,
    /// In microseconds.
    pub(super) clock_offset: Option<i128>,
    pub(super) compared_at: Option<Duration>,
    well_since: Option<Duration>,
    asked_at: Duration,
    ask_from: Option<Partition>,
    lapses: u64,
}

// === impl Keeper ===

impl Keeper {
    #[expect(clippy::too_many_arguments, reason = "called once, from where all of them are made")]
    pub(crate) fn new(
        me: RouterId,
        members: Members,
        holdings: Arc<Holdings>,
        records: Records,
        timings: Timings,
        wall: fn() -> SystemTime,
        desk: Desk,
        changes: mpsc::Sender<OwnershipChange>,
        found: mpsc::Receiver<Found>,
        state: watch::Sender<BusState>,
    ) -> Self {
        Self {
            me,
            members,
            holdings,
            records,
            connection: desk.connection.clone(),
            timings,
            wall,
            desk,
            changes,
            book: Book::new(),
            serving: BTreeMap::new(),
            tasks: JoinSet::new(),
            is_draining: false,
            drain_began: Duration::ZERO,
            lingering: 0,
            beyond: BTreeMap::new(),
            found,
            state,
            checking: BTreeSet::new(),
            taking_up: 0,
            records_are_read: false,
            reading: false,
            read_at: None,
            clock_offset: None,
            compared_at: None,
            well_since: None,
            asked_at: Duration::ZERO,
            ask_from: None,
            lapses: 0,
        }
    }

    /// Keeps partitions until `drain` is cancelled, then hands all of them over. Dropping it ends
    /// everything at once, as a crash would.
    ///
    /// Inputs of the loop:
    /// - tick: time to look at what is to be done;
    /// - tasks: what has come of something;
    /// - found: partitions that somebody else has, or has to have, found out by the router;
    /// - told: other routers, asking and giving;
    /// - drain: begins to hand over.
    pub(crate) async fn run(
        mut self,
        drain: CancellationToken,
    ) -> Result<(), async_nats::SubscribeError> {
        let mut told = self.connection.client().subscribe(self.me.told_at("*")).await?;
        let mut tick = tokio::time::interval(self.timings.tick);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => self.look().await,
                Some(outcome) = self.tasks.join_next(), if !self.tasks.is_empty() => {
                    if let Ok(outcome) = outcome {
                        self.conclude(outcome).await;
                    }
                }
                Some(found) = self.found.recv() => match found {
                    Found::Lost(partition) => self.lose(partition).await,
                    Found::Beyond(partition, version) => self.leave(partition, version).await,
                },
                Some(message) = told.next() => self.hear(&message).await,
                () = drain.cancelled(), if !self.is_draining => self.drain(),
            }
            if self.is_draining {
                self.go_on_draining().await;
            }
            let has_nothing = || self.book.slots().all(|(_, slot)| *slot == Slot::Free);
            if self.is_draining && self.lingering == 0 && has_nothing() {
                self.show();
                return Ok(());
            }
        }
    }

    /// Does what is due.
    async fn look(&mut self) {
        let now = clock::now();
        let hears = self.members.view().hears_itself(now);
        let is_fit = hears
            && self.records_are_read
            && self.clock_is_right() == Some(true)
            && self.outdated().is_none();
        if !is_fit {
            self.well_since = None;
        } else if self.well_since.is_none() {
            self.well_since = Some(now);
        }
        self.members.stand(match (self.is_draining, is_fit) {
            (true, _) => Standing::Draining,
            (false, true) => Standing::Well,
            (false, false) => Standing::Unfit,
        });
        self.read(now);
        self.compare(now);
        self.check(hears);
        if self.must_not_decide() && !self.is_draining {
            self.hand_over_for_now().await;
        }
        let well_for = self.well_since.map_or(Duration::ZERO, |since| now.saturating_sub(since));
        let asks = is_fit
            && well_for >= self.timings.ask_after
            && now.saturating_sub(self.asked_at) >= self.timings.ask_every;
        let take = is_fit && !self.is_draining;
        let first = Partition::all().next();
        let may = May { take, ask: self.ask_from.or(first).filter(|_| asks && take) };
        let unix = (self.wall)().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let steps =
            plan(&self.book, &self.members.view(), &self.me, may, &self.timings, (now, unix));
        for step in steps {
            self.take_step(step, now).await;
        }
        self.show();
    }

    async fn take_step(&mut self, step: Step, now: Duration) {
        match step {
            Step::Adopt(partition, known) => self.adopt(partition, &known, "records").await,
            Step::Lose(partition) => self.lose(partition).await,
            Step::Claim(partition, revision, record) => {
                self.book.set(partition, Slot::Claiming);
                let from = match self.book.known(partition).map(|known| &known.record.owner) {
                    Some(Some(_)) => "dead",
                    _ => "nobody",
                };
                let records = self.records.clone();
                self.tasks.spawn(async move {
                    let written = records.write(partition, revision, &record).await;
                    Outcome::Claimed(partition, record, from, written)
                });
            }
            Step::Ask(partition, owner) => {
                self.asked_at = now;
                let after = usize::from(partition.number()) + 1;
                self.ask_from = Partition::all().nth(after % usize::from(PARTITIONS));
                self.ask(partition, &owner).await;
            }
        }
    }

    async fn conclude(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Read(read) => self.note(read),
            Outcome::Claimed(partition, record, from, written) => match written {
                Ok(revision) => {
                    self.book.set(partition, Slot::Free);
                    self.adopt(partition, &Known { revision, record }, from).await;
                }
                Err(_) => {
                    // The leader tells who has it, also if it is this router after all.
                    self.book.set(partition, Slot::Free);
                    self.check_one(partition, 0);
                }
            },
            Outcome::Checked(partition, lapses, read) => {
                self.checking.remove(&partition);
                match read {
                    Ok(Some(known)) => {
                        // If it is another's, the next look sees that it is lost.
                        if known.record.owner.as_ref() == Some(&self.me) {
                            self.holdings.sure(partition, lapses);
                        }
                        self.book.learn(partition, known);
                    }
                    // The records are lost, and begin anew.
                    Ok(None) => {
                        self.book.forget(partition);
                        self.lose(partition).await;
                    }
                    Err(cause) => debug!(%partition, %cause, "its record cannot be read"),
                }
            }
            Outcome::Compared(Ok(offset)) => {
                if self.clock_offset.is_none_or(|before| before.abs_diff(offset) > 1_000_000) {
                    info!(offset_ms = %(offset / 1_000), "compared the clock with the broker's");
                }
                let offset_ms = i64::try_from(offset / 1_000).unwrap_or(i64::MAX);
                self.desk.metrics.clock_offset_ms.set(offset_ms);
                self.clock_offset = Some(offset);
            }
            // The last comparison counts until the next.
            Outcome::Compared(Err(cause)) => debug!(%cause, "the broker's time is not known"),
            Outcome::TakenUp => self.taking_up = self.taking_up.saturating_sub(1),
            Outcome::Lingered => self.lingering = self.lingering.saturating_sub(1),
            Outcome::Released(partition) => self.pass_on(partition),
            Outcome::Passed(partition, known) => self.passed(partition, known),
        }
    }

    /// Begins to own what the record says is this router's.
    pub(super) async fn adopt(&mut self, partition: Partition, known: &Known, from: &'static str) {
        self.book.learn(partition, known.clone());
        if *self.book.slot(partition) != Slot::Free {
            return;
        }
        let (revision, term) = (known.revision, known.record.term);
        if self.is_draining || self.must_not_decide() || self.beyond.contains_key(&partition) {
            self.pass(partition, revision, term, None);
            return;
        }
        self.book.set(partition, Slot::Held { revision, term });
        self.holdings.set(partition, term, revision, self.members.lapses());
        self.desk.metrics.taken.with_label_values(&[from]).inc();
        debug!(%partition, term, from, "took a partition");
        let (taken_up, told) = oneshot::channel();
        self.tell(OwnershipChange::Take { partition, taken_up }).await;
        self.serving.insert(partition, self.desk.serve(partition, term));
        self.taking_up += 1;
        let (began, metrics) = (clock::now(), self.desk.metrics.clone());
        self.tasks.spawn(async move {
            if told.await.is_ok() {
                let took = clock::now().saturating_sub(began);
                metrics.take_up_seconds.observe(took.as_secs_f64());
            }
            Outcome::TakenUp
        });
    }

    /// Drops what somebody else has taken, or may take because there is no record of it. Answers nobody any more.
    async fn lose(&mut self, partition: Partition) {
        if !matches!(self.book.slot(partition), Slot::Held { .. } | Slot::Releasing { .. }) {
            return;
        }
        self.book.set(partition, Slot::Free);
        self.holdings.clear(partition);
        self.serving.remove(&partition);
        self.read_at = None;
        self.desk.metrics.given_up.with_label_values(&["lost"]).inc();
        let owner = self.book.known(partition).and_then(|known| known.record.owner.as_ref());
        if let Some(owner) = owner {
            warn!(%partition, %owner, "a partition was taken by another router");
        } else {
            warn!(%partition, "the record that a partition is this router's is gone");
        }
        self.tell(OwnershipChange::Lost { partition }).await;
    }

    /// A router that has ended is not told anything.
    pub(super) async fn tell(&self, change: OwnershipChange) {
        if self.changes.send(change).await.is_err() {
            debug!("the router does not listen any more");
        }
    }

    fn note(&mut self, read: Result<All, ReadError>) {
        self.reading = false;
        match read {
            Ok(all) => {
                let All { partitions, finalized } = all;
                // Whoever answered may lag behind: the leader tells whether a record was deleted.
                let recorded = self.book.recorded();
                let missing: Vec<_> =
                    recorded.filter(|partition| !partitions.contains_key(partition)).collect();
                missing.into_iter().for_each(|partition| self.check_one(partition, 0));
                for (partition, known) in partitions {
                    self.book.learn(partition, known);
                }
                self.holdings.finalize(finalized);
                self.desk.metrics.finalized.set(finalized.into());
                self.records_are_read = true;
                self.book.is_read = true;
            }
            Err(cause) => {
                if self.records_are_read {
                    warn!(cause = %Chain(&cause), "the record of owners cannot be read");
                }
                self.records_are_read = false;
            }
        }
    }

    /// Reads the records now and then. The first time the bucket is made.
    fn read(&mut self, now: Duration) {
        let is_due = self.read_at.is_none_or(|at| now >= at + self.timings.records_every);
        if !is_due || self.reading || !self.connection.is_up() {
            return;
        }
        (self.reading, self.read_at) = (true, Some(now));
        let (records, has_bucket) = (self.records.clone(), self.book.is_read);
        self.tasks.spawn(async move {
            if !has_bucket && let Err(cause) = records.ensure().await {
                return Outcome::Read(Err(cause));
            }
            Outcome::Read(records.read_or_make().await)
        });
    }

    /// After a silence, what is owned is certain only when its record has been read again.
    fn check(&mut self, hears: bool) {
        let lapses = self.members.lapses();
        if lapses > self.lapses {
            self.desk.metrics.lapses.inc_by(lapses - self.lapses);
            self.lapses = lapses;
            info!("was silent for long: reads again who owns what");
        }
        if !hears {
            return;
        }
        for partition in Partition::all() {
            let slot = self.book.slot(partition);
            let is_owned = matches!(slot, Slot::Held { .. } | Slot::Releasing { .. });
            if is_owned && !self.holdings.is_sure(partition, lapses) {
                self.check_one(partition, lapses);
            }
        }
    }

    fn check_one(&mut self, partition: Partition, lapses: u64) {
        if self.checking.insert(partition) {
            let (records, within) = (self.records.clone(), self.timings.confirm_for);
            self.tasks.spawn(async move {
                let read = tokio::time::timeout(within, records.read(partition)).await;
                Outcome::Checked(partition, lapses, read.unwrap_or(Err(ReadError::Silent)))
            });
        }
    }
}

impl std::fmt::Debug for Keeper {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Keeper").field("me", &self.me).finish_non_exhaustive()
    }
}

/// An error with what caused it.
struct Chain<'error>(&'error dyn std::error::Error);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(cause) = source {
            write!(formatter, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}
