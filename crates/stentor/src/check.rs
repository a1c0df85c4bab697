//! Sub-commands that look at something and start nothing.

use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use anyhow::Context as _;
use stentor_apps::FolderSource;
use stentor_service::{Config, ConfigError, EXIT_USAGE};

use crate::{
    cli::ConfigCommand,
    operate::{self, flags::Verify},
};

/// `stentor config check`.
pub(crate) fn config(command: &ConfigCommand) -> anyhow::Result<ExitCode> {
    let ConfigCommand::Check(flags) = command;
    let mut problems = Vec::new();
    match Config::load(&flags.common.sources(flags.config.clone())) {
        Ok(config) => {
            if let Some(folder) = &config.apps {
                let source = FolderSource::open(folder).with_context(|| {
                    format!("the apps folder {} cannot be read", folder.display())
                })?;
                problems.extend(source.problems().iter().map(ToString::to_string));
                if source.subscribe().borrow().is_empty() && problems.is_empty() {
                    problems.push(format!("{}: there is no app in it", folder.display()));
                }
            }
        }
        Err(ConfigError { problems: found }) => problems.extend(found),
    }
    for problem in &problems {
        say(&mut io::stderr(), problem);
    }
    if problems.is_empty() {
        say(&mut io::stdout(), "the configuration can be used");
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::from(EXIT_USAGE))
}

/// `stentor verify`.
pub(crate) fn verify(flags: &Verify) -> anyhow::Result<ExitCode> {
    match &flags.data {
        Some(data) => verify_folder(data, flags),
        None if flags.cluster.config.is_none() => Err(crate::serve::problem(
            "name what is to be checked: --data with the folder of a standalone, or --config with \
             the settings of a cluster",
        )),
        None => operate::verify(flags),
    }
}

fn verify_folder(data: &Path, flags: &Verify) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(
        data.is_dir(),
        "{} is no folder; name the data folder with --data",
        data.display()
    );
    let report = stentor_embedded::verify(data, flags.acks.as_deref())?;
    let text = if flags.cluster.json { json(&report) } else { report.to_string() };
    say(&mut io::stdout(), &text);
    Ok(if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn json(report: &stentor_embedded::Report) -> String {
    let json = serde_json::json!({
        "sound": report.is_sound(),
        "sessions": report.sessions,
        "directories": report.directories,
        "records": report.records,
        "events": report.events,
        "stored_events": report.stored_events,
        "acks": report.acks,
        "problems": report.problems,
        "listed": report.listed,
    });
    format!("{json:#}")
}

/// Writes a line. Whoever closed the pipe does not want it.
pub(crate) fn say(out: &mut impl Write, text: &str) {
    let _ = writeln!(out, "{text}");
}
