//! G1: resident memory per joined connection at rest, after one message each way.
//!
//! Ten thousand sockets in ten sessions (each a visitor with a thousand tabs), and, beside it, one
//! session per socket once idle sessions have been put to rest.

#[path = "support/widget.rs"]
mod widget;

use std::{fs, time::Duration};

const SOCKETS: usize = 10_000;
/// A session that nothing happens in is put to rest after a minute.
const REST: Duration = Duration::from_secs(75);

#[expect(clippy::print_stdout, reason = "a benchmark prints its table")]
#[tokio::main]
async fn main() -> anyhow::Result<()> {
    println!("| sockets | sessions | KiB per socket | KiB per socket at rest |\n|---|---|---|---|");
    for sessions in [10, SOCKETS] {
        let apps = apps()?;
        let server = widget::Server::start(&["--apps", &apps.path().display().to_string()])?;
        server.ready().await?;
        let before = server.resident()?;
        let mut widgets = Vec::with_capacity(SOCKETS);
        for number in 0..SOCKETS {
            let user = format!("0b9c6a4e-5d0e-65aa-9c1f-{:012x}", number % sessions);
            let mut widget = server.connect(&user).await?;
            widget.join("bench").await?;
            widgets.push(widget);
        }
        let per_session = SOCKETS / sessions;
        // One message in each session; all its sockets have drained what came of it.
        for widget in widgets.iter_mut().take(sessions) {
            widget.say("bench", "hello").await?;
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
        let after = server.resident()?;
        tokio::time::sleep(REST).await;
        let rest = server.resident()?;
        let each = |total: u64| {
            #[expect(clippy::cast_precision_loss, reason = "a figure for a table")]
            let each = total.saturating_sub(before) as f64 / SOCKETS as f64;
            each
        };
        println!(
            "| {SOCKETS} | {sessions} ({per_session} sockets each) | {:.2} | {:.2} |",
            each(after),
            each(rest)
        );
        drop(widgets);
        server.stop()?;
    }
    Ok(())
}

/// The app `demo` without a bot, and with room for a thousand tabs.
fn apps() -> anyhow::Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    let text = "apiVersion: stentor.dev/v1alpha1\nkind: ChatApp\nmetadata: { name: demo }\n\
                spec: { limits: { connectionsPerUser: 2000 } }\n";
    fs::write(folder.path().join("demo.yaml"), text)?;
    Ok(folder)
}
