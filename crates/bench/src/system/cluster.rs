//! Our cluster as a system: several processes, whose processor time counts together.

use std::path::Path;

use stentor_testkit::cluster::{
    Cluster, ClusterOptions,
    topology::{Kind as Role, Topology},
};

use super::{APP, Held, Kind, Part, Places, SECRET, System};
use crate::cores;

/// Where files lie in memory.
const MEMORY: &str = "/dev/shm";

/// How many of each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) gateways: usize,
    pub(crate) routers: usize,
    pub(crate) nats: usize,
    pub(crate) database: bool,
    pub(crate) in_memory: bool,
}

// === impl Shape ===

impl Shape {
    /// Two gateways and two routers on one node of NATS.
    pub(crate) const ORDINARY: Self =
        Self { gateways: 2, routers: 2, nats: 1, database: false, in_memory: false };

    pub(crate) const fn of(kind: Kind) -> Option<Self> {
        let ordinary = Self::ORDINARY;
        match kind {
            Kind::Cluster => Some(ordinary),
            Kind::ClusterInMemory => Some(Self { in_memory: true, ..ordinary }),
            Kind::ClusterReplicated => Some(Self { nats: 3, ..ordinary }),
            Kind::ClusterDatabase => Some(Self { database: true, ..ordinary }),
            _ => None,
        }
    }
}

// === impl Places ===

impl Places {
    pub(super) async fn start_cluster(
        &self,
        system: &mut System,
        shape: Shape,
    ) -> anyhow::Result<()> {
        let topology = Topology {
            nats: shape.nats,
            database: shape.database,
            gateways: shape.gateways,
            routers: shape.routers,
            // Nobody calls a bot.
            connectors: 0,
            prometheus: false,
        };
        let nats_folder = if shape.in_memory {
            let folder = tempfile::tempdir_in(Path::new(MEMORY))?;
            let path = folder.path().to_owned();
            system.memory = Some(folder);
            Some(path)
        } else {
            None
        };
        let options = ClusterOptions {
            topology,
            app: Some((APP.to_owned(), SECRET.to_owned())),
            log_level: "warn".to_owned(),
            nats_folder,
            ..ClusterOptions::new(&self.programs.join("stentor"), "http://127.0.0.1:9/")
        };
        let cluster = Cluster::start(&options).await?;
        for (role, process) in cluster.processes() {
            // Started by the load, they are still on its cores.
            cores::move_process(process, &self.cores)?;
            let what = match role {
                Role::Nats => "NATS",
                Role::Database => "database",
                other => other.as_str(),
            };
            system.parts.push(Part { what, process });
        }
        system.ports = cluster.gateway_ports();
        system.held.push(Held::Cluster(Box::new(cluster)));
        Ok(())
    }

    /// A cluster of any shape.
    pub(crate) async fn cluster(&self, shape: Shape) -> anyhow::Result<System> {
        let mut system = System::empty(Kind::Cluster)?;
        self.start_cluster(&mut system, shape).await?;
        Ok(system)
    }
}
