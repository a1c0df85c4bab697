//! Breaks the code on purpose and checks that somebody notices.
//!
//! Each mutant is one named replacement of text; the list is data (`mutants/list.rs`). The work happens in a copy of
//! the tree under `target/mutants`, so the checkout is never touched and a cut-off run leaves nothing broken behind.

mod copy;
mod list;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use self::list::mutants;
use crate::cluster;
use crate::process::run_logged;
use crate::report::Report;
use crate::workspace::Workspace;

/// Seeds a simulation may need to notice a breakage.
const SEEDS_PER_MUTANT: &str = "500";

/// The feature of tests that start servers.
const REAL_SERVERS: &str = "real-servers";

/// A mutant that makes the tests hang is noticed too, but not waited for longer than this (build included).
const LIMIT: Duration = Duration::from_secs(900);

/// One way to break the code.
#[derive(Debug)]
struct Mutant {
    /// Says what is broken, in words.
    name: &'static str,
    /// The file, from the repository's root.
    file: &'static str,
    /// Text that stands in the file exactly once.
    find: &'static str,
    replace: &'static str,
    caught_by: CaughtBy,
}

/// Who must notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CaughtBy {
    /// The simulator, within 500 seeds.
    Simulation,
    /// A test of this package whose name contains the filter.
    Test { package: &'static str, filter: &'static str },
    /// The same, in one file of tests: `lib`, or the name of one in the package's folder `tests`.
    TestOf { package: &'static str, target: &'static str, filter: &'static str },
    /// The same, against servers that the test starts.
    Served { package: &'static str, target: &'static str, filter: &'static str, by: Servers },
}

/// Which servers a test starts; all of them are NATS, or NATS and Cassandra.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Servers {
    Nats,
    Database,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Only mutants whose name contains this text
    filter: Option<String>,
    /// Only show the list
    #[arg(long)]
    list: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Caught,
    /// The tests still pass: a hole in the suite.
    Survived,
    /// The mutant does not compile, so it proves nothing.
    NotBuilt,
}

/// Runs the mutants; each that survives is a failure.
pub(crate) fn run(
    workspace: &Workspace,
    options: &Options,
    report: &mut Report,
) -> anyhow::Result<()> {
    let wanted = |mutant: &&Mutant| {
        options.filter.as_deref().is_none_or(|filter| mutant.name.contains(filter))
    };
    let mut mutants: Vec<&Mutant> = mutants().filter(wanted).collect();
    if options.list {
        for mutant in mutants {
            println!("{:<60} {:<48} {}", mutant.name, mutant.file, watcher(mutant.caught_by));
        }
        return Ok(());
    }
    report.heading(&format!("mutants: {}", mutants.len()));
    for servers in [Servers::Nats, Servers::Database] {
        leave_out_unserved(workspace, servers, &mut mutants, report);
    }
    let folder = workspace.target().join("mutants");
    let tree = copy::refresh(workspace.root(), &folder.join("tree"))?;
    // A test that fails without any mutant would "catch" them all.
    let mut watchers: Vec<CaughtBy> = Vec::new();
    for mutant in &mutants {
        if !watchers.contains(&mutant.caught_by) {
            watchers.push(mutant.caught_by);
        }
    }
    watchers.retain(|watcher_of| !passes_when_sound(&tree, &folder, *watcher_of, report));
    for mutant in mutants {
        if watchers.contains(&mutant.caught_by) {
            continue;
        }
        let started = Instant::now();
        let original = copy::break_file(&tree, mutant)?;
        let fate = judge(&tree, &folder, mutant.caught_by);
        // Mended before the result is looked at: the next mutant must meet sound code.
        let path = tree.join(mutant.file);
        std::fs::write(&path, original)
            .with_context(|| format!("failed to mend {}", path.display()))?;
        let fate = fate?;
        let line =
            format!("{:<60} {:<10} {:>4} s", mutant.name, word(fate), started.elapsed().as_secs());
        if fate == Fate::Caught {
            report.pass(&line);
        } else {
            let log = folder.join("last.log");
            report.fail(
                &line,
                &format!(
                    "{} should have noticed; see {}",
                    watcher(mutant.caught_by),
                    log.display()
                ),
            );
        }
    }
    Ok(())
}

/// Fetches servers if somebody needs them. Where they cannot be had, whoever does is left out, with the reason.
fn leave_out_unserved(
    workspace: &Workspace,
    servers: Servers,
    mutants: &mut Vec<&Mutant>,
    report: &mut Report,
) {
    let needs =
        |mutant: &&Mutant| matches!(mutant.caught_by, CaughtBy::Served { by, .. } if by == servers);
    if mutants.iter().any(needs)
        && let Err(skip) = cluster::servers(workspace, servers == Servers::Database)
    {
        report.skip(skip);
        mutants.retain(|mutant| !needs(mutant));
    }
}

/// Runs one watcher on the sound copy.
fn passes_when_sound(tree: &Path, folder: &Path, caught_by: CaughtBy, report: &mut Report) -> bool {
    match judge(tree, folder, caught_by) {
        Ok(Fate::Survived) => true,
        Ok(_) => {
            let log = folder.join("last.log");
            report.fail(
                &watcher(caught_by),
                &format!("fails without any mutant; see {}", log.display()),
            );
            false
        }
        Err(error) => {
            report.fail(&watcher(caught_by), &format!("{error:#}"));
            false
        }
    }
}

fn judge(tree: &Path, folder: &Path, caught_by: CaughtBy) -> anyhow::Result<Fate> {
    let log = folder.join("last.log");
    let mut build = cargo(tree, folder);
    let mut check = cargo(tree, folder);
    match caught_by {
        CaughtBy::Simulation => {
            // Not the release profile: its link-time optimisation would take most of the time.
            build.args(["build", "--quiet", "--profile", "perf", "-p", "stentor-simulator"]);
            check.args([
                "run",
                "--quiet",
                "--profile",
                "perf",
                "-p",
                "stentor-simulator",
                "--",
                "--seeds",
                SEEDS_PER_MUTANT,
            ]);
        }
        CaughtBy::Test { package, filter } => {
            build.args(["test", "--quiet", "-p", package, "--no-run"]);
            check.args(["test", "--quiet", "-p", package, filter]);
        }
        CaughtBy::TestOf { package, target, filter } => {
            let (one, name) = test_target(target);
            build.args(["test", "--quiet", "-p", package, one]).args(name).arg("--no-run");
            check.args(["test", "--quiet", "-p", package, one]).args(name).arg(filter);
        }
        CaughtBy::Served { package, target, filter, .. } => {
            let (one, name) = test_target(target);
            let wanted = ["test", "--quiet", "-p", package, "--features", REAL_SERVERS, one];
            build.args(wanted).args(name).arg("--no-run");
            check.args(wanted).args(name).arg(filter);
            // The copy has none of its own.
            let peers = folder.with_file_name("peers");
            check.env("STENTOR_NATS_SERVER", peers.join("nats/nats-server"));
            check.env("STENTOR_CASSANDRA_LIB", peers.join("cassandra/lib"));
        }
    }
    if !run_logged(&mut build, &log, LIMIT)?.is_some_and(|status| status.success()) {
        return Ok(Fate::NotBuilt);
    }
    // Still running after the limit counts as noticed: a suite that hangs does not pass.
    let passed = run_logged(&mut check, &log, LIMIT)?.is_some_and(|status| status.success());
    Ok(if passed { Fate::Survived } else { Fate::Caught })
}

/// How cargo is told which file of tests is meant.
fn test_target(target: &'static str) -> (&'static str, Option<&'static str>) {
    match target {
        "lib" => ("--lib", None),
        "bin" => ("--bins", None),
        other => ("--test", Some(other)),
    }
}

/// Cargo in the copy, with a target directory of its own that is kept between runs.
fn cargo(tree: &Path, folder: &Path) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(tree).env("CARGO_TARGET_DIR", folder.join("target")).stdin(Stdio::null());
    cargo
}

fn watcher(caught_by: CaughtBy) -> String {
    match caught_by {
        CaughtBy::Simulation => format!("simulation of {SEEDS_PER_MUTANT} seeds"),
        CaughtBy::Test { package, filter } => format!("test {package} {filter}"),
        CaughtBy::TestOf { package, target, filter } => format!("test {package} {target} {filter}"),
        CaughtBy::Served { package, target, filter, by: Servers::Nats } => {
            format!("test {package} {target} {filter}, with NATS")
        }
        CaughtBy::Served { package, target, filter, by: Servers::Database } => {
            format!("test {package} {target} {filter}, with NATS and Cassandra")
        }
    }
}

fn word(fate: Fate) -> &'static str {
    match fate {
        Fate::Caught => "caught",
        Fate::Survived => "SURVIVED",
        Fate::NotBuilt => "NOT BUILT",
    }
}
