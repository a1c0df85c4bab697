//! `stentor dead-letters`: what the cluster has given up on, the latest first.

use std::{fmt::Write as _, process::ExitCode};

use anyhow::Context as _;
use serde_json::{Value, json};
use stentor_cluster_nats::{Buried, DeadLettersError};
use stentor_types::Timestamp;
use stentor_wire::pb::DeadReason;

use super::{
    Printed,
    flags::DeadLetters,
    reach::Reach,
    run,
    time::{distance, utc},
};

/// `stentor dead-letters`.
pub(crate) fn dead_letters(flags: &DeadLetters) -> anyhow::Result<ExitCode> {
    run(list(flags))
}

async fn list(flags: &DeadLetters) -> anyhow::Result<Printed> {
    let reach = Reach::open(&flags.cluster).await?;
    let letters = match stentor_cluster_nats::dead_letters(&reach.connection, flags.limit).await {
        // Nobody has given up on anything.
        Err(DeadLettersError::Missing) => Vec::new(),
        letters => letters.context(
            "nats: dead letters cannot be read; does JetStream have a leader, and may this user read \
             them (`deploy/nats/accounts.conf`, user operator)?",
        )?,
    };
    let items = letters.iter().map(|buried| in_json(buried, flags.texts)).collect::<Vec<_>>();
    let json = json!({ "letters": items });
    Ok(Printed::new(&flags.cluster, &json, || {
        if letters.is_empty() {
            return "nothing was given up on".to_owned();
        }
        let mut text = String::new();
        for buried in &letters {
            in_words(&mut text, buried, flags.texts);
        }
        text
    }))
}

fn in_json(buried: &Buried, texts: bool) -> Value {
    let letter = &buried.letter;
    let mut json = json!({
        "letter": buried.sequence,
        "by": buried.from,
        "at": utc(Timestamp(letter.at)),
        "reason": reason(letter.reason()),
        "app": letter.app,
        "session": session(buried),
        "what": letter.what,
        "detail": letter.detail,
        "counter": (letter.counter > 0).then_some(letter.counter),
        "sequence": (letter.sequence > 0).then_some(letter.sequence),
        "body_bytes": letter.body_bytes,
    });
    if let Some(object) = json.as_object_mut().filter(|_| texts) {
        object.insert("body".to_owned(), String::from_utf8_lossy(&letter.body).into());
    }
    json
}

fn in_words(text: &mut String, buried: &Buried, texts: bool) {
    let letter = &buried.letter;
    let (at, session) = (Timestamp(letter.at), session(buried));
    let session = session.unwrap_or_else(|| "-".to_owned());
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "{:<8}{}  {:<12}  {:<13}{:<16}{session}",
        buried.sequence,
        utc(at),
        distance(at),
        reason(letter.reason()),
        letter.app,
    );
    let number = match (letter.counter, letter.sequence) {
        (0, 0) => String::new(),
        (0, sequence) => format!(", record {sequence} of the log"),
        (counter, _) => format!(", number {counter}"),
    };
    let bytes = letter.body_bytes;
    let _ = writeln!(
        text,
        "        {}{number}, {bytes} bytes, told by a {}: {}",
        letter.what, buried.from, letter.detail
    );
    if texts && !letter.body.is_empty() {
        let _ = writeln!(text, "        {:?}", String::from_utf8_lossy(&letter.body));
    }
}

fn session(buried: &Buried) -> Option<String> {
    let id = stentor_wire::session_id(buried.letter.session.as_deref()?).ok()?;
    Some(id.to_string())
}

const fn reason(reason: DeadReason) -> &'static str {
    match reason {
        DeadReason::Unspecified => "unknown",
        DeadReason::Panic => "panic",
        DeadReason::RouterGone => "router gone",
        DeadReason::RoutersGone => "routers gone",
        DeadReason::History => "history",
    }
}
