//! `cargo xtask test`: all that can be proved on this machine, in the order from cheap to dear.

use std::process::ExitStatus;

use clap::ValueEnum;

use crate::process::run_seen;
use crate::report::Report;
use crate::workspace::Workspace;
use crate::{
    api, bench, browser, client, cluster, cluster_conformance, conformance, layers, simulate,
    small_disk,
};

/// Crates whose tests with the feature `real-servers` start NATS or Cassandra.
const WITH_REAL_SERVERS: [&str; 2] = ["stentor-cluster-nats", "stentor-store-scylla"];

/// Schedules simulated in every test run.
const SEEDS_PER_RUN: u64 = 2000;

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Only these parts (may be given several times)
    #[arg(long, value_enum)]
    only: Vec<Part>,
    /// Only browser scenarios whose name contains this text
    #[arg(long)]
    scenario: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    Layers,
    Cargo,
    Simulation,
    Cluster,
    ClusterConformance,
    Conformance,
    Api,
    Client,
    Browser,
    Comparisons,
}

/// Runs the chosen parts; a failing part does not stop the next one.
pub(crate) fn run(
    workspace: &Workspace,
    options: &Options,
    report: &mut Report,
) -> anyhow::Result<()> {
    let wanted = |part| options.only.is_empty() || options.only.contains(&part);
    if wanted(Part::Layers) {
        layers::run(workspace, report)?;
    }
    let built = build(workspace, report)?;
    if wanted(Part::Cargo) && built {
        cargo_test(workspace, report)?;
    }
    if wanted(Part::Simulation) && built {
        let options = simulate::Options { seeds: SEEDS_PER_RUN, first_seed: 0 };
        simulate::run(workspace, &options, report)?;
    }
    if wanted(Part::Cluster) && built {
        cluster_test(workspace, report)?;
    }
    if wanted(Part::ClusterConformance) && built {
        cluster_conformance::run(workspace, options.scenario.as_deref(), report)?;
    }
    if wanted(Part::Conformance) && built {
        conformance::run(workspace, report)?;
    }
    if wanted(Part::Api) && built {
        api::run(workspace, report)?;
    }
    if wanted(Part::Client) && built {
        client::run(workspace, report)?;
    }
    if wanted(Part::Browser) && built {
        browser::run(workspace, options.scenario.as_deref(), report)?;
    }
    if wanted(Part::Comparisons) && built {
        bench::check(workspace, report)?;
    }
    Ok(())
}

/// Builds all programs once, so that the later parts find them and none of them is stale.
fn build(workspace: &Workspace, report: &mut Report) -> anyhow::Result<bool> {
    report.heading("build");
    let mut cargo = workspace.cargo();
    cargo.args(["build", "--workspace", "--bins", "--examples"]);
    let status = run_seen(&mut cargo, |_| {})?;
    if status.success() {
        report.pass("build of all programs");
    } else {
        report.fail("build of all programs", "see above; what needs them was not run");
    }
    Ok(status.success())
}

const PROPTEST_SEED: &str = "PROPTEST_RNG_SEED";

/// `cargo test` over everything; each of its result lines is counted and shown as it is.
fn cargo_test(workspace: &Workspace, report: &mut Report) -> anyhow::Result<()> {
    report.heading("cargo test --workspace");
    // A gate gives the same verdict twice; who looks for something new sets another seed and more cases.
    let seed = std::env::var_os(PROPTEST_SEED).unwrap_or_else(|| "1".into());
    println!("{PROPTEST_SEED}={}", seed.display());
    let mut cargo = workspace.cargo();
    cargo.args(["test", "--workspace", "--no-fail-fast"]).env(PROPTEST_SEED, seed);
    count("cargo test", |see| run_seen(&mut cargo, see), report)
}

/// The tests that talk to real servers: the adapters, and a whole cluster under faults.
fn cluster_test(workspace: &Workspace, report: &mut Report) -> anyhow::Result<()> {
    report.heading("tests with real servers");
    if let Err(skip) = cluster::servers(workspace, true) {
        report.skip(skip);
        return Ok(());
    }
    let mut cargo = workspace.cargo();
    cargo.args(["test", "--no-fail-fast", "--features", "real-servers"]);
    for package in WITH_REAL_SERVERS {
        cargo.args(["--package", package]);
    }
    // What they have without real servers has run before.
    cargo.args(["--test", "*"]);
    count("cargo test with real servers", |see| run_seen(&mut cargo, see), report)?;
    let mut cargo = workspace.cargo();
    cargo.args(["test", "--package", "stentor", "--test", "cluster"]);
    // One cluster at a time.
    cargo.args(["--features", "real-servers", "--", "--test-threads", "1"]);
    if let Err(skip) = small_disk::probe(workspace) {
        report.skip(skip);
        cargo.args(["--skip", small_disk::TESTS]);
    }
    count("cargo test of a whole cluster", |see| run_seen(&mut cargo, see), report)
}

/// Counts cargo's own result lines while it runs.
pub(crate) fn count(
    what: &str,
    run: impl FnOnce(&mut dyn FnMut(&str)) -> anyhow::Result<ExitStatus>,
    report: &mut Report,
) -> anyhow::Result<()> {
    let mut counted = Counted::default();
    let status = run(&mut |line| counted.see(line))?;
    report.passed_by_child(counted.passed);
    let Counted { passed, failed, begun, ended } = counted;
    if begun > ended {
        let why = format!("{} of {begun} test programs ended without a result", begun - ended);
        report.fail(what, &why);
    } else if !status.success() && failed.is_empty() {
        report.fail(what, &format!("ended with {status}"));
    } else if passed == 0 && failed.is_empty() {
        report.fail(what, "no test ran");
    }
    for name in failed {
        report.failed_by_child(format!("{what}: {name}"));
    }
    Ok(())
}

/// What cargo's own lines say.
#[derive(Debug, Default, PartialEq)]
struct Counted {
    passed: usize,
    failed: Vec<String>,
    /// Test programs that began to run their tests.
    begun: usize,
    /// And that told how it went: one that is aborted does not.
    ended: usize,
}

impl Counted {
    fn see(&mut self, line: &str) {
        if let Some(result) = line.strip_prefix("test result: ") {
            self.ended += 1;
            self.passed += passed_in(result).unwrap_or(0);
        } else if begins(line) {
            self.begun += 1;
        } else if let Some(name) =
            line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED"))
        {
            self.failed.push(name.to_owned());
        }
    }
}

/// Whether this is the line with which a test program begins.
fn begins(line: &str) -> bool {
    let counted = line
        .strip_prefix("running ")
        .and_then(|rest| rest.strip_suffix(" tests").or_else(|| rest.strip_suffix(" test")));
    counted.is_some_and(|count| count.parse::<usize>().is_ok())
}

/// The number before " passed" in cargo's own result line.
fn passed_in(result: &str) -> Option<usize> {
    let (before, _) = result.split_once(" passed")?;
    before.rsplit(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{Counted, passed_in};

    #[test]
    fn cargos_result_line_is_counted() {
        let line =
            "ok. 14 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s";
        assert_eq!(passed_in(line), Some(14));
        assert_eq!(passed_in("FAILED. 3 passed; 1 failed; 0 ignored"), Some(3));
        assert_eq!(passed_in("nothing here"), None);
    }

    #[test]
    fn a_test_program_that_is_aborted_is_noticed() {
        let mut counted = Counted::default();
        let lines =
            ["running 1 test", "test a ... FAILED", "test result: FAILED. 0 passed; 1 failed"];
        lines.into_iter().for_each(|line| counted.see(line));
        assert_eq!((counted.begun, counted.ended), (1, 1));
        assert_eq!(counted.failed, ["a"]);
        ["", "running 30 tests", "test b ... ok"].into_iter().for_each(|line| counted.see(line));
        assert_eq!((counted.begun, counted.ended), (2, 1));
        counted.see("running away from tests");
        assert_eq!(counted.begun, 2);
    }
}
