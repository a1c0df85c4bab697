//! The systems that are compared, each as a process of its own on cores of its own.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use clap::ValueEnum;
use stentor_tokens::{Algorithm, Claims, Key, Role, mint};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::Instant,
};

use crate::cores;

/// The secret that all tokens of all systems are signed with. They live on loopback for a minute.
const SECRET: &str = "a secret of the benchmarks, known to everybody";
const KEY: &str = "bench";
/// A system that does not listen by then is broken.
const START_MAX: Duration = Duration::from_secs(20);
/// Clock ticks per second of `/proc/PID/stat`: 100 on every Linux that Rust runs on.
const TICKS: f64 = 100.0;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// The whole router: every message is on disk before anybody sees it.
    Stentor,
    /// Its socket engine alone, with rooms in memory.
    Engine,
    /// hyper's upgrade and one `try_write` per receiver.
    Bare,
    /// The `ws` package for Node.
    Ws,
    SocketIo,
    /// The library inside Centrifugo.
    Centrifuge,
}

/// Where the programs are, and where they run.
#[derive(Debug)]
pub(crate) struct Places {
    cores: Vec<usize>,
    programs: PathBuf,
    rivals: Option<PathBuf>,
    only: Vec<Kind>,
}

/// A running system.
#[derive(Debug)]
pub(crate) struct System {
    pub(crate) kind: Kind,
    pub(crate) port: u16,
    /// Where the router tells its metrics.
    admin: Option<u16>,
    child: Child,
    _folder: tempfile::TempDir,
}

// === impl Kind ===

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Stentor => "Stentor, every message on disk first",
            Self::Engine => "Stentor's socket engine alone",
            Self::Bare => "bare `try_write`",
            Self::Ws => "`ws`",
            Self::SocketIo => "Socket.IO",
            Self::Centrifuge => "centrifuge engine",
        }
    }
}

// === impl Places ===

impl Places {
    /// `cores`: those that the systems have to themselves.
    pub(crate) fn new(
        cores: Vec<usize>,
        programs: Option<PathBuf>,
        rivals: Option<PathBuf>,
        only: Vec<Kind>,
    ) -> anyhow::Result<Self> {
        let here = std::env::current_exe()?;
        let beside = here.parent().map(Path::to_owned);
        let programs = programs.or(beside).context("no folder of programs")?;
        Ok(Self { cores, programs, rivals, only })
    }

    /// Those of them that are wanted.
    pub(crate) fn chosen(&self, kinds: &[Kind]) -> Vec<Kind> {
        let wanted = |kind: &Kind| self.only.is_empty() || self.only.contains(kind);
        kinds.iter().copied().filter(wanted).collect()
    }

    fn rival(&self, file: &str) -> anyhow::Result<PathBuf> {
        let rivals = self.rivals.as_ref().context("--rivals: needed for this benchmark")?;
        Ok(rivals.join(file))
    }

    /// Starts a system. `recovers`: it is to keep what is said for those who come back.
    pub(crate) async fn start(&self, kind: Kind, recovers: bool) -> anyhow::Result<System> {
        let folder = tempfile::tempdir()?;
        let port = free_port()?;
        let listen = format!("127.0.0.1:{port}");
        let mut admin = None;
        let mut command = cores::command_on(&self.cores);
        match kind {
            Kind::Stentor => {
                let port = *admin.insert(free_port()?);
                command.arg(self.programs.join("stentor")).arg("dev");
                command.args(["--listen", &listen]);
                command.args(["--admin-listen", &format!("127.0.0.1:{port}")]);
                command.arg("--apps").arg(apps(folder.path())?);
                command.arg("--data").arg(folder.path().join("data"));
                command.env("STENTOR_LOG__LEVEL", "warn");
            }
            Kind::Engine => {
                let program = self.programs.join("examples/echo");
                command.arg(program).args(["--listen", &listen, "--rooms"]);
            }
            Kind::Bare => {
                command.arg(std::env::current_exe()?).args(["serve", &port.to_string()]);
            }
            Kind::Ws => {
                command.arg("node").arg(self.rival("node/ws.mjs")?).arg(port.to_string());
            }
            Kind::SocketIo => {
                command.arg("node").arg(self.rival("node/socketio.mjs")?);
                command.args([&port.to_string(), SECRET]);
                command.args(recovers.then_some("recover"));
            }
            Kind::Centrifuge => {
                command.arg(self.rival("centrifuge/centrifuge")?);
                command.args(["-listen", &listen, "-secret", SECRET]);
                command.args(recovers.then_some("-history"));
            }
        }
        let child = command
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("{} cannot be started", kind.name()))?;
        let system = System { kind, port, admin, child, _folder: folder };
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            anyhow::ensure!(began.elapsed() < START_MAX, "{} does not listen", kind.name());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(system)
    }
}

// === impl System ===

impl System {
    /// Processor seconds that it has used up, its own and the kernel's for it.
    pub(crate) fn cpu(&self) -> anyhow::Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The name, in parentheses, may hold spaces.
        let (_, fields) = stat.rsplit_once(')').context("no name")?;
        let mut fields = fields.split_whitespace().skip(11);
        let mut ticks =
            || -> anyhow::Result<f64> { Ok(fields.next().context("no processor time")?.parse()?) };
        Ok((ticks()? + ticks()?) / TICKS)
    }

    /// Resident memory in KiB.
    pub(crate) fn resident_kib(&self) -> anyhow::Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS")?;
        Ok(line.split_whitespace().nth(1).context("no number")?.parse()?)
    }

    /// The value of one of the router's metrics, named with its labels; zero if it has none of that name.
    pub(crate) async fn metric(&self, name: &str) -> anyhow::Result<f64> {
        let admin = self.admin.context("only the router tells its metrics")?;
        let mut stream = TcpStream::connect(("127.0.0.1", admin)).await?;
        let request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        anyhow::ensure!(answer.starts_with("HTTP/1.1 200"), "no metrics: {answer}");
        let mut lines = answer.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(value.unwrap_or("0").trim().parse()?)
    }
}

impl Drop for System {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A token for somebody. `staff` may speak ten times as fast.
pub(crate) fn token(subject: &str, staff: bool) -> anyhow::Result<String> {
    let key = Key::try_new(KEY, Algorithm::Hs256, SECRET.as_bytes())?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let role = if staff { Role::Agent } else { Role::Visitor };
    let claims = Claims {
        sub: subject.to_owned(),
        aud: "demo".to_owned(),
        role,
        exp: now + 3_600,
        ..Claims::default()
    };
    Ok(mint(&claims, &key)?)
}

/// An app without a bot, and with room for a visitor with thousands of tabs.
fn apps(folder: &Path) -> anyhow::Result<PathBuf> {
    let apps = folder.join("apps");
    fs::create_dir(&apps)?;
    fs::write(apps.join("bench.key"), SECRET)?;
    let text = "apiVersion: stentor.dev/v1alpha1\nkind: ChatApp\nmetadata: { name: demo }\nspec:\n  \
                auth: { keys: [{ kid: bench, algorithm: HS256, file: bench.key }] }\n  \
                limits: { connectionsPerUser: 16384, messagesPerSecond: 1000, burst: 10000 }\n";
    fs::write(apps.join("demo.yaml"), text)?;
    Ok(apps)
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
