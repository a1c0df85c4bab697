//! The systems that are compared, each as a process of its own on cores of its own.

mod cluster;

use std::{
    collections::BTreeMap,
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
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

pub(crate) use self::cluster::Shape;
use crate::cores;

/// The secret that all tokens of all systems are signed with. They live on loopback for a minute.
const SECRET: &str = "a secret of the benchmarks, known to everybody";
const KEY: &str = "bench";
/// A system that does not listen by then is broken.
const START_MAX: Duration = Duration::from_secs(20);
/// Clock ticks per second of `/proc/PID/stat`: 100 on every Linux that Rust runs on.
const TICKS: f64 = 100.0;

/// An app without a bot, and with room for a visitor with thousands of tabs.
const APP: &str = "apiVersion: stentor.dev/v1alpha1\nkind: ChatApp\nmetadata: { name: demo }\nspec:\n  \
                   auth: { keys: [{ kid: bench, algorithm: HS256, file: demo.key }] }\n  \
                   limits: { connectionsPerUser: 16384, messagesPerSecond: 1000, burst: 10000 }\n";

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
    /// Gateways, routers and one node of NATS that syncs before it answers.
    Cluster,
    /// The same, its log in memory: nothing is durable.
    ClusterInMemory,
    /// The same as the first with three nodes of NATS, each of which has every commit on its disk.
    ClusterReplicated,
    /// The same as the first with a database, to which everything is copied.
    ClusterDatabase,
    /// Two of the centrifuge engine over a Redis with history, synced to disk every second.
    CentrifugeRedis,
    /// The same, synced to disk before it answers.
    CentrifugeRedisSynced,
}

/// What clients of a system speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Stentor,
    /// Texts as they are, to the room in the address.
    Lines,
    SocketIo,
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
    /// Where its gateways listen.
    ports: Vec<u16>,
    next: AtomicUsize,
    /// Where the router tells its metrics.
    admin: Option<u16>,
    parts: Vec<Part>,
    held: Vec<Held>,
    folder: tempfile::TempDir,
    /// A folder in memory.
    memory: Option<tempfile::TempDir>,
}

/// One process of a system.
#[derive(Clone, Copy, Debug)]
struct Part {
    what: &'static str,
    process: u32,
}

/// What ends with the system.
#[derive(Debug)]
enum Held {
    Child(Child),
    Cluster(
        #[expect(dead_code, reason = "kept for its end")] Box<stentor_testkit::cluster::Cluster>,
    ),
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
            Self::Cluster => "Stentor, NATS synced",
            Self::ClusterInMemory => "Stentor, NATS in memory",
            Self::ClusterReplicated => "Stentor, 3 × NATS synced",
            Self::ClusterDatabase => "Stentor, NATS synced, Cassandra",
            Self::CentrifugeRedis => "centrifuge + Redis, `everysec`",
            Self::CentrifugeRedisSynced => "centrifuge + Redis, `always`",
        }
    }

    pub(crate) const fn dialect(self) -> Dialect {
        match self {
            Self::Engine | Self::Bare | Self::Ws => Dialect::Lines,
            Self::SocketIo => Dialect::SocketIo,
            Self::Centrifuge | Self::CentrifugeRedis | Self::CentrifugeRedisSynced => {
                Dialect::Centrifuge
            }
            _ => Dialect::Stentor,
        }
    }

    /// Whether it is the router, in whatever form.
    pub(crate) fn is_ours(self) -> bool {
        self.dialect() == Dialect::Stentor
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
        let mut system = System::empty(kind)?;
        if let Some(shape) = Shape::of(kind) {
            self.start_cluster(&mut system, shape).await?;
            return Ok(system);
        }
        if matches!(kind, Kind::CentrifugeRedis | Kind::CentrifugeRedisSynced) {
            self.start_with_redis(&mut system).await?;
            return Ok(system);
        }
        let port = free_port()?;
        let listen = format!("127.0.0.1:{port}");
        let mut command = cores::command_on(&self.cores);
        match kind {
            Kind::Stentor => {
                let folder = system.folder.path();
                let port = *system.admin.insert(free_port()?);
                command.arg(self.programs.join("stentor")).arg("dev");
                command.args(["--listen", &listen]);
                command.args(["--admin-listen", &format!("127.0.0.1:{port}")]);
                command.arg("--apps").arg(apps(folder)?);
                command.arg("--data").arg(folder.join("data"));
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
            _ => {
                command.arg(self.rival("centrifuge/centrifuge")?);
                command.args(["-listen", &listen, "-secret", SECRET]);
                command.args(recovers.then_some("-history"));
            }
        }
        system.spawn(kind.name(), &mut command, port).await?;
        system.ports.push(port);
        Ok(system)
    }

    /// Two of the engine, as many as our cluster has gateways, with the Redis between them.
    async fn start_with_redis(&self, system: &mut System) -> anyhow::Result<()> {
        let redis = free_port()?;
        let sync = if system.kind == Kind::CentrifugeRedis { "everysec" } else { "always" };
        let mut command = cores::command_on(&self.cores);
        command.args(["redis-server", "--bind", "127.0.0.1", "--port", &redis.to_string()]);
        command.args(["--appendonly", "yes", "--appendfsync", sync, "--save", "", "--dir"]);
        command.arg(system.folder.path());
        system.spawn("Redis", &mut command, redis).await?;
        for _ in 0..2 {
            let port = free_port()?;
            let mut command = cores::command_on(&self.cores);
            command.arg(self.rival("centrifuge/centrifuge")?);
            command.args(["-listen", &format!("127.0.0.1:{port}"), "-secret", SECRET, "-history"]);
            command.args(["-redis", &format!("127.0.0.1:{redis}")]);
            system.spawn("engine", &mut command, port).await?;
            system.ports.push(port);
        }
        Ok(())
    }
}

// === impl System ===

impl System {
    fn empty(kind: Kind) -> anyhow::Result<Self> {
        Ok(Self {
            kind,
            ports: Vec::new(),
            next: AtomicUsize::new(0),
            admin: None,
            parts: Vec::new(),
            held: Vec::new(),
            folder: tempfile::tempdir()?,
            memory: None,
        })
    }

    /// A gateway of it, each in its turn.
    pub(crate) fn port(&self) -> u16 {
        let place = self.next.fetch_add(1, Ordering::Relaxed) % self.ports.len().max(1);
        self.ports.get(place).copied().unwrap_or_default()
    }

    /// Processor seconds that it has used up, its own and the kernel's for it.
    pub(crate) fn cpu(&self) -> anyhow::Result<f64> {
        Ok(self.cpu_by_part()?.values().sum())
    }

    /// The same, by what its processes are.
    pub(crate) fn cpu_by_part(&self) -> anyhow::Result<BTreeMap<&'static str, f64>> {
        let mut all = BTreeMap::new();
        for part in &self.parts {
            *all.entry(part.what).or_default() += part.cpu()?;
        }
        Ok(all)
    }

    /// Resident memory in KiB.
    pub(crate) fn resident_kib(&self) -> anyhow::Result<f64> {
        Ok(self.resident_by_part()?.values().sum())
    }

    /// The same, by what its processes are.
    pub(crate) fn resident_by_part(&self) -> anyhow::Result<BTreeMap<&'static str, f64>> {
        let mut all = BTreeMap::new();
        for part in &self.parts {
            *all.entry(part.what).or_default() += part.resident_kib()?;
        }
        Ok(all)
    }

    /// Starts one process of it, and waits until it listens.
    async fn spawn(
        &mut self,
        what: &'static str,
        command: &mut Command,
        port: u16,
    ) -> anyhow::Result<()> {
        let child = command.stdout(Stdio::null()).spawn();
        let child = child.with_context(|| format!("{what} cannot be started"))?;
        self.parts.push(Part { what, process: child.id() });
        self.held.push(Held::Child(child));
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            anyhow::ensure!(began.elapsed() < START_MAX, "{what} does not listen");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
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

// === impl Part ===

impl Part {
    fn cpu(self) -> anyhow::Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process))?;
        // The name, in parentheses, may hold spaces.
        let (_, fields) = stat.rsplit_once(')').context("no name")?;
        let mut fields = fields.split_whitespace().skip(11);
        let mut ticks =
            || -> anyhow::Result<f64> { Ok(fields.next().context("no processor time")?.parse()?) };
        Ok((ticks()? + ticks()?) / TICKS)
    }

    fn resident_kib(self) -> anyhow::Result<f64> {
        resident_kib(self.process)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Self::Child(child) = self {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Resident memory of a process in KiB.
pub(crate) fn resident_kib(process: u32) -> anyhow::Result<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS")?;
    Ok(line.split_whitespace().nth(1).context("no number")?.parse()?)
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

/// A folder with the app.
fn apps(folder: &Path) -> anyhow::Result<PathBuf> {
    let apps = folder.join("apps");
    fs::create_dir(&apps)?;
    fs::write(apps.join("demo.key"), SECRET)?;
    fs::write(apps.join("demo.yaml"), APP)?;
    Ok(apps)
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
