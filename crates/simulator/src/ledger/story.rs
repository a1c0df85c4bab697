//! One session as its log tells it.

use std::collections::BTreeMap;

use bytes::Bytes;
use stentor_postoffice::{Effect, QUEUE_BYTES_MAX, QUEUE_MAX, Rules, Session, State};
use stentor_types::{
    Audience, Control, ControlEpoch, Event, EventKind, EventNumber, Mid, Notice, RejectCode, Role,
    Said, Sequence, SessionId, Stamp, Timestamp, TurnEnd,
};
use stentor_wire::{CommitRecord, decode_snapshot, encode_event};

use super::{
    Results,
    clients::Clients,
    ensure,
    people::{People, Scene, holds},
    presence::Presence,
    turns::Turns,
};
use crate::{browser::CANARY, gateway::contains, log::Append, world::Violation};

/// One session, followed from its events alone, beside the core's own fold of them.
#[derive(Debug)]
pub(crate) struct Story {
    pub(crate) session: Session,
    pub(crate) head: Option<Sequence>,
    pub(crate) events: Vec<Bytes>,
    audiences: Vec<Audience>,
    last_stamp: Stamp,
    last_at: Timestamp,
    pub(crate) turns: Turns,
    presence: Presence,
    pub(crate) people: People,
    pub(crate) clients: Clients,
    pub(crate) control: Control,
    pub(crate) control_epoch: ControlEpoch,
    /// What visitors are to be shown in the end: replies and notices, and what agents said.
    pub(crate) visible: Vec<(EventNumber, Option<String>)>,
    /// Messages of the record that was read last.
    pub(crate) fresh: Vec<Fresh>,
    /// Texts of it that may be shown in the bot's voice.
    pub(crate) shown: Vec<String>,
    /// How often rarer things have happened.
    pub(crate) seen: BTreeMap<&'static str, u64>,
}

/// A message that has become an event.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fresh {
    pub(crate) mid: Mid,
    pub(crate) n: EventNumber,
    /// For colleagues only; nothing if it was refused.
    pub(crate) note: Option<bool>,
}

// === impl Story ===

impl Story {
    pub(crate) fn new(session: SessionId, record: &CommitRecord) -> Self {
        Self {
            session: Session::new(session, record.commit.epoch),
            head: None,
            events: Vec::new(),
            audiences: Vec::new(),
            last_stamp: Stamp(0),
            last_at: Timestamp(0),
            turns: Turns::default(),
            presence: Presence::default(),
            people: People::default(),
            clients: Clients::default(),
            control: Control::Bot,
            control_epoch: ControlEpoch(0),
            visible: Vec::new(),
            fresh: Vec::new(),
            shown: Vec::new(),
            seen: BTreeMap::new(),
        }
    }

    pub(crate) const fn state(&self) -> &State {
        self.session.state()
    }

    pub(crate) fn event(&self, n: EventNumber) -> Option<&Bytes> {
        self.events.get(usize::try_from(n.0.checked_sub(1)?).ok()?)
    }

    pub(crate) fn audience(&self, n: EventNumber) -> Option<Audience> {
        self.audiences.get(usize::try_from(n.0.checked_sub(1)?).ok()?).copied()
    }

    pub(crate) fn offered(&self, effect: &Effect) -> Result<(), Violation> {
        let epoch = self.state().epoch;
        ensure(effect.id.epoch == epoch, "P6", || format!("{effect:?} is of another numbering"))?;
        self.turns.offered(effect)?;
        self.people.hand_back.check_request(effect.id.turn, &effect.request, self.session.id())
    }

    /// One more record; says in words what it was.
    pub(crate) fn record(
        &mut self,
        record: &CommitRecord,
        append: &Append,
        sequence: Sequence,
        rules: &Rules,
        results: &Results,
    ) -> Result<String, Violation> {
        let id = self.session.id();
        let commit = &record.commit;
        ensure(record.previous == self.head, "I1", || format!("{id}: chain broken"))?;
        let next = self.events.len() as u64 + 1;
        ensure(commit.first.0 == next, "I2", || format!("{id}: {} follows {next}", commit.first))?;
        ensure(!commit.events.is_empty(), "I2", || format!("{id}: an empty record"))?;
        ensure(commit.at > self.last_at, "I10", || format!("{id}: time stands still"))?;
        self.last_at = commit.at;
        let mut words = Vec::new();
        for (event, bytes) in commit.events.iter().zip(&record.events) {
            ensure(event.n.0 == self.events.len() as u64 + 1, "I2", || format!("{id}: hole"))?;
            ensure(encode_event(event) == bytes, "I3", || format!("{id}: {} differs", event.n))?;
            let even = event.stamp.0 % 2 == 0 && event.stamp.0 >= self.last_stamp.0 + 2;
            ensure(even, "P3", || {
                format!(
                    "{id}: event {} is stamped {}, {} before",
                    event.n, event.stamp, self.last_stamp
                )
            })?;
            self.last_stamp = event.stamp;
            ensure(!contains(bytes, CANARY.as_bytes()), "I18", || {
                format!("{id}: event {} contains a secret", event.n)
            })?;
            self.event_happened(event, commit.at, rules, results)?;
            self.events.push(bytes.clone());
            self.audiences.push(event.audience);
            words.push(word(event));
        }
        self.session.apply(commit);
        self.head = Some(sequence);
        self.check_state(record, append)?;
        self.turns.check_bounds(self.session.state(), id)?;
        Ok(format!("durable: {sequence} {id} {}", words.join(", ")))
    }

    /// When something is due even if nothing arrives.
    pub(crate) fn due(&self) -> Option<Timestamp> {
        let people = self.people.due().into_iter().chain(self.presence.due());
        people.chain(self.turns.due()).min()
    }

    fn check_state(&self, record: &CommitRecord, append: &Append) -> Result<(), Violation> {
        let (id, state) = (self.session.id(), self.session.state());
        ensure(record.commit.next_deadline == self.due(), "I22", || {
            format!("{id}: wakes at {:?}, due is {:?}", record.commit.next_deadline, self.due())
        })?;
        ensure(append.attached != state.endpoints.is_empty(), "I10", || format!("{id}: attached"))?;
        ensure(
            state.control == self.control && state.control_epoch == self.control_epoch,
            "I20",
            || format!("{id}: control {:?}", state.control),
        )?;
        if let Some(snapshot) = &record.snapshot {
            let decoded = decode_snapshot(snapshot);
            ensure(decoded.as_ref().is_ok_and(|decoded| decoded == state), "I10", || {
                format!("{id}: snapshot {decoded:?}, fold {state:?}")
            })?;
        }
        let bytes: usize = state.queue.iter().map(|request| request.body.len()).sum();
        let bounded = state.queue.len() <= QUEUE_MAX
            && bytes <= QUEUE_BYTES_MAX
            && state.departed.len() <= stentor_postoffice::DEPARTED_MAX
            && state.endpoints.values().all(|endpoint| endpoint.taken.recent.len() <= 16)
            && state.devices.values().all(|segments| segments.len() <= 16);
        ensure(bounded, "I15", || format!("{id}: a queue has no bound: {state:?}"))?;
        self.people.check(state, id)?;
        self.clients.check(state, id)?;
        self.presence.check(state, id)
    }

    fn event_happened(
        &mut self,
        event: &Event,
        at: Timestamp,
        rules: &Rules,
        results: &Results,
    ) -> Result<(), Violation> {
        let id = self.session.id();
        let n = event.n;
        ensure((n.0 == 1) == matches!(event.kind, EventKind::Opened { .. }), "I2", || {
            format!("{id}: event {n} is {}", word(event))
        })?;
        let staff = event.audience == Audience::Staff;
        ensure(staff == is_for_staff(event), "I20", || {
            format!("{id}: event {n} is for {:?}: {}", event.audience, word(event))
        })?;
        let back = matches!(&event.kind, EventKind::SteppedIn { user, .. } if self.people.lapsed.contains(user));
        let back = back.then_some("people back after they lapsed");
        for what in rare(event).into_iter().chain(back) {
            *self.seen.entry(what).or_default() += 1;
        }
        self.clients.happened(event, id)?;
        let scene = Scene { id, at, control: &self.control, presence: &self.presence };
        self.people.happened(event, scene)?;
        match &event.kind {
            EventKind::Said(said) => self.said(event, said, rules),
            EventKind::Rejected { mid, code, .. } => {
                self.fresh.push(Fresh { mid: *mid, n, note: None });
                // Who timed out and came back over the old dialect enters again by speaking.
                let lapsed = self
                    .presence
                    .speaker(mid.client.connection())
                    .is_some_and(|user| self.people.lapsed.contains(&user));
                ensure(*code != RejectCode::NotInControl || !lapsed, "P9", || {
                    format!("{id}: event {n} refuses an agent who only timed out")
                })
            }
            EventKind::Replied { body, .. } => {
                let text = reply_text(body);
                ensure(text.is_some(), "P3", || format!("{id}: event {n} has no text"))?;
                self.visible.push((n, text.clone()));
                self.shown.extend(text);
                self.on_turn(event, at, rules, results)
            }
            EventKind::DraftSent { body, .. } => {
                let text = reply_text(body);
                self.visible.push((n, text.clone()));
                self.shown.extend(text);
                Ok(())
            }
            EventKind::Notice { text, notice } => {
                self.visible.push((n, Some(text.clone())));
                self.shown.push(text.clone());
                if *notice == Notice::QueueFull {
                    self.turns.notice();
                }
                Ok(())
            }
            EventKind::ControlChanged { control, epoch } => {
                let same_kind = (self.control == Control::Bot) == (*control == Control::Bot);
                let next = if same_kind { self.control_epoch } else { self.control_epoch.next() };
                ensure(*epoch == next, "I20", || {
                    format!("{id}: control epoch {epoch} after {}", self.control_epoch)
                })?;
                if !same_kind && *control != Control::Bot {
                    self.turns.handed_to_people(id)?;
                }
                (self.control, self.control_epoch) = (control.clone(), *epoch);
                Ok(())
            }
            EventKind::TurnStarted { turn, attempt, .. } => {
                if *attempt == 1 && self.people.hand_back.asked(*turn) {
                    *self.seen.entry("hand-backs").or_default() += 1;
                }
                self.on_turn(event, at, rules, results)
            }
            EventKind::TurnFailed { .. }
            | EventKind::TurnEnded { .. }
            | EventKind::Draft { .. } => self.on_turn(event, at, rules, results),
            _ => self.presence.happened(event, at, rules, id),
        }
    }

    fn on_turn(
        &mut self,
        event: &Event,
        at: Timestamp,
        rules: &Rules,
        results: &Results,
    ) -> Result<(), Violation> {
        let id = self.session.id();
        let control = (&self.control, self.control_epoch);
        let epoch = self.session.state().epoch;
        self.turns.happened(event, at, control, rules, (id, epoch), results)
    }

    fn said(&mut self, event: &Event, said: &Said, rules: &Rules) -> Result<(), Violation> {
        let (id, n) = (self.session.id(), event.n);
        let note = event.audience == Audience::Staff;
        self.fresh.push(Fresh { mid: said.mid, n, note: Some(note) });
        let by_visitor = self.presence.visitor() == Some(said.user);
        let may_speak = match (by_visitor, note) {
            (true, note) => !note,
            (false, true) => self.presence.may_work(said.user),
            (false, false) => holds(&self.control, said.user),
        };
        ensure(may_speak, "I18", || format!("{id}: event {n} is by somebody who may not"))?;
        let bot_answers = self.control == Control::Bot && rules.bot.is_some();
        if by_visitor {
            self.turns.said(n, bot_answers);
        } else if !note {
            self.visible.push((n, None));
        }
        if !note && self.control != Control::Bot {
            self.people.covered(n, said);
        }
        Ok(())
    }
}

/// Whether an event is none of visitors' business.
fn is_for_staff(event: &Event) -> bool {
    match &event.kind {
        // Known by who it is, and checked where that is known.
        EventKind::Said(_) | EventKind::Joined { .. } | EventKind::Left { .. } => {
            event.audience == Audience::Staff
        }
        EventKind::TurnStarted { .. }
        | EventKind::TurnFailed { .. }
        | EventKind::Replied { .. }
        | EventKind::DraftSent { .. }
        | EventKind::SteppedIn { .. }
        | EventKind::SteppedOut { .. }
        | EventKind::Ended { .. }
        | EventKind::Notice { .. } => false,
        EventKind::TurnEnded { how, .. } => matches!(how, TurnEnd::Overflow | TurnEnd::Stale),
        _ => true,
    }
}

/// The text of a Response.
pub(crate) fn reply_text(body: &[u8]) -> Option<String> {
    let body: serde_json::Value = serde_json::from_slice(body).ok()?;
    Some(body.pointer("/outputSpeech/displayText")?.as_str()?.to_owned())
}

/// What is worth counting.
fn rare(event: &Event) -> Option<&'static str> {
    Some(match &event.kind {
        EventKind::Said(_) if event.audience == Audience::Staff => "notes",
        EventKind::Said(said) if said.role == Role::Agent => "messages of agents",
        EventKind::Rejected { .. } => "messages refused",
        EventKind::Replied { handoff: true, .. } => "handoffs",
        EventKind::Draft { .. } => "drafts",
        EventKind::DraftSent { .. } => "drafts sent",
        EventKind::DraftDone { .. } => "drafts dealt with otherwise",
        EventKind::SteppedIn { .. } => "people in control",
        EventKind::SteppedOut { lapsed: true, .. } => "people lapsed",
        EventKind::Notice { notice: Notice::NobodyFree, .. } => "visitors told that nobody is free",
        EventKind::Ended { .. } => "ends",
        EventKind::Crowd { .. } => "crowds counted",
        _ => return None,
    })
}

fn word(event: &Event) -> String {
    let n = event.n;
    match &event.kind {
        EventKind::Opened { .. } => format!("{n} opened"),
        EventKind::Joined { .. } => format!("{n} joined"),
        EventKind::Attached { connection, .. } => format!("{n} attached {}", connection.number),
        EventKind::Detached { connection, delivered, .. } => {
            format!("{n} detached {} at {delivered:?}", connection.number)
        }
        EventKind::GatewayLost { gateway, .. } => format!("{n} gateway {} lost", gateway.0),
        EventKind::Left { .. } => format!("{n} left"),
        EventKind::Crowd { total, joined, left } => {
            format!("{n} crowd of {total}: {joined} joined, {left} left")
        }
        EventKind::Clock { segment, .. } => format!("{n} clock {}", segment.offset_ms),
        EventKind::Said(said) => format!("{n} said {:?}", said.text.as_deref().unwrap_or("…")),
        EventKind::TurnStarted { turn, attempt, .. } => {
            format!("{n} turn {turn}/{attempt} started")
        }
        EventKind::TurnFailed { turn, attempt, reason, .. } => {
            format!("{n} turn {turn}/{attempt} failed: {reason:?}")
        }
        EventKind::Replied { turn, .. } => format!("{n} replied to {turn}"),
        EventKind::TurnEnded { turn, how } => format!("{n} turn {turn} ended: {how:?}"),
        EventKind::Draft { turn, .. } => format!("{n} draft for {turn}"),
        EventKind::Notice { .. } => format!("{n} notice"),
        EventKind::ControlChanged { control, epoch } => match control {
            Control::Bot => format!("{n} control of the bot, epoch {epoch}"),
            Control::Agents(agents) => {
                format!("{n} control of {} people, epoch {epoch}", agents.len())
            }
        },
        EventKind::DraftSent { turn, .. } => format!("{n} draft for {turn} sent"),
        EventKind::DraftDone { turn, how, .. } => format!("{n} draft for {turn} done: {how:?}"),
        EventKind::SteppedIn { .. } => format!("{n} stepped in"),
        EventKind::SteppedOut { lapsed, .. } => format!("{n} stepped out, lapsed {lapsed}"),
        EventKind::Ended { .. } => format!("{n} ended"),
        EventKind::Rejected { .. } => format!("{n} rejected"),
        EventKind::Erased => format!("{n} erased"),
        EventKind::Unknown => format!("{n} unknown"),
    }
}
