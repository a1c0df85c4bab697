//! G1: resident memory per joined connection at rest, after one message each way.
//!
//! Ten thousand sockets in ten sessions (each a visitor with a thousand tabs), and, beside it, one
//! session per socket once idle sessions have been put to rest.

use std::{fs, time::Duration};

use anyhow::Context as _;
use stentor_testkit::{LegacyClient, Process, program_beside_example};

const SOCKETS: usize = 10_000;
/// A session that nothing happens in is put to rest after a minute.
const REST: Duration = Duration::from_secs(75);

#[expect(clippy::print_stdout, reason = "a benchmark prints its table")]
#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let program = program_beside_example()?;
    println!(
        "| sockets | sessions | KiB per socket | KiB per socket at rest | sessions in memory then |\n|---|---|---|---|---|"
    );
    for sessions in [10, SOCKETS] {
        let apps = apps()?;
        let mut server =
            Process::start(&program, &["--apps", &apps.path().display().to_string()]).await?;
        let before = server.resident_kib()?;
        let mut widgets = Vec::with_capacity(SOCKETS);
        for number in 0..SOCKETS {
            let user = LegacyClient::user_id(u64::try_from(number % sessions)?);
            let mut widget = LegacyClient::new(&user, "bench", 0);
            widget.connect(server.port(), "/dev?appId=demo", "emitNoWs").await?;
            widget.join().await?;
            widget.wait_for("the bot", |frame| frame["event"] == "user joined").await?;
            widgets.push(widget);
        }
        let per_session = SOCKETS / sessions;
        // One message in each session; all its sockets have drained what came of it.
        for widget in widgets.iter_mut().take(sessions) {
            widget.say("hello").await?;
        }
        // Who does not read does not answer pings either, and is closed.
        let reading: Vec<_> = widgets
            .into_iter()
            .map(|mut widget| tokio::spawn(async move { while widget.next().await.is_ok() {} }))
            .collect();
        tokio::time::sleep(Duration::from_secs(5)).await;
        let after = server.resident_kib()?;
        tokio::time::sleep(REST).await;
        let rest = server.resident_kib()?;
        let open = metric(&server, "stentor_gateway_connections").await?;
        anyhow::ensure!(open == SOCKETS, "{open} sockets are left");
        let resting = metric(&server, "stentor_router_actors_started_total").await?
            - metric(&server, "stentor_router_actors_ended_total").await?;
        let each = |total: u64| {
            #[expect(clippy::cast_precision_loss, reason = "a figure for a table")]
            let each = total.saturating_sub(before) as f64 / SOCKETS as f64;
            each
        };
        println!(
            "| {SOCKETS} | {sessions} ({per_session} sockets each) | {:.2} | {:.2} | {resting} |",
            each(after),
            each(rest)
        );
        reading.iter().for_each(tokio::task::JoinHandle::abort);
        server.kill()?;
    }
    Ok(())
}

/// One value of the metrics page.
async fn metric(server: &Process, name: &str) -> anyhow::Result<usize> {
    let page = server.admin("/metrics").await?;
    let line = page.lines().find(|line| line.split_once(' ').is_some_and(|(is, _)| is == name));
    let value = line.and_then(|line| line.split(' ').nth(1));
    Ok(value.with_context(|| format!("no {name} on the metrics page"))?.parse()?)
}

/// The app `demo` without a bot, and with room for a thousand tabs.
fn apps() -> anyhow::Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    let text = "apiVersion: stentor.dev/v1alpha1\nkind: ChatApp\nmetadata: { name: demo }\n\
                spec: { limits: { connectionsPerUser: 2000 } }\n";
    fs::write(folder.path().join("demo.yaml"), text)?;
    Ok(folder)
}
