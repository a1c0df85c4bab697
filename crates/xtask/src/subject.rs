//! What the end-to-end suites run on: one process, or a whole cluster that takes the same flags.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::workspace::Workspace;

/// Nodes of NATS, of which one may be lost.
const NATS_NODES: &str = "3";

/// A program with the flags of `stentor dev`, and what it is told beside them.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    program: PathBuf,
    environment: Vec<(&'static str, String)>,
    /// What is said after the name of a suite.
    aside: &'static str,
}

// === impl Subject ===

impl Subject {
    /// `stentor` itself.
    pub(crate) fn one_process(workspace: &Workspace) -> Self {
        Self { program: workspace.debug_binary("stentor"), environment: Vec::new(), aside: "" }
    }

    /// A cluster per start, all of which share a database at this address.
    pub(crate) fn cluster(workspace: &Workspace, database: String) -> Self {
        let program = workspace.debug_binary("examples/dev-cluster");
        let environment = vec![
            ("CONFORMANCE_PROGRAM", program.display().to_string()),
            ("CONFORMANCE_DATABASE", database),
            ("CONFORMANCE_NATS_NODES", NATS_NODES.to_owned()),
        ];
        Self { program, environment, aside: " on a cluster" }
    }

    /// Whether it has members.
    pub(crate) fn is_cluster(&self) -> bool {
        !self.environment.is_empty()
    }

    /// The program.
    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// A command that starts it, itself or through others, and tells it what it needs to know.
    pub(crate) fn tell(&self, command: &mut Command) {
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
    }

    /// The name of a suite that runs on it.
    pub(crate) fn named(&self, suite: &str) -> String {
        format!("{suite}{}", self.aside)
    }
}
