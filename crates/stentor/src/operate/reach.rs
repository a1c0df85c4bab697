//! The way to a cluster's NATS and database, for a command that waits for nobody: what cannot be reached is said.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use prometheus::Registry;
use stentor_apps::FolderSource;
use stentor_cluster_nats::{Connection, LogMetrics, LogSettings, NatsLog, OpenError};
use stentor_service::{Config, Nats, Sources};
use stentor_store_scylla::{ScyllaStore, State};
use stentor_types::AppId;

use super::flags::Cluster;
use crate::serve::cluster::{connection_settings, log_settings, store_options};

/// How long NATS may take to answer.
const NATS_FOR: Duration = Duration::from_secs(10);
/// How long the database may take to answer.
const STORE_FOR: Duration = Duration::from_secs(15);

/// A cluster that can be asked.
pub(super) struct Reach {
    config: Config,
    nats: Nats,
    pub(super) connection: Connection,
    registry: Registry,
}

// === impl Reach ===

impl Reach {
    /// Connects to NATS.
    pub(super) async fn open(flags: &Cluster) -> anyhow::Result<Self> {
        let sources = Sources {
            file: flags.config.clone(),
            environment: std::env::vars().collect(),
            flags: BTreeMap::new(),
        };
        let config = Config::load(&sources)?;
        let nats = config.nats.clone().ok_or_else(|| {
            crate::serve::problem(
                "nats.urls: this looks at a cluster and needs its NATS; name its servers in the \
                 file of --config",
            )
        })?;
        let urls = nats.urls.join(", ");
        let settings = connection_settings(&nats, "stentor-operator")?;
        let opening = tokio::time::timeout(NATS_FOR, Connection::open(&settings)).await;
        let help = || {
            format!(
                "nats.urls: no connection to {urls}; is a server running there that this machine \
                 may reach, and are nats.user, nats.password_file and nats.roots_file right?"
            )
        };
        let connection = opening.with_context(help)?.with_context(help)?;
        Ok(Self { config, nats, connection, registry: Registry::new() })
    }

    pub(super) fn log_settings(&self) -> LogSettings {
        log_settings(&self.nats)
    }

    /// For how long the history of each app is kept, as far as the settings name apps.
    pub(super) fn retentions(&self) -> anyhow::Result<BTreeMap<AppId, Duration>> {
        let Some(folder) = &self.config.apps else { return Ok(BTreeMap::new()) };
        let source = FolderSource::open(folder)
            .with_context(|| format!("apps: the folder {} cannot be read", folder.display()))?;
        let apps = source.subscribe();
        let apps = apps.borrow();
        Ok(apps.iter().map(|app| (app.id.clone(), app.history_retention)).collect())
    }

    /// The log that is there.
    pub(super) async fn log(&self) -> anyhow::Result<NatsLog> {
        let metrics = LogMetrics::new(&self.registry)?;
        let opened = NatsLog::open_existing(&self.connection, self.log_settings(), metrics).await;
        opened.map_err(explained)
    }

    /// The database, if one is configured.
    pub(super) async fn store(&self) -> anyhow::Result<Option<ScyllaStore>> {
        let Some(database) = &self.config.store else { return Ok(None) };
        let options = store_options(database, Arc::new(|_| None))?;
        let nodes = database.nodes.join(", ");
        let store = ScyllaStore::open(options, &self.registry)
            .context("store: the database cannot be used")?;
        let mut state = store.state();
        let ready = async {
            loop {
                match *state.borrow_and_update() {
                    State::Ready => return Ok(()),
                    State::SchemaNewer { found, known } => bail!(
                        "store: its schema has version {found}, and this program knows {known}; \
                         use the program of the cluster's routers"
                    ),
                    State::Unreachable { .. } => {}
                }
                state.changed().await.context("store: the connection has ended")?;
            }
        };
        let waited = tokio::time::timeout(STORE_FOR, ready).await;
        if let Ok(ready) = waited {
            ready?;
            return Ok(Some(store));
        }
        let why = match *store.state().borrow() {
            State::Unreachable { why, .. } => why.to_string(),
            State::Ready | State::SchemaNewer { .. } => "it has just come".to_owned(),
        };
        bail!(
            "store.nodes: the database at {nodes} cannot be used: {why}; take `store` out of the \
             settings to look at the log alone"
        )
    }
}

/// What to do about it.
pub(super) fn explained(error: OpenError) -> anyhow::Error {
    let help = match &error {
        OpenError::Missing(_) => {
            "nats: there is no log; start a router, or name the servers and the user of the cluster"
        }
        OpenError::JetStream { .. } => {
            "nats: the log cannot be asked for; does JetStream have a leader (`nats server report \
             jetstream`), and may this user read it (`deploy/nats/accounts.conf`, user operator)?"
        }
        _ => "nats: the log is not as Stentor made it",
    };
    anyhow::Error::new(error).context(help)
}
