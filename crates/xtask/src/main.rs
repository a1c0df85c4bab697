//! The tasks of this repository: `cargo xtask test` is everything, the rest are its parts.
//!
//! Knows how to start things and how to read their results; what a promise means stands in the tests themselves.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a task runner talks to the terminal"
)]

mod api;
mod bench;
mod browser;
mod chaos;
mod client;
mod cluster;
mod cluster_conformance;
mod conformance;
mod layers;
mod mutants;
mod peers;
mod process;
mod report;
mod simulate;
mod small_disk;
mod subject;
mod suite;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::report::Report;
use self::workspace::Workspace;

#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    about = "Tasks of the Stentor chat router",
    disable_version_flag = true
)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Everything: layers, unit and contract tests, simulation, a real cluster under faults, WebSocket conformance, the HTTP API, the JavaScript client, real browser and real bot
    Test(suite::Options),
    /// Seeded simulation of many schedules; a failure prints its seed and step
    Simulate(simulate::Options),
    /// Breaks the code on purpose, one named way at a time, and checks that the tests notice
    Mutants(mutants::Options),
    /// Runs one benchmark in release mode; without a name it lists them
    Bench(bench::Options),
    /// Starts a whole cluster from programs on this machine and prints its addresses; Ctrl-C ends it
    Cluster(cluster::Options),
    /// Faults on a real cluster under load, in full length; without names all of them
    Chaos(chaos::Options),
    /// Who may depend on whom, file lengths, and things that must not be committed
    Layers,
    /// Fetches the pinned peers (real bot, widget, browser driver, conformance suites, NATS, Cassandra) into target/peers
    Peers,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli.task) {
        Ok(report) => report.finish(),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> anyhow::Result<Report> {
    let workspace = Workspace::find()?;
    let mut report = Report::default();
    match task {
        Task::Test(options) => suite::run(&workspace, &options, &mut report)?,
        Task::Simulate(options) => simulate::run(&workspace, &options, &mut report)?,
        Task::Mutants(options) => mutants::run(&workspace, &options, &mut report)?,
        Task::Bench(options) => bench::run(&workspace, &options, &mut report)?,
        Task::Cluster(options) => cluster::run(&workspace, &options, &mut report)?,
        Task::Chaos(options) => chaos::run(&workspace, &options, &mut report)?,
        Task::Layers => layers::run(&workspace, &mut report)?,
        Task::Peers => peers::fetch_all(&workspace, &mut report),
    }
    Ok(report)
}
