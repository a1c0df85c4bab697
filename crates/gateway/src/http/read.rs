//! What the HTTP API reads: lists, events, transcripts.

use std::{collections::HashMap, fmt::Write as _, str::FromStr};

use http::{HeaderValue, StatusCode, header};
use serde_json::Value;
use stentor_cluster::Ingress;
use stentor_protocol::{
    api::{EVENTS_MAX, Sessions},
    response_text,
    v2::{Code, Filter, List, Viewer},
};
use stentor_types::{Epoch, EventKind, EventNumber, Role, SessionId};
use stentor_wire::{pb, session_to_bytes, user_to_bytes};

use super::{
    Answer,
    api::{Caller, json_body, parameter, problem, refused},
};
use crate::{asking, batch::Batch, v2};

/// Largest transcript that is handed out in one piece.
const TRANSCRIPT_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Sessions of the app.
pub(super) async fn list<B: Ingress>(
    caller: &Caller<'_, B>,
    query: &str,
) -> Result<Answer, Answer> {
    let filter = match parameter(query, "filter").as_deref() {
        None | Some("all") => Filter::All,
        Some("waiting") => Filter::Waiting,
        Some("mine") => Filter::Mine,
        Some("open") => Filter::Open,
        Some("ended") => Filter::Ended,
        Some(_) => return Err(wrong("filter: must be all, waiting, mine, open or ended")),
    };
    let list = List {
        reference: 0,
        filter,
        search: parameter(query, "search").unwrap_or_default(),
        after: parameter(query, "after"),
        limit: number(query, "limit", 1..=100)?,
    };
    let user = caller.principal.visitor.user;
    let request = v2::list_request(&list, user).map_err(wrong)?;
    let partition = caller.principal.visitor.placement.partition();
    match caller.ask(partition, pb::request::Kind::List(request)).await? {
        asking::Answer::List(reply) => {
            let user = user_to_bytes(user);
            let items = reply.items.iter().filter_map(|listed| v2::item(listed, &user)).collect();
            let next = (!reply.next.is_empty()).then(|| v2::to_hex(&reply.next));
            let body = serde_json::to_vec(&Sessions { items, next });
            Ok(json_body(body.map_err(|_| refused(Code::Busy))?))
        }
        _ => Err(wrong("after: not what `next` said")),
    }
}

/// Events of a session.
pub(super) async fn events<B: Ingress>(
    caller: &Caller<'_, B>,
    session: SessionId,
    query: &str,
) -> Result<Answer, Answer> {
    let from: u64 = number(query, "from", 1..=1 << 53)?.unwrap_or(1);
    let limit: u64 = number(query, "limit", 1..=EVENTS_MAX)?.unwrap_or(EVENTS_MAX);
    let batch = fetch(caller, session, from, from.saturating_add(limit - 1)).await?;
    let mut body = format!("{{\"epoch\":{},\"head\":{},\"events\":[", batch.epoch.0, batch.head.0)
        .into_bytes();
    push_frames(&batch, &mut body);
    body.extend_from_slice(b"]}");
    Ok(json_body(body))
}

/// Everything that was said in a session.
pub(super) async fn transcript<B: Ingress>(
    caller: &Caller<'_, B>,
    session: SessionId,
    query: &str,
) -> Result<Answer, Answer> {
    let text = match parameter(query, "format").as_deref() {
        None | Some("json") => false,
        Some("text") => true,
        Some(_) => return Err(wrong("format: must be json or text")),
    };
    let mut lines = Lines::new(caller.app.bot_name());
    let mut body = if text { Vec::new() } else { b"[".to_vec() };
    let mut from = 1;
    loop {
        let batch = fetch(caller, session, from, from + EVENTS_MAX - 1).await?;
        if text {
            lines.push(&batch);
        } else {
            let separated = body.len() > 1 && !batch.events.is_empty();
            body.extend_from_slice(if separated { b"," } else { b"" });
            push_frames(&batch, &mut body);
        }
        if body.len().max(lines.text.len()) > TRANSCRIPT_BYTES_MAX {
            let text = "the transcript is longer than 32 MiB; read it piece by piece with /events";
            return Err(problem(StatusCode::PAYLOAD_TOO_LARGE, "tooLong", text));
        }
        let Some(last) = batch.events.last().filter(|last| last.n < batch.head) else { break };
        from = last.n.0 + 1;
    }
    if text {
        let mut answer = json_body(lines.text);
        let kind = HeaderValue::from_static("text/plain; charset=utf-8");
        answer.headers_mut().insert(header::CONTENT_TYPE, kind);
        return Ok(answer);
    }
    body.push(b']');
    Ok(json_body(body))
}

async fn fetch<B: Ingress>(
    caller: &Caller<'_, B>,
    session: SessionId,
    from: u64,
    to: u64,
) -> Result<Batch, Answer> {
    let fetch = pb::FetchRequest { session: session_to_bytes(session), from, to };
    let kind = pb::request::Kind::Fetch(fetch);
    let asking::Answer::Events(reply) = caller.ask(session.partition(), kind).await? else {
        return Err(refused(Code::Busy));
    };
    if reply.head == 0 {
        return Err(refused(Code::NoSession));
    }
    let (epoch, head) = (Epoch(reply.epoch), EventNumber(reply.head));
    Batch::new(session, epoch, head, &reply.events).map_err(|_| refused(Code::Damaged))
}

fn push_frames(batch: &Batch, body: &mut Vec<u8>) {
    for (place, event) in batch.events.iter().enumerate() {
        if place > 0 {
            body.push(b',');
        }
        body.extend_from_slice(&batch.v2_frame(event, Viewer::Staff));
    }
}

fn number<T: FromStr + PartialOrd>(
    query: &str,
    name: &str,
    range: std::ops::RangeInclusive<T>,
) -> Result<Option<T>, Answer> {
    let Some(text) = parameter(query, name) else { return Ok(None) };
    // A plus sign is a space in a query.
    match text.parse() {
        Ok(number) if range.contains(&number) => Ok(Some(number)),
        _ => Err(wrong(&format!("{name}: not a number within its limits"))),
    }
}

fn wrong(text: &str) -> Answer {
    problem(StatusCode::BAD_REQUEST, "malformed", text)
}

/// A transcript for people.
struct Lines<'a> {
    bot: &'a str,
    names: HashMap<String, String>,
    text: String,
}

// === impl Lines ===

impl<'a> Lines<'a> {
    fn new(bot: &'a str) -> Self {
        Self { bot, names: HashMap::new(), text: String::new() }
    }

    fn push(&mut self, batch: &Batch) {
        for event in &batch.events {
            let Some((who, what)) = self.line(&event.kind) else { continue };
            let time = time(event.stamp.0);
            // Whatever looks like the next line is not.
            let what = what.replace('\n', "\n    ");
            let _ = writeln!(self.text, "{time}  {who}: {what}");
        }
    }

    fn line(&mut self, kind: &EventKind) -> Option<(String, String)> {
        match kind {
            EventKind::Joined { alias, display_name: Some(name), .. }
            | EventKind::SteppedIn { alias, display_name: Some(name), .. } => {
                self.names.insert(alias.as_str().to_owned(), name.clone());
            }
            _ => {}
        }
        match kind {
            EventKind::Said(said) if said.greeting => None,
            EventKind::Said(said) => {
                let role = if said.role == Role::Agent { "Agent" } else { "Visitor" };
                let name = self.name(said.alias.as_str(), said.display_name.as_deref());
                let name = name.unwrap_or_else(|| role.to_owned());
                let chosen = serde_json::from_slice::<Value>(&said.body).ok();
                let raw = chosen.and_then(|body| Some(body.get("rawQuery")?.as_str()?.to_owned()));
                Some((name, said.text.clone().or(raw).unwrap_or_default()))
            }
            EventKind::Replied { body, .. } | EventKind::DraftSent { body, .. } => {
                Some((self.bot.to_owned(), response_text(body).unwrap_or_default()))
            }
            EventKind::Notice { text, .. } => Some((self.bot.to_owned(), text.clone())),
            EventKind::SteppedIn { alias, .. } => self.moved(alias.as_str(), "has joined"),
            EventKind::SteppedOut { alias, .. } => self.moved(alias.as_str(), "has left"),
            EventKind::Ended { alias, .. } => self.moved(alias.as_str(), "has ended the chat"),
            _ => None,
        }
    }

    fn moved(&self, alias: &str, what: &str) -> Option<(String, String)> {
        let who = self.name(alias, None).unwrap_or_else(|| "Agent".to_owned());
        Some(("—".to_owned(), format!("{who} {what}")))
    }

    fn name(&self, alias: &str, given: Option<&str>) -> Option<String> {
        given.map(str::to_owned).or_else(|| self.names.get(alias).cloned())
    }
}

/// A time as in RFC 3339, in UTC.
fn time(millis: i64) -> String {
    let nanos = i128::from(millis).saturating_mul(1_000_000);
    time::OffsetDateTime::from_unix_timestamp_nanos(nanos)
        .ok()
        .and_then(|at| at.replace_nanosecond(0).ok())
        .and_then(|at| at.format(&time::format_description::well_known::Rfc3339).ok())
        .unwrap_or_else(|| "?".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_people_and_programs_read_them() {
        assert_eq!(time(1_790_000_123_456), "2026-09-21T14:15:23Z");
        assert_eq!(time(0), "1970-01-01T00:00:00Z");
        assert_eq!(time(i64::MAX), "?");
    }
}
