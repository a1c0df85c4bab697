//! An owner: session actors with one commit in flight each, a committer that gathers them, and the
//! directories. Whatever it keeps in memory is a cache of the log.

use std::{
    collections::{BTreeMap, VecDeque},
    rc::Rc,
};

use bytes::Bytes;
use stentor_postoffice::{Directory, Session};
use stentor_types::{
    ConnectionId, ControlChange, EventNumber, Input, Reply, Sequence, SessionId, Timestamp, UserKey,
};
use stentor_wire::CommitRecord;

use crate::{
    log::{Append, Entity},
    traffic::{Outcome, Request},
    world::{Job, World},
};

/// Commands that may wait for one session. Overflow: the request is answered "try again".
pub(crate) const MAILBOX_MAX: usize = 64;
/// Commits gathered into one write.
const BATCH_MAX: usize = 400;

/// One life of an owner.
#[derive(Debug)]
pub(crate) struct Owner {
    #[expect(dead_code, reason = "told when a schedule is printed")]
    pub(crate) life: u64,
    pub(crate) ready: Timestamp,
    /// How wrong its clock is, in microseconds; never so much that it would not be ready.
    pub(crate) clock: i64,
    pub(crate) actors: BTreeMap<SessionId, Actor>,
    pub(crate) directories: BTreeMap<UserKey, Slot>,
    pub(crate) timers: BTreeMap<SessionId, Timestamp>,
    waiting: VecDeque<Append>,
    in_flight: Option<u64>,
    batches: BTreeMap<u64, Vec<Append>>,
    batch: u64,
}

/// A session in memory.
#[derive(Debug)]
pub(crate) struct Actor {
    pub(crate) session: Session,
    pub(crate) head: Option<Sequence>,
    pub(crate) events: Vec<Bytes>,
    pub(crate) since_snapshot: u32,
    pub(crate) mailbox: VecDeque<Command>,
    pub(crate) pending: Option<Pending>,
}

/// What a session is asked.
#[derive(Clone, Debug)]
pub(crate) enum Command {
    Inputs { request: Rc<Request>, inputs: Vec<Input> },
    Outcome(Rc<Outcome>),
    Control(ControlChange, Timestamp),
    GatewayLost(stentor_types::GatewayId, Timestamp),
    Tick,
}

/// A decision that is being written.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) commands: Vec<Command>,
    /// Which inputs belong to which command.
    pub(crate) spans: Vec<std::ops::Range<usize>>,
    /// From where connections that attach are shown events again.
    pub(crate) attaching: Vec<(ConnectionId, EventNumber)>,
    pub(crate) replies: Vec<Reply>,
    pub(crate) record: CommitRecord,
    pub(crate) after: Session,
    pub(crate) append: Append,
}

/// A directory in memory.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    pub(crate) known: Option<Known>,
    pub(crate) waiting: VecDeque<Rc<Request>>,
    pub(crate) pending: Option<Resolving>,
}

/// A directory as the log has it.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) directory: Directory,
    pub(crate) head: Option<Sequence>,
    pub(crate) at: Timestamp,
}

/// A directory that is being written.
#[derive(Debug)]
pub(crate) struct Resolving {
    pub(crate) request: Rc<Request>,
    pub(crate) session: SessionId,
    pub(crate) changed: Known,
}

// === impl Owner ===

impl Owner {
    pub(crate) const fn new(life: u64, ready: Timestamp, clock: i64) -> Self {
        Self {
            life,
            ready,
            clock,
            actors: BTreeMap::new(),
            directories: BTreeMap::new(),
            timers: BTreeMap::new(),
            waiting: VecDeque::new(),
            in_flight: None,
            batches: BTreeMap::new(),
            batch: 0,
        }
    }

    pub(crate) const fn clock(&self, now: Timestamp) -> Timestamp {
        Timestamp(now.0.saturating_add_signed(self.clock))
    }

    pub(crate) fn write(&mut self, append: Append) {
        self.waiting.push_back(append);
    }

    /// Appends that nobody knows the outcome of, oldest batch first.
    pub(crate) fn undecided(self) -> impl Iterator<Item = Append> {
        self.batches.into_values().flatten()
    }
}

// === impl World ===

impl World {
    /// Starts the next write if none is in flight.
    pub(crate) fn gather(&mut self, life: u64) {
        let Some(owner) = self.owners.get_mut(&life) else { return };
        if owner.in_flight.is_some() || owner.waiting.is_empty() {
            return;
        }
        owner.batch += 1;
        let batch = owner.batch;
        let appends: Vec<_> = owner.waiting.drain(..owner.waiting.len().min(BATCH_MAX)).collect();
        owner.batches.insert(batch, appends);
        owner.in_flight = Some(batch);
        let delay = self.rng.between(500, 20_000);
        let (lost, late) = (self.rng.percent(self.weather.lost), self.rng.percent(50));
        if lost {
            // Nobody answers. It is written all the same: before that, or much later.
            let written = if late { delay + self.rng.below(3_000_000) } else { delay / 2 };
            self.after(written, Job::Durable { owner: life, batch, told: false });
            self.after(delay, Job::Unknown { owner: life, batch });
        } else {
            self.after(delay, Job::Durable { owner: life, batch, told: true });
        }
    }

    /// A batch reaches the disk: each append is judged by itself.
    pub(crate) fn durable(&mut self, life: u64, batch: u64, told: bool) {
        let Some(owner) = self.owners.get_mut(&life) else { return };
        let Some(appends) = owner.batches.remove(&batch) else { return };
        if told {
            owner.in_flight = None;
        }
        for append in appends {
            let appended = self.append(&append);
            if self.violation.is_some() {
                return;
            }
            if !told {
                continue;
            }
            match append.entity {
                Entity::Session(session) => self.judged(life, session, appended),
                Entity::Directory(user) => self.directory_judged(life, user, appended),
            }
        }
        self.gather(life);
    }

    /// Nobody knows what became of a batch: the same appends again, and compare-and-set judges.
    pub(crate) fn unknown(&mut self, life: u64, batch: u64) {
        let Some(owner) = self.owners.get_mut(&life).filter(|owner| owner.in_flight == Some(batch))
        else {
            return;
        };
        owner.in_flight = None;
        let waiting: Vec<Entity> = owner.waiting.iter().map(|append| append.entity).collect();
        let pending = owner.actors.values().filter_map(|actor| actor.pending.as_ref());
        let again = pending.map(|pending| pending.append.clone());
        owner.waiting.extend(again.filter(|append| !waiting.contains(&append.entity)));
        let lost: Vec<_> = owner
            .directories
            .iter()
            .filter(|(user, slot)| {
                slot.pending.is_some() && !waiting.contains(&Entity::Directory(**user))
            })
            .map(|(user, _)| *user)
            .collect();
        // A directory is read and resolved again.
        for user in lost {
            self.directory_judged(life, user, crate::log::Appended::Conflict);
        }
        self.gather(life);
    }

    /// Writes to the log, under the eyes of the ledger.
    fn append(&mut self, append: &Append) -> crate::log::Appended {
        let appended = self.log.append(append);
        if let crate::log::Appended::Stored(sequence) = appended {
            let rules = self.rules.clone();
            match self.ledger.stored(append, sequence, &rules, &self.results) {
                Ok(line) => self.note(|| line),
                Err(violation) => self.violate(violation.invariant, violation.message),
            }
        } else {
            self.note(|| format!("refused: {:?} behind {:?}", append.entity, append.expected));
        }
        appended
    }

    /// An owner is gone. What it had asked for is written up to some point, or not at all.
    pub(crate) fn kill_owner(&mut self, life: u64) {
        let Some(owner) = self.owners.remove(&life) else { return };
        let appends: Vec<_> = owner.undecided().collect();
        let written = self.rng.index(appends.len() + 1);
        for append in appends.iter().take(written) {
            self.append(append);
        }
    }
}
