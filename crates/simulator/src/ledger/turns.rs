//! Turns of the bot: one at a time, in order, three attempts, one end.

use std::{collections::BTreeMap, time::Duration};

use stentor_postoffice::{ATTEMPT_SLACK, ATTEMPTS, Effect, QUEUE_MAX, Rules, State};
use stentor_types::{
    BotResult, Control, ControlEpoch, EffectId, Epoch, Event, EventKind, EventNumber,
    FailureReason, SessionId, Timestamp, TurnEnd,
};

use super::{Results, ensure};
use crate::world::Violation;

/// What became of a visitor's message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TurnFate {
    /// Nobody is to answer: people are in control, or there is no bot.
    ForPeople,
    Waiting,
    Open,
    /// Control has passed on while it was open.
    Interrupted,
    Answered,
    /// Three times, visibly.
    Failed,
    /// The bot had nothing to say.
    Empty,
    /// Too many were waiting; a notice said so.
    Overflowed,
    /// Answered or given up after control had passed on.
    Stale,
}

/// The attempt that is open, or that is to be followed by another.
#[derive(Clone, Copy, Debug)]
struct Open {
    turn: EventNumber,
    attempt: u8,
    epoch: ControlEpoch,
    deadline: Timestamp,
    /// It failed; the next one not before then.
    until: Option<Timestamp>,
}

/// The turns of one session.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    pub(crate) fates: BTreeMap<EventNumber, TurnFate>,
    open: Option<Open>,
    /// Overflows that have not been said yet.
    unsaid: usize,
}

type Ids = (SessionId, Epoch);

// === impl Turns ===

impl Turns {
    pub(crate) fn said(&mut self, n: EventNumber, for_bot: bool) {
        self.fates.insert(n, if for_bot { TurnFate::Waiting } else { TurnFate::ForPeople });
    }

    pub(crate) const fn notice(&mut self) {
        self.unsaid = self.unsaid.saturating_sub(1);
    }

    /// What was waiting is for people now; what was open was interrupted before.
    pub(crate) fn handed_to_people(&mut self, id: SessionId) -> Result<(), Violation> {
        for fate in self.fates.values_mut() {
            if *fate == TurnFate::Waiting {
                *fate = TurnFate::ForPeople;
            }
        }
        let open = self.fates.values().any(|fate| *fate == TurnFate::Open);
        ensure(!open, "I20", || format!("{id}: control passes on, a turn is not interrupted"))
    }

    /// An attempt is handed out: the very one that the log says is open, or one that is over by now.
    pub(crate) fn offered(&self, effect: &Effect) -> Result<(), Violation> {
        let fate = self.fates.get(&effect.id.turn);
        ensure(fate.is_some(), "I7", || format!("{effect:?} is asked, the log lacks it"))?;
        let Some(open) = self.open.filter(|open| open.turn == effect.id.turn) else {
            let over = fate.is_some_and(|fate| {
                !matches!(fate, TurnFate::Waiting | TurnFate::Open | TurnFate::ForPeople)
            });
            return ensure(over, "I7", || format!("{effect:?} is asked but not begun: {fate:?}"));
        };
        ensure(effect.id.attempt <= open.attempt && effect.id.attempt > 0, "P6", || {
            format!("{effect:?} is asked, attempt {} is open", open.attempt)
        })?;
        ensure(
            effect.id.attempt < open.attempt || effect.deadline <= open.deadline,
            "I22",
            || format!("{effect:?} may take longer than {:?}", open.deadline),
        )?;
        ensure(!effect.request.is_empty(), "I10", || format!("{effect:?} has no Request"))
    }

    pub(crate) fn happened(
        &mut self,
        event: &Event,
        at: Timestamp,
        (control, epoch): (&Control, ControlEpoch),
        rules: &Rules,
        ids: Ids,
        results: &Results,
    ) -> Result<(), Violation> {
        match &event.kind {
            EventKind::TurnStarted { turn, attempt, deadline } => {
                ensure(*control == Control::Bot, "I20", || {
                    format!("{}: the bot is asked while people answer", ids.0)
                })?;
                self.started((*turn, *attempt, *deadline), epoch, at, rules, ids)
            }
            EventKind::TurnFailed { turn, attempt, delay_s, reason } => {
                let open = self.current(*turn, Some(*attempt), ids)?;
                ensure(open.epoch == epoch, "I20", || format!("{}: stale failure shown", ids.0))?;
                let fits = if *reason == FailureReason::TimedOut && at >= open.deadline {
                    true
                } else {
                    gave(results, ids, *turn, *attempt, &BotResult::Failed(*reason))
                };
                ensure(fits, "I13", || format!("{}: {turn} failed for no reason", ids.0))?;
                let last = *attempt >= ATTEMPTS;
                ensure(last == (*delay_s == 0), "I13", || format!("{}: delay {delay_s}", ids.0))?;
                if last {
                    self.end(*turn, TurnFate::Failed);
                } else if let Some(open) = &mut self.open {
                    open.until = Some(at.after(Duration::from_secs(u64::from(*delay_s))));
                }
                Ok(())
            }
            EventKind::Replied { turn, body, handoff } => {
                let open = self.current(*turn, None, ids)?;
                ensure(*control == Control::Bot && open.epoch == epoch, "I20", || {
                    format!("{}: a reply asked under epoch {} in {epoch}", ids.0, open.epoch)
                })?;
                let result = BotResult::Reply { body: body.clone(), handoff: *handoff };
                self.came(open, &result, results, ids)?;
                self.end(*turn, TurnFate::Answered);
                Ok(())
            }
            EventKind::Draft { turn, body } => {
                let open = self.current(*turn, None, ids)?;
                ensure(open.epoch != epoch, "I20", || format!("{}: a draft of the bot", ids.0))?;
                let plain = BotResult::Reply { body: body.clone(), handoff: false };
                self.came(open, &plain, results, ids)?;
                self.end(*turn, TurnFate::Stale);
                Ok(())
            }
            EventKind::TurnEnded { turn, how: TurnEnd::Empty } => {
                let open = self.current(*turn, None, ids)?;
                ensure(open.epoch == epoch, "I20", || format!("{}: stale and empty", ids.0))?;
                self.came(open, &BotResult::Empty, results, ids)?;
                self.end(*turn, TurnFate::Empty);
                Ok(())
            }
            EventKind::TurnEnded { turn, how: TurnEnd::Stale } => {
                let open = self.current(*turn, None, ids)?;
                ensure(open.epoch != epoch, "I20", || format!("{}: not stale", ids.0))?;
                self.end(*turn, TurnFate::Stale);
                Ok(())
            }
            EventKind::TurnEnded { turn, how: TurnEnd::Interrupted } => {
                let open = self.open.filter(|open| open.turn == *turn);
                ensure(open.is_some(), "I13", || format!("{}: {turn} is not open", ids.0))?;
                self.fates.insert(*turn, TurnFate::Interrupted);
                self.open = self.open.filter(|open| open.until.is_none());
                Ok(())
            }
            EventKind::TurnEnded { turn, how: TurnEnd::Overflow } => {
                let oldest = self.oldest_waiting();
                ensure(oldest == Some(*turn), "I15", || {
                    format!("{}: {turn} is given up, {oldest:?} is the oldest", ids.0)
                })?;
                self.unsaid += 1;
                self.fates.insert(*turn, TurnFate::Overflowed);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn started(
        &mut self,
        (turn, attempt, deadline): (EventNumber, u8, Timestamp),
        epoch: ControlEpoch,
        at: Timestamp,
        rules: &Rules,
        (id, _): Ids,
    ) -> Result<(), Violation> {
        match self.open {
            Some(open) => {
                ensure(open.turn == turn && open.until.is_some(), "I13", || {
                    format!(
                        "{id}: {turn}/{attempt} begins while {}/{} is open",
                        open.turn, open.attempt
                    )
                })?;
                ensure(open.attempt + 1 == attempt && attempt <= ATTEMPTS, "I13", || {
                    format!("{id}: attempt {attempt} after {}", open.attempt)
                })?;
                ensure(open.until.is_some_and(|until| until <= at), "I22", || {
                    format!("{id}: {turn}/{attempt} begins too early")
                })?;
            }
            None => {
                let fate = self.fates.get(&turn);
                ensure(fate == Some(&TurnFate::Waiting), "I13", || {
                    format!("{id}: {turn} begins, it is {fate:?}")
                })?;
                ensure(attempt == 1, "I13", || format!("{id}: {turn} begins with {attempt}"))?;
                let oldest = self.oldest_waiting();
                ensure(oldest == Some(turn), "I6", || format!("{id}: {turn} before {oldest:?}"))?;
            }
        }
        let timeout = rules.bot.map(|bot| bot.timeout).unwrap_or_default();
        ensure(deadline == at.after(timeout).after(ATTEMPT_SLACK), "I22", || {
            format!("{id}: {turn}/{attempt} has until {deadline}")
        })?;
        self.fates.insert(turn, TurnFate::Open);
        self.open = Some(Open { turn, attempt, epoch, deadline, until: None });
        Ok(())
    }

    /// The open attempt, which must be this one.
    fn current(&self, turn: EventNumber, attempt: Option<u8>, ids: Ids) -> Result<Open, Violation> {
        let fits = |open: &Open| {
            open.turn == turn
                && open.until.is_none()
                && attempt.is_none_or(|attempt| attempt == open.attempt)
        };
        self.open.filter(fits).ok_or_else(|| {
            super::violation("I13", format!("{}: an end of {turn}, open is {:?}", ids.0, self.open))
        })
    }

    /// What ended an attempt must be what the bot gave to that very attempt.
    fn came(
        &self,
        open: Open,
        result: &BotResult,
        results: &Results,
        ids: Ids,
    ) -> Result<(), Violation> {
        let came = gave(results, ids, open.turn, open.attempt, result);
        ensure(came, "I13", || {
            format!(
                "{}: {}/{} ends as {result:?}, which it never was",
                ids.0, open.turn, open.attempt
            )
        })
    }

    fn end(&mut self, turn: EventNumber, fate: TurnFate) {
        self.open = None;
        self.fates.insert(turn, fate);
    }

    /// When the open attempt counts as failed, or the next one begins.
    pub(crate) fn due(&self) -> Option<Timestamp> {
        self.open.map(|open| open.until.unwrap_or(open.deadline))
    }

    fn oldest_waiting(&self) -> Option<EventNumber> {
        self.fates.iter().find(|(_, fate)| **fate == TurnFate::Waiting).map(|(turn, _)| *turn)
    }

    /// After a record: what waits is bounded, what was given up was said, and the state agrees.
    pub(crate) fn check_bounds(&self, state: &State, id: SessionId) -> Result<(), Violation> {
        let waiting = self.fates.iter().filter(|(_, fate)| **fate == TurnFate::Waiting);
        let waiting: Vec<_> = waiting.map(|(turn, _)| *turn).collect();
        ensure(waiting.len() <= QUEUE_MAX, "I15", || format!("{id}: {waiting:?} wait"))?;
        ensure(self.unsaid == 0, "I15", || format!("{id}: nobody said what was given up"))?;
        let queue: Vec<_> = state.queue.iter().map(|request| request.n).collect();
        ensure(queue == waiting, "I10", || format!("{id}: {queue:?} wait, not {waiting:?}"))?;
        let idle = self.open.is_none() && state.control == Control::Bot;
        ensure(!idle || waiting.is_empty(), "I13", || {
            format!("{id}: {waiting:?} wait for nothing")
        })?;
        let (open, turn) = (self.open.map(|open| open.turn), state.turn.as_ref());
        ensure(open == turn.map(|turn| turn.request.n), "I13", || {
            format!("{id}: {open:?} is open, the state has {turn:?}")
        })
    }
}

/// Whether the bot ever gave this result to this attempt.
fn gave(
    results: &Results,
    (id, epoch): Ids,
    turn: EventNumber,
    attempt: u8,
    result: &BotResult,
) -> bool {
    let effect = EffectId { epoch, turn, attempt };
    results.get(&(id, effect)).is_some_and(|given| {
        given.iter().any(|given| match (given, result) {
            // A draft does not say whether it asked for a person.
            (BotResult::Reply { body: one, .. }, BotResult::Reply { body: other, .. }) => {
                one == other
            }
            (given, result) => given == result,
        })
    })
}
