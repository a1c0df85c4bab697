//! Sub-commands that look at something and start nothing.

use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use anyhow::Context as _;
use stentor_apps::FolderSource;
use stentor_service::{Config, ConfigError, EXIT_USAGE};

use crate::cli::ConfigCommand;

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
pub(crate) fn verify(data: &Path, acks: Option<&Path>) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(
        data.is_dir(),
        "{} is no folder; name the data folder with --data",
        data.display()
    );
    let report = stentor_embedded::verify(data, acks)?;
    say(&mut io::stdout(), &report.to_string());
    Ok(if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Writes a line. Whoever closed the pipe does not want it.
pub(crate) fn say(out: &mut impl Write, text: &str) {
    let _ = writeln!(out, "{text}");
}
