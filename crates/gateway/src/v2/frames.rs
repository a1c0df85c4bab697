//! What a client's frames lead to.

use std::time::Duration;

use prost::Message;
use serde_json::json;
use stentor_cluster::Ingress;
use stentor_protocol::{
    RequestIdentity, rebuild, sanitise_display_name,
    v2::{
        Code, DraftDeed, DraftFrame, MalformedFrame, NAME_CHARS_MAX, OPEN_MAX, Open, Send, Typing,
        V2Frame, encode,
    },
};
use stentor_types::{ClientInstance, ConnectionId, SessionId};
use stentor_wire::{connection_to_pb, pb, session_to_bytes, user_to_bytes};
use tokio::time::Instant;

use super::{
    Connection,
    jobs::{Deed, Job, Opening, Saying, Unfit},
    seat::{Seat, refusal},
};
use crate::{asking::INPUTS_BYTES_MAX, engine::Frames, identify::Principal, metrics::Refusal};

/// Between two signs of typing that are passed on.
const TYPING_EVERY: Duration = Duration::from_millis(500);
/// What stands around a message in a request: ids and numbers.
const ENVELOPE_BYTES: usize = 512;

impl<B: Ingress> Connection<B> {
    /// A frame of somebody who has been greeted.
    pub(super) fn frame(&mut self, frame: V2Frame, frames: &mut Frames) {
        match frame {
            // For the connection itself.
            V2Frame::Hello(_) => {}
            V2Frame::Open(open) => self.open(open, frames),
            V2Frame::Close(close) => match self.seat(&close.sid) {
                Some(seat) => {
                    seat.open = false;
                    seat.jobs.push_back(Job::Leave { aloud: true });
                }
                None => frames.push(not_open(None, close.sid)),
            },
            V2Frame::Send(send) => self.say(send, frames),
            V2Frame::Typing(typing) => self.typing(&typing),
            V2Frame::Take(take) => {
                // What the operator says about somebody counts more than what they say themselves.
                let known = self.principal.as_ref().and_then(|who| who.display_name.clone());
                let given = take.display_name.as_deref().and_then(sanitise_display_name);
                self.deed(take.reference, take.sid, Deed::Take(known.or(given)), frames);
            }
            V2Frame::Release(release) => {
                self.deed(release.reference, release.sid, Deed::Release, frames);
            }
            V2Frame::Draft(DraftFrame { reference, sid, turn, deed }) => {
                let action = match deed {
                    DraftDeed::Send => pb::DraftAction::Send,
                    DraftDeed::Dismiss => pb::DraftAction::Dismiss,
                    DraftDeed::Edited => pb::DraftAction::Edited,
                };
                self.deed(reference, sid, Deed::Draft(turn, action), frames);
            }
            V2Frame::End(end) => self.deed(end.reference, end.sid, Deed::End, frames),
            V2Frame::List(list) => self.list(&list, frames),
            V2Frame::Watch(watch) => self.watch(&watch, frames),
        }
    }

    fn open(&mut self, open: Open, frames: &mut Frames) {
        let reference = open.reference;
        // Each one is an event.
        if !self.may_speak() {
            self.shared.metrics.refused(Refusal::TooFast);
            let text = Code::TooFast.advice();
            return frames.push(refusal(Some(reference), open.sid, Code::TooFast, text));
        }
        let mut refuse = |code, text: &str| {
            frames.push(refusal(Some(reference), open.sid.clone(), code, text));
        };
        let Some(principal) = &self.principal else { return };
        let Some(client) = client_instance(&open.client) else {
            return refuse(Code::Malformed, "client: must be 32 hex digits");
        };
        let sid = match open.sid.as_deref().map(str::parse::<SessionId>) {
            Some(Ok(sid)) => Some(sid),
            Some(Err(_)) => return refuse(Code::Malformed, "sid: not an id that the server made"),
            None if principal.is_staff() => {
                return refuse(Code::Malformed, "sid: missing; staff open sessions by id");
            }
            None => None,
        };
        let name = open.name.filter(|_| sid.is_none());
        let fits = |name: &String| (1..=NAME_CHARS_MAX).contains(&name.chars().count());
        if sid.is_none() && !name.as_ref().is_some_and(fits) {
            return refuse(Code::Malformed, "name: must have 1 to 200 characters, or give a `sid`");
        }
        let opening = Opening { reference, resume: open.resume, by_name: name.is_some() };
        let known = self.seats.iter().position(|seat| {
            (sid.is_some() && seat.sid == sid) || (name.is_some() && seat.name == name)
        });
        if known.is_none() && self.seats.len() >= OPEN_MAX {
            return refuse(Code::TooMany, "sid: more sessions on one socket than allowed");
        }
        let place = known.unwrap_or_else(|| {
            self.seats.push(Seat::new(sid, name, client, self.shared.gateway()));
            self.seats.len() - 1
        });
        let Some(seat) = self.seats.get_mut(place) else { return };
        seat.client = client;
        seat.last_mid = open.last_mid;
        let given = open.display_name.as_deref().and_then(sanitise_display_name);
        seat.display_name = given.or(seat.display_name.take());
        seat.jobs.push_back(Job::Open(opening));
    }

    fn say(&mut self, send: Send, frames: &mut Frames) {
        let Some(principal) = self.principal.as_deref().cloned() else { return };
        let app = self.shared.app(&principal.app);
        let most = app.map_or(0, |app| app.limits.message_bytes);
        let said = saying(&send, &principal, most);
        self.message(send.sid, send.mid, said, frames);
    }

    /// A frame that was to be a message, but cannot be read: whoever keeps the message until it is answered
    /// must get an answer.
    pub(super) fn unreadable(&mut self, frame: MalformedFrame, frames: &mut Frames) {
        let MalformedFrame { text, message, is_too_long, .. } = frame;
        let Some((sid, mid)) = message else { return };
        let code = if is_too_long { Code::TooLong } else { Code::Malformed };
        self.message(sid, mid, Err(Unfit { code, text }), frames);
    }

    /// A message, fit to be taken or not.
    fn message(&mut self, sid: String, mid: u64, said: Result<Saying, Unfit>, frames: &mut Frames) {
        let speaks = self.may_speak();
        let Some(may_work) = self.principal.as_ref().map(|who| who.may_work()) else { return };
        let metrics = std::sync::Arc::clone(&self.shared.metrics);
        let Some(seat) = self.seat(&sid) else {
            let code = Code::NotOpen;
            let nack = stentor_protocol::v2::Nack {
                sid,
                mid,
                code,
                is_final: false,
                retry_after_ms: None,
                expected: None,
                text: code.advice().to_owned(),
            };
            return frames.push(encode(&nack));
        };
        if !speaks {
            metrics.refused(Refusal::TooFast);
            return frames.push(seat.nack(mid, Code::TooFast, None, Code::TooFast.advice()));
        }
        // They can never send, so no number is used up.
        if !may_work {
            return frames.push(seat.nack(mid, Code::Forbidden, None, Code::Forbidden.advice()));
        }
        seat.last_mid = seat.last_mid.max(mid);
        seat.jobs.push_back(match said {
            Ok(saying) => Job::Say(Box::new(saying)),
            Err(why) => {
                metrics.refused(Refusal::Body);
                Job::Refuse { mid, why }
            }
        });
    }

    fn deed(&mut self, reference: u64, sid: String, deed: Deed, frames: &mut Frames) {
        let may = self.principal.as_ref().is_some_and(|who| who.is_staff() && who.may_work());
        let speaks = self.may_speak();
        let Some(seat) = self.seat(&sid) else {
            return frames.push(not_open(Some(reference), sid));
        };
        if !speaks {
            let code = Code::TooFast;
            return frames.push(refusal(Some(reference), Some(sid), code, code.advice()));
        }
        if may {
            seat.jobs.push_back(Job::Deed { reference, deed });
        } else {
            let code = Code::Forbidden;
            frames.push(refusal(Some(reference), Some(sid), code, code.advice()));
        }
    }

    /// Passed on at once, and perhaps lost.
    fn typing(&mut self, typing: &Typing) {
        if !self.may_speak() {
            return;
        }
        let (gateway, number) = (self.shared.gateway(), self.number);
        let Some(principal) = self.principal.as_deref().cloned() else { return };
        let Some(seat) = self.seat(&typing.sid) else { return };
        let soon = seat.typed_at.is_some_and(|at| at.elapsed() < TYPING_EVERY);
        if soon && typing.on {
            return;
        }
        seat.typed_at = Some(Instant::now());
        let Some(session) = seat.sid else { return };
        let signal = pb::SignalRequest {
            connection: Some(connection_to_pb(ConnectionId { gateway, number })),
            user: user_to_bytes(principal.visitor.user),
            session: session_to_bytes(session),
            typing: typing.on,
        };
        let kind = Some(pb::request::Kind::Signal(signal));
        let request = pb::Request { app: principal.app.as_str().to_owned(), kind, deaths: 0 };
        let bus = std::sync::Arc::clone(&self.shared.bus);
        let signal = tokio::spawn(async move {
            let _ = bus.request(session.partition(), request.encode_to_vec().into()).await;
        });
        self.signals.push(signal);
    }

    /// Two names may turn out to be one session: the later one counts.
    pub(super) fn merge_seats(&mut self) {
        let ids: Vec<_> = self.seats.iter().map(|seat| (seat.sid, seat.open)).collect();
        let mut place = 0;
        self.seats.retain(|seat| {
            place += 1;
            let later = ids.get(place..).unwrap_or_default();
            let doubled = seat.sid.is_some() && later.contains(&(seat.sid, true));
            !(doubled && seat.is_idle())
        });
    }
}

/// A message as the owner is to see it.
///
/// # Errors
/// It makes no sense; the text names the field.
fn saying(send: &Send, principal: &Principal, most: usize) -> Result<Saying, Unfit> {
    let malformed = |text: &str| Unfit { code: Code::Malformed, text: text.to_owned() };
    if send.mid == 0 {
        return Err(malformed("mid: the first one is 1"));
    }
    if send.note && !principal.is_staff() {
        return Err(malformed("note: only staff write notes"));
    }
    let text_bytes = send.text.as_ref().map_or(0, String::len);
    let request_bytes = send.request.as_ref().map_or(0, |request| request.get().len());
    if text_bytes.saturating_add(request_bytes) > most {
        let text = format!("text: longer than {most} bytes (`limits.messageBytes`)");
        return Err(Unfit { code: Code::TooLong, text });
    }
    let data: Vec<u8> = match (&send.text, &send.request) {
        (Some(text), None) if !text.trim().is_empty() => {
            let typed = json!({
                "type": "INTENT_REQUEST",
                "intentId": "NLU_RESULT_PLACEHOLDER",
                "rawQuery": text,
            });
            typed.to_string().into_bytes()
        }
        (None, Some(request)) if !send.note => request.get().as_bytes().to_vec(),
        (None, Some(_)) => return Err(malformed("note: can only have a `text`")),
        _ => return Err(malformed("text: must not be empty, unless there is a `request`")),
    };
    let identity = RequestIdentity { user_id: &principal.bot_user, session_id: &send.sid };
    let request =
        rebuild(&data, identity).map_err(|error| malformed(&format!("request: {error}")))?;
    let written = [request.for_record.len(), request.for_bot.len(), text_bytes];
    if written.iter().sum::<usize>() > INPUTS_BYTES_MAX - ENVELOPE_BYTES {
        let text = "text: too long once it is written as a Request; send it in pieces".to_owned();
        return Err(Unfit { code: Code::TooLong, text });
    }
    Ok(Saying {
        mid: send.mid,
        text: request.text,
        greeting: request.is_greeting,
        note: send.note,
        body: request.for_record,
        request: request.for_bot,
    })
}

fn not_open(reference: Option<u64>, sid: String) -> bytes::Bytes {
    refusal(reference, Some(sid), Code::NotOpen, Code::NotOpen.advice())
}

fn client_instance(text: &str) -> Option<ClientInstance> {
    let fits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    u128::from_str_radix(text, 16).ok().filter(|_| fits).map(ClientInstance)
}
