//! What the bot is told of the time in which people answered: all that was said then, once, and with the
//! next Request that it gets.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Value, json};
use stentor_postoffice::{COVERED_LINE_BYTES_MAX, COVERED_LINES_MAX, State};
use stentor_types::{EventNumber, Role, Said, SessionId};

use super::ensure;
use crate::world::Violation;

/// The spans of one session in which people answered.
#[derive(Debug, Default)]
pub(crate) struct HandBack {
    /// What the bot has not been told.
    untold: Option<Span>,
    /// What it was told with each message.
    told: BTreeMap<EventNumber, Span>,
}

#[derive(Clone, Debug)]
struct Span {
    from: EventNumber,
    to: EventNumber,
    /// Role, name, text.
    lines: Vec<(Role, String, String)>,
}

// === impl HandBack ===

impl HandBack {
    pub(crate) fn people_took_over(&mut self, n: EventNumber) {
        self.untold.get_or_insert(Span { from: n, to: n, lines: Vec::new() });
    }

    /// Something was said while people answered.
    pub(crate) fn covered(&mut self, n: EventNumber, said: &Said) {
        let Some(span) = &mut self.untold else { return };
        span.to = n;
        let Some(text) = &said.text else { return };
        let name = said.display_name.clone().unwrap_or_else(|| said.alias.as_str().to_owned());
        let mut text = text.clone();
        text.truncate(text.floor_char_boundary(COVERED_LINE_BYTES_MAX));
        span.lines.push((said.role, name, text));
        let surplus = span.lines.len().saturating_sub(COVERED_LINES_MAX);
        span.lines.drain(..surplus);
    }

    /// The bot is asked about a message for the first time. Whether it is told anything.
    pub(crate) fn asked(&mut self, turn: EventNumber) -> bool {
        let Some(span) = self.untold.take() else { return false };
        self.told.insert(turn, span);
        true
    }

    /// A Request goes to the bot: it says what it has to, and nothing else.
    pub(crate) fn check_request(
        &self,
        turn: EventNumber,
        request: &Bytes,
        id: SessionId,
    ) -> Result<(), Violation> {
        let request: Value = serde_json::from_slice(request).unwrap_or_default();
        let found = request.pointer("/attributes/handBack");
        let expected = self.told.get(&turn).map(|span| {
            let lines = span.lines.iter().map(|(role, name, text)| {
                let role = match role {
                    Role::Visitor => "visitor",
                    Role::Agent => "agent",
                };
                json!({"role": role, "name": name, "text": text})
            });
            let lines: Vec<_> = lines.collect();
            json!({"from": span.from.0, "to": span.to.0, "transcript": lines})
        });
        ensure(found == expected.as_ref(), "P6", || {
            format!("{id}: with {turn} the bot is told {found:?}, expected {expected:?}")
        })
    }

    pub(crate) fn check(&self, state: &State, id: SessionId) -> Result<(), Violation> {
        let found = state.covered.as_ref().map(|span| (span.from, span.to, span.lines.len()));
        let expected = self.untold.as_ref().map(|span| (span.from, span.to, span.lines.len()));
        ensure(found == expected, "I10", || {
            format!("{id}: the bot has not been told of {found:?}, expected {expected:?}")
        })
    }
}
