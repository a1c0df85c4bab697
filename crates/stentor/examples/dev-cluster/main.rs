//! `stentor dev` as a whole cluster: it takes the same flags, and what was written for one process runs on many.
//!
//! Behind one address are 2 gateways, 2 routers, a connector and NATS, and a database if one is given; a start
//! on the same data folder is the same cluster again. It dies as one: no member outlives this process, however
//! that ends. Any other command than `dev` is passed on to `stentor`.
//!
//! `$CONFORMANCE_DATABASE` is the address of a database, `$CONFORMANCE_NATS_NODES` the number of nodes.
#![expect(clippy::print_stderr, reason = "it talks to whoever started it")]

mod admin;
mod apps;
mod flags;
mod front;

use std::{
    ffi::OsString,
    net::SocketAddr,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::Parser as _;
use stentor_connector::echo_bot::EchoBot;
use stentor_testkit::{
    cluster::{Cluster, ClusterOptions, GivenDatabase, keep_files_under, topology::Kind},
    program_beside_example,
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

use self::flags::Dev;

/// How long members of the last start may take to be gone.
const LEAVING: Duration = Duration::from_secs(10);
/// Half of it is for the sockets of a gateway.
const DRAIN_SECONDS: u64 = 10;

fn main() -> ExitCode {
    match run() {
        Ok(status) => status,
        Err(error) => {
            eprintln!("dev-cluster: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<ExitCode> {
    let program = program_beside_example()?;
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    if words.first().is_none_or(|word| word != "dev") {
        let error = Command::new(&program).args(&words).exec();
        return Err(error).with_context(|| format!("{} cannot be started", program.display()));
    }
    let flags = Dev::parse_from(words);
    // Members die with the thread that starts them: this one.
    tokio::runtime::Runtime::new()?.block_on(serve(&program, flags))
}

async fn serve(program: &Path, flags: Dev) -> anyhow::Result<ExitCode> {
    let mut asked_to_stop = signal(SignalKind::terminate())?;
    let temporary = tempfile::tempdir()?;
    let data = flags.data.clone().unwrap_or_else(|| temporary.path().to_owned());
    let folder = data.join("cluster");
    keep_files_under(&folder.join("temporary"))?;
    wait_until_gone(&folder).await?;

    let (bot, stop) = bot(&flags).await?;
    let apps = apps::prepare(&flags, &data, &folder.join("apps"), &bot)?;
    let mut options = ClusterOptions {
        folder: Some(folder.clone()),
        apps: Some(apps),
        given_database: database(&folder)?,
        leashed: true,
        drain_seconds: DRAIN_SECONDS,
        log_level: variable("STENTOR_LOG__LEVEL").unwrap_or_else(|| "info".to_owned()),
        extra: flags.settings(),
        ..ClusterOptions::new(program, &bot).without_database()
    };
    options.topology.nats = match variable("CONFORMANCE_NATS_NODES") {
        Some(count) => count.parse().context("CONFORMANCE_NATS_NODES is no number")?,
        None => 1,
    };
    let mut cluster = Cluster::start(&options).await?;
    write_members(&cluster, &folder)?;

    let front = TcpListener::bind(flags.listen).await.context("listen: it cannot be bound")?;
    let admin = TcpListener::bind(flags.admin_listen).await.context("admin-listen")?;
    let accepting = tokio::spawn(front::run(front, cluster.gateway_ports()));
    let watching = tokio::spawn(admin::run(admin, admin_ports(&cluster)?));
    asked_to_stop.recv().await;
    // Whoever is connected stays so until its gateway has said goodbye.
    accepting.abort();
    watching.abort();
    stop_in_order(&mut cluster).await?;
    stop.cancel();
    Ok(ExitCode::SUCCESS)
}

/// Gateways first, routers last. A member that somebody killed is not asked.
async fn stop_in_order(cluster: &mut Cluster) -> anyhow::Result<()> {
    for kind in [Kind::Gateway, Kind::Connector, Kind::Router] {
        for name in cluster.names(kind) {
            if !is_there(cluster.process_id(&name)?) {
                continue;
            }
            let status = cluster.stop(&name).await?;
            anyhow::ensure!(status.success(), "{name} has ended with {status}");
        }
    }
    Ok(())
}

/// The bot's address: the given one, or that of an echo bot of our own.
async fn bot(flags: &Dev) -> anyhow::Result<(String, CancellationToken)> {
    let stop = CancellationToken::new();
    if let Some(url) = &flags.bot {
        return Ok((url.clone(), stop));
    }
    let bot = EchoBot::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    let url = bot.url()?;
    tokio::spawn(bot.run(stop.clone()));
    Ok((url, stop))
}

/// What this cluster has of the shared database: a keyspace of its own, the same in every start.
fn database(folder: &Path) -> anyhow::Result<Option<GivenDatabase>> {
    let Some(address) = variable("CONFORMANCE_DATABASE") else { return Ok(None) };
    let file = folder.join("keyspace");
    if !file.exists() {
        let nanoseconds = std::time::UNIX_EPOCH.elapsed()?.as_nanos();
        std::fs::write(&file, format!("s{}_{nanoseconds}", std::process::id()))?;
    }
    let keyspace = std::fs::read_to_string(&file)?;
    Ok(Some(GivenDatabase { address, keyspace }))
}

/// Who is who, for tests that end one of them.
fn write_members(cluster: &Cluster, folder: &Path) -> anyhow::Result<()> {
    let mut members = serde_json::Map::new();
    for kind in [Kind::Gateway, Kind::Router, Kind::Connector] {
        for name in cluster.names(kind) {
            let (pid, admin) = (cluster.process_id(&name)?, cluster.admin_port(&name)?);
            members.insert(name, serde_json::json!({ "pid": pid, "admin": admin }));
        }
    }
    let all = serde_json::json!({ "members": members, "processes": cluster.process_ids() });
    Ok(std::fs::write(members_file(folder), all.to_string())?)
}

/// Members of a start that was killed end on their own, but a moment later.
async fn wait_until_gone(folder: &Path) -> anyhow::Result<()> {
    let Ok(text) = std::fs::read(members_file(folder)) else { return Ok(()) };
    let all: serde_json::Value = serde_json::from_slice(&text)?;
    let ids: Vec<u32> = serde_json::from_value(all.get("processes").cloned().unwrap_or_default())?;
    let since = Instant::now();
    while ids.iter().any(|id| is_there(*id)) {
        anyhow::ensure!(since.elapsed() < LEAVING, "members of the last start are still there");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

fn is_there(process: u32) -> bool {
    // One that has ended and whose end nobody has looked at has no program any more.
    std::fs::read_link(format!("/proc/{process}/exe")).is_ok()
}

fn members_file(folder: &Path) -> PathBuf {
    folder.join("members.json")
}

fn admin_ports(cluster: &Cluster) -> anyhow::Result<Vec<u16>> {
    let kinds = [Kind::Gateway, Kind::Router, Kind::Connector];
    let names = kinds.into_iter().flat_map(|kind| cluster.names(kind));
    names.map(|name| cluster.admin_port(&name)).collect()
}

fn variable(name: &str) -> Option<String> {
    std::env::var_os(name)?.into_string().ok()
}
