//! What the members of a cluster have in common: the way to NATS and to the database.
//!
//! Whatever cannot be reached is waited for: the process says so in `/readyz`, a metric and, once, its log. What
//! waiting cannot mend ends the process with the reason.

use std::{fmt::Write as _, path::Path, sync::Arc, time::Duration};

use anyhow::Context as _;
use stentor_apps::AppSet;
use stentor_cluster_nats::{
    Connection, ConnectionSettings, LogMetrics, LogSettings, Login, MemberName, NatsLog, OpenError,
    StateReceiver, VersionError,
};
use stentor_service::{Database, Nats};
use stentor_store_scylla::{Options, Replication, Retention, ScyllaStore, State};
use stentor_telemetry::Check;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Process, problem};

/// Between two tries to reach something.
const AGAIN: Duration = Duration::from_secs(1);
/// How often is looked whether the cluster has left this version behind.
const VERSION_EVERY: Duration = Duration::from_secs(10);

/// The settings of NATS, which a member cannot do without.
pub(super) fn nats(process: &Process) -> anyhow::Result<&Nats> {
    process.config.nats.as_ref().ok_or_else(|| {
        problem("nats.urls: a member of a cluster needs NATS; name its servers, or use standalone")
    })
}

/// The name of this process in its cluster.
pub(super) fn name(process: &Process) -> anyhow::Result<MemberName> {
    if let Some(name) = &process.config.name {
        return MemberName::try_new(name).map_err(|error| problem(&format!("name: {error}")));
    }
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    Ok(MemberName::of_host(&format!("{}-{}", host.trim(), process.admin_address.port())))
}

/// Connects to NATS, however long that takes. Nothing if the process is to stop meanwhile.
pub(super) async fn connect(
    process: &Process,
    role: &str,
    drain: &CancellationToken,
) -> anyhow::Result<Option<Connection>> {
    let nats = nats(process)?;
    let check = process.readiness.check("nats");
    let settings = connection_settings(nats, &format!("stentor-{role}-{}", name(process)?))?;
    loop {
        let error = match Connection::open(&settings).await {
            Ok(connection) => {
                check.holds();
                return Ok(Some(connection));
            }
            Err(error) => error,
        };
        check.fails(&chain(&error));
        tokio::select! {
            () = tokio::time::sleep(AGAIN) => {}
            () = drain.cancelled() => return Ok(None),
        }
    }
}

/// Makes sure that this program may take part: what a cluster has left behind does not come back. Nothing if
/// the process is to stop meanwhile.
pub(super) async fn admit(
    process: &Process,
    connection: &Connection,
    drain: &CancellationToken,
) -> anyhow::Result<Option<()>> {
    let check = process.readiness.check("version");
    loop {
        let error = match stentor_cluster_nats::finalized(connection).await {
            Ok(needed) => {
                outdated(needed).map_or(Ok(()), |why| Err(anyhow::anyhow!("version: {why}")))?;
                break;
            }
            // Nobody has run yet, or the broker has no leader: what is served meanwhile is looked at later.
            Err(VersionError::Nobody) => break,
            Err(error) => error,
        };
        check.fails(&chain(&error));
        tokio::select! {
            () = tokio::time::sleep(AGAIN) => {}
            () = drain.cancelled() => return Ok(None),
        }
    }
    check.holds();
    let connection = connection.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(VERSION_EVERY).await;
            // What cannot be asked just now was true before.
            if let Ok(needed) = stentor_cluster_nats::finalized(&connection).await {
                outdated(needed).map_or_else(|| check.holds(), |why| check.fails(&why));
            }
        }
    });
    Ok(Some(()))
}

/// Why this program may not take part in a cluster of this version, and what to do.
fn outdated(needed: u32) -> Option<String> {
    let known = super::version();
    (needed > known).then(|| {
        format!(
            "the cluster was finalized at version {needed} and this program knows {known}: it would not \
             understand what others write; start the program of the other members"
        )
    })
}

/// Opens the log, however long it takes until its servers are there.
pub(super) async fn open_log(
    process: &Process,
    connection: &Connection,
    drain: &CancellationToken,
) -> anyhow::Result<Option<NatsLog>> {
    let nats = nats(process)?;
    let check = process.readiness.check("log");
    let settings = log_settings(nats);
    let metrics = LogMetrics::new(&process.registry)?;
    loop {
        let error = match NatsLog::open(connection, settings.clone(), metrics.clone()).await {
            Ok(log) => {
                check.holds();
                return Ok(Some(log));
            }
            Err(error) => error,
        };
        let passes = match &error {
            OpenError::JetStream { .. } => true,
            OpenError::FsyncUnknown(cause) => cause.is_some(),
            OpenError::Old(_)
            | OpenError::NoBatches(_)
            | OpenError::LazyFsync(_)
            | OpenError::TooLarge { .. }
            | OpenError::Unfit { .. }
            | OpenError::Missing(_)
            | OpenError::SmallMessages(_)
            | OpenError::Random(_) => false,
        };
        if !passes {
            return Err(error).context("nats: the log cannot be kept there");
        }
        check.fails(&chain(&error));
        tokio::select! {
            () = tokio::time::sleep(AGAIN) => {}
            () = drain.cancelled() => return Ok(None),
        }
    }
}

/// The history in the configured database, which may come later. It is no reason not to be ready: whoever
/// is connected goes on without it.
pub(super) fn open_store(
    process: &Process,
    database: &Database,
    apps: watch::Receiver<Arc<AppSet>>,
) -> anyhow::Result<ScyllaStore> {
    let options = store_options(
        database,
        Arc::new(move |app| apps.borrow().get(app.as_str()).map(|app| app.history_retention)),
    )?;
    let store = ScyllaStore::open(options, &process.registry)
        .context("store: the database cannot be used")?;
    let check = process.readiness.check("store");
    let mut state = store.state();
    tokio::spawn(async move {
        loop {
            match *state.borrow_and_update() {
                State::SchemaNewer { .. } => check.fails("its schema is newer than this version"),
                State::Ready | State::Unreachable { .. } => check.holds(),
            }
            if state.changed().await.is_err() {
                return;
            }
        }
    });
    Ok(store)
}

/// How to connect to NATS under this name.
pub(crate) fn connection_settings(nats: &Nats, name: &str) -> anyhow::Result<ConnectionSettings> {
    let login = match (&nats.login, &nats.credentials_file) {
        (Some(login), _) => Login::User {
            user: login.user.clone(),
            password: secret(&login.password_file, "nats.password_file")?,
        },
        (None, Some(file)) => Login::Credentials(file.clone()),
        (None, None) => Login::Nobody,
    };
    let mut settings = ConnectionSettings::new(&nats.urls.join(","), name);
    settings.login = login;
    settings.tls.roots.clone_from(&nats.roots_file);
    settings.inbox_prefix.clone_from(&nats.inbox_prefix);
    Ok(settings)
}

/// The log as it is configured.
pub(crate) fn log_settings(nats: &Nats) -> LogSettings {
    LogSettings {
        replicas: nats.replicas,
        max_bytes: u64::try_from(nats.max_bytes).unwrap_or(u64::MAX),
        allow_lazy_fsync: nats.allow_lazy_fsync,
        allow_large: nats.allow_large_log,
        ..LogSettings::new(nats.monitor_urls.clone())
    }
}

/// The database as it is configured.
pub(crate) fn store_options(database: &Database, retention: Retention) -> anyhow::Result<Options> {
    let login = match &database.login {
        Some(login) => Some(stentor_store_scylla::Login {
            user: login.user.clone(),
            password: secret(&login.password_file, "store.password_file")?,
        }),
        None => None,
    };
    let replication = match &database.datacenter {
        Some(name) => Replication::PerDatacenter(vec![(name.clone(), database.replication)]),
        None => Replication::Simple(database.replication),
    };
    Ok(Options {
        replication,
        datacenter: database.datacenter.clone(),
        login,
        retention,
        ..Options::new(database.nodes.clone(), &database.keyspace)
    })
}

/// Shows how the bus is, until the process ends.
pub(super) fn show(check: Check, mut state: StateReceiver) {
    tokio::spawn(async move {
        loop {
            let now = state.borrow_and_update().clone();
            if now.is_ready() {
                check.holds();
            } else {
                check.fails(&now.to_string());
            }
            if state.changed().await.is_err() {
                return;
            }
        }
    });
}

/// What a file holds, without the newline at its end.
fn secret(path: &Path, setting: &str) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("{setting}: {} cannot be read", path.display()))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Writing to a string cannot fail.
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}
