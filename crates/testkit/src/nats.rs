//! A real `nats-server`, one or several nodes of it, that tests start, kill, freeze and start again.
//!
//! The program is `$STENTOR_NATS_SERVER`, else `target/peers/nats/nats-server` of this workspace. Every
//! [`Nats`] has ports and a folder of its own; dropping it ends its processes.

use std::{
    fmt::Write as _,
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

use crate::{
    PATIENCE,
    process::{free_port, program},
};

/// Ports tried until all are still free when the server binds them.
const STARTS_MAX: usize = 5;
/// How often a server that starts is asked whether it is ready.
const POLL: Duration = Duration::from_millis(10);

/// What a server is configured with beyond the ordinary.
#[derive(Clone, Debug)]
pub struct NatsOptions {
    /// How many nodes: 1, or 3 and more for a cluster.
    pub nodes: usize,
    /// Whether an acknowledgement means that the disk has the message (`sync_interval: always`).
    pub sync_always: bool,
    /// Lines for the end of the configuration of every node.
    pub extra: String,
    /// The largest sum of all streams on a node.
    pub max_file_store: String,
    /// Where the data lies, for instance a small file system; a temporary folder if not given.
    pub folder: Option<PathBuf>,
    /// Whether it dies with the thread that starts it, also when that is killed.
    pub leashed: bool,
    /// Whether nodes tell their clients where the other nodes are.
    pub advertise: bool,
}

/// One server, or a cluster of them.
#[derive(Debug)]
pub struct Nats {
    nodes: Vec<Node>,
    temporary: tempfile::TempDir,
    options: NatsOptions,
}

#[derive(Debug, Default)]
struct Node {
    child: Option<Child>,
    port: u16,
    monitor: u16,
    route: u16,
    paused: bool,
}

/// Where the server's program is: `$STENTOR_NATS_SERVER`, else the one among the workspace's peers.
#[must_use]
pub fn nats_server() -> PathBuf {
    let given = std::env::var_os("STENTOR_NATS_SERVER");
    let own = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/peers/nats/nats-server");
    given.map_or_else(own, PathBuf::from)
}

// === impl NatsOptions ===

impl Default for NatsOptions {
    fn default() -> Self {
        Self {
            nodes: 1,
            sync_always: true,
            extra: String::new(),
            max_file_store: "4G".to_owned(),
            folder: None,
            leashed: false,
            advertise: true,
        }
    }
}

// === impl Nats ===

impl Nats {
    /// One node that syncs before it acknowledges.
    ///
    /// # Errors
    /// It cannot be started, or does not become ready.
    pub async fn start() -> anyhow::Result<Self> {
        Self::with(NatsOptions::default()).await
    }

    /// Several nodes that sync before they acknowledge.
    ///
    /// # Errors
    /// As for [`Nats::start`].
    pub async fn cluster(nodes: usize) -> anyhow::Result<Self> {
        Self::with(NatsOptions { nodes, ..NatsOptions::default() }).await
    }

    /// Whatever the options say.
    ///
    /// # Errors
    /// As for [`Nats::start`].
    pub async fn with(options: NatsOptions) -> anyhow::Result<Self> {
        let nodes = (0..options.nodes).map(|_| Node::default()).collect();
        let mut nats = Self { nodes, temporary: tempfile::tempdir()?, options };
        for _ in 0..STARTS_MAX {
            nats.take_ports()?;
            match nats.start_all().await {
                Ok(()) => return Ok(nats),
                // Somebody else was quicker to take a port.
                Err(_) if (0..nats.nodes.len()).any(|node| nats.has_ended(node)) => {
                    (0..nats.nodes.len()).for_each(|node| nats.end(node));
                }
                Err(error) => return Err(error),
            }
        }
        nats.take_ports()?;
        nats.start_all().await.map(|()| nats)
    }

    fn take_ports(&mut self) -> anyhow::Result<()> {
        for node in &mut self.nodes {
            (node.port, node.monitor, node.route) = (free_port()?, free_port()?, free_port()?);
        }
        Ok(())
    }

    async fn start_all(&mut self) -> anyhow::Result<()> {
        for node in 0..self.nodes.len() {
            self.spawn(node)?;
        }
        self.ready().await
    }

    /// The folder in which the nodes keep what they have.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.options.folder.as_deref().unwrap_or_else(|| self.temporary.path())
    }

    /// The URL that a client needs, with all nodes in it.
    #[must_use]
    pub fn url(&self) -> String {
        let all = self.nodes.iter().map(|node| format!("nats://127.0.0.1:{}", node.port));
        all.collect::<Vec<_>>().join(",")
    }

    /// The URL of one node.
    ///
    /// # Errors
    /// There is no such node.
    pub fn url_of(&self, node: usize) -> anyhow::Result<String> {
        Ok(format!("nats://127.0.0.1:{}", self.node(node)?.port))
    }

    /// The processes of the nodes that run.
    #[must_use]
    pub fn process_ids(&self) -> Vec<u32> {
        self.nodes.iter().filter_map(|node| Some(node.child.as_ref()?.id())).collect()
    }

    /// Where the nodes tell about themselves.
    #[must_use]
    pub fn monitor_urls(&self) -> Vec<String> {
        self.nodes.iter().map(|node| format!("http://127.0.0.1:{}", node.monitor)).collect()
    }

    /// How many nodes there are, running or not.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is no node at all.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Ends a node at once, as `kill -9` does.
    ///
    /// # Errors
    /// It was not running.
    pub fn kill(&mut self, node: usize) -> anyhow::Result<()> {
        anyhow::ensure!(self.node(node)?.child.is_some(), "node {node} is not running");
        self.end(node);
        Ok(())
    }

    /// Starts a node again, on the same ports and the same data, and waits until it takes clients; in
    /// a cluster, [`Nats::ready`] waits for more.
    ///
    /// # Errors
    /// It is still running, or does not come up.
    pub async fn start_again(&mut self, node: usize) -> anyhow::Result<()> {
        anyhow::ensure!(self.node(node)?.child.is_none(), "node {node} is still running");
        self.spawn(node)?;
        self.healthy(node, "/healthz?js-enabled-only=true").await
    }

    /// Waits until every running node has recovered all that it keeps and knows a leader.
    ///
    /// # Errors
    /// One does not.
    pub async fn ready(&mut self) -> anyhow::Result<()> {
        for node in 0..self.nodes.len() {
            let running = self.node(node)?;
            if running.child.is_some() && !running.paused {
                self.healthy(node, "/healthz").await?;
            }
        }
        Ok(())
    }

    /// Stops a node without ending it: its sockets stay open, and nothing answers.
    ///
    /// # Errors
    /// It is not running.
    pub fn pause(&mut self, node: usize) -> anyhow::Result<()> {
        self.signal(node, "STOP")?;
        self.node_mut(node)?.paused = true;
        Ok(())
    }

    /// Lets a paused node go on.
    ///
    /// # Errors
    /// It is not running.
    pub fn resume(&mut self, node: usize) -> anyhow::Result<()> {
        self.signal(node, "CONT")?;
        self.node_mut(node)?.paused = false;
        Ok(())
    }

    /// Asks a node to send its clients away and end.
    ///
    /// # Errors
    /// It is not running.
    pub fn lame_duck(&mut self, node: usize) -> anyhow::Result<()> {
        self.signal(node, "USR2")
    }

    /// The node that leads a stream.
    ///
    /// # Errors
    /// No node answers, or none is known to lead it.
    pub async fn leader_of(&self, stream: &str) -> anyhow::Result<usize> {
        for node in 0..self.nodes.len() {
            let Ok(answer) = self.monitor(node, "/jsz?streams=true").await else { continue };
            let details: serde_json::Value = serde_json::from_str(&answer)?;
            let accounts = details.get("account_details").and_then(serde_json::Value::as_array);
            let streams = accounts.into_iter().flatten().filter_map(|account| {
                account.get("stream_detail").and_then(serde_json::Value::as_array)
            });
            let leader = streams.flatten().find_map(|detail| {
                let of_stream = detail.get("name")?.as_str()? == stream;
                of_stream.then(|| detail.get("cluster")?.get("leader")?.as_str())?
            });
            let named = |name: &str| (0..self.nodes.len()).find(|node| name_of(*node) == name);
            if let Some(leader) = leader.and_then(named) {
                return Ok(leader);
            }
        }
        anyhow::bail!("no node knows who leads {stream}")
    }

    /// What the monitoring port of a node answers to a GET, without its head.
    ///
    /// # Errors
    /// It does not answer, or not with 200.
    pub async fn monitor(&self, node: usize, path: &str) -> anyhow::Result<String> {
        let asking = async {
            let mut stream = TcpStream::connect(("127.0.0.1", self.node(node)?.monitor)).await?;
            let request = format!("GET {path} HTTP/1.0\r\nHost: nats\r\n\r\n");
            stream.write_all(request.as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            let (head, body) = answer.split_once("\r\n\r\n").context("half an answer")?;
            anyhow::ensure!(head.split(' ').nth(1) == Some("200"), "{head}");
            Ok(body.to_owned())
        };
        // A paused node takes the connection and never answers.
        tokio::time::timeout(Duration::from_secs(2), asking).await.context("no answer")?
    }

    fn node(&self, node: usize) -> anyhow::Result<&Node> {
        self.nodes.get(node).with_context(|| format!("there is no node {node}"))
    }

    fn node_mut(&mut self, node: usize) -> anyhow::Result<&mut Node> {
        self.nodes.get_mut(node).with_context(|| format!("there is no node {node}"))
    }

    fn has_ended(&mut self, node: usize) -> bool {
        let child = self.nodes.get_mut(node).and_then(|node| node.child.as_mut());
        child.is_some_and(|child| !matches!(child.try_wait(), Ok(None)))
    }

    fn end(&mut self, node: usize) {
        let node = self.nodes.get_mut(node);
        if let Some((mut child, node)) = node.and_then(|node| Some((node.child.take()?, node))) {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
            node.paused = false;
        }
    }

    fn signal(&self, node: usize, name: &str) -> anyhow::Result<()> {
        let child = self.node(node)?.child.as_ref().context("it is not running")?;
        let (name, id) = (format!("-{name}"), child.id().to_string());
        let sent = Command::new("kill").args([name, id]).status()?;
        anyhow::ensure!(sent.success(), "the signal could not be sent");
        Ok(())
    }

    fn spawn(&mut self, node: usize) -> anyhow::Result<()> {
        let server = nats_server();
        let folder = self.temporary.path().join(name_of(node));
        std::fs::create_dir_all(&folder)?;
        let file = folder.join("nats.conf");
        std::fs::write(&file, self.configuration(node)?)?;
        let child = program(&server, self.options.leashed)
            .arg("-c")
            .arg(&file)
            .arg("-l")
            .arg(folder.join("nats.log"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C in a terminal is for whoever started it.
            .process_group(0)
            .spawn()
            .with_context(|| format!("{} cannot be started", server.display()))?;
        self.node_mut(node)?.child = Some(child);
        Ok(())
    }

    fn configuration(&self, number: usize) -> anyhow::Result<String> {
        let node = self.node(number)?;
        let name = name_of(number);
        let data = self.options.folder.as_deref().unwrap_or_else(|| self.temporary.path());
        let store = data.join(&name).join("store");
        let sync = if self.options.sync_always { "sync_interval: always" } else { "" };
        let mut text = format!(
            "server_name: {name}\nlisten: \"127.0.0.1:{}\"\nhttp: \"127.0.0.1:{}\"\n\
             jetstream {{\n  store_dir: \"{}\"\n  max_file_store: {}\n  max_memory_store: 256M\n  {sync}\n}}\n",
            node.port,
            node.monitor,
            store.display(),
            self.options.max_file_store,
        );
        if self.nodes.len() > 1 {
            let routes = self.nodes.iter().map(|node| format!("nats://127.0.0.1:{}", node.route));
            let routes = routes.collect::<Vec<_>>().join(", ");
            let (listen, silent) = (node.route, !self.options.advertise);
            writeln!(
                text,
                "cluster {{ name: C, listen: \"127.0.0.1:{listen}\", routes: [{routes}], no_advertise: {silent} }}"
            )?;
        }
        text.push_str(&self.options.extra);
        Ok(text)
    }

    async fn healthy(&mut self, node: usize, path: &str) -> anyhow::Result<()> {
        let until = async {
            while self.monitor(node, path).await.is_err() {
                anyhow::ensure!(!self.has_ended(node), "node {node} has ended");
                tokio::time::sleep(POLL).await;
            }
            Ok(())
        };
        let waited = tokio::time::timeout(PATIENCE, until).await;
        waited.with_context(|| format!("node {node} did not become ready"))?
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        (0..self.nodes.len()).for_each(|node| self.end(node));
    }
}

fn name_of(node: usize) -> String {
    format!("n{}", node + 1)
}
