//! The members of a cluster, one process each: any number of gateways, routers and connectors.

use std::{process::ExitCode, sync::Arc};

use anyhow::Context as _;
use stentor_apps::AppSet;
use stentor_cluster_nats::{
    ConnectorBus, ConnectorBusSettings, GatewayBus, GatewayBusSettings, LogSettings, NatsLog,
    RouterBus, RouterBusSettings,
};
use stentor_connector::Connector;
use stentor_gateway::Gateway;
use stentor_router::{CommitLimits, History, Later, Router};
use stentor_service::{Config, Sources, shutdown_signal};
use stentor_store::{Store, absent::NoStore};
use stentor_telemetry::VERSION;
use stentor_types::GatewayId;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::{Process, bind, cluster, login_key, problem, random_number, run, version};
use crate::cli::{GatewayMember, Member};

/// Effects that one connector works on or keeps waiting at the same time.
const EFFECTS_OPEN_MAX: usize = 1_024;

/// `stentor gateway`.
pub(crate) fn gateway(flags: GatewayMember) -> anyhow::Result<ExitCode> {
    let config = load(&flags.sources())?;
    run(&config.clone(), serve_gateway(config))
}

/// `stentor router`.
pub(crate) fn router(flags: Member) -> anyhow::Result<ExitCode> {
    let config = load(&flags.sources())?;
    run(&config.clone(), serve_router(config))
}

/// `stentor connector`.
pub(crate) fn connector(flags: Member) -> anyhow::Result<ExitCode> {
    let config = load(&flags.sources())?;
    run(&config.clone(), serve_connector(config))
}

fn load(sources: &Sources) -> anyhow::Result<Config> {
    let config = Config::load(sources)?;
    if config.nats.is_none() {
        return Err(problem(
            "nats.urls: a member of a cluster needs NATS; name its servers, or use standalone",
        ));
    }
    if config.apps.is_none() {
        return Err(problem("apps: a folder of app files is needed; name one with --apps"));
    }
    Ok(config)
}

/// Cancelled by the signal to stop.
fn signalled() -> anyhow::Result<CancellationToken> {
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        match shutdown_signal().await {
            Ok(()) => info!("draining"),
            Err(cause) => error!(%cause, "signals cannot be listened for"),
        }
        cancelled.cancel();
    });
    Ok(token)
}

async fn serve_gateway(config: Config) -> anyhow::Result<ExitCode> {
    let process = Process::start(config).await?;
    let config = &process.config;
    let public = bind(config.listen, "listen").await?;
    let public_address = public.local_addr()?;
    let drain = signalled()?;
    let apps = process.apps()?;
    let login_key = config
        .login_key_file
        .as_deref()
        .map(|path| login_key(path, "login_key_file"))
        .transpose()?;
    let (bus_ready, serving) = (process.readiness.check("bus"), process.readiness.check("serving"));
    let Some(connection) = cluster::connect(&process, "gateway", &drain).await? else {
        return Ok(ExitCode::SUCCESS);
    };
    if cluster::admit(&process, &connection, &drain).await?.is_none() {
        return Ok(ExitCode::SUCCESS);
    }
    let id = GatewayId(random_number()?);
    let settings = GatewayBusSettings {
        version: version(),
        ..GatewayBusSettings::new(cluster::name(&process)?, id)
    };
    let (bus, ends, running) = GatewayBus::new(connection.clone(), settings, &process.registry)?;
    let bus_stop = CancellationToken::new();
    let mut listening = tokio::spawn(running.run(bus_stop.clone()));
    cluster::show(bus_ready, ends.state);
    let gateway_config = process.gateway_config(id, login_key);
    let gateway =
        Gateway::new(gateway_config, Arc::new(bus), ends.messages, apps, &process.registry)?
            .told_of_its_line_by(ends.cut_off);
    let gateway_drain = CancellationToken::new();
    let mut sockets = tokio::spawn(gateway.run(public, gateway_drain.clone()));
    serving.holds();
    info!(version = VERSION, listen = %public_address, admin = %process.admin_address, "gateway runs");
    tokio::select! {
        () = drain.cancelled() => {}
        ended = &mut listening => {
            ended?.context("the bus has ended")?;
            return Ok(ExitCode::FAILURE);
        }
        ended = &mut sockets => {
            ended?.context("the gateway has ended")?;
            return Ok(ExitCode::FAILURE);
        }
    }
    serving.fails("draining");
    gateway_drain.cancel();
    let ended = async {
        let _ = sockets.await;
        bus_stop.cancel();
        let _ = listening.await;
        connection.close().await;
    };
    finish(&process, ended).await;
    Ok(ExitCode::SUCCESS)
}

async fn serve_router(config: Config) -> anyhow::Result<ExitCode> {
    let process = Process::start(config).await?;
    let apps = process.apps()?;
    match &process.config.store {
        Some(database) => {
            let store = cluster::open_store(&process, database, apps.clone())?;
            route(&process, store, History::Store, apps).await
        }
        None => route(&process, NoStore, History::Nowhere, apps).await,
    }
}

async fn route<S: Store>(
    process: &Process,
    store: S,
    history: History,
    apps: watch::Receiver<Arc<AppSet>>,
) -> anyhow::Result<ExitCode> {
    let drain = signalled()?;
    let (bus_ready, serving) = (process.readiness.check("bus"), process.readiness.check("serving"));
    let Some(connection) = cluster::connect(process, "router", &drain).await? else {
        return Ok(ExitCode::SUCCESS);
    };
    if cluster::admit(process, &connection, &drain).await?.is_none() {
        return Ok(ExitCode::SUCCESS);
    }
    let Some(log) = cluster::open_log(process, &connection, &drain).await? else {
        return Ok(ExitCode::SUCCESS);
    };
    let settings = RouterBusSettings {
        replicas: cluster::nats(process)?.replicas,
        version: version(),
        ..RouterBusSettings::new(cluster::name(process)?)
    };
    let (bus, ends, running) = RouterBus::new(connection.clone(), settings, &process.registry)?;
    let router_config = stentor_router::Config {
        commits: CommitLimits { commits: process.config.max_commits, ..CommitLimits::default() },
        history,
        logic: version(),
        later: later(),
        memory_max: process.config.memory_max_bytes,
        #[cfg(feature = "fail-points")]
        fail_point: super::fail_points::of_router(),
        ..stentor_router::Config::default()
    };
    let (log, store, bus) = (Arc::new(log), Arc::new(store), Arc::new(bus));
    let router: Router<NatsLog, S, RouterBus> =
        Router::shared(router_config, log, store, bus, apps, &process.registry)?;
    let (bus_drain, router_drain) = (CancellationToken::new(), CancellationToken::new());
    let mut owning = tokio::spawn(running.run(bus_drain.clone()));
    let mut routing = tokio::spawn(router.run(ends.requests, ends.changes, router_drain.clone()));
    cluster::show(bus_ready, ends.state);
    serving.holds();
    info!(version = VERSION, admin = %process.admin_address, "router runs");
    tokio::select! {
        () = drain.cancelled() => {}
        ended = &mut owning => {
            ended?.context("the bus has ended")?;
            return Ok(ExitCode::FAILURE);
        }
        ended = &mut routing => {
            ended?.context("the router has ended")?;
            return Ok(ExitCode::FAILURE);
        }
    }
    serving.fails("draining");
    bus_drain.cancel();
    let ended = async {
        // Every partition has been handed over by then.
        let _ = owning.await;
        router_drain.cancel();
        let _ = routing.await;
        connection.close().await;
    };
    finish(process, ended).await;
    Ok(ExitCode::SUCCESS)
}

async fn serve_connector(config: Config) -> anyhow::Result<ExitCode> {
    let process = Process::start(config).await?;
    let drain = signalled()?;
    let apps = process.apps()?;
    let (bus_ready, serving) = (process.readiness.check("bus"), process.readiness.check("serving"));
    let Some(connection) = cluster::connect(&process, "connector", &drain).await? else {
        return Ok(ExitCode::SUCCESS);
    };
    if cluster::admit(&process, &connection, &drain).await?.is_none() {
        return Ok(ExitCode::SUCCESS);
    }
    let stream = LogSettings::new(Vec::new()).stream_name();
    let settings = ConnectorBusSettings {
        open_max: EFFECTS_OPEN_MAX,
        version: version(),
        ..ConnectorBusSettings::new(cluster::name(&process)?, &stream)
    };
    let (bus, ends, running) = ConnectorBus::new(connection.clone(), settings, &process.registry)?;
    let connector = Connector::new(
        process.connector_config(),
        Arc::new(bus),
        ends.effects,
        apps,
        &process.registry,
    )?;
    let (bus_stop, connector_drain) = (CancellationToken::new(), CancellationToken::new());
    let mut taking = tokio::spawn(running.run(bus_stop.clone()));
    let connecting = tokio::spawn(connector.run(connector_drain.clone()));
    cluster::show(bus_ready, ends.state);
    serving.holds();
    info!(version = VERSION, admin = %process.admin_address, "connector runs");
    tokio::select! {
        () = drain.cancelled() => {}
        ended = &mut taking => {
            ended?.context("the bus has ended")?;
            return Ok(ExitCode::FAILURE);
        }
    }
    serving.fails("draining");
    connector_drain.cancel();
    let ended = async {
        let _ = connecting.await;
        bus_stop.cancel();
        let _ = taking.await;
        connection.close().await;
    };
    finish(&process, ended).await;
    Ok(ExitCode::SUCCESS)
}

/// What this version writes that the one before did not: nothing so far.
fn later() -> Option<Arc<dyn Later>> {
    #[cfg(feature = "tomorrow")]
    if super::tomorrow::is_today() {
        return Some(Arc::new(super::tomorrow::Tomorrow));
    }
    None
}

/// Waits for the end, as long as the drain window is open.
async fn finish(process: &Process, ended: impl Future<Output = ()>) {
    if tokio::time::timeout(process.config.drain, ended).await.is_err() {
        info!("the drain window is over; what is left is taken up by others");
    }
    process.stop.cancel();
    info!("stopped");
}
