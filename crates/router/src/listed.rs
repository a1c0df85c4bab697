//! What lists show of a session: a function of its state and of the last message that everybody could see.

use bytes::Bytes;
use prost::Message;
use stentor_postoffice::State;
use stentor_protocol::response_text;
use stentor_types::{Alias, Audience, Control, Event, EventKind, Role, SessionId};
use stentor_wire::{pb, role_to_pb, session_to_bytes, user_to_bytes};

/// Characters of the last message that a list shows.
const TEXT_CHARS_MAX: usize = 200;

/// The last message of a session that everybody could see.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct LastMessage {
    at: i64,
    n: u64,
    /// Nobody: the bot.
    role: Option<Role>,
    text: String,
}

// === impl LastMessage ===

impl LastMessage {
    /// What a list has shown before.
    pub(crate) fn of_listing(listing: &Bytes) -> Option<Self> {
        let listed = pb::Listed::decode(listing.clone()).ok()?;
        let role = listed.last_role.map(|role| match pb::Role::try_from(role) {
            Ok(pb::Role::Agent) => Role::Agent,
            Ok(pb::Role::Visitor) | Err(_) => Role::Visitor,
        });
        Some(Self { at: listed.at, n: listed.n, role, text: listed.last_text })
    }

    /// There is one.
    pub(crate) const fn is_something(&self) -> bool {
        self.n > 0
    }

    /// The event, if it is such a message.
    pub(crate) fn of_event(event: &Event) -> Option<Self> {
        if event.audience != Audience::All {
            return None;
        }
        let (role, text) = text_of(&event.kind)?;
        let text = text.chars().take(TEXT_CHARS_MAX).collect();
        Some(Self { at: event.stamp.0, n: event.n.0, role, text })
    }

    /// The later one.
    pub(crate) fn later(self, other: Option<Self>) -> Self {
        other.filter(|other| other.n > self.n).unwrap_or(self)
    }
}

/// What was said by an event, and by whom; nobody: the bot.
pub(crate) fn text_of(kind: &EventKind) -> Option<(Option<Role>, String)> {
    match kind {
        // A bare launch is nothing that anybody said.
        EventKind::Said(said) if said.greeting => None,
        EventKind::Said(said) => Some((Some(said.role), said.text.clone().unwrap_or_default())),
        EventKind::Replied { body, .. } | EventKind::DraftSent { body, .. } => {
            Some((None, response_text(body).unwrap_or_default()))
        }
        _ => None,
    }
}

/// What lists show of a session.
pub(crate) fn listed(id: SessionId, state: &State, last: &LastMessage) -> pb::Listed {
    let visitor = state.visitor.and_then(|user| state.participants.get(&user));
    let alias = state.visitor.map(|user| Alias::of(&id, user));
    let agents = match &state.control {
        Control::Bot => None,
        Control::Agents(agents) => Some(agents),
    };
    let people = agents.into_iter().flatten().map(|agent| {
        let known = state.participants.get(agent);
        pb::ViewPerson {
            alias: Alias::of(&id, *agent).as_str().to_owned(),
            role: pb::Role::Agent.into(),
            display_name: known.and_then(|known| known.display_name.clone()),
        }
    });
    let what = match (state.ended, agents, state.waiting) {
        (true, ..) => pb::ListedState::Ended,
        (_, Some(_), _) => pb::ListedState::People,
        (.., Some(_)) => pb::ListedState::Waiting,
        _ => pb::ListedState::Bot,
    };
    pb::Listed {
        session: session_to_bytes(id),
        visitor: alias.map(|alias| alias.as_str().to_owned()).unwrap_or_default(),
        display_name: visitor.and_then(|visitor| visitor.display_name.clone()),
        state: what.into(),
        waiting_since_ms: state.waiting.map_or(0, |waiting| waiting.since.as_millis()),
        at: last.at,
        n: last.n,
        last_role: last.role.map(|role| role_to_pb(role).into()),
        last_text: last.text.clone(),
        people: people.collect(),
        present: visitor.is_some_and(|visitor| visitor.connections > 0),
        users: agents.into_iter().flatten().map(|agent| user_to_bytes(*agent)).collect(),
    }
}
