//! `cargo xtask cluster`: a whole cluster from programs on this machine, to try it.
//!
//! What it consists of is the topology of the test kit, which the compose file is compared with.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use stentor_testkit::cluster::topology::{Kind, Topology};
use stentor_testkit::cluster::{Cluster, ClusterOptions, keep_files_under};
use stentor_testkit::{Answer, BotStub};
use tokio::signal::unix::{SignalKind, signal};

use crate::conformance::free_address;
use crate::peers;
use crate::process::{Background, exists, run_seen, shown};
use crate::report::{Report, Skip};
use crate::workspace::Workspace;

/// How often it is looked whether a role has ended by itself.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long one that has ended stays away: longer than the others need to take over what it had.
const AWAY_FOR: Duration = Duration::from_secs(5);

/// What runs our own program.
const ROLES: [Kind; 3] = [Kind::Gateway, Kind::Router, Kind::Connector];

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Port of the first gateway's pages, the next ones have the next ports [default: any free ones]
    #[arg(long)]
    port: Option<u16>,
    /// How many gateways
    #[arg(long, default_value_t = Topology::STANDARD.gateways)]
    gateways: usize,
    /// How many routers
    #[arg(long, default_value_t = Topology::STANDARD.routers)]
    routers: usize,
    /// How many connectors
    #[arg(long, default_value_t = Topology::STANDARD.connectors)]
    connectors: usize,
    /// Without a database: history reaches as far as the log
    #[arg(long)]
    no_database: bool,
    /// Put this bot behind the app `demo` instead of one that repeats what it hears
    #[arg(long, value_name = "URL")]
    bot: Option<String>,
    /// What the roles log
    #[arg(long, default_value = "info")]
    log_level: String,
    /// Keep settings and logs when it ends
    #[arg(long)]
    keep: bool,
}

/// Starts it, prints where it is, and waits for Ctrl-C.
pub(crate) fn run(
    workspace: &Workspace,
    options: &Options,
    report: &mut Report,
) -> anyhow::Result<()> {
    if let Err(skip) = servers(workspace, !options.no_database) {
        report.skip(skip);
        return Ok(());
    }
    let mut cargo = workspace.cargo();
    cargo.args(["build", "--package", "stentor"]);
    anyhow::ensure!(run_seen(&mut cargo, |_| {})?.success(), "the program does not build");
    // Pages work without it, apart from the widget itself.
    let widget = peers::widget(workspace).ok();
    keep_files_under(&workspace.target().join("cluster"))?;
    let runtime = tokio::runtime::Runtime::new().context("failed to start the runtime")?;
    runtime.block_on(serve(workspace, options, widget))?;
    report.pass("the cluster was started, and stopped in order");
    Ok(())
}

/// Fetches what a cluster needs beside our own program.
pub(crate) fn servers(workspace: &Workspace, database: bool) -> Result<(), Skip> {
    peers::nats(workspace)?;
    if database {
        peers::cassandra(workspace)?;
    }
    Ok(())
}

async fn serve(
    workspace: &Workspace,
    options: &Options,
    widget: Option<PathBuf>,
) -> anyhow::Result<()> {
    let (mut interrupted, mut ended) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let echo = BotStub::start(|request| {
        let text = request.get("rawQuery").and_then(serde_json::Value::as_str);
        let said = text.map_or_else(|| "Hello!".to_owned(), |text| format!("You said: {text}"));
        let speech = serde_json::json!({ "outputSpeech": { "displayText": said } });
        Answer::Json(speech.to_string())
    })
    .await?;
    let bot = options.bot.as_deref().unwrap_or_else(|| echo.url());
    let wanted = ClusterOptions {
        topology: Topology {
            database: !options.no_database,
            gateways: options.gateways,
            routers: options.routers,
            connectors: options.connectors,
            ..Topology::STANDARD
        },
        first_port: options.port,
        log_level: options.log_level.clone(),
        extra: widget.map(|path| format!("widget_dir = {path:?}\n")).unwrap_or_default(),
        keep: options.keep,
        ..ClusterOptions::new(&workspace.debug_binary("stentor"), bot)
    };
    println!("starting; a database takes up to half a minute");
    let mut cluster = Cluster::start(&wanted).await?;
    let prometheus = prometheus(&cluster)?;
    greet(
        &cluster,
        &wanted.program,
        bot,
        prometheus.as_ref().map(|(address, _)| address.as_str()),
    )?;
    loop {
        tokio::select! {
            _ = interrupted.recv() => break,
            _ = ended.recv() => break,
            again = replace_one(&mut cluster) => again?,
        }
    }
    println!("\nstopping");
    cluster.shut_down().await
}

/// Looks for a role that has ended, by somebody's hand or by itself, and starts it again after a while.
async fn replace_one(cluster: &mut Cluster) -> anyhow::Result<()> {
    tokio::time::sleep(LOOK_EVERY).await;
    let names: Vec<_> = ROLES.into_iter().flat_map(|kind| cluster.names(kind)).collect();
    for name in names {
        if cluster.has_fallen(&name)? {
            let log = cluster.folder().join(format!("{name}.log"));
            println!(
                "{name} has ended ({}); in {} s it is started again",
                log.display(),
                AWAY_FOR.as_secs()
            );
            tokio::time::sleep(AWAY_FOR).await;
            cluster.start_again(&name).await?;
            println!("{name} is back: process {}", cluster.process_id(&name)?);
        }
    }
    Ok(())
}

/// Where everything is.
fn greet(
    cluster: &Cluster,
    program: &Path,
    bot: &str,
    prometheus: Option<&str>,
) -> anyhow::Result<()> {
    let program = program.display();
    println!();
    for (name, port) in cluster.names(Kind::Gateway).iter().zip(cluster.gateway_ports()) {
        println!("  {name:<12} http://127.0.0.1:{port}/");
    }
    for kind in ROLES {
        for name in cluster.names(kind) {
            let port = cluster.admin_port(&name)?;
            println!(
                "  {name:<12} http://127.0.0.1:{port}/metrics   process {}",
                cluster.process_id(&name)?
            );
        }
    }
    println!("  {:<12} {}", "NATS", cluster.nats().url());
    println!("  {:<12} {}", "monitoring", cluster.nats().monitor_urls().join(" "));
    if let Some(address) = cluster.database_address() {
        println!("  {:<12} {address}", "CQL");
    }
    if let Some(address) = prometheus {
        println!("  {:<12} http://{address}/", "Prometheus");
    }
    println!("  {:<12} {bot}", "bot");
    let folder = cluster.folder();
    println!("  {:<12} {}", "files", folder.display());
    let key = folder.join("apps/demo.key");
    let here =
        cluster.gateway_ports().first().map(|port| format!(" --link http://127.0.0.1:{port}"));
    println!(
        "\n  an agent     {program} token mint --app demo --role agent --subject ada --kid demo --key-file {}{}",
        key.display(),
        here.unwrap_or_default()
    );
    let operator = cluster.operator_settings()?;
    println!("  an operator  {program} sessions --config {}", operator.display());
    println!("\nKill what you like; it is started again after a while. Ctrl-C ends everything.");
    Ok(())
}

/// Prometheus, if there is one on this machine: with whom it asks written as in `deploy/prometheus.yml`.
fn prometheus(cluster: &Cluster) -> anyhow::Result<Option<(String, Background)>> {
    if !exists("prometheus") {
        return Ok(None);
    }
    let mut text = "global: { scrape_interval: 5s }\nscrape_configs:\n".to_owned();
    for kind in ROLES {
        let names = cluster.names(kind);
        let ports = names.iter().map(|name| cluster.admin_port(name));
        let targets = ports.map(|port| Ok(format!("\"127.0.0.1:{}\"", port?)));
        let targets = targets.collect::<anyhow::Result<Vec<_>>>()?.join(", ");
        let job = kind.as_str();
        text.push_str(&format!(
            "  - {{ job_name: {job}, static_configs: [{{ targets: [{targets}] }}] }}\n"
        ));
    }
    let file = cluster.folder().join("prometheus.yml");
    std::fs::write(&file, text).with_context(|| format!("failed to write {}", file.display()))?;
    let address = free_address()?;
    let child = spawn_prometheus(&file, &cluster.folder().join("prometheus"), &address)?;
    Ok(Some((address, child)))
}

fn spawn_prometheus(file: &Path, data: &Path, address: &str) -> anyhow::Result<Background> {
    let mut command = Command::new("prometheus");
    command.arg(format!("--config.file={}", file.display()));
    command.arg(format!("--storage.tsdb.path={}", data.display()));
    command.arg(format!("--web.listen-address={address}"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let child = command.spawn().with_context(|| format!("failed to start {}", shown(&command)))?;
    Ok(Background(child))
}
