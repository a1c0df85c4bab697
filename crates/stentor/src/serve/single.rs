//! Everything in one process, over one data folder.

use std::{net::SocketAddr, path::Path, process::ExitCode, sync::Arc};

use anyhow::Context as _;
use stentor_apps::AppSet;
use stentor_cluster::local::LocalBus;
use stentor_connector::{Connector, echo_bot::EchoBot};
use stentor_embedded::{Embedded, Options};
use stentor_gateway::Gateway;
use stentor_router::{CommitLimits, Router};
use stentor_service::{Config, shutdown_signal};
use stentor_telemetry::VERSION;
use stentor_tokens::{Algorithm, Claims, Key, Role};
use stentor_types::GatewayId;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::{Process, bind, login_key, problem, random_number};
use crate::{
    check::say,
    cli::{Dev, Standalone},
    demo, token,
};

/// The file with the key that signs the cookies of people who log in: made once, kept in the data folder.
const LOGIN_KEY_FILE: &str = "login.key";

/// What distinguishes `dev` from `standalone`.
struct Plan {
    /// `dev`: loopback origins are welcome, URLs are printed.
    dev: bool,
    /// The bot behind the app `demo`; none = the echo bot.
    bot: Option<String>,
    /// Keeps a temporary data folder alive.
    _temporary: Option<tempfile::TempDir>,
}

/// `stentor dev`.
pub(crate) fn dev(flags: Dev) -> anyhow::Result<ExitCode> {
    let mut config = Config::load(&flags.common.sources(None))?;
    if !config.listen.ip().is_loopback() {
        return Err(problem("listen: dev binds loopback only; use standalone for other addresses"));
    }
    let temporary = match &config.data {
        Some(_) => None,
        None => Some(tempfile::tempdir().context("no temporary data folder can be made")?),
    };
    if let Some(folder) = &temporary {
        config.data = Some(folder.path().to_owned());
    }
    let plan = Plan { dev: true, bot: flags.bot, _temporary: temporary };
    super::run(&config.clone(), serve(config, &plan))
}

/// `stentor standalone`.
pub(crate) fn standalone(flags: Standalone) -> anyhow::Result<ExitCode> {
    let config = Config::load(&flags.common.sources(flags.config))?;
    if config.data.is_none() {
        return Err(problem(
            "data: standalone needs a folder that keeps everything; name one with --data",
        ));
    }
    if config.apps.is_none() {
        return Err(problem("apps: standalone needs a folder of app files; name one with --apps"));
    }
    let plan = Plan { dev: false, bot: None, _temporary: None };
    super::run(&config.clone(), serve(config, &plan))
}

async fn serve(config: Config, plan: &Plan) -> anyhow::Result<ExitCode> {
    let process = Process::start(config).await?;
    let config = &process.config;
    let (log_ready, serving) = (process.readiness.check("log"), process.readiness.check("serving"));
    let public = bind(config.listen, "listen").await?;
    let public_address = public.local_addr()?;

    let data = config.data.as_deref().unwrap_or(Path::new("."));
    let embedded = open(data).await?;
    let apps = apps(plan, &process).await?;
    let (bus, ends) = LocalBus::new();
    let bus = Arc::new(bus);
    let gateway_id = GatewayId(random_number()?);
    // The gateway joins before the router looks for gateways that are gone.
    let fanout = bus.join(gateway_id);
    let router_config = stentor_router::Config {
        commits: CommitLimits { commits: config.max_commits, ..CommitLimits::default() },
        memory_max: config.memory_max_bytes,
        ..stentor_router::Config::default()
    };
    let store = Arc::clone(&embedded);
    let router = Router::new(
        router_config,
        embedded,
        store,
        Arc::clone(&bus),
        apps.clone(),
        &process.registry,
    )?;
    let connector = Connector::new(
        process.connector_config(),
        Arc::clone(&bus),
        ends.effects,
        apps.clone(),
        &process.registry,
    )?;
    let key_file = data.join(LOGIN_KEY_FILE);
    demo::make_key(data, LOGIN_KEY_FILE)?;
    let login_key =
        login_key(config.login_key_file.as_deref().unwrap_or(&key_file), "login_key_file")?;
    let gateway_config = stentor_gateway::Config {
        dev: plan.dev,
        ..process.gateway_config(gateway_id, Some(login_key))
    };
    let gateway = Gateway::new(gateway_config, Arc::clone(&bus), fanout, apps, &process.registry)?;

    let (gateway_drain, connector_drain, router_drain) =
        (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
    let mut routing = tokio::spawn(router.run(ends.requests, ends.changes, router_drain.clone()));
    let connecting = tokio::spawn(connector.run(connector_drain.clone()));
    let mut serving_sockets = tokio::spawn(gateway.run(public, gateway_drain.clone()));
    tokio::select! {
        () = async { for taken_up in ends.taken_up { let _ = taken_up.await; } } => {}
        ended = &mut routing => return Ok(failed("router", ended)),
    }
    log_ready.holds();
    serving.holds();
    info!(version = VERSION, listen = %public_address, admin = %process.admin_address, "ready");
    if plan.dev {
        greet(public_address, process.admin_address, data);
    }

    // What ends the process: the signal to stop, a log that has failed, or a part that is lost.
    tokio::select! {
        signal = shutdown_signal() => signal.context("signals cannot be listened for")?,
        ended = &mut routing => return Ok(failed("router", ended)),
        ended = &mut serving_sockets => return Ok(failed("gateway", ended)),
    }
    serving.fails("draining");
    info!("draining");
    let drained = async {
        gateway_drain.cancel();
        let _ = serving_sockets.await;
        connector_drain.cancel();
        let _ = connecting.await;
        router_drain.cancel();
        routing.await
    };
    let status = match tokio::time::timeout(config.drain, drained).await {
        Ok(ended) => failed_unless_well("router", ended),
        Err(_) => {
            info!("the drain window is over; what is left is taken up by the next start");
            ExitCode::SUCCESS
        }
    };
    process.stop.cancel();
    info!("stopped");
    Ok(status)
}

type Ended<E> = Result<Result<(), E>, tokio::task::JoinError>;

fn failed<E: std::error::Error>(what: &str, ended: Ended<E>) -> ExitCode {
    match ended {
        Ok(Ok(())) => error!("the {what} has ended by itself"),
        Ok(Err(cause)) => error!(%cause, "the {what} has ended"),
        Err(cause) => error!(%cause, "the {what} has ended"),
    }
    ExitCode::FAILURE
}

fn failed_unless_well<E: std::error::Error>(what: &str, ended: Ended<E>) -> ExitCode {
    if matches!(ended, Ok(Ok(()))) { ExitCode::SUCCESS } else { failed(what, ended) }
}

async fn open(data: &Path) -> anyhow::Result<Arc<Embedded>> {
    let folder = data.to_owned();
    let opened =
        tokio::task::spawn_blocking(move || Embedded::open(&folder, Options::default())).await?;
    Ok(Arc::new(opened?))
}

/// The apps, now and whenever they change.
async fn apps(plan: &Plan, process: &Process) -> anyhow::Result<watch::Receiver<Arc<AppSet>>> {
    if process.config.apps.is_some() {
        return process.apps();
    }
    let url = match &plan.bot {
        Some(url) => url.clone(),
        None => {
            let bot = EchoBot::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
            let url = bot.url()?;
            tokio::spawn(bot.run(process.stop.clone()));
            url
        }
    };
    let folder = process.config.data.as_deref().context("data: a folder is needed")?;
    demo::make_key(folder, demo::KEY_FILE)?;
    let (sender, receiver) = watch::channel(Arc::new(demo::apps(&url, folder)?));
    // The demo app never changes; its sender lives as long as the process.
    let stop = process.stop.clone();
    tokio::spawn(async move {
        stop.cancelled().await;
        drop(sender);
    });
    Ok(receiver)
}

fn greet(public: SocketAddr, admin: SocketAddr, data: &Path) {
    let text = format!(
        "\n  demo page   http://{public}/\n  widgets     ws://{public}/dev?appId={}\n  metrics     http://{admin}/metrics\n",
        demo::NAME
    );
    say(&mut std::io::stdout(), &text);
    let key = data.join(demo::KEY_FILE);
    if key.exists() {
        let (key, kid, app) = (key.display(), demo::KEY_ID, demo::NAME);
        let mint = format!(
            "  agents      stentor token mint --app {app} --role agent --subject ada --kid {kid} --key-file {key}\n"
        );
        say(&mut std::io::stdout(), &mint);
        if let Some(link) = login_link(public, &data.join(demo::KEY_FILE)) {
            say(&mut std::io::stdout(), &format!("  your login  {link}\n"));
        }
    }
}

/// A link for the first agent. It goes to the terminal and nowhere else.
fn login_link(public: SocketAddr, key_file: &Path) -> Option<String> {
    let key = Key::try_new(demo::KEY_ID, Algorithm::Hs256, &std::fs::read(key_file).ok()?).ok()?;
    let claims = Claims {
        sub: "first-agent".into(),
        aud: demo::NAME.into(),
        role: Role::Agent,
        ..Claims::default()
    };
    token::link(&format!("http://{public}"), claims, &key, token::LINK_MINUTES).ok()
}
