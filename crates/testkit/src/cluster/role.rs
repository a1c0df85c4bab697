//! One role of our program as a process: started, asked to stop, killed, frozen, started again.

use std::{
    fs::OpenOptions,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::Context as _;

use super::{http::get, topology::Kind};
use crate::{PATIENCE, process::program};

/// How often one that starts is asked whether it is ready.
const POLL: Duration = Duration::from_millis(20);
/// Lines of its log that an error shows.
const LOG_LINES: usize = 15;

/// One role, running or not.
#[derive(Debug)]
pub(super) struct Role {
    pub(super) name: String,
    pub(super) kind: Kind,
    program: PathBuf,
    config: PathBuf,
    log: PathBuf,
    pub(super) listen: Option<u16>,
    pub(super) admin: u16,
    child: Option<Child>,
    /// Variables of its environment beyond our own.
    pub(super) environment: Vec<(String, String)>,
    /// Whether it dies with this process.
    pub(super) leashed: bool,
}

// === impl Role ===

impl Role {
    pub(super) fn new(
        name: &str,
        kind: Kind,
        program: &Path,
        folder: &Path,
        listen: Option<u16>,
        admin: u16,
    ) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            program: program.to_owned(),
            config: folder.join(format!("{name}.toml")),
            log: folder.join(format!("{name}.log")),
            listen,
            admin,
            child: None,
            environment: Vec::new(),
            leashed: false,
        }
    }

    pub(super) fn configure(&self, settings: &str) -> anyhow::Result<()> {
        std::fs::write(&self.config, settings)
            .with_context(|| format!("failed to write {}", self.config.display()))
    }

    /// Starts it; [`Role::ready`] waits for more.
    pub(super) fn spawn(&mut self) -> anyhow::Result<()> {
        anyhow::ensure!(self.child.is_none(), "{} is still running", self.name);
        let log = OpenOptions::new().create(true).append(true).open(&self.log)?;
        let child = program(&self.program, self.leashed)
            .arg(self.kind.as_str())
            .arg("--config")
            .arg(&self.config)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // Ctrl-C in a terminal is for whoever started the cluster, who then stops it in order.
            .process_group(0)
            .spawn()
            .with_context(|| format!("{} cannot be started", self.program.display()))?;
        self.child = Some(child);
        Ok(())
    }

    /// Waits until it says that it is ready.
    pub(super) async fn ready(&mut self) -> anyhow::Result<()> {
        let admin = self.admin;
        let until = async {
            while get(admin, "/readyz").await.is_err() {
                if let Some(status) = self.ended() {
                    anyhow::bail!("it has ended with {status}");
                }
                tokio::time::sleep(POLL).await;
            }
            Ok(())
        };
        let waited = tokio::time::timeout(PATIENCE, until).await.context("it takes too long");
        waited.and_then(|ready| ready).with_context(|| {
            format!("{} did not become ready; it said:\n{}", self.name, self.last_words())
        })
    }

    pub(super) fn is_running(&self) -> bool {
        self.child.is_some()
    }

    /// How it ended, if it did so by itself.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.as_mut()?.try_wait().ok()?
    }

    /// Whether it has ended by itself; it may be started again then.
    pub(super) fn has_fallen(&mut self) -> bool {
        let fallen = self.ended().is_some();
        if fallen {
            self.child = None;
        }
        fallen
    }

    /// Ends it at once.
    pub(super) fn kill(&mut self) -> anyhow::Result<()> {
        let name = &self.name;
        let mut child = self.child.take().with_context(|| format!("{name} is not running"))?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Asks it to stop, and waits until it has.
    pub(super) async fn stop(&mut self) -> anyhow::Result<ExitStatus> {
        self.signal("TERM")?;
        let name = &self.name;
        let mut child = self.child.take().with_context(|| format!("{name} is not running"))?;
        let ending = async {
            loop {
                if let Some(status) = child.try_wait()? {
                    return Ok(status);
                }
                tokio::time::sleep(POLL).await;
            }
        };
        if let Ok(status) = tokio::time::timeout(PATIENCE, ending).await {
            return status;
        }
        child.kill()?;
        child.wait()?;
        anyhow::bail!("{} does not stop; it said:\n{}", self.name, self.last_words())
    }

    /// Sends a signal, by its name without `SIG`.
    pub(super) fn signal(&self, signal: &str) -> anyhow::Result<()> {
        let child = self.child.as_ref().with_context(|| format!("{} is not running", self.name))?;
        let (signal, id) = (format!("-{signal}"), child.id().to_string());
        let sent = Command::new("kill").args([signal, id]).status()?;
        anyhow::ensure!(sent.success(), "the signal could not be sent to {}", self.name);
        Ok(())
    }

    pub(super) fn process_id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub(super) fn last_words(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        let from = lines.len().saturating_sub(LOG_LINES);
        lines.get(from..).unwrap_or_default().join("\n")
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
