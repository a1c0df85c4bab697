//! Gathers the commits of many sessions into one write, so that one fsync serves them all.
//!
//! One batch is in flight. What arrives meanwhile forms the next one, so nobody waits for a timer: an
//! idle log writes at once, a busy one writes large batches. Overflow: actors wait for a place.

use std::{sync::Arc, time::Instant};

use stentor_cluster::{Append, Appended, Entity, Log, LogError, Record};
use stentor_types::Sequence;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::{metrics::Metrics, projector::Backlog};

/// Appends that may wait for the batch in flight; each is the one open commit of an actor.
const WAITING_MAX: usize = 4_096;

/// How much one batch may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitLimits {
    /// Commits. 1 means one fsync per commit.
    pub commits: usize,
    /// Bytes.
    pub bytes: usize,
}

/// What became of one append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Committed {
    /// The log judged it.
    Judged(Appended),
    /// Nobody knows whether it was written.
    Unknown,
    /// The log has failed for good.
    Failed,
}

/// Hands appends to the gatherer. A clone is a handle to the same one.
#[derive(Clone, Debug)]
pub(crate) struct Committer {
    waiting: mpsc::Sender<Waiting>,
}

/// The task that writes.
#[derive(Debug)]
pub(crate) struct Gatherer {
    waiting: mpsc::Receiver<Waiting>,
    limits: CommitLimits,
    metrics: Metrics,
    backlog: Option<Arc<Backlog>>,
}

type Waiting = (Append, oneshot::Sender<Committed>);

// === impl CommitLimits ===

impl Default for CommitLimits {
    /// What one atomic batch of a clustered log may hold with room to spare.
    fn default() -> Self {
        Self { commits: 400, bytes: 4 << 20 }
    }
}

// === impl Committer ===

impl Committer {
    /// What is written goes to the backlog in the order of the log, and before anybody is answered.
    pub(crate) fn new(
        limits: CommitLimits,
        metrics: Metrics,
        backlog: Option<Arc<Backlog>>,
    ) -> (Self, Gatherer) {
        let (sender, waiting) = mpsc::channel(WAITING_MAX);
        (Self { waiting: sender }, Gatherer { waiting, limits, metrics, backlog })
    }

    /// Writes one record, together with whatever else is being written.
    pub(crate) async fn append(&self, append: Append) -> Committed {
        let (answer, answered) = oneshot::channel();
        if self.waiting.send((append, answer)).await.is_err() {
            return Committed::Failed;
        }
        answered.await.unwrap_or(Committed::Failed)
    }
}

// === impl Gatherer ===

impl Gatherer {
    /// Writes until all handles are gone or the log fails.
    pub(crate) async fn run<L: Log>(mut self, log: Arc<L>, failed: CancellationToken) {
        while let Some(first) = self.waiting.recv().await {
            let (batch, answers) = self.gather(first);
            let commits = batch.len();
            let noted = self.note(&batch);
            let begun = Instant::now();
            let result = log.append(batch).await;
            self.metrics.batch_written(commits, begun.elapsed());
            match result {
                Ok(judged) => {
                    self.judged(noted, &judged);
                    for (answer, appended) in answers.into_iter().zip(judged) {
                        // Whoever no longer waits finds out from the log.
                        let _ = answer.send(Committed::Judged(appended));
                    }
                }
                Err(LogError::Unavailable(source)) => {
                    warn!(error = %source, commits, "the log did not answer; whether it wrote is unknown");
                    self.unknown(&noted);
                    for answer in answers {
                        let _ = answer.send(Committed::Unknown);
                    }
                }
                Err(cause) => {
                    error!(error = %cause, "the log has failed");
                    failed.cancel();
                    return;
                }
            }
        }
    }

    /// What the backlog will want to know of a batch. Records are placed by their sequence later.
    fn note(&self, batch: &[Append]) -> Vec<(Entity, Record)> {
        if self.backlog.is_none() {
            return Vec::new();
        }
        let noted = batch.iter().map(|Append { entity, header, record, .. }| {
            let record = Record { sequence: Sequence(0), header: *header, record: record.clone() };
            (entity.clone(), record)
        });
        noted.collect()
    }

    fn judged(&self, noted: Vec<(Entity, Record)>, judged: &[Appended]) {
        let Some(backlog) = &self.backlog else { return };
        let mut judged: Vec<_> = noted.into_iter().zip(judged).collect();
        // Some logs write the records of a batch in an order of their own.
        judged.sort_by_key(|(_, appended)| match appended {
            Appended::Stored(sequence) => *sequence,
            _ => Sequence(u64::MAX),
        });
        for ((entity, record), appended) in judged {
            match *appended {
                Appended::Stored(sequence) => {
                    backlog.committed(&entity, Record { sequence, ..record });
                }
                // Somebody else has written, or an earlier attempt of this router's had won.
                Appended::Conflict { actual } => backlog.doubt(entity.partition(), actual),
                Appended::Damaged | Appended::TooLarge(_) => {}
            }
        }
    }

    fn unknown(&self, noted: &[(Entity, Record)]) {
        let Some(backlog) = &self.backlog else { return };
        for (entity, _) in noted {
            backlog.doubt(entity.partition(), None);
        }
    }

    fn gather(&mut self, first: Waiting) -> (Vec<Append>, Vec<oneshot::Sender<Committed>>) {
        let mut bytes = first.0.record.len();
        let mut batch = vec![first.0];
        let mut answers = vec![first.1];
        while batch.len() < self.limits.commits && bytes < self.limits.bytes {
            let Ok((append, answer)) = self.waiting.try_recv() else { break };
            bytes += append.record.len();
            batch.push(append);
            answers.push(answer);
        }
        (batch, answers)
    }
}
