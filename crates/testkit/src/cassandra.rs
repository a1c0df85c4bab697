//! A real Cassandra of one node, run from its jars, that tests start, kill, freeze and start again.
//!
//! The jars are those in `$STENTOR_CASSANDRA_LIB`, else in `target/peers/cassandra/lib` of this workspace;
//! Java is the one of the machine. Every [`Cassandra`] has ports and a folder of its own; dropping it ends
//! its process. A write that was acknowledged survives a kill: the commit log is synced first.

use std::{
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::Context as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::process::free_port;

/// A start takes 9 s on an idle machine of two cores, and several times that on a busy one.
const START_PATIENCE: Duration = Duration::from_secs(180);
/// Ports tried until both are still free when the server binds them.
const STARTS_MAX: usize = 3;
/// How often a server that starts is asked whether it is ready.
const POLL: Duration = Duration::from_millis(50);
/// Lines of the server's log that an error shows.
const LOG_LINES: usize = 12;

/// What Java 17 hides and Cassandra needs.
const EXPORTS: &[&str] = &[
    "java.base/jdk.internal.misc",
    "java.base/java.lang.ref",
    "java.management.rmi/com.sun.jmx.remote.internal.rmi",
    "java.rmi/sun.rmi.registry",
    "java.rmi/sun.rmi.server",
    "java.sql/java.sql",
    "jdk.unsupported/sun.misc",
];
const OPENS: &[&str] = &[
    "java.base/java.io",
    "java.base/java.lang",
    "java.base/java.lang.module",
    "java.base/java.nio",
    "java.base/java.util",
    "java.base/java.util.concurrent",
    "java.base/java.util.concurrent.atomic",
    "java.base/jdk.internal.loader",
    "java.base/jdk.internal.math",
    "java.base/jdk.internal.module",
    "java.base/jdk.internal.ref",
    "java.base/jdk.internal.reflect",
    "java.base/jdk.internal.util.jar",
    "java.base/sun.nio.ch",
    "jdk.management/com.sun.management.internal",
];

/// Without it the server logs at DEBUG.
const LOGBACK: &str = r#"<configuration>
  <appender name="OUT" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%d{HH:mm:ss.SSS} %-5level %logger{20} %msg%n</pattern></encoder>
  </appender>
  <root level="WARN"><appender-ref ref="OUT"/></root>
</configuration>
"#;

/// A running server, or one that can be started again on the same ports and data.
#[derive(Debug)]
pub struct Cassandra {
    child: Option<Child>,
    port: u16,
    storage_port: u16,
    extra: String,
    folder: tempfile::TempDir,
}

/// Where the server's jars are: `$STENTOR_CASSANDRA_LIB`, else among the workspace's peers.
#[must_use]
pub fn cassandra_lib() -> PathBuf {
    #[expect(clippy::disallowed_methods, reason = "tests have no other way of being told")]
    let given = std::env::var("STENTOR_CASSANDRA_LIB").ok();
    let own = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/peers/cassandra/lib");
    given.map_or_else(own, PathBuf::from)
}

// === impl Cassandra ===

impl Cassandra {
    /// Starts a server and waits until it takes clients.
    ///
    /// # Errors
    /// There are no jars or no Java, or it does not become ready.
    pub async fn start() -> anyhow::Result<Self> {
        Self::with("").await
    }

    /// The same, with lines for the end of its `cassandra.yaml`.
    ///
    /// # Errors
    /// As for [`Cassandra::start`].
    pub async fn with(extra: &str) -> anyhow::Result<Self> {
        let mut server = Self::stopped(extra)?;
        for _ in 1..STARTS_MAX {
            match server.start_again().await {
                Ok(()) => return Ok(server),
                Err(error) if !server.has_ended() => return Err(error),
                // Perhaps somebody else was quicker to take a port.
                Err(_) => {
                    server.child = None;
                    (server.port, server.storage_port) = (free_port()?, free_port()?);
                }
            }
        }
        server.start_again().await?;
        Ok(server)
    }

    /// Its process, if it runs.
    #[must_use]
    pub fn process_id(&self) -> Option<u32> {
        Some(self.child.as_ref()?.id())
    }

    /// A server that is not running yet, but has its port.
    ///
    /// # Errors
    /// There is no free port or no place for its folder.
    pub fn stopped(extra: &str) -> anyhow::Result<Self> {
        let (port, storage_port) = (free_port()?, free_port()?);
        let folder = tempfile::tempdir()?;
        Ok(Self { child: None, port, storage_port, extra: extra.to_owned(), folder })
    }

    /// Starts it, again if it ran before: on the same ports and the same data.
    ///
    /// # Errors
    /// It is running, or does not become ready.
    pub async fn start_again(&mut self) -> anyhow::Result<()> {
        anyhow::ensure!(self.child.is_none(), "it is still running");
        self.spawn()?;
        self.ready().await
    }

    /// Where clients connect to.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Ends it at once, as `kill -9` does, also when it is paused.
    ///
    /// # Errors
    /// It was not running.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        let mut child = self.child.take().context("it is not running")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Stops it without ending it: its sockets stay open, and nothing answers.
    ///
    /// # Errors
    /// It is not running.
    pub fn pause(&self) -> anyhow::Result<()> {
        self.signal("-STOP")
    }

    /// Lets a paused server go on.
    ///
    /// # Errors
    /// It is not running.
    pub fn resume(&self) -> anyhow::Result<()> {
        self.signal("-CONT")
    }

    /// Waits until it takes clients.
    ///
    /// # Errors
    /// It has ended, or does not become ready.
    pub async fn ready(&mut self) -> anyhow::Result<()> {
        let until = async {
            while !self.is_ready().await.unwrap_or(false) {
                anyhow::ensure!(!self.has_ended(), "it has ended: {}", self.last_words());
                tokio::time::sleep(POLL).await;
            }
            Ok(())
        };
        match tokio::time::timeout(START_PATIENCE, until).await {
            Ok(ready) => ready,
            Err(_) => anyhow::bail!("it did not become ready: {}", self.last_words()),
        }
    }

    /// Whether it answers the first question of every client: what it supports.
    async fn is_ready(&self) -> anyhow::Result<bool> {
        const OPTIONS: [u8; 9] = [4, 0, 0, 0, 5, 0, 0, 0, 0];
        const SUPPORTED: u8 = 6;
        let asking = async {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
            stream.write_all(&OPTIONS).await?;
            let mut head = [0; 9];
            stream.read_exact(&mut head).await?;
            Ok(head[4] == SUPPORTED)
        };
        // A paused server takes the connection and never answers.
        tokio::time::timeout(Duration::from_secs(2), asking).await.context("no answer")?
    }

    fn has_ended(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| !matches!(child.try_wait(), Ok(None)))
    }

    fn signal(&self, name: &str) -> anyhow::Result<()> {
        let child = self.child.as_ref().context("it is not running")?;
        let sent = Command::new("kill").args([name, &child.id().to_string()]).status()?;
        anyhow::ensure!(sent.success(), "the signal could not be sent");
        Ok(())
    }

    fn spawn(&mut self) -> anyhow::Result<()> {
        let lib = cassandra_lib();
        anyhow::ensure!(
            lib.is_dir(),
            "{} is not there: fetch the peers, or set STENTOR_CASSANDRA_LIB",
            lib.display()
        );
        let folder = self.folder.path();
        let (yaml, logback) = (folder.join("cassandra.yaml"), folder.join("logback.xml"));
        std::fs::write(&yaml, self.configuration())?;
        std::fs::write(&logback, LOGBACK)?;
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.log_file())?;
        let mut java = Command::new("java");
        java.args(EXPORTS.iter().map(|name| format!("--add-exports={name}=ALL-UNNAMED")))
            .args(OPENS.iter().map(|name| format!("--add-opens={name}=ALL-UNNAMED")))
            // It starts sooner and stays smaller with the simple collector and compiler.
            .args(["-Xmx768m", "-Xms256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
            .args(["-XX:MaxDirectMemorySize=256m", "-Djdk.attach.allowAttachSelf=true"])
            .arg(format!("-Dcassandra.config=file://{}", yaml.display()))
            .arg(format!("-Dcassandra.storagedir={}", folder.display()))
            .arg(format!("-Dlogback.configurationFile={}", logback.display()))
            .args(["-Dcassandra-foreground=yes", "-Dcassandra.skip_wait_for_gossip_to_settle=0"])
            .args(["-Dcassandra.ring_delay_ms=0", "-Dcassandra.superuser_setup_delay_ms=0"])
            .arg("-cp")
            .arg(lib.join("*"))
            .arg("org.apache.cassandra.service.CassandraDaemon")
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // Ctrl-C in a terminal is for whoever started it.
            .process_group(0);
        self.child = Some(java.spawn().context("java cannot be started")?);
        Ok(())
    }

    fn configuration(&self) -> String {
        let (port, storage_port, extra) = (self.port, self.storage_port, &self.extra);
        let folder = self.folder.path().display();
        format!(
            r#"cluster_name: test
num_tokens: 1
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
commitlog_sync: batch
commitlog_segment_size: 32MiB
auto_snapshot: false
endpoint_snitch: SimpleSnitch
listen_address: 127.0.0.1
rpc_address: 127.0.0.1
native_transport_port: {port}
storage_port: {storage_port}
seed_provider: [{{class_name: org.apache.cassandra.locator.SimpleSeedProvider, parameters: [{{seeds: "127.0.0.1:{storage_port}"}}]}}]
data_file_directories: ["{folder}/data"]
commitlog_directory: "{folder}/commitlog"
saved_caches_directory: "{folder}/saved_caches"
hints_directory: "{folder}/hints"
cdc_raw_directory: "{folder}/cdc_raw"
{extra}
"#
        )
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("cassandra.log")
    }

    /// The end of what the server has logged.
    #[must_use]
    pub fn last_words(&self) -> String {
        let log = std::fs::read_to_string(self.log_file()).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        let from = lines.len().saturating_sub(LOG_LINES);
        lines.get(from..).unwrap_or_default().join("\n")
    }
}

impl Drop for Cassandra {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
