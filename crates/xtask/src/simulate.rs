//! Runs the seeded simulator in release mode: thousands of schedules in the time that debug needs for hundreds.

use crate::process::run_seen;
use crate::report::Report;
use crate::workspace::Workspace;

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How many schedules to run
    #[arg(long, default_value_t = 2000)]
    pub(crate) seeds: u64,
    /// The first seed; the others follow by one
    #[arg(long, default_value_t = 0)]
    pub(crate) first_seed: u64,
}

/// Runs the simulator and counts it as one check.
pub(crate) fn run(
    workspace: &Workspace,
    options: &Options,
    report: &mut Report,
) -> anyhow::Result<()> {
    let last = options.first_seed.saturating_add(options.seeds).saturating_sub(1);
    report.heading(&format!("simulation, seeds {} to {last}", options.first_seed));
    let mut cargo = workspace.cargo();
    cargo.args(["run", "--quiet", "--release", "-p", "stentor-simulator", "--"]);
    cargo.args([
        "--seeds",
        &options.seeds.to_string(),
        "--first-seed",
        &options.first_seed.to_string(),
    ]);
    let status = run_seen(&mut cargo, |_| {})?;
    let name = format!("simulation of {} seeds", options.seeds);
    if status.success() {
        report.pass(&name);
    } else {
        report.fail(&name, &format!("ended with {status}; its output names seed and step"));
    }
    Ok(())
}
