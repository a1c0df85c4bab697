//! Copies what is committed to the store, beside the sessions: nobody who chats waits for it.
//!
//! It is fed from memory by whoever writes to the log, in the order of the log. It reads the log itself only
//! after a partition was taken, after it had no room, and where a write of unknown outcome may have left
//! something. Events and rows are the bytes of the log under the times of their commits, so writing them
//! twice, or in another order, changes nothing. A row is asked for from its session, at most once in two
//! seconds, and goes behind the events that it covers.
//!
//! The cursor of a partition moves only over what the store has, rows included; with it moves what the log
//! may forget (`trim`). A store that is down is tried again, by one write at a time; meanwhile the backlog
//! fills up to its bound, and the rest stays in the log. What the store refuses for good, or nobody can read,
//! holds the cursor of its partition and nothing else.

mod backlog;
mod snapshots;
mod trim;
mod write;

use std::{sync::Arc, time::Duration};

use stentor_cluster::{Effects, EntityKind, Fanout, LogError, Ownership, PartitionLog, Scan};
use stentor_store::Store;
use stentor_types::{Partition, Sequence};
use stentor_wire::{pb, session_to_bytes};
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

pub(crate) use self::backlog::{Backlog, Lag};
use self::{
    backlog::{Ended, Gap, GivenUp, Job, Reading},
    write::WriteError,
};
use crate::{
    Shared,
    actor::Command,
    actors::{Actors, Key},
};

/// Writes at the same time, each of another session.
const WRITES_MAX: usize = 32;
/// Parts of the log read at the same time.
const READINGS_MAX: usize = 4;
/// Bytes read from the log at a time.
const PAGE_BYTES: usize = 1 << 20;
/// Sessions asked for their state at a time.
const ASKED_MAX: usize = 128;
/// How often is looked at what has become due.
const TICK: Duration = Duration::from_millis(200);
/// How often cursors are written.
const SAVE_EVERY: Duration = Duration::from_secs(1);
/// Failures in a row after which the store counts as down.
const DOWN_AFTER: u32 = 3;
/// Pause before a store that is down is tried again, doubled each time.
const PAUSE: Duration = Duration::from_millis(200);
/// The longest such pause.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Runs beside the sessions.
struct Projector<L, S, B> {
    actors: Actors<L, S, B>,
    backlog: Arc<Backlog>,
    tasks: JoinSet<Done>,
    writes: usize,
    readings: usize,
    saving: bool,
    save_at: Instant,
    /// All writes that have succeeded.
    successes: u64,
    failures_in_a_row: u32,
    /// The store is down until then at least.
    down_until: Option<Instant>,
    log_failed: bool,
}

enum Done {
    Written(Job, Result<(), WriteError>),
    Read(Reading, Result<Scan, LogError>),
    Saved(Vec<(Partition, Sequence)>, Option<LogError>),
}

/// Copies, trims and keeps sessions loadable until told to stop.
pub(crate) async fn keep<L: PartitionLog, S: Store, B: Fanout + Effects + Ownership>(
    actors: Actors<L, S, B>,
    stop: CancellationToken,
) {
    let copying = async {
        if let Some(backlog) = actors.shared().keeping.backlog() {
            run(actors.clone(), Arc::clone(backlog), stop.clone()).await;
        }
    };
    let trimming = trim::run(actors.shared(), stop.clone());
    let resting = snapshots::run(&actors, stop.clone());
    tokio::join!(copying, trimming, resting);
}

/// Copies until told to stop.
///
/// Inputs of the loop:
/// - the backlog: there is something new;
/// - tasks: a write, a reading or the cursors are done;
/// - the interval: time has passed;
/// - stop: ends the loop. What is not written by then is read from the log by whoever comes next.
async fn run<L: PartitionLog, S: Store, B: Fanout + Effects + Ownership>(
    actors: Actors<L, S, B>,
    backlog: Arc<Backlog>,
    stop: CancellationToken,
) {
    let mut projector = Projector {
        actors,
        backlog: Arc::clone(&backlog),
        tasks: JoinSet::new(),
        writes: 0,
        readings: 0,
        saving: false,
        save_at: Instant::now(),
        successes: 0,
        failures_in_a_row: 0,
        down_until: None,
        log_failed: false,
    };
    let mut interval = tokio::time::interval(TICK);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = backlog.changed() => {}
            Some(done) = projector.tasks.join_next() => match done {
                Ok(done) => projector.done(done),
                // A bug; and nobody knows what it was doing.
                Err(cause) => {
                    warn!(%cause, "a part of the projector has ended; it begins anew from its cursors");
                    projector.begin_anew().await;
                }
            },
            _ = interval.tick() => projector.tick(),
            () = stop.cancelled() => return,
        }
        projector.begin();
    }
}

// === impl Projector ===

impl<L: PartitionLog, S: Store, B: Fanout + Effects + Ownership> Projector<L, S, B> {
    fn shared(&self) -> &Arc<Shared<L, S, B>> {
        self.actors.shared()
    }

    async fn begin_anew(&mut self) {
        self.tasks.shutdown().await;
        (self.writes, self.readings, self.saving) = (0, 0, false);
        self.backlog.begin_anew();
    }

    /// Begins whatever there is to do and room for.
    fn begin(&mut self) {
        let writes_max = match self.down_until {
            Some(until) if until > Instant::now() => 0,
            Some(_) => 1,
            None => WRITES_MAX,
        };
        while self.writes < writes_max {
            let Some(job) = self.backlog.next_job() else {
                if self.writes == 0 {
                    self.try_reading_again();
                }
                break;
            };
            self.writes += 1;
            let store = Arc::clone(&self.shared().store);
            self.tasks.spawn(async move {
                let written = write::write(&*store, &job).await;
                Done::Written(job, written)
            });
        }
        while self.readings < READINGS_MAX && self.down_until.is_none() {
            let Some(reading) = self.backlog.next_reading() else { break };
            self.readings += 1;
            let log = Arc::clone(&self.shared().log);
            self.tasks.spawn(async move {
                let scan = read(&*log, reading).await;
                Done::Read(reading, scan)
            });
        }
    }

    /// Nothing that could show whether a store answers again waits in memory, for instance because its
    /// partitions went to another router: what is left to do is in the log alone, so that is read. The failures
    /// are not forgotten: one more, and the store counts as down again.
    fn try_reading_again(&mut self) {
        if self.down_until.take().is_some() {
            self.backlog.set_down(false);
        }
    }

    fn tick(&mut self) {
        self.backlog.tick();
        for GivenUp { entity, sequence, why } in self.backlog.given_up() {
            let (session, what) = match entity.kind {
                EntityKind::Session(session) => (Some(session_to_bytes(session)), "records"),
                EntityKind::Directory(..) => (None, "directory of a visitor"),
            };
            self.shared().bury(pb::DeadLetter {
                reason: pb::DeadReason::History.into(),
                app: entity.app.as_str().to_owned(),
                session,
                what: what.to_owned(),
                detail: format!("{why}; the log keeps this and all that follows"),
                sequence: sequence.0,
                ..Default::default()
            });
        }
        if self.down_until.is_none() && self.actors.has_a_place() {
            for entity in self.backlog.rows_wanted(ASKED_MAX) {
                let EntityKind::Session(session) = entity.kind else { continue };
                let key = Key { app: entity.app, session };
                // One whose mailbox is full is asked again.
                let _ = self.actors.send(&key, Command::Row);
            }
        }
        if !self.saving && self.save_at <= Instant::now() {
            self.save();
        }
        let lag = self.backlog.lag();
        let now = self.shared().clock.now();
        let metrics = &self.shared().metrics.projector;
        metrics.lag(&lag, lag.since.map_or(Duration::ZERO, |since| now.since(since)));
    }

    /// Writes the cursors that have moved.
    fn save(&mut self) {
        self.save_at = Instant::now() + SAVE_EVERY;
        let cursors = self.backlog.cursors();
        if cursors.is_empty() {
            return;
        }
        self.saving = true;
        let log = Arc::clone(&self.shared().log);
        self.tasks.spawn(async move {
            let mut saved = Vec::new();
            for (partition, cursor) in cursors {
                if let Err(cause) = log.set_cursor(partition, cursor).await {
                    return Done::Saved(saved, Some(cause));
                }
                saved.push((partition, cursor));
            }
            Done::Saved(saved, None)
        });
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Written(job, written) => {
                self.writes -= 1;
                self.written(job, written);
            }
            Done::Read(reading, scan) => {
                self.readings -= 1;
                let scan = self.log_answered("reading the log for the history", scan);
                self.backlog.read(reading, scan);
            }
            Done::Saved(saved, failed) => {
                self.saving = false;
                for (partition, cursor) in saved {
                    self.backlog.saved(partition, cursor);
                }
                self.log_answered("moving a cursor", failed.map_or(Ok(()), Err));
            }
        }
    }

    fn written(&mut self, job: Job, written: Result<(), WriteError>) {
        let metrics = &self.actors.shared().metrics.projector;
        let ended = match written {
            Ok(()) => {
                metrics.written(job.records.len(), job.row.is_some());
                self.successes += 1;
                self.failures_in_a_row = 0;
                if self.down_until.take().is_some() {
                    info!("the history answers again");
                    self.backlog.set_down(false);
                }
                Ended::Written
            }
            Err(WriteError::Unreadable { sequence, source }) => {
                let cause = crate::metrics::chain(&source);
                warn!(entity = %job.entity, %sequence, cause, "a record cannot be read");
                Ended::Refused
            }
            Err(WriteError::Store(cause)) => {
                metrics.failed();
                self.failures_in_a_row += 1;
                if self.failures_in_a_row >= DOWN_AFTER {
                    let doubled = 2_u32.saturating_pow(self.failures_in_a_row - DOWN_AFTER);
                    let pause = PAUSE.saturating_mul(doubled).min(PAUSE_MAX);
                    if self.down_until.replace(Instant::now() + pause).is_none() {
                        let cause = crate::metrics::chain(&cause);
                        warn!(cause, "the history does not answer; the log keeps what it lacks");
                        self.backlog.set_down(true);
                    }
                }
                Ended::Failed { successes: self.successes }
            }
        };
        self.backlog.done(job, ended);
    }

    /// Says once when the log stops answering, and once when it answers again.
    fn log_answered<T>(&mut self, what: &str, answer: Result<T, LogError>) -> Option<T> {
        let failed = answer.is_err();
        let answer = answer.map_err(|cause| {
            if !self.log_failed {
                warn!(what, cause = crate::metrics::chain(&cause), "the log does not answer");
            }
        });
        if self.log_failed && !failed {
            info!(what, "the log answers again");
        }
        self.log_failed = failed;
        answer.ok()
    }
}

async fn read<L: PartitionLog>(log: &L, reading: Reading) -> Result<Scan, LogError> {
    let from = match reading.from {
        Gap::At(from) => from,
        Gap::Cursor => log.cursor(reading.partition).await?.unwrap_or(Sequence(0)),
    };
    log.scan(reading.partition, from, PAGE_BYTES).await
}
