//! What a cluster consists of: the one list that local clusters, `deploy/compose.yaml` and the faults go by.
//!
//! Knows names, versions and who needs whom; not how anything is started.

/// What a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Carries the log and the bus.
    Nats,
    /// Keeps the history: ScyllaDB, or Cassandra in its place.
    Database,
    /// Answers visitors by machine.
    Bot,
    /// Owns partitions.
    Router,
    /// Calls bots.
    Connector,
    /// Has the sockets.
    Gateway,
    /// Collects metrics.
    Prometheus,
}

/// How many there are of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Topology {
    /// Nodes of NATS: 1, or 3 to survive the loss of one.
    pub nats: usize,
    /// Whether there is a database; without one, history reaches as far as the log.
    pub database: bool,
    /// Gateways.
    pub gateways: usize,
    /// Routers.
    pub routers: usize,
    /// Connectors.
    pub connectors: usize,
    /// Whether metrics are collected.
    pub prometheus: bool,
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name: the kind, and a number if there may be several.
    pub name: String,
    /// What it is.
    pub kind: Kind,
}

// === impl Kind ===

impl Kind {
    /// In the order of their start: who is needed comes first.
    pub const ALL: [Self; 7] = [
        Self::Nats,
        Self::Database,
        Self::Bot,
        Self::Router,
        Self::Connector,
        Self::Gateway,
        Self::Prometheus,
    ];

    /// As it stands in names.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nats => "nats",
            Self::Database => "database",
            Self::Bot => "bot",
            Self::Router => "router",
            Self::Connector => "connector",
            Self::Gateway => "gateway",
            Self::Prometheus => "prometheus",
        }
    }

    /// Whether it is a role of our own program.
    #[must_use]
    pub const fn is_role(self) -> bool {
        matches!(self, Self::Router | Self::Connector | Self::Gateway)
    }

    /// The image that it runs from. Our own are built from `deploy/Dockerfile`.
    #[must_use]
    pub const fn image(self) -> &'static str {
        match self {
            Self::Nats => "nats:2.15",
            Self::Database => "scylladb/scylla:2025.3",
            Self::Bot | Self::Router | Self::Connector | Self::Gateway => "stentor:local",
            Self::Prometheus => "prom/prometheus:v3.5.0",
        }
    }

    /// Kinds that must be there before it is of use.
    #[must_use]
    pub const fn needs(self) -> &'static [Self] {
        match self {
            Self::Nats | Self::Database | Self::Bot | Self::Prometheus => &[],
            Self::Router => &[Self::Nats, Self::Database],
            Self::Connector => &[Self::Nats, Self::Bot],
            Self::Gateway => &[Self::Nats],
        }
    }
}

// === impl Topology ===

impl Topology {
    /// The smallest in which any one process may die: what `cargo xtask cluster` and the compose file start.
    pub const STANDARD: Self =
        Self { nats: 3, database: true, gateways: 2, routers: 2, connectors: 1, prometheus: true };

    /// Everybody, in the order of their start.
    #[must_use]
    pub fn members(&self) -> Vec<Member> {
        Kind::ALL.into_iter().flat_map(|kind| self.of(kind)).collect()
    }

    /// Those of one kind.
    #[must_use]
    pub fn of(&self, kind: Kind) -> Vec<Member> {
        let numbered = |count| (1..=count).map(|number| format!("{}-{number}", kind.as_str()));
        let alone = |is_there: bool| is_there.then(|| kind.as_str().to_owned());
        let names: Vec<String> = match kind {
            Kind::Nats => numbered(self.nats).collect(),
            Kind::Database => alone(self.database).into_iter().collect(),
            Kind::Bot => alone(true).into_iter().collect(),
            Kind::Router => numbered(self.routers).collect(),
            Kind::Connector => numbered(self.connectors).collect(),
            Kind::Gateway => numbered(self.gateways).collect(),
            Kind::Prometheus => alone(self.prometheus).into_iter().collect(),
        };
        names.into_iter().map(|name| Member { name, kind }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, Topology};

    #[test]
    fn nobody_starts_before_whom_it_needs() {
        for (place, kind) in Kind::ALL.into_iter().enumerate() {
            for needed in kind.needs() {
                assert!(Kind::ALL.iter().position(|other| other == needed) < Some(place));
            }
        }
    }

    #[test]
    fn any_one_process_of_the_standard_cluster_may_die() {
        let standard = Topology::STANDARD;
        for kind in [Kind::Nats, Kind::Router, Kind::Gateway] {
            assert!(standard.of(kind).len() > 1, "{kind:?}");
        }
        assert_eq!(standard.members().len(), 3 + 1 + 1 + 2 + 1 + 2 + 1);
    }
}
