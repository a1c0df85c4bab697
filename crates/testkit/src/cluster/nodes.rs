//! What a cluster's nodes of NATS are asked for beyond living and dying, and the lines that lead to them.

use std::collections::BTreeMap;

use anyhow::Context as _;

use super::{Cluster, role::Role, settings, topology::Kind};
use crate::{Line, Nats, NatsTap};

// === impl Cluster ===

impl Cluster {
    /// The line of a role to NATS.
    ///
    /// # Errors
    /// The cluster was started without lines, or has no such role.
    pub fn line(&self, name: &str) -> anyhow::Result<&Line> {
        self.lines.get(name).with_context(|| format!("{name} has no line of its own"))
    }

    /// Listens to everything that goes over the first node of NATS from now on. As somebody then listens to
    /// every subject, nobody is told any more that nobody listens.
    ///
    /// # Errors
    /// NATS does not answer.
    pub async fn tap(&self) -> anyhow::Result<NatsTap> {
        NatsTap::open(&self.nats.url_of(0)?, settings::TAP, settings::TAP).await
    }

    /// Sends the clients of a node of NATS away, waits until it has ended, and starts it again.
    ///
    /// # Errors
    /// It is not running, or does not come back.
    pub async fn roll_nats(&mut self, name: &str) -> anyhow::Result<()> {
        let node = self.nats_node(name).with_context(|| format!("{name} is no node of NATS"))?;
        self.nats.lame_duck(node)?;
        let leaving = async {
            while self.nats.monitor(node, "/varz").await.is_ok() {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(crate::PATIENCE, leaving).await.context("it does not leave")?;
        // Only its process is left, about to end by itself.
        self.nats.kill(node)?;
        self.nats.start_again(node).await?;
        self.nats.ready().await
    }

    /// The name of the node that leads a stream.
    ///
    /// # Errors
    /// Nobody does, as far as is known.
    pub async fn leader_of(&self, stream: &str) -> anyhow::Result<String> {
        let leader = self.nats.leader_of(stream).await?;
        self.names(Kind::Nats).get(leader).cloned().context("the leader has no name")
    }
}

/// A line for each role, to all nodes.
pub(super) async fn lines(roles: &[Role], nats: &Nats) -> anyhow::Result<BTreeMap<String, Line>> {
    let url = nats.url();
    let targets: Vec<String> =
        url.split(',').map(|url| url.trim_start_matches("nats://").to_owned()).collect();
    let mut lines = BTreeMap::new();
    for role in roles {
        lines.insert(role.name.clone(), Line::to_nats(&targets).await?);
    }
    Ok(lines)
}

/// Where a role finds NATS that has a line of its own.
pub(super) fn urls(line: &Line) -> Vec<String> {
    line.addresses().iter().map(|address| format!("nats://{address}")).collect()
}
