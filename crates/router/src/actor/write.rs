//! Writing a decision: compare-and-set, and what to make of every answer.

use std::time::Duration;

use stentor_cluster::{Append, Appended, Effects, Fanout, Header, Log, Ownership};
use stentor_postoffice::{Commit, Session};
use stentor_store::Store;
use stentor_types::{CommitId, Input, Reply, Sequence};
use stentor_wire::{CommitRecord, decode_commit, encode_commit, encode_snapshot};
use tracing::{info, warn};

use super::{Actor, Trouble};
use crate::{committer::Committed, load, settle};

/// Commits between snapshots.
const SNAPSHOT_EVERY: u32 = 64;
/// The largest record of the log. A snapshot that does not fit waits for a smaller commit.
const RECORD_BYTES_MAX: usize = 512 * 1024;
/// How often a decision is made again because somebody else had written.
const CONFLICTS_MAX: u32 = 5;
/// Pauses before an append whose outcome is unknown is tried again.
const UNKNOWN_PAUSE: Duration = Duration::from_millis(200);

impl<L: Log, S: Store, B: Fanout + Effects + Ownership> Actor<'_, L, S, B> {
    /// Decides, writes and settles. Nothing has left the process before the log has the commit.
    pub(super) async fn write(&mut self, mut inputs: Vec<Input>) -> Result<Vec<Reply>, Trouble> {
        for _ in 0..=CONFLICTS_MAX {
            let (mut commit, after) = self.decide(&mut inputs);
            let replies = std::mem::take(&mut commit.replies);
            let partition = self.key.session.partition();
            if commit.is_empty() {
                // Nothing is written, so the log does not judge: a stale owner must not answer.
                self.actors.shared().fenced(partition).await?;
                return Ok(replies);
            }
            let record = self.record(&commit, &after);
            match self.append(&record, &after, &commit).await? {
                Some(sequence) => {
                    self.head = Some(sequence);
                    self.session = after;
                    let snapshot = record.snapshot.is_some();
                    self.since_snapshot =
                        if snapshot { 0 } else { self.since_snapshot.saturating_add(1) };
                    settle::settle(self, &record).await;
                    return Ok(replies);
                }
                None => {
                    if !self.actors.shared().bus.confirm(partition).await {
                        return Err(Trouble::Moved);
                    }
                    self.reload().await?;
                }
            }
        }
        Err(Trouble::TryAgain)
    }

    fn record(&self, commit: &Commit, after: &Session) -> CommitRecord {
        let shared = self.actors.shared();
        let mut record = CommitRecord::new(self.key.app.clone(), self.key.session, commit.clone());
        record.previous = self.head;
        record.id = CommitId(shared.random.id());
        record.writer = shared.writer;
        record.log_incarnation = shared.log.incarnation();
        record.snapshot =
            (self.since_snapshot >= SNAPSHOT_EVERY).then(|| encode_snapshot(after.state()));
        if record.snapshot.is_some() && encode_commit(&record).len() > RECORD_BYTES_MAX {
            record.snapshot = None;
        }
        record
    }

    /// Writes one record. `None`: somebody else had written before.
    async fn append(
        &self,
        record: &CommitRecord,
        after: &Session,
        commit: &Commit,
    ) -> Result<Option<Sequence>, Trouble> {
        let header = Header {
            first: record.commit.first,
            last: record.commit.last(),
            at: record.commit.at,
            next_deadline: record.commit.next_deadline,
            attached: !after.state().endpoints.is_empty(),
            snapshot: record.snapshot.is_some(),
        };
        let append = Append {
            entity: self.key.entity(),
            expected: self.head,
            header,
            record: encode_commit(record),
            effects: if L::CARRIES_EFFECTS {
                commit.effects.iter().map(|effect| settle::effect(&self.key, effect)).collect()
            } else {
                Vec::new()
            },
        };
        let shared = self.actors.shared();
        loop {
            match shared.committer.append(append.clone()).await {
                Committed::Judged(Appended::Stored(sequence)) => return Ok(Some(sequence)),
                Committed::Judged(Appended::Conflict { actual }) => {
                    shared.metrics.conflict();
                    return Ok(self.own(actual, record.id).await);
                }
                Committed::Judged(Appended::Damaged) => return Err(Trouble::Damaged),
                // Whether it was written is unknown. "Not there" would prove nothing; only the
                // compare-and-set of the same append does.
                Committed::Unknown => {
                    if !shared.served.has(self.key.session.partition()) {
                        return Err(Trouble::Moved);
                    }
                    tokio::select! {
                        () = tokio::time::sleep(UNKNOWN_PAUSE) => {}
                        () = shared.failed.cancelled() => return Err(Trouble::TryAgain),
                    }
                }
                Committed::Failed => return Err(Trouble::TryAgain),
            }
        }
    }

    /// The head, if it is the very commit that was just refused: an earlier attempt had won.
    async fn own(&self, head: Option<Sequence>, id: CommitId) -> Option<Sequence> {
        let sequence = head?;
        let records = self.actors.shared().log.read(&self.key.entity(), sequence, 1).await.ok()?;
        let record = records.first().filter(|record| record.sequence == sequence)?;
        let decoded = decode_commit(&record.record).ok()?;
        (decoded.id == id).then_some(sequence)
    }

    async fn reload(&mut self) -> Result<(), Trouble> {
        info!(app = %self.key.app, session = %self.key.session, "somebody else has written to the session; it is loaded again");
        match load::load(self.actors.shared(), &self.key).await {
            Ok(loaded) => {
                self.session = loaded.session;
                self.head = loaded.head;
                self.recent = loaded.recent;
                self.since_snapshot = SNAPSHOT_EVERY;
                Ok(())
            }
            Err(cause) => {
                let chain = crate::metrics::chain(&cause);
                warn!(app = %self.key.app, session = %self.key.session, cause = chain, "session could not be loaded again");
                Err(if cause.is_damage() { Trouble::Damaged } else { Trouble::TryAgain })
            }
        }
    }
}
