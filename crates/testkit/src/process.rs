//! `stentor` as a process of its own, on free ports, over a data folder that outlives it.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use anyhow::Context as _;
use tokio::{io::AsyncReadExt as _, io::AsyncWriteExt as _, net::TcpStream};

use crate::PATIENCE;

/// The program of the same build as an example of it: two folders up.
///
/// # Errors
/// The place of this program is not known.
pub fn program_beside_example() -> anyhow::Result<PathBuf> {
    let here = std::env::current_exe()?;
    let folder = here.parent().and_then(Path::parent).context("no target folder")?;
    Ok(folder.join("stentor"))
}

/// Where ports are looked for.
const FIRST_PORTS: std::ops::Range<u16> = 12_000..31_000;
/// Ports tried until one is still free when the program binds it.
const PORTS_TRIED: usize = 5;

/// A program that is to be started; leashed, it dies with the thread that starts it, also when that is killed.
pub(crate) fn program(program: &Path, leashed: bool) -> Command {
    if !leashed {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// What is started for `stentor`: the program in `$CONFORMANCE_PROGRAM`, if that is set. It takes the same
/// flags, and is for instance a whole cluster.
fn instead_of(program: &Path) -> PathBuf {
    std::env::var_os("CONFORMANCE_PROGRAM").map_or_else(|| program.to_owned(), PathBuf::from)
}

/// A running `stentor dev`, or one that can be started again on the same ports and folder.
#[derive(Debug)]
pub struct Process {
    program: PathBuf,
    command: &'static str,
    flags: Vec<String>,
    child: Option<Child>,
    port: u16,
    admin: u16,
    data: tempfile::TempDir,
}

// === impl Process ===

impl Process {
    /// Starts the program and waits until it is ready.
    ///
    /// # Errors
    /// It cannot be started, or does not become ready.
    pub async fn start(program: &Path, flags: &[&str]) -> anyhow::Result<Self> {
        Self::start_as("dev", program, flags).await
    }

    /// The same with another sub-command that takes these flags.
    ///
    /// # Errors
    /// As for [`Process::start`].
    pub async fn start_as(
        command: &'static str,
        program: &Path,
        flags: &[&str],
    ) -> anyhow::Result<Self> {
        let (port, admin) = (free_port()?, free_port()?);
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let data = tempfile::tempdir()?;
        let mut process =
            Self { program: instead_of(program), command, flags, child: None, port, admin, data };
        for _ in 0..PORTS_TRIED {
            let started = process.start_again().await;
            if started.is_ok() || !process.has_ended() {
                return started.map(|()| process);
            }
            // Somebody else was quicker to take the port.
            process.child = None;
            (process.port, process.admin) = (free_port()?, free_port()?);
        }
        process.start_again().await?;
        Ok(process)
    }

    fn has_ended(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| !matches!(child.try_wait(), Ok(None)))
    }

    /// Starts it again, on the same ports and the same data.
    ///
    /// # Errors
    /// As for [`Process::start`].
    pub async fn start_again(&mut self) -> anyhow::Result<()> {
        anyhow::ensure!(self.child.is_none(), "it is still running");
        let child = Command::new(&self.program)
            .arg(self.command)
            .args(["--listen", &format!("127.0.0.1:{}", self.port)])
            .args(["--admin-listen", &format!("127.0.0.1:{}", self.admin)])
            .args(["--data", &self.data.path().display().to_string()])
            .args(&self.flags)
            .env("STENTOR_LOG__LEVEL", "warn")
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("{} cannot be started", self.program.display()))?;
        self.child = Some(child);
        tokio::time::timeout(PATIENCE, self.ready()).await.context("it did not become ready")?
    }

    async fn ready(&mut self) -> anyhow::Result<()> {
        while !self.is_ready().await.unwrap_or(false) {
            anyhow::ensure!(!self.has_ended(), "it has ended before it was ready");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    async fn is_ready(&self) -> anyhow::Result<bool> {
        Ok(self.admin("/readyz").await?.starts_with("HTTP/1.1 200"))
    }

    /// What the admin port answers to a GET.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn admin(&self, path: &str) -> anyhow::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.admin)).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }

    /// The port for widgets.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Resident memory in KiB.
    ///
    /// # Errors
    /// It is not running, or the system does not say.
    pub fn resident_kib(&self) -> anyhow::Result<u64> {
        let child = self.child.as_ref().context("it is not running")?;
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS")?;
        Ok(line.split_whitespace().nth(1).context("no number")?.parse()?)
    }

    /// The data folder.
    #[must_use]
    pub fn data(&self) -> &Path {
        self.data.path()
    }

    /// Ends it at once, as `kill -9` does.
    ///
    /// # Errors
    /// It was not running.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        let mut child = self.child.take().context("it is not running")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Asks it to stop, as SIGTERM does, and waits until it has.
    ///
    /// # Errors
    /// It was not running, or does not stop.
    pub async fn stop(&mut self) -> anyhow::Result<ExitStatus> {
        let mut child = self.child.take().context("it is not running")?;
        let sent = Command::new("kill").args(["-TERM", &child.id().to_string()]).status()?;
        anyhow::ensure!(sent.success(), "the signal could not be sent");
        let waiting = tokio::task::spawn_blocking(move || child.wait());
        Ok(tokio::time::timeout(PATIENCE, waiting).await.context("it did not stop")???)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A port that nobody has just now: below those from which the system takes ports for outgoing connections,
/// which could take it while the program is being started again.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    for _ in 0..FIRST_PORTS.len() {
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let place = std::process::id().wrapping_mul(97).wrapping_add(next);
        let count = u32::try_from(FIRST_PORTS.len())?;
        let port = FIRST_PORTS.start + u16::try_from(place % count)?;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    anyhow::bail!("no port is free")
}
