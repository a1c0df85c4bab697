//! Writing a decision: compare-and-set, and what to make of every answer.

use std::{collections::VecDeque, time::Duration};

use stentor_cluster::{Append, Appended, Effects, Fanout, Header, Log, Ownership, TooLarge};
use stentor_postoffice::{Commit, Session};
use stentor_store::Store;
use stentor_types::{CommitId, EventNumber, Input, Reply, Sequence};
use stentor_wire::{CommitRecord, decode_commit_by, encode_commit, encode_snapshot_for};
use tracing::{error, info, warn};

use super::{Actor, Trouble, decide};
use crate::{committer::Committed, hops, load, load::Origin, settle};

/// Commits between snapshots.
const SNAPSHOT_EVERY: u32 = 64;
/// The largest record of the log. A snapshot that does not fit waits for a smaller commit.
const RECORD_BYTES_MAX: usize = 512 * 1024;
/// How often a decision is made again because somebody else had written.
const CONFLICTS_MAX: u32 = 5;
/// Pauses before an append whose outcome is unknown is tried again.
const UNKNOWN_PAUSE: Duration = Duration::from_millis(200);

/// What became of some inputs.
enum Written {
    /// They are in the log; their replies.
    Stored(Vec<Reply>),
    /// Nothing was written.
    TooLarge(TooLarge),
}

/// What the log made of a record.
enum Judged {
    Stored(Sequence),
    /// Somebody else had written before.
    Conflict,
    TooLarge(TooLarge),
}

impl<L: Log, S: Store, B: Fanout + Effects + Ownership> Actor<'_, L, S, B> {
    /// Decides, writes and settles. Nothing has left the process before the log has the commit.
    ///
    /// What makes a record that is too large for the log is written in parts; a single input that does is refused
    /// for good.
    pub(super) async fn write(&mut self, mut inputs: Vec<Input>) -> Result<Vec<Reply>, Trouble> {
        match self.write_part(&mut inputs).await? {
            Written::Stored(replies) => Ok(replies),
            // Rare, and not to make every other write larger.
            Written::TooLarge(cause) => Box::pin(self.write_in_parts(inputs, cause)).await,
        }
    }

    async fn write_in_parts(
        &mut self,
        mut part: Vec<Input>,
        mut cause: TooLarge,
    ) -> Result<Vec<Reply>, Trouble> {
        let mut replies = Vec::with_capacity(part.len());
        let mut rest = VecDeque::new();
        loop {
            if part.len() > 1 {
                rest.push_front(part.split_off(part.len() / 2));
            } else {
                self.shorten(part.first_mut(), cause)?;
            }
            cause = loop {
                match self.write_part(&mut part).await? {
                    Written::Stored(more) => replies.extend(more),
                    Written::TooLarge(cause) => break cause,
                }
                let Some(next) = rest.pop_front() else { return Ok(replies) };
                part = next;
            };
        }
    }

    /// Puts something short in the place of an input that the log has no room for.
    fn shorten(&self, input: Option<&mut Input>, cause: TooLarge) -> Result<(), Trouble> {
        let short =
            input.and_then(|input| decide::too_large(&input.kind).map(|short| (input, short)));
        error!(app = %self.key.app, session = %self.key.session, %cause, is_refused = short.is_some(), "an input makes a record that is too large for the log");
        let (input, short) = short.ok_or(Trouble::Damaged)?;
        self.actors.shared().metrics.too_large();
        input.kind = short;
        Ok(())
    }

    async fn write_part(&mut self, inputs: &mut [Input]) -> Result<Written, Trouble> {
        let received = hops::received(inputs);
        for _ in 0..=CONFLICTS_MAX {
            let (mut commit, after) = self.decide(inputs);
            let replies = std::mem::take(&mut commit.replies);
            let partition = self.key.session.partition();
            if commit.is_empty() && !self.rests {
                // Nothing is written, so the log does not judge: a stale owner must not answer.
                self.actors.shared().fenced(partition).await?;
                return Ok(Written::Stored(replies));
            }
            let record = self.record(&commit, &after);
            if commit.is_empty() && record.snapshot.is_none() {
                // Its state is too large for a record: it stays with the records that make it up.
                self.rests = false;
                continue;
            }
            match self.append(&record, &after, &commit).await? {
                Judged::Stored(sequence) => {
                    self.head = Some(sequence);
                    let is_erased = after.state().erased && !self.session.state().erased;
                    if is_erased {
                        // Nobody is left in it afterwards who could be told.
                        settle::fan_out(self, &record.events, record.commit.last());
                    }
                    self.session = after;
                    self.written(&record);
                    if is_erased {
                        self.forget();
                    }
                    if !commit.is_empty() {
                        settle::settle(self, &record, received).await;
                    }
                    return Ok(Written::Stored(replies));
                }
                Judged::TooLarge(cause) => return Ok(Written::TooLarge(cause)),
                Judged::Conflict => {
                    if !self.actors.shared().bus.confirm(partition).await {
                        return Err(Trouble::Moved);
                    }
                    self.reload().await?;
                }
            }
        }
        Err(Trouble::TryAgain)
    }

    fn written(&mut self, record: &CommitRecord) {
        let commit = &record.commit;
        let renewed = self.origin.is_some_and(|origin| origin.epoch != commit.epoch);
        if renewed && commit.effects.is_empty() {
            // An open attempt goes by the name of another numbering from now on.
            self.unsent = self.session.open_effect();
        }
        self.origin = Some(Origin { epoch: commit.epoch, log: record.log_incarnation });
        self.since_snapshot = self.since_snapshot.saturating_add(1);
        if record.snapshot.is_some() {
            (self.since_snapshot, self.rests) = (0, false);
        }
        // The first commit of all tells what a snapshot would.
        if record.snapshot.is_some() || commit.first == EventNumber(1) {
            self.snapshot_at = commit.at;
        }
    }

    fn record(&self, commit: &Commit, after: &Session) -> CommitRecord {
        let shared = self.actors.shared();
        let mut record = CommitRecord::new(self.key.app.clone(), self.key.session, commit.clone());
        record.previous = self.head;
        record.id = CommitId(shared.random.id());
        record.writer = shared.writer;
        record.log_incarnation = shared.log.incarnation();
        record.min_logic = shared.min_logic();
        if let Some(later) = shared.later() {
            later.written(&mut record);
        }
        let due = self.rests || self.since_snapshot >= SNAPSHOT_EVERY || self.snapshot_is_old();
        // What the first commit of all makes is told by itself.
        let due = due && commit.first > EventNumber(1);
        record.snapshot = due.then(|| encode_snapshot_for(after.state(), record.min_logic));
        if record.snapshot.is_some() && encode_commit(&record).len() > RECORD_BYTES_MAX {
            record.snapshot = None;
        }
        record
    }

    /// Writes one record.
    async fn append(
        &self,
        record: &CommitRecord,
        after: &Session,
        commit: &Commit,
    ) -> Result<Judged, Trouble> {
        let header = Header {
            first: if commit.is_empty() { EventNumber::NONE } else { record.commit.first },
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
                Committed::Judged(Appended::Stored(sequence)) => {
                    return Ok(Judged::Stored(sequence));
                }
                Committed::Judged(Appended::TooLarge(cause)) => return Ok(Judged::TooLarge(cause)),
                Committed::Judged(Appended::Conflict { actual }) => {
                    shared.metrics.conflict();
                    let own = self.own(actual, record.id).await;
                    return Ok(own.map_or(Judged::Conflict, Judged::Stored));
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
        // Whatever it is for: only its name counts.
        let decoded = decode_commit_by(&record.record, u32::MAX).ok()?;
        (decoded.id == id).then_some(sequence)
    }

    /// Whether the log is lost together with everything that this session follows. Then nothing is as new as
    /// what is in memory: nobody else has served it since, and nobody has written to the new log.
    async fn has_lost_its_log(&self) -> Option<Origin> {
        let shared = self.actors.shared();
        let origin = self.origin.filter(|origin| origin.log != shared.log.incarnation())?;
        let head = shared.log.head(&self.key.entity()).await.ok()?;
        (self.head.is_some() && head.is_none()).then_some(origin)
    }

    async fn reload(&mut self) -> Result<(), Trouble> {
        if let Some(origin) = self.has_lost_its_log().await {
            let shared = self.actors.shared();
            self.session = load::renewed(shared, self.session.clone(), [Some(origin.epoch)]);
            (self.head, self.since_snapshot) = (None, u32::MAX);
            warn!(app = %self.key.app, session = %self.key.session, epoch = %self.session.state().epoch, "the log of the session is lost; it goes on from memory and begins a new numbering");
            return Ok(());
        }
        info!(app = %self.key.app, session = %self.key.session, "somebody else has written to the session; it is loaded again");
        let known = self.origin.map(|origin| (origin.epoch, self.session.state().n));
        match load::load(self.actors.shared(), &self.key, known).await {
            Ok(loaded) => {
                self.session = loaded.session;
                self.head = loaded.head;
                self.recent = loaded.recent;
                self.origin = loaded.origin;
                self.since_snapshot = SNAPSHOT_EVERY;
                settle::settle_others(self).await;
                Ok(())
            }
            Err(cause) => {
                let (shared, partition) = (self.actors.shared(), self.key.session.partition());
                let needed = cause.needs_logic();
                if let Some(moved) = needed.and_then(|needed| shared.give_up(partition, needed)) {
                    return Err(moved);
                }
                let chain = crate::metrics::chain(&cause);
                warn!(app = %self.key.app, session = %self.key.session, cause = chain, "session could not be loaded again");
                Err(if cause.is_damage() { Trouble::Damaged } else { Trouble::TryAgain })
            }
        }
    }
}
