//! A session's events as one recipient's widget is to see them.
//!
//! Every event yields at most one frame that the widget keeps (a line or a bubble, known to it by its
//! stamp) and at most one that moves the bot's typing mark. Stamps are the recipient's own time. Knows
//! nothing of sockets, nor of who holds which session.

use bytes::Bytes;
use stentor_types::{
    Alias, Audience, ClockSegment, Event, EventKind, EventNumber, FailureReason, Role, Stamp,
    TurnEnd, UserKey,
};

use crate::outgoing::{self, Device, FailedTry, OutSender};
use crate::request::relay_body;

/// What agents' widgets call a visitor who has no name.
const VISITOR: &str = "Visitor";

/// One recipient's view of a session. The same view of the same event is always the same bytes.
#[derive(Clone, Copy, Debug)]
pub struct LegacyView<'a> {
    /// Who looks.
    pub user: UserKey,
    /// What they are in the session.
    pub role: Role,
    /// How session time translates into their device's, ordered; empty if it was never measured.
    pub clock: &'a [ClockSegment],
    /// In whose name the app and its bot speak. Always the same one, or failures are drawn twice.
    pub bot: OutSender<'a>,
}

// === impl LegacyView ===

impl LegacyView<'_> {
    /// What is sent when the event happens.
    pub fn frames(&self, event: &Event) -> impl Iterator<Item = Bytes> + use<> {
        self.typing_mark(event).into_iter().chain(self.kept(event))
    }

    /// What is sent when the event is shown again: with the stamp of the first time, by which the widget
    /// drops what it has. Failures and typing are over by then.
    pub fn replay(&self, event: &Event) -> Option<Bytes> {
        match event.kind {
            EventKind::TurnFailed { .. } => None,
            _ => self.kept(event),
        }
    }

    /// What is sent first after the attachment that became event `n`: the session is confirmed, and the
    /// bot is here. Its line is newer than all that is replayed after it, so that a fresh widget,
    /// which never sorts its first two lines, has them in order; and no event has an odd stamp.
    pub fn attached(&self, n: EventNumber, stamp: Stamp) -> [Bytes; 2] {
        let now = self.time_ms(n, stamp).saturating_add(1);
        [outgoing::connection_update(true, None, now), outgoing::user_joined(self.bot(), now)]
    }

    /// What is sent last after an attachment if the bot is being asked: the replay took the mark away.
    pub fn typing(&self, n: EventNumber, stamp: Stamp) -> Bytes {
        outgoing::typing(self.bot(), self.time_ms(n, stamp).saturating_add(1))
    }

    /// The stamp of event `n` in the recipient's own time.
    pub fn time_ms(&self, n: EventNumber, stamp: Stamp) -> i64 {
        ClockSegment::at(self.clock, n).translate(n, stamp).0
    }

    fn typing_mark(&self, event: &Event) -> Option<Bytes> {
        let time_ms = || self.time_ms(event.n, event.stamp);
        match event.kind {
            _ if !self.may_see(event) => None,
            EventKind::TurnStarted { .. } => Some(outgoing::typing(self.bot(), time_ms())),
            EventKind::TurnFailed { .. }
            | EventKind::Replied { .. }
            | EventKind::TurnEnded { how: TurnEnd::Empty | TurnEnd::Interrupted, .. } => {
                Some(outgoing::stop_typing(self.bot(), time_ms()))
            }
            _ => None,
        }
    }

    fn kept(&self, event: &Event) -> Option<Bytes> {
        if !self.may_see(event) {
            return None;
        }
        let time_ms = self.time_ms(event.n, event.stamp);
        match &event.kind {
            // What only staff see (who listens, notes) has no place in the published widget.
            _ if event.audience == Audience::Staff => None,
            // Agents who listen are not shown, so this is the visitor. Without a name the widget says "Bot".
            EventKind::Joined { user, alias, display_name, .. } if *user != self.user => {
                let name = display_name.as_deref().unwrap_or(VISITOR);
                Some(outgoing::user_joined(person(alias, Some(name)), time_ms))
            }
            EventKind::SteppedIn { user, alias, display_name } if *user != self.user => {
                let sender = person(alias, display_name.as_deref());
                Some(outgoing::user_joined(sender, time_ms))
            }
            EventKind::SteppedOut { user, alias, display_name, .. } if *user != self.user => {
                Some(outgoing::user_left(person(alias, display_name.as_deref()), time_ms))
            }
            EventKind::Left { user, alias, .. } if *user != self.user => {
                Some(outgoing::user_left(person(alias, Some(VISITOR)), time_ms))
            }
            // Their own widget has drawn it already. A greeting is the widget's, nobody said it.
            EventKind::Said(said) if said.user != self.user && !said.greeting => {
                let body = relay_body(&said.body);
                let sender = person(&said.alias, said.display_name.as_deref());
                Some(outgoing::new_message_widget(sender, &body, time_ms))
            }
            EventKind::Replied { body, .. } | EventKind::DraftSent { body, .. } => {
                Some(outgoing::new_message_bot(self.bot(), body, time_ms))
            }
            EventKind::Notice { text, .. } => {
                Some(outgoing::new_message_text(self.bot(), text, time_ms))
            }
            EventKind::TurnFailed { attempt, delay_s, reason, .. } => {
                let tries = FailedTry::from_attempt(u32::from(*attempt))?;
                Some(outgoing::failure(self.bot(), tries, *delay_s, words(*reason), time_ms))
            }
            _ => None,
        }
    }

    const fn may_see(&self, event: &Event) -> bool {
        matches!((event.audience, self.role), (Audience::All, _) | (Audience::Staff, Role::Agent))
    }

    const fn bot(&self) -> OutSender<'_> {
        OutSender { device: Device::Bot, ..self.bot }
    }
}

const fn words(reason: FailureReason) -> &'static str {
    match reason {
        FailureReason::TimedOut => "the bot did not answer in time",
        FailureReason::Unreachable => "the bot could not be reached",
        FailureReason::Status => "the bot answered with an error",
        FailureReason::BadAnswer => "the bot's answer could not be read",
        FailureReason::BreakerOpen => "the bot has failed too often and is left alone for a while",
        FailureReason::NotAllowed => "the bot may not be asked",
    }
}

fn person<'a>(alias: &'a Alias, display_name: Option<&'a str>) -> OutSender<'a> {
    OutSender { device: Device::Widget, user_id: alias.as_str(), display_name, avatar_path: None }
}

#[cfg(test)]
mod tests;
