//! `stentor show`: what one session is, and how it came to be so.

use std::{fmt::Write as _, process::ExitCode};

use serde_json::{Value, json};
use stentor_cluster_nats::operator::{self, Owner};
use stentor_postoffice::{State, TurnPhase};
use stentor_types::{Control, SessionId, Timestamp};
use stentor_wire::CommitRecord;

use super::{
    Printed,
    flags::Show,
    reach::Reach,
    run,
    session::Found,
    time::{distance, utc},
    words::{control_of, role_of, words},
};

/// `stentor show`.
pub(crate) fn show(flags: &Show) -> anyhow::Result<ExitCode> {
    run(look(flags))
}

async fn look(flags: &Show) -> anyhow::Result<Printed> {
    let reach = Reach::open(&flags.cluster).await?;
    let log = reach.log().await?;
    let store = reach.store().await?;
    let id = flags.session;
    let found = Found::find(&log, store.as_ref(), id, flags.app.as_ref()).await?;
    let owner = operator::owner_of(&reach.connection, id.partition()).await?;
    let wanted = u64::try_from(flags.events).unwrap_or(u64::MAX);
    let commits = found.commits(&log, wanted).await?;
    let state = found.state(id, &commits)?;
    let session = session_json(id, &found, &state, owner.as_ref(), store.is_some());
    let mut events = events(id, &commits);
    events.drain(..events.len().saturating_sub(flags.events));
    let mut json = session.clone();
    if let Some(object) = json.as_object_mut() {
        object
            .insert("events".to_owned(), events.iter().map(|(_, json, _)| json.clone()).collect());
    }
    Ok(Printed::new(&flags.cluster, &json, || {
        let mut text = in_words(&found, &state, owner.as_ref(), store.is_some(), id);
        text.push_str("\nlast events\n");
        for (at, json, words) in &events {
            let n = json.get("n").and_then(Value::as_u64).unwrap_or_default();
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{n:>8}  {}  {words}", utc(*at));
        }
        if events.is_empty() {
            text.push_str("          the log has forgotten them; the HTTP API reads the history\n");
        }
        text
    }))
}

fn events(id: SessionId, commits: &[CommitRecord]) -> Vec<(Timestamp, Value, String)> {
    let all = commits.iter().flat_map(|record| {
        record.commit.events.iter().map(|event| {
            let (at, words) = (record.commit.at, words(&id, event));
            (at, json!({ "n": event.n.0, "at": utc(at), "what": words }), words)
        })
    });
    all.collect()
}

/// When the open attempt is over, and what it is.
fn turn(state: &State) -> Option<(u64, u8, &'static str, Timestamp)> {
    state.turn.as_ref().map(|turn| {
        let (phase, due) = match turn.phase {
            TurnPhase::Calling { deadline } => ("calling", deadline),
            TurnPhase::Waiting { until } => ("waiting", until),
        };
        (turn.request.n.0, turn.attempt, phase, due)
    })
}

fn session_json(
    id: SessionId,
    found: &Found,
    state: &State,
    owner: Option<&Owner>,
    asked: bool,
) -> Value {
    let participants: Vec<_> = state
        .participants
        .values()
        .map(|participant| {
            json!({
                "alias": participant.alias.as_str(),
                "role": role_of(participant.role),
                "connections": participant.connections,
                "delivered": participant.delivered.0,
                "leaves_at": participant.leaves_at.map(utc),
            })
        })
        .collect();
    let turn = turn(state).map(|(n, attempt, phase, due)| {
        json!({ "n": n, "attempt": attempt, "phase": phase, "due": utc(due) })
    });
    json!({
        "session": id.to_string(),
        "app": found.entity.app.as_str(),
        "partition": id.partition().number(),
        "owner": owner.and_then(|owner| owner.router.clone()),
        "term": owner.map(|owner| owner.term),
        "in_log": found.head.is_some(),
        "sequence": found.head.map(|head| head.sequence.0),
        "epoch": state.epoch.0,
        "n": state.n.0,
        "at": utc(state.last_at),
        "deadline": state.next_deadline().map(utc),
        "ended": state.ended,
        "waiting_since": state.waiting.map(|waiting| utc(waiting.since)),
        "control": match state.control { Control::Bot => "bot", Control::Agents(_) => "agents" },
        "control_epoch": state.control_epoch.0,
        "participants": participants,
        "endpoints": state.endpoints.len(),
        "turn": turn,
        "queue": state.queue.len(),
        "drafts": state.drafts.keys().map(|n| n.0).collect::<Vec<_>>(),
        "database": asked.then(|| found.row.as_ref().map(|row| json!({
            "epoch": row.epoch.0,
            "projected": row.projected.0,
            "first": row.first.0,
        }))),
    })
}

fn in_words(
    found: &Found,
    state: &State,
    owner: Option<&Owner>,
    asked: bool,
    id: SessionId,
) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:<14}{value}");
    };
    line("session", id.to_string());
    line("app", found.entity.app.to_string());
    let router = owner.and_then(|owner| owner.router.clone());
    let term = owner.map_or(0, |owner| owner.term);
    let router =
        router.unwrap_or_else(|| "nobody: no router runs, or it is about to be taken".into());
    line("owner", format!("{router} (partition {}, term {term})", id.partition()));
    line(
        "n",
        format!(
            "{} in epoch {}, {} ({})",
            state.n,
            state.epoch,
            utc(state.last_at),
            distance(state.last_at)
        ),
    );
    line(
        "log",
        found.head.map_or_else(
            || "has forgotten it".to_owned(),
            |head| format!("record {}", head.sequence),
        ),
    );
    line(
        "database",
        match (&found.row, asked) {
            (Some(row), _) => format!("up to {} in epoch {}", row.projected, row.epoch),
            (None, true) => "nothing yet".to_owned(),
            (None, false) => "none is configured".to_owned(),
        },
    );
    let ended = if state.ended { ", ended" } else { "" };
    line("control", format!("{}{ended}", control_of(&id, &state.control)));
    for participant in state.participants.values() {
        let leaves =
            participant.leaves_at.map_or(String::new(), |at| format!(", leaves {}", distance(at)));
        let (role, alias) = (role_of(participant.role), participant.alias.as_str());
        line(
            "participant",
            format!("{role} {alias}, {} connections{leaves}", participant.connections),
        );
    }
    if let Some((n, attempt, phase, due)) = turn(state) {
        line("turn", format!("about {n}, attempt {attempt}, {phase}, due {}", distance(due)));
    }
    if !state.queue.is_empty() {
        line("queue", format!("{} messages wait for the bot", state.queue.len()));
    }
    if let Some(waiting) = state.waiting {
        line("waiting", format!("for a person since {}", utc(waiting.since)));
    }
    text
}
