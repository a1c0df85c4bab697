//! The connector and the bot behind it: late, twice, never, empty, broken; told until somebody listens.

use std::rc::Rc;

use bytes::Bytes;
use serde_json::json;
use stentor_postoffice::Effect;
use stentor_protocol::{BotAnswer, normalise};
use stentor_types::{BotResult, EffectId, FailureReason, SessionId};

use crate::{
    browser::CANARY,
    gateway::contains,
    owner::Command,
    traffic::Outcome,
    world::{Job, World},
};

const SECOND_US: u64 = 1_000_000;
/// How often an outcome is told before the connector leaves it to the deadline.
const TOLD_MAX: u32 = 60;

// === impl World ===

impl World {
    /// An attempt reaches the connector. What is offered twice is done twice here: the session must cope.
    pub(crate) fn attempt(&mut self, session: SessionId, effect: &Effect) {
        // Secrets of the visitor are for the bot alone, and reach it.
        if !contains(&effect.request, CANARY.as_bytes()) {
            self.violate("I18", format!("the Request of {effect:?} has no token"));
            return;
        }
        if contains(&effect.request, b"-claimed") {
            self.violate("I18", format!("the Request of {effect:?} has the claimed user id"));
            return;
        }
        let left = effect.deadline.since(self.now);
        let deadline = u64::try_from(left.as_micros()).unwrap_or(u64::MAX);
        if !self.rng.percent(self.weather.bot) {
            let delay = self.rng.below(2 * SECOND_US);
            self.speak(session, effect.id, delay, false);
            return;
        }
        match self.rng.below(9) {
            // Never: the session's own deadline has to end it.
            0 => {}
            1 => self.fail(session, effect.id, deadline, FailureReason::TimedOut),
            2 => {
                let delay = self.rng.below(SECOND_US);
                self.fail(session, effect.id, delay, FailureReason::Status);
            }
            3 => self.fail(session, effect.id, 1_000, FailureReason::BreakerOpen),
            4 => {
                let delay = self.rng.below(5 * SECOND_US);
                self.after_bot(session, effect.id, delay, BotResult::Empty);
            }
            // Late.
            5 => {
                let delay = deadline + self.rng.below(40 * SECOND_US);
                self.speak(session, effect.id, delay, false);
            }
            // Slow.
            6 => {
                let delay = self.rng.below(14 * SECOND_US);
                self.speak(session, effect.id, delay, false);
            }
            // Twice, and not the same.
            7 => {
                for _ in 0..2 {
                    let delay = self.rng.below(5 * SECOND_US);
                    self.speak(session, effect.id, delay, false);
                }
            }
            _ => {
                let delay = self.rng.below(3 * SECOND_US);
                self.speak(session, effect.id, delay, true);
            }
        }
    }

    fn speak(&mut self, session: SessionId, id: EffectId, delay: u64, handoff: bool) {
        self.replies += 1;
        let text = format!("reply {} to {}/{}", self.replies, id.turn, id.attempt);
        let mut body = json!({"outputSpeech": {"displayText": text}});
        if handoff && let Some(body) = body.as_object_mut() {
            body.insert("system".into(), "HANDOFF".into());
        }
        let body = body.to_string();
        let result = match normalise(Some("application/json"), body.as_bytes()) {
            BotAnswer::Reply(reply) => BotResult::Reply {
                body: Bytes::copy_from_slice(&reply.body),
                handoff: reply.handoff,
            },
            other => {
                self.violate("P3", format!("{body} is read as {other:?}"));
                return;
            }
        };
        self.after_bot(session, id, delay, result);
    }

    fn fail(&mut self, session: SessionId, id: EffectId, delay: u64, reason: FailureReason) {
        self.after_bot(session, id, delay, BotResult::Failed(reason));
    }

    fn after_bot(&mut self, session: SessionId, id: EffectId, delay: u64, result: BotResult) {
        self.results.entry((session, id)).or_default().push(result.clone());
        let connector = self.connector;
        self.after(delay, Job::Answered { connector, session, id, result });
    }

    /// The bot's part is over: the outcome is told.
    pub(crate) fn tell_outcome(&mut self, session: SessionId, id: EffectId, result: BotResult) {
        let connector = self.connector;
        let outcome = Rc::new(Outcome { session, id, result, told: 0 });
        self.after(50, Job::Outcome { connector, outcome });
    }

    /// An outcome reaches an owner, or has to be told again.
    pub(crate) fn outcome(&mut self, outcome: &Rc<Outcome>) {
        let heard = !self.rng.percent(self.weather.lost);
        let answered = heard && !self.rng.percent(self.weather.lost + self.weather.twice);
        let taken = heard
            && self.route().is_some_and(|owner| {
                let command = Command::Outcome(Rc::clone(outcome));
                self.command(owner, outcome.session, command)
            });
        if !(taken && answered) && outcome.told < TOLD_MAX {
            let delay = self.rng.between(SECOND_US / 2, SECOND_US);
            let again = Rc::new(Outcome { told: outcome.told + 1, ..Outcome::clone(outcome) });
            let connector = self.connector;
            self.after(delay, Job::Outcome { connector, outcome: again });
        }
    }
}
