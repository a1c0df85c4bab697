//! One session in memory: decides, writes, and only then tells anybody.

mod replies;

use std::{collections::VecDeque, rc::Rc};

use stentor_postoffice::{Context, Effect, Session};
use stentor_types::{
    CommitId, Epoch, EventNumber, GatewayId, Incarnation, Input, InputKind, Reply, SessionId,
    Timestamp,
};
use stentor_wire::{CommitRecord, decode_commit, decode_snapshot, encode_commit, encode_snapshot};

pub(crate) use self::replies::REPLAY_MAX;

use crate::{
    log::{Append, Appended, Entity},
    owner::{Actor, Command, MAILBOX_MAX, Pending},
    traffic::Fanout,
    world::{CROWD, Job, World},
};

/// Inputs decided about at once.
const COMMANDS_MAX: usize = 64;

// === impl World ===

impl World {
    /// Puts a command into a session's mailbox, loading the session if need be.
    pub(crate) fn command(&mut self, life: u64, session: SessionId, command: Command) -> bool {
        if !self.load(life, session) {
            return false;
        }
        let Some(actor) = self.actor(life, session) else { return false };
        if actor.mailbox.len() >= MAILBOX_MAX {
            return false;
        }
        actor.mailbox.push_back(command);
        self.decide(life, session);
        true
    }

    fn actor(&mut self, life: u64, session: SessionId) -> Option<&mut Actor> {
        self.owners.get_mut(&life)?.actors.get_mut(&session)
    }

    /// Brings a session into memory. Lost connections are noted, an open attempt is offered again.
    pub(crate) fn load(&mut self, life: u64, session: SessionId) -> bool {
        if self.owners.get(&life).is_none_or(|owner| owner.actors.contains_key(&session)) {
            return true;
        }
        let Some(actor) = self.read(life, session) else { return false };
        let Some(owner) = self.owners.get_mut(&life) else { return false };
        owner.actors.insert(session, actor);
        self.taken_up(life, session);
        self.decide(life, session);
        true
    }

    /// What has to be done about a session that was read from the log, whoever wrote it: connections of
    /// gateways that are gone, an attempt that may never have been made, what is due.
    fn taken_up(&mut self, life: u64, session: SessionId) {
        let alive = self.gateway.as_ref().map(|gateway| GatewayId(gateway.life));
        let now = self.now;
        let Some(owner) = self.owners.get_mut(&life) else { return };
        let at = owner.clock(now);
        let Some(actor) = owner.actors.get_mut(&session) else { return };
        let endpoints = actor.session.state().endpoints.keys();
        let mut lost: Vec<_> = endpoints.map(|connection| connection.gateway).collect();
        lost.dedup();
        lost.retain(|gateway| Some(*gateway) != alive);
        let lost = lost.into_iter().map(|gateway| Command::GatewayLost(gateway, at));
        actor.mailbox.extend(lost);
        if let Some(effect) = actor.session.open_effect() {
            self.offer(session, effect);
        }
        self.arm(life, session);
    }

    /// A session as the log has it: its newest snapshot and what came after.
    fn read(&mut self, life: u64, session: SessionId) -> Option<Actor> {
        let now = self.owners.get(&life)?.clock(self.now);
        let records = self.log.records(Entity::Session(session));
        let start = records.iter().rposition(|record| record.snapshot).unwrap_or(0);
        let head = records.last().map(|record| record.sequence);
        let mut found: Option<Session> = None;
        let mut broken = None;
        for (place, stored) in records.iter().enumerate().skip(start) {
            let record = match decode_commit(&stored.record) {
                Ok(record) => record,
                Err(error) => {
                    broken = Some(format!("record {}: {error}", stored.sequence));
                    break;
                }
            };
            match (&mut found, &record.snapshot) {
                (Some(session), _) => session.apply(&record.commit),
                (None, Some(snapshot)) if place == start => match decode_snapshot(snapshot) {
                    Ok(state) => found = Some(Session::restore(session, state)),
                    Err(error) => broken = Some(format!("snapshot: {error}")),
                },
                (None, _) => {
                    let mut fresh = Session::new(session, record.commit.epoch);
                    fresh.apply(&record.commit);
                    found = Some(fresh);
                }
            }
        }
        if let Some(message) = broken {
            self.violate("I10", message);
            return None;
        }
        let loaded = found.unwrap_or_else(|| Session::new(session, Epoch(now.as_secs())));
        let message = match self.ledger.state(session) {
            Some(state) if state != loaded.state() => {
                Some(format!("{session}: loaded {:?}, folded {state:?}", loaded.state()))
            }
            _ => None,
        };
        if let Some(message) = message {
            self.violate("I10", message);
            return None;
        }
        Some(Actor {
            session: loaded,
            head,
            events: self.ledger.events(session),
            since_snapshot: if head.is_some() { u32::MAX } else { 0 },
            mailbox: VecDeque::new(),
            pending: None,
        })
    }

    /// Decides about what has arrived if nothing is in flight.
    pub(crate) fn decide(&mut self, life: u64, session: SessionId) {
        let Some(actor) = self.actor(life, session).filter(|actor| actor.pending.is_none()) else {
            return;
        };
        let commands: Vec<_> =
            actor.mailbox.drain(..actor.mailbox.len().min(COMMANDS_MAX)).collect();
        if !commands.is_empty() {
            self.decide_about(life, session, commands);
        }
    }

    fn decide_about(&mut self, life: u64, session: SessionId, commands: Vec<Command>) {
        let now = self.now;
        let id = CommitId(self.rng.next_128());
        let every = self.rng.between(1, 8);
        let Some(owner) = self.owners.get_mut(&life) else { return };
        let now = owner.clock(now);
        let Some(actor) = owner.actors.get_mut(&session) else { return };
        let mut inputs = Vec::new();
        let mut spans = Vec::new();
        let mut attaching = Vec::new();
        for command in &commands {
            let from = inputs.len();
            match command {
                Command::Inputs { inputs: more, .. } => inputs.extend(more.iter().cloned()),
                Command::Outcome(outcome) => {
                    let (effect, result) = (outcome.id, outcome.result.clone());
                    inputs.push(Input { at: now, kind: InputKind::Outcome { effect, result } });
                }
                Command::Control(change, at) => {
                    inputs.push(Input { at: *at, kind: InputKind::Control(change.clone()) });
                }
                Command::GatewayLost(gateway, at) => {
                    let kind = InputKind::GatewayLost { gateway: *gateway };
                    inputs.push(Input { at: *at, kind });
                }
                Command::Tick => inputs.push(Input { at: now, kind: InputKind::Tick }),
            }
            spans.push(from..inputs.len());
        }
        for input in &inputs {
            if let InputKind::Attach(attach) = &input.kind {
                attaching.push((attach.connection, actor.session.replay_from()));
            }
        }
        let context = Context { now, rules: &self.rules, crowd_min: CROWD };
        let mut commit = actor.session.decide(&inputs, &context);
        let replies = std::mem::take(&mut commit.replies);
        let mut after = actor.session.clone();
        after.apply(&commit);
        let mut record = CommitRecord::new(self.app.clone(), session, commit);
        record.previous = actor.head;
        record.id = id;
        record.writer = life;
        record.log_incarnation = Incarnation(1);
        record.snapshot =
            (u64::from(actor.since_snapshot) >= every * 8).then(|| encode_snapshot(after.state()));
        let append = Append {
            entity: Entity::Session(session),
            expected: actor.head,
            record: encode_commit(&record),
            snapshot: record.snapshot.is_some(),
            attached: !after.state().endpoints.is_empty(),
            next_deadline: record.commit.next_deadline,
        };
        let pending = Pending { commands, spans, attaching, replies, record, after, append };
        if pending.record.commit.is_empty() {
            let head = self.log.head(Entity::Session(session)).map(|head| head.sequence);
            let stale = self.actor(life, session).is_some_and(|actor| actor.head != head);
            // What is written is proved by compare-and-set; what is refused without a word in the log must not
            // come from a memory that somebody else has overtaken.
            if stale && pending.replies.iter().any(is_refusal) {
                self.read_again(life, session, pending.commands);
                return;
            }
            self.reply(life, session, &pending);
            self.decide(life, session);
            return;
        }
        let append = pending.append.clone();
        actor.pending = Some(pending);
        owner.write(append);
        self.gather(life);
    }

    /// The log has judged a decision.
    pub(crate) fn judged(&mut self, life: u64, session: SessionId, appended: Appended) {
        let Some(pending) = self.actor(life, session).and_then(|actor| actor.pending.take()) else {
            return;
        };
        let own = match appended {
            Appended::Stored(sequence) => Some(sequence),
            // Is the head this very commit, which an earlier attempt had brought there?
            Appended::Conflict => self
                .log
                .head(Entity::Session(session))
                .filter(|head| {
                    decode_commit(&head.record).is_ok_and(|record| record.id == pending.record.id)
                })
                .map(|head| head.sequence),
        };
        match own {
            Some(sequence) => self.settle(life, session, sequence, pending),
            None => self.overtaken(life, session, pending),
        }
    }

    /// Somebody else has written: a refusal is first a question of ownership.
    fn overtaken(&mut self, life: u64, session: SessionId, pending: Pending) {
        let replaced = self.current_owner() != Some(life);
        if replaced && self.rng.percent(50) {
            self.note(|| format!("owner {life} gives {session} up"));
            if let Some(owner) = self.owners.get_mut(&life) {
                owner.actors.remove(&session);
                owner.timers.remove(&session);
            }
            return;
        }
        self.read_again(life, session, pending.commands);
    }

    /// Decides again, about the session as the log has it.
    fn read_again(&mut self, life: u64, session: SessionId, commands: Vec<Command>) {
        let Some(loaded) = self.read(life, session) else { return };
        let Some(actor) = self.actor(life, session) else { return };
        actor.session = loaded.session;
        actor.head = loaded.head;
        actor.events = loaded.events;
        actor.since_snapshot = loaded.since_snapshot;
        self.taken_up(life, session);
        self.decide_about(life, session, commands);
    }

    /// The log has the commit: now it is so, and everybody may know.
    fn settle(
        &mut self,
        life: u64,
        session: SessionId,
        sequence: stentor_types::Sequence,
        mut pending: Pending,
    ) {
        let Some(actor) = self.actor(life, session) else { return };
        // By the same way as everybody who reads the log.
        actor.session.apply(&pending.record.commit);
        let applied = actor.session == pending.after;
        actor.head = Some(sequence);
        actor.since_snapshot = match pending.record.snapshot {
            Some(_) => 0,
            None => actor.since_snapshot.saturating_add(1),
        };
        actor.events.extend(pending.record.events.iter().cloned());
        if !applied {
            self.violate("I10", format!("{session}: what is applied is not what was decided"));
            return;
        }
        let state = self.actor(life, session).map(|actor| actor.session.state().clone());
        if self.ledger.head(session) == Some(sequence)
            && self.ledger.state(session) != state.as_ref()
        {
            self.violate("I10", format!("{session}: the live state is not the fold of the log"));
            return;
        }
        self.fan_out(life, session, &pending);
        for effect in std::mem::take(&mut pending.record.commit.effects) {
            self.offer(session, effect);
        }
        self.arm(life, session);
        self.reply(life, session, &pending);
        self.decide(life, session);
    }

    fn fan_out(&mut self, life: u64, session: SessionId, pending: &Pending) {
        let Some(actor) = self.actor(life, session) else { return };
        let head = actor.session.state().n;
        let first = pending.record.commit.first.0;
        let events: Vec<_> =
            (first..).map(EventNumber).zip(pending.record.events.clone()).collect();
        self.tell(life, session, head, events);
    }

    /// Tells the gateway, or at least that there is something: heads are told until they arrive.
    fn tell(
        &mut self,
        life: u64,
        session: SessionId,
        head: EventNumber,
        events: Vec<(EventNumber, bytes::Bytes)>,
    ) {
        let Some(gateway) = self.gateway.as_ref().map(|gateway| gateway.life) else { return };
        let Some(actor) = self.actor(life, session) else { return };
        let endpoints = actor.session.state().endpoints.iter();
        let connections: Vec<_> = endpoints
            .filter(|(id, endpoint)| id.gateway.0 == gateway && endpoint.permissions.receives)
            .map(|(id, _)| id.number)
            .collect();
        if connections.is_empty() {
            return;
        }
        let fanout = Rc::new(Fanout { session, connections, events, head });
        if self.rng.percent(self.weather.lost) {
            let head = Rc::new(Fanout { events: Vec::new(), ..Fanout::clone(&fanout) });
            self.after(2_000_000, Job::Fanout { gateway, fanout: head });
        } else {
            let delay = self.rng.below(self.weather.delay);
            self.after(delay, Job::Fanout { gateway, fanout: Rc::clone(&fanout) });
            if self.rng.percent(self.weather.twice) {
                self.after(delay * 3, Job::Fanout { gateway, fanout });
            }
        }
    }

    /// After a takeover nobody else would say what was committed last.
    pub(crate) fn tell_head(&mut self, life: u64, session: SessionId) {
        if let Some(head) = self.actor(life, session).map(|actor| actor.session.state().n) {
            self.tell(life, session, head, Vec::new());
        }
    }

    /// Hands an attempt to the connectors, at least once. Only what the log has may be asked.
    fn offer(&mut self, session: SessionId, effect: Effect) {
        let known = self.ledger.offered(session, &effect);
        if let Err(violation) = known {
            self.violate(violation.invariant, violation.message);
            return;
        }
        let (connector, delay) = (self.connector, self.rng.below(self.weather.delay));
        if self.rng.percent(self.weather.twice) {
            let effect = effect.clone();
            let again = Job::Effect { connector, session, effect };
            self.after(delay + self.weather.delay * 2, again);
        }
        self.after(delay, Job::Effect { connector, session, effect });
    }

    /// Sets the alarm for what is due next.
    fn arm(&mut self, life: u64, session: SessionId) {
        let Some(owner) = self.owners.get_mut(&life) else { return };
        let deadline = owner.actors.get(&session).and_then(|actor| actor.session.next_deadline());
        let Some(deadline) = deadline else {
            owner.timers.remove(&session);
            return;
        };
        if owner.timers.insert(session, deadline) != Some(deadline) {
            let at = Timestamp(deadline.0.saturating_add_signed(-owner.clock)).max(self.now);
            self.at(at, Job::Timer { owner: life, session, deadline });
        }
    }

    pub(crate) fn timer(&mut self, life: u64, session: SessionId, deadline: Timestamp) {
        let Some(owner) = self.owners.get_mut(&life) else { return };
        if owner.timers.get(&session) != Some(&deadline) {
            return;
        }
        owner.timers.remove(&session);
        if !self.command(life, session, Command::Tick) {
            self.after(100_000, Job::Timer { owner: life, session, deadline });
            if let Some(owner) = self.owners.get_mut(&life) {
                owner.timers.insert(session, deadline);
            }
        }
    }
}

const fn is_refusal(reply: &Reply) -> bool {
    matches!(reply, Reply::Rejected(_) | Reply::Gap(_))
}
