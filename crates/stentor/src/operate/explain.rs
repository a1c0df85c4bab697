//! `stentor explain`: the way of one message, with times.
//!
//! What is in the log comes from there. What only the owner of the session knows is asked of it, and is gone when
//! it has restarted or has had thousands of commits since.

use std::{fmt::Write as _, process::ExitCode};

use anyhow::Context as _;
use prost::Message as _;
use serde_json::{Value, json};
use stentor_cluster_nats::operator;
use stentor_store::Store as _;
use stentor_types::{Event, EventKind, EventNumber, SessionId, Timestamp};
use stentor_wire::{CommitRecord, encode_event, pb, session_to_bytes};

use super::{
    Printed,
    flags::Explain,
    reach::Reach,
    run,
    session::Found,
    time::utc,
    words::{about, words},
};

/// Events that are looked through for the last message.
const EVENTS: u64 = 200;

/// One step of the way.
struct Step {
    at: Option<Timestamp>,
    hop: &'static str,
    what: String,
}

/// `stentor explain`.
pub(crate) fn explain(flags: &Explain) -> anyhow::Result<ExitCode> {
    run(follow(flags))
}

async fn follow(flags: &Explain) -> anyhow::Result<Printed> {
    let reach = Reach::open(&flags.cluster).await?;
    let log = reach.log().await?;
    let store = reach.store().await?;
    let id = flags.session;
    let found = Found::find(&log, store.as_ref(), id, flags.app.as_ref()).await?;
    let last = found.head.map_or(0, |head| head.header.last.0);
    let back = flags.n.map_or(EVENTS, |n| last.saturating_sub(n).saturating_add(1));
    let commits = found.commits(&log, back).await?;
    let n = match flags.n {
        Some(n) => EventNumber(n),
        None => last_message(&commits).context("nobody has said anything lately; name an event")?,
    };
    let (record, event) = event_of(&commits, n).with_context(|| {
        format!("the log has no event {n} of this session, which has come to {last}; it may have been trimmed")
    })?;
    let mut steps = Vec::new();
    let reply = ask(&reach, &found, id, n).await?;
    from_owner(&mut steps, reply.as_ref(), record, n);
    for (at, event) in following(&commits, n) {
        let hop = match &event.kind {
            EventKind::TurnStarted { .. } => "bot asked",
            EventKind::Replied { .. } => "bot answered",
            _ => "turn",
        };
        steps.push(Step {
            at: Some(at),
            hop,
            what: format!("event {}: {}", event.n, words(&id, event)),
        });
    }
    let written = match &store {
        None => "no database is configured".to_owned(),
        Some(store) => {
            let kept = store.events(&found.entity.app, id, n, n).await;
            let kept = kept.context("the database does not answer")?;
            match kept.first() {
                Some(kept) if kept.event == encode_event(event) => {
                    "the same bytes as in the log".to_owned()
                }
                Some(_) => "something else than in the log: run `stentor verify`".to_owned(),
                None => "not yet".to_owned(),
            }
        }
    };
    steps.push(Step { at: None, hop: "database", what: written });
    let json = json!({
        "session": id.to_string(),
        "app": found.entity.app.as_str(),
        "epoch": record.commit.epoch.0,
        "n": n.0,
        "what": words(&id, event),
        "steps": steps.iter().map(Step::json).collect::<Vec<_>>(),
    });
    Ok(Printed::new(&flags.cluster, &json, || {
        let mut text =
            format!("event {n} in epoch {}: {}\n", record.commit.epoch, words(&id, event));
        let begun = steps.iter().find_map(|step| step.at);
        for step in &steps {
            let after = match (step.at, begun) {
                (Some(at), Some(begun)) => format!("{:+.1} ms", millis(at, begun)),
                _ => String::new(),
            };
            let at = step.at.map_or_else(|| "-".to_owned(), utc);
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{:<14}{at:<29}{after:>12}  {}", step.hop, step.what);
        }
        text
    }))
}

async fn ask(
    reach: &Reach,
    found: &Found,
    id: SessionId,
    n: EventNumber,
) -> anyhow::Result<Option<pb::ExplainReply>> {
    let request = pb::ExplainRequest { session: session_to_bytes(id), n: n.0 };
    let request = pb::Request {
        app: found.entity.app.as_str().to_owned(),
        kind: Some(pb::request::Kind::Explain(request)),
        deaths: 0,
    };
    let answer =
        operator::ask_owner(&reach.connection, id.partition(), request.encode_to_vec().into());
    let Some(answer) = answer.await? else { return Ok(None) };
    let reply = pb::Reply::decode(answer).context("the owner's answer cannot be read")?;
    match reply.kind {
        Some(pb::reply::Kind::Explain(reply)) => Ok(Some(reply)),
        _ => Ok(None),
    }
}

/// Accepted, decided, committed, fanned out.
fn from_owner(
    steps: &mut Vec<Step>,
    reply: Option<&pb::ExplainReply>,
    record: &CommitRecord,
    n: EventNumber,
) {
    let remembered = reply.and_then(|reply| {
        let same = |hops: &&pb::Hops| {
            hops.epoch == record.commit.epoch.0 && (hops.first..=hops.last).contains(&n.0)
        };
        reply.commits.iter().find(same)
    });
    let forgotten = match reply {
        None => "nobody owns the session just now, or its owner does not answer".to_owned(),
        Some(reply) => {
            format!("not remembered any more: the owner runs since {}", utc(Timestamp(reply.since)))
        }
    };
    let of_owner = |at: Option<u64>| match at {
        None => (None, forgotten.clone()),
        Some(0) => (None, "no frame is in it: the router decided by itself".to_owned()),
        Some(at) => (Some(Timestamp(at)), String::new()),
    };
    let (at, what) = of_owner(remembered.map(|hops| hops.received));
    let what = if at.is_some() {
        "a gateway had read the first frame of the commit".to_owned()
    } else {
        what
    };
    steps.push(Step { at, hop: "accepted", what });
    let (first, last) = (record.commit.first, record.commit.last());
    steps.push(Step {
        at: Some(record.commit.at),
        hop: "decided",
        what: format!("events {first} to {last}"),
    });
    let (at, what) = of_owner(remembered.map(|hops| hops.committed));
    let what = if at.is_some() {
        "the log has it; the sender is told".to_owned()
    } else {
        format!("in the log; when is not known: {what}")
    };
    steps.push(Step { at, hop: "committed", what });
    let (at, what) = match remembered {
        None => (None, forgotten),
        Some(hops) if hops.gateways.is_empty() => (None, "nobody was connected".to_owned()),
        Some(hops) => {
            let names: Vec<_> =
                hops.gateways.iter().map(|gateway| format!("{gateway:016x}")).collect();
            let missed = match hops.missed {
                0 => String::new(),
                missed => format!("; {missed} of them had to fetch it: their queues were full"),
            };
            (Some(Timestamp(hops.committed)), format!("to gateways {}{missed}", names.join(", ")))
        }
    };
    steps.push(Step { at, hop: "fanned out", what });
}

fn event_of(commits: &[CommitRecord], n: EventNumber) -> Option<(&CommitRecord, &Event)> {
    // The newest numbering counts.
    commits.iter().rev().find_map(|record| {
        record.commit.events.iter().find(|event| event.n == n).map(|event| (record, event))
    })
}

fn last_message(commits: &[CommitRecord]) -> Option<EventNumber> {
    let mut events = commits.iter().flat_map(|record| &record.commit.events).rev();
    events.find(|event| matches!(event.kind, EventKind::Said(_))).map(|event| event.n)
}

/// What the bot made of it.
fn following(
    commits: &[CommitRecord],
    n: EventNumber,
) -> impl Iterator<Item = (Timestamp, &Event)> {
    commits.iter().flat_map(move |record| {
        let events = record.commit.events.iter();
        events
            .filter(move |event| event.n > n && about(event) == Some(n))
            .map(|event| (record.commit.at, event))
    })
}

fn millis(at: Timestamp, begun: Timestamp) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "printed with one digit")]
    let micros = (i128::from(at.0) - i128::from(begun.0)) as f64;
    micros / 1_000.0
}

// === impl Step ===

impl Step {
    fn json(&self) -> Value {
        json!({ "hop": self.hop, "at": self.at.map(utc), "what": self.what })
    }
}
