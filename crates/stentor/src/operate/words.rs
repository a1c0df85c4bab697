//! Events in words, without what was said and without ids of users.

use stentor_types::{
    Alias, Audience, Control, Event, EventKind, EventNumber, Role, SessionId, UserKey,
};

/// What happened.
pub(super) fn words(session: &SessionId, event: &Event) -> String {
    let alias = |user: &UserKey| Alias::of(session, *user).as_str().to_owned();
    let text = match &event.kind {
        EventKind::Opened { .. } => "the session begins".to_owned(),
        EventKind::Joined { role, alias, counted, .. } => {
            let one = if *counted { ", one of many" } else { "" };
            format!("{} {} joins{one}", role_of(*role), alias.as_str())
        }
        EventKind::Attached { connection, user, permissions, .. } => {
            let how = if permissions.sends { "" } else { " and only listens" };
            format!("{} has connection {connection}{how}", alias(user))
        }
        EventKind::Detached { connection, delivered, .. } => {
            let up_to =
                delivered.map_or(String::new(), |n| format!(", which had everything up to {n}"));
            format!("connection {connection} is gone{up_to}")
        }
        EventKind::GatewayLost { gateway, .. } => {
            format!("gateway {:016x} is gone with all its connections", gateway.0)
        }
        EventKind::Left { alias, counted, .. } => {
            let one = if *counted { ", one of many" } else { "" };
            format!("{} leaves{one}", alias.as_str())
        }
        EventKind::Crowd { total, joined, left } => {
            format!("{joined} came and {left} left; {total} take part")
        }
        EventKind::Clock { .. } => "the clock of a device is measured".to_owned(),
        EventKind::Said(said) => {
            let what = match &said.text {
                _ if said.greeting => "greets".to_owned(),
                Some(text) => format!("says something ({} characters)", text.chars().count()),
                None => "chooses something".to_owned(),
            };
            format!("{} {} {what}", role_of(said.role), said.alias.as_str())
        }
        EventKind::TurnStarted { turn, attempt, .. } => {
            format!("the bot is asked about {turn}, attempt {attempt}")
        }
        EventKind::TurnFailed { turn, attempt, delay_s: 0, reason } => {
            format!("attempt {attempt} about {turn} has failed ({reason:?}), the last one")
        }
        EventKind::TurnFailed { turn, attempt, delay_s, reason } => {
            format!(
                "attempt {attempt} about {turn} has failed ({reason:?}), the next one in {delay_s} s"
            )
        }
        EventKind::Replied { turn, handoff, .. } => {
            let more = if *handoff { " and wants a person" } else { "" };
            format!("the bot answers {turn}{more}")
        }
        EventKind::TurnEnded { turn, how } => format!("no answer to {turn} ({how:?})"),
        EventKind::Draft { turn, .. } => {
            format!("the bot's answer to {turn} comes too late: a draft")
        }
        EventKind::DraftSent { turn, alias, .. } => {
            format!("{} passes the draft about {turn} on", alias.as_str())
        }
        EventKind::DraftDone { turn, alias, how, .. } => {
            format!("{} is done with the draft about {turn} ({how:?})", alias.as_str())
        }
        EventKind::SteppedIn { alias, .. } => format!("{} answers from now on", alias.as_str()),
        EventKind::SteppedOut { alias, lapsed, .. } => {
            let why = if *lapsed { ", whose connections are gone" } else { "" };
            format!("{} no longer answers{why}", alias.as_str())
        }
        EventKind::Ended { alias, .. } => format!("{} ends the conversation", alias.as_str()),
        EventKind::Notice { notice, .. } => format!("the app says something itself ({notice:?})"),
        EventKind::ControlChanged { control, epoch } => {
            format!("{} in control, control epoch {epoch}", control_of(session, control))
        }
        EventKind::Rejected { code, .. } => format!("a message is refused ({code:?})"),
        EventKind::Erased => "what was said and done until now is erased".to_owned(),
        EventKind::Unknown => "something that a later version knows".to_owned(),
    };
    match event.audience {
        Audience::All => text,
        Audience::Staff => format!("{text} [staff only]"),
    }
}

/// Who answers the visitor.
pub(super) fn control_of(session: &SessionId, control: &Control) -> String {
    match control {
        Control::Bot => "the bot".to_owned(),
        Control::Agents(agents) => {
            let names = agents.iter().map(|user| Alias::of(session, *user).as_str().to_owned());
            names.collect::<Vec<_>>().join(", ")
        }
    }
}

pub(super) const fn role_of(role: Role) -> &'static str {
    match role {
        Role::Visitor => "visitor",
        Role::Agent => "agent",
    }
}

/// The message that an event has to do with: itself if it is one.
pub(super) const fn about(event: &Event) -> Option<EventNumber> {
    match &event.kind {
        EventKind::Said(_) => Some(event.n),
        EventKind::TurnStarted { turn, .. }
        | EventKind::TurnFailed { turn, .. }
        | EventKind::Replied { turn, .. }
        | EventKind::TurnEnded { turn, .. }
        | EventKind::Draft { turn, .. }
        | EventKind::DraftSent { turn, .. }
        | EventKind::DraftDone { turn, .. } => Some(*turn),
        _ => None,
    }
}
