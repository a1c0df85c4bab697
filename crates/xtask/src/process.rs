//! Runs child processes: shown as they go, captured, or kept in the background and always ended.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;

/// Runs a command, printing its standard output line by line and handing each line to `see`.
pub(crate) fn run_seen(
    command: &mut Command,
    mut see: impl FnMut(&str),
) -> anyhow::Result<ExitStatus> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("failed to start {}", shown(command)))?;
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).split(b'\n') {
            let line = line.with_context(|| format!("failed to read from {}", shown(command)))?;
            let line = String::from_utf8_lossy(&line);
            println!("{line}");
            see(&line);
        }
    }
    child.wait().with_context(|| format!("failed to wait for {}", shown(command)))
}

/// Runs a command in silence; an error carries the end of what it said.
pub(crate) fn run_quiet(command: &mut Command) -> anyhow::Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("failed to start {}", shown(command)))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    anyhow::bail!("{} ended with {}: {}", shown(command), output.status, last_lines(&stderr, 4))
}

/// Runs a command with its output in `log`; `None` if it was still running after `limit` and had to be ended.
pub(crate) fn run_logged(
    command: &mut Command,
    log: &std::path::Path,
    limit: Duration,
) -> anyhow::Result<Option<ExitStatus>> {
    let file = std::fs::File::create(log)
        .with_context(|| format!("failed to create {}", log.display()))?;
    let both = file.try_clone().with_context(|| format!("failed to share {}", log.display()))?;
    let mut child = Background(
        command
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(both)
            .spawn()
            .with_context(|| format!("failed to start {}", shown(command)))?,
    );
    let deadline = Instant::now() + limit;
    while Instant::now() < deadline {
        if let Some(status) =
            child.0.try_wait().with_context(|| format!("failed to wait for {}", shown(command)))?
        {
            return Ok(Some(status));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(None)
}

/// True if a program of this name can be started.
pub(crate) fn exists(program: &str) -> bool {
    Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        // Some know no `--version`; that they could be started is what counts.
        .is_ok()
}

/// A child that never outlives its owner.
#[derive(Debug)]
pub(crate) struct Background(pub(crate) Child);

impl Drop for Background {
    fn drop(&mut self) {
        // Both fail only if the child has ended already, which is what is wanted.
        let _already_ended = self.0.kill();
        let _already_reaped = self.0.wait();
    }
}

/// A command as one would type it.
pub(crate) fn shown(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|word| word.to_string_lossy().into_owned()));
    words.join(" ")
}

/// The last non-empty lines of a text, joined into one.
pub(crate) fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let from = lines.len().saturating_sub(count);
    lines.get(from..).unwrap_or_default().join(" | ")
}
