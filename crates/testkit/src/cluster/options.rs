//! What can be chosen about a local cluster.

use std::path::{Path, PathBuf};

use super::topology::{Kind, Topology};

/// Which cluster.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// The program `stentor`.
    pub program: PathBuf,
    /// How many of each kind.
    pub topology: Topology,
    /// Where the bot of the app `demo` is.
    pub bot: String,
    /// The port of the first gateway, the next ones have the next ports; free ones if it is not given.
    pub first_port: Option<u16>,
    /// How long a role may take to stop.
    pub drain_seconds: u64,
    /// What the roles log.
    pub log_level: String,
    /// Variables for the environment of all roles of a kind.
    pub environment: Vec<(Kind, String, String)>,
    /// Lines for the end of the settings of every role.
    pub extra: String,
    /// The app `demo` in place of one with the bot: its file, and the key that it names `demo.key`.
    pub app: Option<(String, String)>,
    /// Where NATS keeps its data, for instance in memory; on disk if not given.
    pub nats_folder: Option<PathBuf>,
    /// Whether settings and logs of the roles stay when the cluster ends.
    pub keep: bool,
    /// Where everything lies, so that the next start goes on; a temporary folder if it is not given.
    pub folder: Option<PathBuf>,
    /// The app files; without them there is the app `demo` with the bot.
    pub apps: Option<PathBuf>,
    /// A database that runs already, in the place of one of its own.
    pub given_database: Option<GivenDatabase>,
    /// Whether all processes die with this one, also when it is killed. They must be started by a thread
    /// that lives as long.
    pub leashed: bool,
    /// Whether each role has a [`Line`](crate::Line) of its own to NATS, that can be held.
    pub lines: bool,
}

/// A database that others use as well.
#[derive(Clone, Debug)]
pub struct GivenDatabase {
    /// Where it is.
    pub address: String,
    /// What this cluster has of it.
    pub keyspace: String,
}

// === impl ClusterOptions ===

impl ClusterOptions {
    /// The standard cluster without Prometheus, with this program and this bot.
    #[must_use]
    pub fn new(program: &Path, bot: &str) -> Self {
        Self {
            program: program.to_owned(),
            topology: Topology { prometheus: false, ..Topology::STANDARD },
            bot: bot.to_owned(),
            first_port: None,
            drain_seconds: 10,
            log_level: "info".to_owned(),
            environment: Vec::new(),
            extra: String::new(),
            app: None,
            nats_folder: None,
            keep: false,
            folder: None,
            apps: None,
            given_database: None,
            leashed: false,
            lines: false,
        }
    }

    /// The same without a database, which takes longest to start.
    #[must_use]
    pub const fn without_database(mut self) -> Self {
        self.topology.database = false;
        self
    }

    /// The same with a variable in the environment of all roles of a kind.
    #[must_use]
    pub fn with_environment(mut self, kind: Kind, name: &str, value: &str) -> Self {
        self.environment.push((kind, name.to_owned(), value.to_owned()));
        self
    }

    /// The same with so many gateways.
    #[must_use]
    pub const fn gateways(mut self, count: usize) -> Self {
        self.topology.gateways = count;
        self
    }
}
