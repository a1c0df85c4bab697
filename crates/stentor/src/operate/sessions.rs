//! `stentor sessions`: what the log has, the latest first.

use std::{cmp::Reverse, collections::BTreeMap, fmt::Write as _, process::ExitCode};

use anyhow::Context as _;
use serde_json::json;
use stentor_cluster::{Entity, EntityKind, Head, Log as _};
use stentor_types::{Partition, SessionId, Timestamp};

use super::{
    Printed,
    flags::Sessions,
    reach::Reach,
    run,
    time::{distance, utc},
};

/// Heads read at a time.
const PAGE: usize = 500;

/// `stentor sessions`.
pub(crate) fn sessions(flags: &Sessions) -> anyhow::Result<ExitCode> {
    run(list(flags))
}

async fn list(flags: &Sessions) -> anyhow::Result<Printed> {
    let reach = Reach::open(&flags.cluster).await?;
    let log = reach.log().await?;
    // Never more than what is printed.
    let mut latest: BTreeMap<(Reverse<Timestamp>, SessionId), (Entity, Head)> = BTreeMap::new();
    let mut total = 0_u64;
    for partition in Partition::all() {
        let mut after = None;
        loop {
            let page = log.heads(partition, after.clone(), PAGE).await;
            let page = page.with_context(|| format!("partition {partition} cannot be read"))?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            for (entity, head) in page {
                let EntityKind::Session(session) = entity.kind else { continue };
                if flags.app.as_ref().is_none_or(|app| *app == entity.app) {
                    total += 1;
                    latest.insert((Reverse(head.header.at), session), (entity, head));
                    if latest.len() > flags.limit {
                        latest.pop_last();
                    }
                }
            }
        }
    }
    let items = latest.iter().map(|((_, session), (entity, head))| {
        json!({
            "app": entity.app.as_str(),
            "session": session.to_string(),
            "partition": session.partition().number(),
            "n": head.header.last.0,
            "at": utc(head.header.at),
            "deadline": head.header.next_deadline.map(utc),
            "connected": head.header.attached,
        })
    });
    let items = items.collect::<Vec<_>>();
    let json = json!({ "total": total, "sessions": items });
    Ok(Printed::new(&flags.cluster, &json, || {
        let mut text = format!(
            "{:<50}{:<16}{:>8}  {:<29}{:<12}connected\n",
            "session", "app", "n", "last commit", "due"
        );
        for ((_, session), (entity, head)) in &latest {
            let header = &head.header;
            let due = header.next_deadline.map_or_else(|| "-".to_owned(), distance);
            let connected = if header.attached { "yes" } else { "no" };
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "{:<50}{:<16}{:>8}  {:<29}{due:<12}{connected}",
                // As a text: an id by itself takes no notice of the width of its column.
                session.to_string(),
                entity.app.as_str(),
                header.last,
                utc(header.at),
            );
        }
        let _ = write!(text, "{} of {total} sessions in the log", latest.len());
        text
    }))
}
