//! Events of a session.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use prost::Message;
use stentor_types::{
    Alias, Audience, Control, ControlEpoch, DraftEnd, Event, EventKind, EventNumber, GatewayId,
    Mid, Notice, Said, Stamp, Timestamp, TurnEnd,
};

use crate::{
    DecodeError,
    convert::{
        client_instance, client_to_bytes, clock_from_pb, clock_to_pb, connection_from_pb,
        connection_to_pb, failure_from_pb, failure_to_pb, permissions, reject_from_pb,
        reject_to_pb, role_from_pb, role_to_pb, user_key, user_to_bytes,
    },
    pb::{self, event::Kind},
};

/// The bytes of an event. They are made once, when it is decided, and copied from then on.
#[must_use]
pub fn encode_event(event: &Event) -> Bytes {
    let audience = match event.audience {
        Audience::All => pb::Audience::All,
        Audience::Staff => pb::Audience::Staff,
    };
    let encoded = pb::Event {
        n: event.n.0,
        stamp: event.stamp.0,
        audience: audience.into(),
        kind: encode_kind(&event.kind),
    };
    encoded.encode_to_vec().into()
}

/// An event of its bytes. A kind that is not known here, or has a value that is not, reads as [`EventKind::Unknown`], an audience
/// that is not known as staff.
///
/// # Errors
/// The bytes are no event, or a field that its kind needs is missing.
pub fn decode_event(bytes: &Bytes) -> Result<Event, DecodeError> {
    let event = pb::Event::decode(bytes.clone())?;
    if event.n == 0 {
        return Err(DecodeError::Field("n"));
    }
    let audience = match pb::Audience::try_from(event.audience) {
        Ok(pb::Audience::All) => Audience::All,
        Ok(pb::Audience::Staff) | Err(_) => Audience::Staff,
    };
    let kind = match event.kind {
        Some(kind) => decode_kind(kind)?,
        None => EventKind::Unknown,
    };
    Ok(Event { n: EventNumber(event.n), stamp: Stamp(event.stamp), audience, kind })
}

fn encode_kind(kind: &EventKind) -> Option<Kind> {
    Some(match kind {
        EventKind::Opened { visitor, claimed } => {
            Kind::Opened(pb::Opened { visitor: user_to_bytes(*visitor), claimed: claimed.clone() })
        }
        EventKind::Joined { user, role, alias, display_name, counted } => {
            Kind::Joined(pb::Joined {
                user: user_to_bytes(*user),
                role: role_to_pb(*role).into(),
                alias: alias.as_str().to_owned(),
                display_name: display_name.clone(),
                counted: *counted,
            })
        }
        EventKind::Attached { connection, user, counter, permissions, client } => {
            Kind::Attached(pb::Attached {
                connection: Some(connection_to_pb(*connection)),
                user: user_to_bytes(*user),
                counter: *counter,
                sends: permissions.sends,
                receives: permissions.receives,
                client: client.map(client_to_bytes),
            })
        }
        EventKind::Detached { connection, delivered, leaves_at } => Kind::Detached(pb::Detached {
            connection: Some(connection_to_pb(*connection)),
            delivered: delivered.map(|n| n.0),
            leaves_at: leaves_at.0,
        }),
        EventKind::GatewayLost { gateway, leaves_at } => {
            Kind::GatewayLost(pb::GatewayLost { gateway: gateway.0, leaves_at: leaves_at.0 })
        }
        EventKind::Left { user, alias, counted } => Kind::Left(pb::Left {
            user: user_to_bytes(*user),
            alias: alias.as_str().to_owned(),
            counted: *counted,
        }),
        EventKind::Crowd { total, joined, left } => {
            Kind::Crowd(pb::Crowd { total: *total, joined: *joined, left: *left })
        }
        EventKind::Clock { user, segment } => Kind::Clock(clock_to_pb(*user, *segment)),
        EventKind::Said(said) => Kind::Said(pb::Said {
            user: user_to_bytes(said.user),
            alias: said.alias.as_str().to_owned(),
            mid: Some(encode_mid(said.mid)),
            text: said.text.clone(),
            greeting: said.greeting,
            body: said.body.clone(),
            role: role_to_pb(said.role).into(),
            display_name: said.display_name.clone(),
        }),
        EventKind::TurnStarted { turn, attempt, deadline } => Kind::TurnStarted(pb::TurnStarted {
            turn: turn.0,
            attempt: u32::from(*attempt),
            deadline: deadline.0,
        }),
        EventKind::TurnFailed { turn, attempt, delay_s, reason } => {
            Kind::TurnFailed(pb::TurnFailed {
                turn: turn.0,
                attempt: u32::from(*attempt),
                delay_s: *delay_s,
                reason: failure_to_pb(*reason).into(),
            })
        }
        EventKind::Replied { turn, body, handoff } => {
            Kind::Replied(pb::Replied { turn: turn.0, body: body.clone(), handoff: *handoff })
        }
        EventKind::TurnEnded { turn, how } => {
            Kind::TurnEnded(pb::TurnEnded { turn: turn.0, how: encode_turn_end(*how).into() })
        }
        EventKind::Draft { turn, body } => {
            Kind::Draft(pb::Draft { turn: turn.0, body: body.clone() })
        }
        EventKind::DraftSent { turn, user, alias, body } => Kind::DraftSent(pb::DraftSent {
            turn: turn.0,
            user: user_to_bytes(*user),
            alias: alias.as_str().to_owned(),
            body: body.clone(),
        }),
        EventKind::DraftDone { turn, user, alias, how } => {
            let how = match how {
                DraftEnd::Dismissed => pb::DraftEnd::Dismissed,
                DraftEnd::Edited => pb::DraftEnd::Edited,
            };
            Kind::DraftDone(pb::DraftDone {
                turn: turn.0,
                user: user_to_bytes(*user),
                alias: alias.as_str().to_owned(),
                how: how.into(),
            })
        }
        EventKind::SteppedIn { user, alias, display_name } => Kind::SteppedIn(pb::SteppedIn {
            user: user_to_bytes(*user),
            alias: alias.as_str().to_owned(),
            display_name: display_name.clone(),
        }),
        EventKind::SteppedOut { user, alias, display_name, lapsed } => {
            Kind::SteppedOut(pb::SteppedOut {
                user: user_to_bytes(*user),
                alias: alias.as_str().to_owned(),
                display_name: display_name.clone(),
                lapsed: *lapsed,
            })
        }
        EventKind::Ended { user, alias } => {
            Kind::Ended(pb::Ended { user: user_to_bytes(*user), alias: alias.as_str().to_owned() })
        }
        EventKind::Notice { notice, text } => {
            let notice = match notice {
                Notice::QueueFull => pb::Notice::QueueFull,
                Notice::NobodyFree => pb::Notice::NobodyFree,
            };
            Kind::Noticed(pb::Noticed { notice: notice.into(), text: text.clone() })
        }
        EventKind::ControlChanged { control, epoch } => Kind::ControlChanged(pb::ControlChanged {
            control: Some(encode_control(control)),
            epoch: epoch.0,
        }),
        EventKind::Rejected { mid, code, body } => Kind::Rejected(pb::Rejected {
            mid: Some(encode_mid(*mid)),
            code: reject_to_pb(*code).into(),
            body: body.clone(),
        }),
        EventKind::Erased => Kind::Erased(pb::Erased {}),
        EventKind::Unknown => return None,
    })
}

fn decode_kind(kind: Kind) -> Result<EventKind, DecodeError> {
    Ok(match kind {
        Kind::Opened(opened) => {
            EventKind::Opened { visitor: user_key(&opened.visitor)?, claimed: opened.claimed }
        }
        Kind::Joined(joined) => match role_from_pb(joined.role) {
            Ok(role) => EventKind::Joined {
                user: user_key(&joined.user)?,
                role,
                alias: alias(&joined.alias),
                display_name: joined.display_name,
                counted: joined.counted,
            },
            // A role of a later version.
            Err(_) => EventKind::Unknown,
        },
        Kind::Attached(attached) => EventKind::Attached {
            connection: connection_from_pb(attached.connection)?,
            user: user_key(&attached.user)?,
            counter: attached.counter,
            permissions: permissions(attached.sends, attached.receives),
            client: attached.client.map(|client| client_instance(&client)).transpose()?,
        },
        Kind::Detached(detached) => EventKind::Detached {
            connection: connection_from_pb(detached.connection)?,
            delivered: detached.delivered.map(EventNumber),
            leaves_at: Timestamp(detached.leaves_at),
        },
        Kind::GatewayLost(lost) => EventKind::GatewayLost {
            gateway: GatewayId(lost.gateway),
            leaves_at: Timestamp(lost.leaves_at),
        },
        Kind::Left(left) => EventKind::Left {
            user: user_key(&left.user)?,
            alias: alias(&left.alias),
            counted: left.counted,
        },
        Kind::Crowd(crowd) => {
            EventKind::Crowd { total: crowd.total, joined: crowd.joined, left: crowd.left }
        }
        Kind::Clock(clock) => {
            EventKind::Clock { user: user_key(&clock.user)?, segment: clock_from_pb(&clock) }
        }
        Kind::Said(said) => match role_from_pb(said.role) {
            Ok(role) => EventKind::Said(Said {
                user: user_key(&said.user)?,
                role,
                alias: alias(&said.alias),
                display_name: said.display_name,
                mid: decode_mid(said.mid)?,
                text: said.text,
                greeting: said.greeting,
                body: said.body,
            }),
            // A role of a later version.
            Err(_) => EventKind::Unknown,
        },
        Kind::TurnStarted(started) => EventKind::TurnStarted {
            turn: EventNumber(started.turn),
            attempt: attempt(started.attempt)?,
            deadline: Timestamp(started.deadline),
        },
        Kind::TurnFailed(failed) => EventKind::TurnFailed {
            turn: EventNumber(failed.turn),
            attempt: attempt(failed.attempt)?,
            delay_s: failed.delay_s,
            reason: failure_from_pb(failed.reason),
        },
        Kind::Replied(replied) => EventKind::Replied {
            turn: EventNumber(replied.turn),
            body: replied.body,
            handoff: replied.handoff,
        },
        Kind::TurnEnded(ended) => decode_turn_end(ended.how).map_or(EventKind::Unknown, |how| {
            EventKind::TurnEnded { turn: EventNumber(ended.turn), how }
        }),
        Kind::Draft(draft) => EventKind::Draft { turn: EventNumber(draft.turn), body: draft.body },
        Kind::Noticed(noticed) => match pb::Notice::try_from(noticed.notice) {
            Ok(pb::Notice::QueueFull) => {
                EventKind::Notice { notice: Notice::QueueFull, text: noticed.text }
            }
            Ok(pb::Notice::NobodyFree) => {
                EventKind::Notice { notice: Notice::NobodyFree, text: noticed.text }
            }
            Err(_) => EventKind::Unknown,
        },
        Kind::DraftSent(sent) => EventKind::DraftSent {
            turn: EventNumber(sent.turn),
            user: user_key(&sent.user)?,
            alias: alias(&sent.alias),
            body: sent.body,
        },
        Kind::DraftDone(done) => {
            let how = match pb::DraftEnd::try_from(done.how) {
                Ok(pb::DraftEnd::Dismissed) | Err(_) => DraftEnd::Dismissed,
                Ok(pb::DraftEnd::Edited) => DraftEnd::Edited,
            };
            EventKind::DraftDone {
                turn: EventNumber(done.turn),
                user: user_key(&done.user)?,
                alias: alias(&done.alias),
                how,
            }
        }
        Kind::SteppedIn(stepped) => EventKind::SteppedIn {
            user: user_key(&stepped.user)?,
            alias: alias(&stepped.alias),
            display_name: stepped.display_name,
        },
        Kind::SteppedOut(stepped) => EventKind::SteppedOut {
            user: user_key(&stepped.user)?,
            alias: alias(&stepped.alias),
            display_name: stepped.display_name,
            lapsed: stepped.lapsed,
        },
        Kind::Ended(ended) => {
            EventKind::Ended { user: user_key(&ended.user)?, alias: alias(&ended.alias) }
        }
        Kind::Erased(_) => EventKind::Erased,
        Kind::ControlChanged(changed) => EventKind::ControlChanged {
            control: decode_control(changed.control.as_ref())?,
            epoch: ControlEpoch(changed.epoch),
        },
        Kind::Rejected(rejected) => EventKind::Rejected {
            mid: decode_mid(rejected.mid)?,
            code: reject_from_pb(rejected.code),
            body: rejected.body,
        },
    })
}

fn encode_mid(mid: Mid) -> pb::Mid {
    pb::Mid { client: client_to_bytes(mid.client), counter: mid.counter }
}

fn decode_mid(mid: Option<pb::Mid>) -> Result<Mid, DecodeError> {
    let mid = mid.ok_or(DecodeError::Field("mid"))?;
    Ok(Mid { client: client_instance(&mid.client)?, counter: mid.counter })
}

fn alias(text: &str) -> Alias {
    Alias(Arc::from(text))
}

fn attempt(attempt: u32) -> Result<u8, DecodeError> {
    u8::try_from(attempt).map_err(|_| DecodeError::Field("attempt"))
}

const fn encode_turn_end(how: TurnEnd) -> pb::TurnEnd {
    match how {
        TurnEnd::Empty => pb::TurnEnd::Empty,
        TurnEnd::Interrupted => pb::TurnEnd::Interrupted,
        TurnEnd::Overflow => pb::TurnEnd::Overflow,
        TurnEnd::Stale => pb::TurnEnd::Stale,
    }
}

/// Nothing for one of a later version.
fn decode_turn_end(how: i32) -> Option<TurnEnd> {
    match pb::TurnEnd::try_from(how) {
        Ok(pb::TurnEnd::Empty) => Some(TurnEnd::Empty),
        Ok(pb::TurnEnd::Interrupted) => Some(TurnEnd::Interrupted),
        Ok(pb::TurnEnd::Overflow) => Some(TurnEnd::Overflow),
        Ok(pb::TurnEnd::Stale) => Some(TurnEnd::Stale),
        Err(_) => None,
    }
}

pub(crate) fn encode_control(control: &Control) -> pb::Control {
    let agents = match control {
        Control::Bot => Vec::new(),
        Control::Agents(agents) => agents.iter().copied().map(user_to_bytes).collect(),
    };
    pb::Control { agents }
}

pub(crate) fn decode_control(control: Option<&pb::Control>) -> Result<Control, DecodeError> {
    let control = control.ok_or(DecodeError::Field("control"))?;
    let agents =
        control.agents.iter().map(|user| user_key(user)).collect::<Result<BTreeSet<_>, _>>()?;
    Ok(if agents.is_empty() { Control::Bot } else { Control::Agents(agents) })
}
