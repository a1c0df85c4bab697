//! A whole cluster of local processes: NATS, a database, and our own roles, each of which can be killed,
//! frozen, asked to stop and started again by its name.
//!
//! What a cluster consists of stands in [`topology`]. Everything lies in one temporary folder and ends with
//! the [`Cluster`]; bots are not part of it, their address is given.

#[cfg(test)]
mod deployed;
pub mod http;
mod nodes;
mod options;
mod role;
mod settings;
pub mod topology;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::ExitStatus,
};

use anyhow::Context as _;

pub use self::options::{ClusterOptions, GivenDatabase};
use self::{
    role::Role,
    settings::Places,
    topology::{Kind, Topology},
};
use crate::{Cassandra, Line, Nats, NatsOptions, process::free_port};

/// A running cluster. Dropping it kills all of it.
#[derive(Debug)]
pub struct Cluster {
    // First, so that roles end before what they need.
    roles: Vec<Role>,
    nats: Nats,
    database: Option<Cassandra>,
    places: Places,
    topology: Topology,
    lines: BTreeMap<String, Line>,
    _temporary: Option<tempfile::TempDir>,
}

/// Lets all temporary folders of this process, those of clusters among them, lie in this one.
///
/// # Errors
/// Another one was chosen before, or it cannot be made.
pub fn keep_files_under(folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("failed to create {}", folder.display()))?;
    tempfile::env::override_temp_dir(folder)
        .map_err(|other| anyhow::anyhow!("temporary files lie in {}", other.display()))
}

// === impl Cluster ===

impl Cluster {
    /// Starts everything and waits until every role is ready.
    ///
    /// # Errors
    /// Something cannot be started, or does not become ready.
    pub async fn start(options: &ClusterOptions) -> anyhow::Result<Self> {
        let (folder, temporary) = place(options)?;
        let own_database = options.topology.database && options.given_database.is_none();
        let database =
            async { if own_database { Cassandra::start().await.map(Some) } else { Ok(None) } };
        let mut places = Places {
            apps: options.apps.clone().unwrap_or_else(|| folder.join("apps")),
            folder: folder.clone(),
            nats_urls: Vec::new(),
            monitor_urls: Vec::new(),
            replicas: options.topology.nats.min(3),
            database: options.given_database.clone(),
            drain_seconds: options.drain_seconds,
            extra: options.extra.clone(),
        };
        let roles = roles(options, &folder)?;
        let origins = roles.iter().filter_map(|role| Some(page(role.listen?))).collect::<Vec<_>>();
        places.write_secrets()?;
        if options.apps.is_none() {
            places.write_demo(&options.bot, &origins)?;
            if let Some((app, key)) = &options.app {
                places.write_app(app, key)?;
            }
        }
        let nats = Nats::with(NatsOptions {
            nodes: options.topology.nats,
            extra: places.nats_accounts()?,
            folder: options
                .nats_folder
                .clone()
                .or_else(|| options.folder.as_ref().map(|folder| folder.join("nats"))),
            leashed: options.leashed,
            advertise: !options.lines,
            ..NatsOptions::default()
        });
        let (nats, database) = tokio::try_join!(nats, database)?;
        places.nats_urls = nats.url().split(',').map(str::to_owned).collect();
        places.monitor_urls = nats.monitor_urls();
        if let Some(own) = &database {
            let keyspace = "stentor".to_owned();
            places.database = Some(GivenDatabase { address: own.address(), keyspace });
        }
        let topology = options.topology;
        let lines =
            if options.lines { nodes::lines(&roles, &nats).await? } else { BTreeMap::new() };
        let mut cluster =
            Self { roles, nats, database, places, topology, lines, _temporary: temporary };
        for place in 0..cluster.roles.len() {
            cluster.start_role(place)?;
        }
        for role in &mut cluster.roles {
            role.ready().await?;
        }
        Ok(cluster)
    }

    fn start_role(&mut self, place: usize) -> anyhow::Result<()> {
        let role = self.roles.get_mut(place).context("there is no such role")?;
        let mut places = self.places.clone();
        if let Some(line) = self.lines.get(&role.name) {
            places.nats_urls = nodes::urls(line);
        }
        role.configure(&places.settings(role.kind, role.listen, role.admin))?;
        role.spawn()
    }

    /// The names of all members of a kind.
    #[must_use]
    pub fn names(&self, kind: Kind) -> Vec<String> {
        self.topology.of(kind).into_iter().map(|member| member.name).collect()
    }

    /// The ports of the gateways, in their order.
    #[must_use]
    pub fn gateway_ports(&self) -> Vec<u16> {
        self.roles.iter().filter_map(|role| role.listen).collect()
    }

    /// The admin port of a role.
    ///
    /// # Errors
    /// There is no such role.
    pub fn admin_port(&self, name: &str) -> anyhow::Result<u16> {
        Ok(self.role(name)?.admin)
    }

    /// NATS itself.
    #[must_use]
    pub const fn nats(&self) -> &Nats {
        &self.nats
    }

    /// Where the database is, if there is one.
    #[must_use]
    pub fn database_address(&self) -> Option<String> {
        self.places.database.as_ref().map(|database| database.address.clone())
    }

    /// The folder with settings, secrets and logs.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.places.folder
    }

    /// The file with the password of a user of NATS.
    #[must_use]
    pub fn password_file(&self, user: &str) -> PathBuf {
        self.places.password_file(user)
    }

    /// Writes the settings of an operator, for the sub-commands that look at a cluster, and says where.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn operator_settings(&self) -> anyhow::Result<PathBuf> {
        let file = self.folder().join("operator.toml");
        std::fs::write(&file, self.places.operator())
            .with_context(|| format!("failed to write {}", file.display()))?;
        Ok(file)
    }

    /// Ends a member at once, as `kill -9` does.
    ///
    /// # Errors
    /// It is not running.
    pub fn kill(&mut self, name: &str) -> anyhow::Result<()> {
        match self.nats_node(name) {
            Some(node) => self.nats.kill(node),
            None if name == "database" => self.database()?.kill(),
            None => self.role_mut(name)?.kill(),
        }
    }

    /// Freezes a member: its sockets stay open, and nothing answers.
    ///
    /// # Errors
    /// It is not running.
    pub fn pause(&mut self, name: &str) -> anyhow::Result<()> {
        match self.nats_node(name) {
            Some(node) => self.nats.pause(node),
            None if name == "database" => self.database()?.pause(),
            None => self.role(name)?.signal("STOP"),
        }
    }

    /// Lets a frozen member go on.
    ///
    /// # Errors
    /// It is not running.
    pub fn resume(&mut self, name: &str) -> anyhow::Result<()> {
        match self.nats_node(name) {
            Some(node) => self.nats.resume(node),
            None if name == "database" => self.database()?.resume(),
            None => self.role(name)?.signal("CONT"),
        }
    }

    /// Asks a role to stop, and waits until it has.
    ///
    /// # Errors
    /// It is not running, or does not stop.
    pub async fn stop(&mut self, name: &str) -> anyhow::Result<ExitStatus> {
        self.role_mut(name)?.stop().await
    }

    /// Starts a member again, on the same ports and the same data, and waits until it is ready. A node
    /// of NATS is waited for only until it takes clients.
    ///
    /// # Errors
    /// It is still running, or does not become ready.
    pub async fn start_again(&mut self, name: &str) -> anyhow::Result<()> {
        match self.nats_node(name) {
            Some(node) => self.nats.start_again(node).await,
            None if name == "database" => self.database()?.start_again().await,
            None => {
                self.role_mut(name)?.spawn()?;
                self.role_mut(name)?.ready().await
            }
        }
    }

    /// Sets a variable of the environment in which a role is started the next time; without a value it is not
    /// there.
    ///
    /// # Errors
    /// There is no such role.
    pub fn set_environment(
        &mut self,
        name: &str,
        variable: &str,
        value: Option<&str>,
    ) -> anyhow::Result<()> {
        let environment = &mut self.role_mut(name)?.environment;
        environment.retain(|(other, _)| other != variable);
        environment.extend(value.map(|value| (variable.to_owned(), value.to_owned())));
        Ok(())
    }

    /// Waits until all that runs is ready.
    ///
    /// # Errors
    /// Something is not.
    pub async fn ready(&mut self) -> anyhow::Result<()> {
        self.nats.ready().await?;
        for role in self.roles.iter_mut().filter(|role| role.is_running()) {
            role.ready().await?;
        }
        Ok(())
    }

    /// What the admin port of a role answers to a GET.
    ///
    /// # Errors
    /// It does not answer with 200.
    pub async fn admin(&self, name: &str, path: &str) -> anyhow::Result<String> {
        http::get(self.role(name)?.admin, path).await
    }

    /// A metric of a role, summed over all its labels; 0 if it is not there.
    ///
    /// # Errors
    /// The role does not answer.
    pub async fn metric(&self, name: &str, metric: &str) -> anyhow::Result<f64> {
        let page = self.admin(name, "/metrics").await?;
        let values = page.lines().filter_map(|line| {
            let rest = line.strip_prefix(metric)?;
            let is_it = rest.starts_with('{') || rest.starts_with(' ');
            is_it.then(|| rest.rsplit(' ').next()?.parse::<f64>().ok())?
        });
        Ok(values.sum())
    }

    /// Everything that a role has logged.
    ///
    /// # Errors
    /// There is no such role.
    pub fn log(&self, name: &str) -> anyhow::Result<String> {
        Ok(self.role(name)?.log())
    }

    /// The process of a role.
    ///
    /// # Errors
    /// It is not running.
    pub fn process_id(&self, name: &str) -> anyhow::Result<u32> {
        self.role(name)?.process_id().with_context(|| format!("{name} is not running"))
    }

    /// All processes of it, apart from a database.
    #[must_use]
    pub fn process_ids(&self) -> Vec<u32> {
        let roles = self.roles.iter().filter_map(Role::process_id);
        roles.chain(self.nats.process_ids()).collect()
    }

    /// Every process that runs, with what it is.
    #[must_use]
    pub fn processes(&self) -> Vec<(Kind, u32)> {
        let roles = self.roles.iter().filter_map(|role| Some((role.kind, role.process_id()?)));
        let nats = self.nats.process_ids().into_iter().map(|id| (Kind::Nats, id));
        let database = self.database.as_ref().and_then(Cassandra::process_id);
        roles.chain(nats).chain(database.map(|id| (Kind::Database, id))).collect()
    }

    /// Whether a role has ended although nobody asked it to. Told once: after that it counts as not running.
    ///
    /// # Errors
    /// There is no such role.
    pub fn has_fallen(&mut self, name: &str) -> anyhow::Result<bool> {
        Ok(self.role_mut(name)?.has_fallen())
    }

    /// Roles that have ended although nobody asked them to, and how.
    pub fn fallen(&mut self) -> Vec<String> {
        let ended = self.roles.iter_mut().filter_map(|role| {
            let status = role.ended()?;
            Some(format!("{} has ended with {status}; it said:\n{}", role.name, role.last_words()))
        });
        ended.collect()
    }

    /// Stops the roles in order: gateways, connectors, routers. The rest ends with the cluster.
    ///
    /// # Errors
    /// One does not stop, or says that something went wrong.
    pub async fn shut_down(mut self) -> anyhow::Result<()> {
        for kind in [Kind::Gateway, Kind::Connector, Kind::Router] {
            for name in self.names(kind) {
                if self.role(&name)?.is_running() {
                    let status = self.stop(&name).await?;
                    anyhow::ensure!(status.success(), "{name} has ended with {status}");
                }
            }
        }
        Ok(())
    }

    fn nats_node(&self, name: &str) -> Option<usize> {
        self.names(Kind::Nats).iter().position(|node| node == name)
    }

    fn database(&mut self) -> anyhow::Result<&mut Cassandra> {
        self.database.as_mut().context("this cluster has no database")
    }

    fn role(&self, name: &str) -> anyhow::Result<&Role> {
        let found = self.roles.iter().find(|role| role.name == name);
        found.with_context(|| format!("there is no {name} in this cluster"))
    }

    fn role_mut(&mut self, name: &str) -> anyhow::Result<&mut Role> {
        let found = self.roles.iter_mut().find(|role| role.name == name);
        found.with_context(|| format!("there is no {name} in this cluster"))
    }
}

/// Where a cluster lies, and what removes that at its end.
fn place(options: &ClusterOptions) -> anyhow::Result<(PathBuf, Option<tempfile::TempDir>)> {
    if let Some(folder) = &options.folder {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("failed to create {}", folder.display()))?;
        return Ok((folder.clone(), None));
    }
    let mut temporary = tempfile::Builder::new().prefix("stentor-cluster-").tempdir()?;
    temporary.disable_cleanup(options.keep);
    Ok((temporary.path().to_owned(), Some(temporary)))
}

/// The roles of a cluster, in the order of their start.
fn roles(options: &ClusterOptions, folder: &Path) -> anyhow::Result<Vec<Role>> {
    let mut next = options.first_port;
    let members = options.topology.members();
    let of_ours = members.into_iter().filter(|member| member.kind.is_role());
    let make = |member: topology::Member| {
        let listen = match (member.kind, next.as_mut()) {
            (Kind::Gateway, Some(next)) => {
                *next += 1;
                Some(*next - 1)
            }
            (Kind::Gateway, None) => Some(free_port()?),
            _ => None,
        };
        let admin = free_port()?;
        let (name, kind) = (&member.name, member.kind);
        let mut role = Role::new(name, kind, &options.program, folder, listen, admin);
        role.environment.push(("STENTOR_LOG__LEVEL".to_owned(), options.log_level.clone()));
        let own = options.environment.iter().filter(|(of, ..)| *of == kind);
        role.environment.extend(own.map(|(_, name, value)| (name.clone(), value.clone())));
        role.leashed = options.leashed;
        Ok(role)
    };
    of_ours.map(make).collect()
}

/// The origin of a gateway's own pages.
fn page(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}
