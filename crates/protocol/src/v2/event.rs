//! One event as the clients of one audience see it: the same bytes for all of them, for ever.

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use stentor_types::Alias;
use stentor_types::{
    Audience, Control, DraftEnd, Epoch, Event, EventKind, FailureReason, Notice, Role, SessionId,
    TurnEnd,
};

use super::server::RoleName;

/// Who looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Viewer {
    Visitor,
    Staff,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "t", rename = "event")]
pub(super) struct EventFrame<'a> {
    sid: String,
    epoch: u64,
    n: u64,
    /// Milliseconds since 1970, strictly increasing within a session.
    at: i64,
    #[serde(flatten)]
    kind: Kind<'a>,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
enum Kind<'a> {
    Joined {
        who: &'a str,
        role: RoleName,
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<&'a str>,
    },
    Left {
        who: &'a str,
    },
    /// So many came and left since the last one: where many take part, each one is `system`.
    Crowd {
        /// How many take part now.
        total: u32,
        joined: u32,
        left: u32,
    },
    Message(Message<'a>),
    Note(Message<'a>),
    Asked {
        turn: u64,
        attempt: u8,
    },
    Failed {
        turn: u64,
        attempt: u8,
        retry_in_s: u32,
        reason: &'static str,
    },
    Reply {
        turn: u64,
        #[cfg_attr(test, schemars(with = "serde_json::Value"))]
        response: &'a RawValue,
        handoff: bool,
    },
    NoReply {
        turn: u64,
        reason: &'static str,
    },
    Draft {
        turn: u64,
        #[cfg_attr(test, schemars(with = "serde_json::Value"))]
        response: &'a RawValue,
    },
    DraftSent {
        turn: u64,
        from: &'a str,
        #[cfg_attr(test, schemars(with = "serde_json::Value"))]
        response: &'a RawValue,
    },
    DraftDone {
        turn: u64,
        who: &'a str,
        how: &'static str,
    },
    Notice {
        text: &'a str,
        reason: &'static str,
    },
    StepIn {
        who: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<&'a str>,
    },
    StepOut {
        who: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<&'a str>,
    },
    Control {
        people: Vec<String>,
    },
    Ended {
        who: &'a str,
    },
    /// What was said and done is erased, this event included.
    Erased,
    System,
    Withheld,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Message<'a> {
    from: &'a str,
    role: RoleName,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    mid: MidNumber,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    greeting: bool,
    /// What was chosen, where nothing was typed: a Stentor Request without secrets.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Option<serde_json::Value>"))]
    request: Option<&'a RawValue>,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct MidNumber {
    /// 32 hex digits.
    client: String,
    n: u64,
}

/// The frame of an event.
pub fn event_frame(session: SessionId, epoch: Epoch, event: &Event, viewer: Viewer) -> Bytes {
    let hidden = viewer == Viewer::Visitor && event.audience == Audience::Staff;
    let kind = if hidden { Kind::Withheld } else { kind(&session, event) };
    super::encode(&EventFrame {
        sid: session.to_string(),
        epoch: epoch.0,
        n: event.n.0,
        at: event.stamp.0,
        kind,
    })
}

fn kind<'a>(session: &SessionId, event: &'a Event) -> Kind<'a> {
    match &event.kind {
        EventKind::Joined { counted: true, .. } | EventKind::Left { counted: true, .. } => {
            Kind::System
        }
        EventKind::Crowd { total, joined, left } => {
            Kind::Crowd { total: *total, joined: *joined, left: *left }
        }
        EventKind::Joined { role, alias, display_name, .. } => Kind::Joined {
            who: alias.as_str(),
            role: role_name(*role),
            name: display_name.as_deref(),
        },
        EventKind::Left { alias, .. } => Kind::Left { who: alias.as_str() },
        EventKind::Said(said) => {
            let chosen = raw(&said.body).filter(|_| said.text.is_none() && !said.greeting);
            let message = Message {
                from: said.alias.as_str(),
                role: role_name(said.role),
                name: said.display_name.as_deref(),
                mid: MidNumber {
                    client: format!("{:032x}", said.mid.client.0),
                    n: said.mid.counter,
                },
                text: said.text.as_deref(),
                greeting: said.greeting,
                request: chosen,
            };
            match event.audience {
                Audience::All => Kind::Message(message),
                Audience::Staff => Kind::Note(message),
            }
        }
        EventKind::TurnStarted { turn, attempt, .. } => {
            Kind::Asked { turn: turn.0, attempt: *attempt }
        }
        EventKind::TurnFailed { turn, attempt, delay_s, reason } => Kind::Failed {
            turn: turn.0,
            attempt: *attempt,
            retry_in_s: *delay_s,
            reason: failure(*reason),
        },
        EventKind::Replied { turn, body, handoff } => match raw(body) {
            Some(response) => Kind::Reply { turn: turn.0, response, handoff: *handoff },
            None => Kind::NoReply { turn: turn.0, reason: "empty" },
        },
        EventKind::TurnEnded { turn, how } => {
            let reason = match how {
                TurnEnd::Empty => "empty",
                TurnEnd::Interrupted => "interrupted",
                TurnEnd::Overflow => "overflow",
                TurnEnd::Stale => "stale",
            };
            Kind::NoReply { turn: turn.0, reason }
        }
        EventKind::Draft { turn, body } => match raw(body) {
            Some(response) => Kind::Draft { turn: turn.0, response },
            None => Kind::System,
        },
        EventKind::DraftSent { turn, alias, body, .. } => match raw(body) {
            Some(response) => Kind::DraftSent { turn: turn.0, from: alias.as_str(), response },
            None => Kind::System,
        },
        EventKind::DraftDone { turn, alias, how, .. } => {
            let how = match how {
                DraftEnd::Dismissed => "dismissed",
                DraftEnd::Edited => "edited",
            };
            Kind::DraftDone { turn: turn.0, who: alias.as_str(), how }
        }
        EventKind::Notice { notice, text } => {
            let reason = match notice {
                Notice::QueueFull => "queueFull",
                Notice::NobodyFree => "nobodyFree",
            };
            Kind::Notice { text, reason }
        }
        EventKind::SteppedIn { alias, display_name, .. } => {
            Kind::StepIn { who: alias.as_str(), name: display_name.as_deref() }
        }
        EventKind::SteppedOut { alias, display_name, .. } => {
            Kind::StepOut { who: alias.as_str(), name: display_name.as_deref() }
        }
        EventKind::ControlChanged { control, .. } => {
            let people = match control {
                Control::Bot => Vec::new(),
                Control::Agents(agents) => agents
                    .iter()
                    .map(|agent| Alias::of(session, *agent).as_str().to_owned())
                    .collect(),
            };
            Kind::Control { people }
        }
        EventKind::Ended { alias, .. } => Kind::Ended { who: alias.as_str() },
        EventKind::Erased => Kind::Erased,
        EventKind::Opened { .. }
        | EventKind::Attached { .. }
        | EventKind::Detached { .. }
        | EventKind::GatewayLost { .. }
        | EventKind::Clock { .. }
        | EventKind::Rejected { .. }
        | EventKind::Unknown => Kind::System,
    }
}

/// JSON as it stands, if it is JSON.
fn raw(body: &Bytes) -> Option<&RawValue> {
    serde_json::from_slice(body).ok()
}

const fn role_name(role: Role) -> RoleName {
    match role {
        Role::Visitor => RoleName::Visitor,
        Role::Agent => RoleName::Agent,
    }
}

const fn failure(reason: FailureReason) -> &'static str {
    match reason {
        FailureReason::TimedOut => "timedOut",
        FailureReason::Unreachable => "unreachable",
        FailureReason::Status => "status",
        FailureReason::BadAnswer => "badAnswer",
        FailureReason::BreakerOpen => "breakerOpen",
        FailureReason::NotAllowed => "notAllowed",
    }
}

#[cfg(test)]
mod tests {
    use stentor_types::{ControlEpoch, EventNumber, PlacementKey, Stamp, UserKey};

    use super::*;

    #[test]
    fn a_frame_has_no_name_twice() {
        let control = Control::Agents([UserKey([1; 16])].into());
        let kind = EventKind::ControlChanged { control, epoch: ControlEpoch(9) };
        let event = Event { n: EventNumber(3), stamp: Stamp(8), audience: Audience::Staff, kind };
        let session = SessionId::new(PlacementKey(1), 2);
        let frame = event_frame(session, Epoch(7), &event, Viewer::Staff);
        let text = std::str::from_utf8(&frame).unwrap();
        assert_eq!(text.matches("\"epoch\"").count(), 1, "{text}");
        assert!(text.contains("\"epoch\":7"));
        let frame = event_frame(session, Epoch(7), &event, Viewer::Visitor);
        assert!(std::str::from_utf8(&frame).unwrap().ends_with("\"kind\":\"withheld\"}"));
    }
}
