//! Sub-commands for whoever runs a cluster: they look at it from outside, and change it only where they say so.
//!
//! They read the same settings as its members and take no part: no heartbeat, no partition. What they print
//! holds nothing that a log file must not hold: no ids of users, no tokens, no Requests, no texts.

mod dead_letters;
mod erase;
mod explain;
mod fence;
pub(crate) mod flags;
mod reach;
mod session;
mod sessions;
mod show;
mod time;
mod upgrade;
mod verify;
mod words;

use std::{io, process::ExitCode};

use serde_json::Value;

pub(crate) use self::{
    dead_letters::dead_letters, erase::erase, explain::explain, fence::fence, sessions::sessions,
    show::show, upgrade::upgrade, verify::verify,
};
use crate::check::say;

/// Does something with a runtime, and prints what comes of it.
fn run(work: impl Future<Output = anyhow::Result<Printed>>) -> anyhow::Result<ExitCode> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let printed = runtime.block_on(work);
    // Connections need no farewell from somebody who took no part.
    runtime.shutdown_background();
    let Printed { text, status } = printed?;
    say(&mut io::stdout(), text.trim_end());
    Ok(status)
}

/// What a sub-command has to say.
struct Printed {
    text: String,
    status: ExitCode,
}

// === impl Printed ===

impl Printed {
    /// As JSON if that is wanted, else in words.
    fn new(flags: &flags::Cluster, json: &Value, words: impl FnOnce() -> String) -> Self {
        let text = if flags.json { format!("{json:#}") } else { words() };
        Self { text, status: ExitCode::SUCCESS }
    }

    /// The same, as a failure.
    fn failed(self) -> Self {
        Self { status: ExitCode::FAILURE, ..self }
    }
}
