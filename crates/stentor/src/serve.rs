//! Running everything in one process.

use std::{net::SocketAddr, path::Path, process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context as _;
use prometheus::{IntGauge, Registry};
use stentor_apps::{AppSet, FolderSource};
use stentor_cluster::local::LocalBus;
use stentor_connector::{AddressPolicy, Connector, echo_bot::EchoBot};
use stentor_embedded::{Embedded, Options};
use stentor_gateway::Gateway;
use stentor_router::{CommitLimits, Router};
use stentor_service::{Config, ConfigError, LogFormat, shutdown_signal};
use stentor_telemetry::{
    AdminServer, Format, Readiness, VERSION, init_logging, register_build_info,
};
use stentor_tokens::{Algorithm, Claims, Key, Role};
use stentor_types::GatewayId;
use tokio::{net::TcpListener, sync::watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::{
    check::say,
    cli::{Dev, Standalone},
    demo, token,
};

/// Calls to bots at the same time, all apps together.
const CALLS_MAX: usize = 512;

/// The file with the key that signs the cookies of people who log in.
const LOGIN_KEY_FILE: &str = "login.key";

/// What distinguishes `dev` from `standalone`.
struct Plan {
    config: Config,
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
    run(Plan { config, dev: true, bot: flags.bot, _temporary: temporary })
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
    run(Plan { config, dev: false, bot: None, _temporary: None })
}

fn problem(text: &str) -> anyhow::Error {
    ConfigError { problems: vec![text.to_owned()] }.into()
}

fn run(plan: Plan) -> anyhow::Result<ExitCode> {
    let format = match plan.config.log_format {
        LogFormat::Text => Format::Text,
        LogFormat::Json => Format::Json,
    };
    init_logging(format, &plan.config.log_level).map_err(|error| problem(&error.to_string()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime cannot be started")?;
    let status = runtime.block_on(serve(&plan));
    // What may still be reading from the disk is not waited for.
    runtime.shutdown_timeout(Duration::from_secs(1));
    status
}

async fn serve(plan: &Plan) -> anyhow::Result<ExitCode> {
    let config = &plan.config;
    let registry = Registry::new();
    register_build_info(&registry)?;
    registry
        .register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))
        .context("process metrics cannot be shown")?;
    let readiness = Readiness::default();
    let (log_ready, serving) = (readiness.check("log"), readiness.check("serving"));
    let public = bind(config.listen, "listen").await?;
    let admin = bind(config.admin_listen, "admin_listen").await?;
    let stop = CancellationToken::new();
    let (admin_address, public_address) = (admin.local_addr()?, public.local_addr()?);
    tokio::spawn(AdminServer::new(registry.clone(), readiness.clone()).run(admin, stop.clone()));

    let data = config.data.as_deref().unwrap_or(Path::new("."));
    let embedded = open(data).await?;
    let apps = apps(plan, &registry, &stop).await?;
    let (bus, ends) = LocalBus::new();
    let bus = Arc::new(bus);
    let gateway_id = GatewayId(random_number()?);
    // The gateway joins before the router looks for gateways that are gone.
    let fanout = bus.join(gateway_id);
    let router_config = stentor_router::Config {
        commits: CommitLimits { commits: config.max_commits, ..CommitLimits::default() },
        ..stentor_router::Config::default()
    };
    let store = Arc::clone(&embedded);
    let router =
        Router::new(router_config, embedded, store, Arc::clone(&bus), apps.clone(), &registry)?;
    let connector_config = stentor_connector::Config {
        addresses: AddressPolicy::new(config.allow_cidrs.clone()),
        slots: CALLS_MAX,
        version: VERSION.to_owned(),
        drain: config.drain / 2,
    };
    let connector =
        Connector::new(connector_config, Arc::clone(&bus), ends.effects, apps.clone(), &registry)?;
    let site = stentor_gateway::Site {
        widget_page: stentor_console::WIDGET_PAGE,
        chat_page: stentor_console::CHAT_PAGE,
        agents_widget_page: stentor_console::AGENTS_WIDGET_PAGE,
        agents_page: stentor_console::AGENTS_PAGE,
        files: stentor_console::FILES,
    };
    let gateway_config = stentor_gateway::Config {
        dev: plan.dev,
        single_app: config.single_app.clone(),
        public_url: config.public_url.clone(),
        widget_dir: config.widget_dir.clone(),
        trusted_proxies: config.trusted_proxies.clone(),
        drain: config.drain / 2,
        site,
        login_key: Some(login_key(data)?),
        ..stentor_gateway::Config::new(gateway_id)
    };
    let gateway = Gateway::new(gateway_config, Arc::clone(&bus), fanout, apps, &registry)?;

    let (gateway_drain, connector_drain, router_drain) =
        (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
    let mut routing = tokio::spawn(router.run(ends.requests, ends.changes, router_drain.clone()));
    let connecting = tokio::spawn(connector.run(connector_drain.clone()));
    let serving_sockets = tokio::spawn(gateway.run(public, gateway_drain.clone()));
    tokio::select! {
        () = async { for taken_up in ends.taken_up { let _ = taken_up.await; } } => {}
        ended = &mut routing => return Ok(failed(ended)),
    }
    log_ready.set(true);
    serving.set(true);
    info!(version = VERSION, listen = %public_address, admin = %admin_address, "ready");
    if plan.dev {
        greet(public_address, admin_address, data);
    }

    // What ends the process: the signal to stop, or a log that has failed.
    tokio::select! {
        signal = shutdown_signal() => signal.context("signals cannot be listened for")?,
        ended = &mut routing => return Ok(failed(ended)),
    }
    serving.set(false);
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
        Ok(ended) => failed_unless_well(ended),
        Err(_) => {
            info!("the drain window is over; what is left is taken up by the next start");
            ExitCode::SUCCESS
        }
    };
    stop.cancel();
    info!("stopped");
    Ok(status)
}

type Ended = Result<Result<(), stentor_router::LogFailed>, tokio::task::JoinError>;

fn failed(ended: Ended) -> ExitCode {
    match ended {
        Ok(Ok(())) => error!("the router has ended by itself"),
        Ok(Err(cause)) => error!(%cause, "the router has ended"),
        Err(cause) => error!(%cause, "the router has ended"),
    }
    ExitCode::FAILURE
}

fn failed_unless_well(ended: Ended) -> ExitCode {
    if matches!(ended, Ok(Ok(()))) { ExitCode::SUCCESS } else { failed(ended) }
}

async fn bind(address: SocketAddr, setting: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!(
            "{setting}: {address} cannot be bound; stop what uses it, or choose another with --{}",
            setting.replace('_', "-")
        )
    })
}

async fn open(data: &Path) -> anyhow::Result<Arc<Embedded>> {
    let folder = data.to_owned();
    let opened =
        tokio::task::spawn_blocking(move || Embedded::open(&folder, Options::default())).await?;
    Ok(Arc::new(opened?))
}

/// The apps, now and whenever they change.
async fn apps(
    plan: &Plan,
    registry: &Registry,
    stop: &CancellationToken,
) -> anyhow::Result<watch::Receiver<Arc<AppSet>>> {
    if let Some(folder) = &plan.config.apps {
        let source = FolderSource::open(folder)
            .with_context(|| format!("apps: the folder {} cannot be read", folder.display()))?;
        let problems = IntGauge::new(
            "stentor_apps_problems",
            "Things that are wrong with the app files just now.",
        )?;
        registry.register(Box::new(problems.clone()))?;
        let apps = source.subscribe();
        let observe = move |count: usize| problems.set(i64::try_from(count).unwrap_or(i64::MAX));
        tokio::spawn(source.run(observe, stop.clone()));
        return Ok(apps);
    }
    let url = match &plan.bot {
        Some(url) => url.clone(),
        None => {
            let bot = EchoBot::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
            let url = bot.url()?;
            tokio::spawn(bot.run(stop.clone()));
            url
        }
    };
    let folder = plan.config.data.as_deref().context("data: a folder is needed")?;
    demo::make_key(folder, demo::KEY_FILE)?;
    let (sender, receiver) = watch::channel(Arc::new(demo::apps(&url, folder)?));
    // The demo app never changes; its sender lives as long as the process.
    let stop = stop.clone();
    tokio::spawn(async move {
        stop.cancelled().await;
        drop(sender);
    });
    Ok(receiver)
}

/// The key that signs the cookies of people who log in: made once, kept in the data folder.
fn login_key(data: &Path) -> anyhow::Result<Key> {
    demo::make_key(data, LOGIN_KEY_FILE)?;
    let path = data.join(LOGIN_KEY_FILE);
    let bytes =
        std::fs::read(&path).with_context(|| format!("data: {} cannot be read", path.display()))?;
    Key::try_new("login", Algorithm::Hs256, &bytes)
        .with_context(|| format!("data: {} cannot be used; remove it", path.display()))
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

fn random_number() -> anyhow::Result<u64> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).context("the operating system has no random numbers")?;
    Ok(u64::from_be_bytes(bytes))
}
