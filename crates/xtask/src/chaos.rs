//! `cargo xtask chaos [F1 …]`: the faults of the cluster's tests in full length.
//!
//! Each fault is a test of `crates/stentor/tests/cluster` whose name begins with it; `cargo xtask test` runs
//! a short version of every one.

use crate::cluster::servers;
use crate::process::run_seen;
use crate::report::Report;
use crate::small_disk;
use crate::suite::count;
use crate::workspace::Workspace;

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Only these faults, for instance F1 F3
    faults: Vec<String>,
    /// The short version, as `cargo xtask test` runs it
    #[arg(long)]
    short: bool,
}

/// Runs the chosen faults, one after the other.
pub(crate) fn run(
    workspace: &Workspace,
    options: &Options,
    report: &mut Report,
) -> anyhow::Result<()> {
    report.heading("faults on a real cluster");
    if let Err(skip) = servers(workspace, true) {
        report.skip(skip);
        return Ok(());
    }
    let mut cargo = workspace.cargo();
    cargo.args(["test", "--package", "stentor", "--test", "cluster"]);
    cargo.args(["--features", "real-servers", "--", "--test-threads", "1", "--nocapture"]);
    // `f1_` does not begin `f11_…`.
    cargo.args(options.faults.iter().map(|fault| format!("{}_", fault.to_lowercase())));
    let wants_it =
        options.faults.is_empty() || options.faults.iter().any(|it| it.eq_ignore_ascii_case("F13"));
    if wants_it && let Err(skip) = small_disk::probe(workspace) {
        report.skip(skip);
        cargo.args(["--skip", small_disk::TESTS]);
    }
    if !options.short {
        cargo.env("CHAOS_LONG", "1");
    }
    count("cargo xtask chaos", |see| run_seen(&mut cargo, see), report)
}
