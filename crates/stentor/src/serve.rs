//! Running the parts: in one process ([`single`]) or as members of a cluster ([`roles`]).
//!
//! Here is what all of them do: logs, the runtime, ports, apps, and the end.

pub(crate) mod cluster;
#[cfg(feature = "fail-points")]
mod fail_points;
mod roles;
mod single;
#[cfg(feature = "tomorrow")]
mod tomorrow;

use std::{net::SocketAddr, path::Path, process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context as _;
use prometheus::{IntGauge, Registry};
use stentor_apps::{AppSet, FolderSource};
use stentor_connector::AddressPolicy;
use stentor_service::{Config, ConfigError, LogFormat};
use stentor_telemetry::{
    AdminServer, Format, Readiness, VERSION, init_logging, register_build_info,
};
use stentor_tokens::{Algorithm, Key};
use stentor_types::GatewayId;
use tokio::{net::TcpListener, sync::watch};
use tokio_util::sync::CancellationToken;

pub(crate) use self::{
    roles::{connector, gateway, router},
    single::{dev, standalone},
};

/// Calls to bots at the same time, all apps together.
const CALLS_MAX: usize = 512;

/// What every process has, whatever it does.
pub(crate) struct Process {
    config: Config,
    registry: Registry,
    readiness: Readiness,
    /// Ends what serves others until the very end.
    stop: CancellationToken,
    admin_address: SocketAddr,
}

// === impl Process ===

impl Process {
    /// Shows health and metrics from now on.
    async fn start(config: Config) -> anyhow::Result<Self> {
        let registry = Registry::new();
        register_build_info(&registry)?;
        registry
            .register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))
            .context("process metrics cannot be shown")?;
        let readiness = Readiness::new(&registry)?;
        let admin = bind(config.admin_listen, "admin_listen").await?;
        let admin_address = admin.local_addr()?;
        let stop = CancellationToken::new();
        let server = AdminServer::new(registry.clone(), readiness.clone());
        tokio::spawn(server.run(admin, stop.clone()));
        Ok(Self { config, registry, readiness, stop, admin_address })
    }

    /// The apps of the configured folder, now and whenever they change.
    fn apps(&self) -> anyhow::Result<watch::Receiver<Arc<AppSet>>> {
        let folder = self.config.apps.as_deref().context("apps: a folder is needed")?;
        let source = FolderSource::open(folder)
            .with_context(|| format!("apps: the folder {} cannot be read", folder.display()))?;
        let problems = IntGauge::new(
            "stentor_apps_problems",
            "Things that are wrong with the app files just now.",
        )?;
        self.registry.register(Box::new(problems.clone()))?;
        let apps = source.subscribe();
        let observe = move |count: usize| problems.set(i64::try_from(count).unwrap_or(i64::MAX));
        tokio::spawn(source.run(observe, self.stop.clone()));
        Ok(apps)
    }

    fn connector_config(&self) -> stentor_connector::Config {
        stentor_connector::Config {
            addresses: AddressPolicy::new(self.config.allow_cidrs.clone()),
            slots: CALLS_MAX,
            version: VERSION.to_owned(),
            drain: self.config.drain / 2,
        }
    }

    fn gateway_config(
        &self,
        gateway: GatewayId,
        login_key: Option<Key>,
    ) -> stentor_gateway::Config {
        let site = stentor_gateway::Site {
            widget_page: stentor_console::WIDGET_PAGE,
            chat_page: stentor_console::CHAT_PAGE,
            agents_widget_page: stentor_console::AGENTS_WIDGET_PAGE,
            agents_page: stentor_console::AGENTS_PAGE,
            files: stentor_console::FILES,
        };
        stentor_gateway::Config {
            single_app: self.config.single_app.clone(),
            public_url: self.config.public_url.clone(),
            widget_dir: self.config.widget_dir.clone(),
            trusted_proxies: self.config.trusted_proxies.clone(),
            drain: self.config.drain / 2,
            site,
            login_key,
            ..stentor_gateway::Config::new(gateway)
        }
    }
}

/// The version of the rules that this program knows. Members of a cluster tell it each other.
pub(crate) fn version() -> u32 {
    #[cfg(feature = "tomorrow")]
    if tomorrow::is_today() {
        return stentor_wire::LOGIC + 1;
    }
    stentor_wire::LOGIC
}

pub(crate) fn problem(text: &str) -> anyhow::Error {
    ConfigError { problems: vec![text.to_owned()] }.into()
}

/// Runs something to its end, with logs.
fn run(
    config: &Config,
    serve: impl Future<Output = anyhow::Result<ExitCode>>,
) -> anyhow::Result<ExitCode> {
    let format = match config.log_format {
        LogFormat::Text => Format::Text,
        LogFormat::Json => Format::Json,
    };
    init_logging(format, &config.log_level).map_err(|error| problem(&error.to_string()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime cannot be started")?;
    let status = runtime.block_on(serve);
    // What may still be reading from the disk is not waited for.
    runtime.shutdown_timeout(Duration::from_secs(1));
    status
}

async fn bind(address: SocketAddr, setting: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!(
            "{setting}: {address} cannot be bound; stop what uses it, or choose another with --{}",
            setting.replace('_', "-")
        )
    })
}

/// The key that signs the cookies of people who log in.
fn login_key(path: &Path, setting: &str) -> anyhow::Result<Key> {
    let bytes = std::fs::read(path)
        .with_context(|| format!("{setting}: {} cannot be read", path.display()))?;
    Key::try_new("login", Algorithm::Hs256, &bytes)
        .with_context(|| format!("{setting}: {} cannot be used", path.display()))
}

fn random_number() -> anyhow::Result<u64> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).context("the operating system has no random numbers")?;
    Ok(u64::from_be_bytes(bytes))
}
