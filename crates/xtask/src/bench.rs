//! Starts one benchmark by name, always in release mode. Which ones exist is the list below.

use anyhow::Context as _;

use crate::process::run_seen;
use crate::report::Report;
use crate::workspace::Workspace;

/// One benchmark: an example program of a crate that prints its own table.
struct Bench {
    name: &'static str,
    what: &'static str,
    package: &'static str,
    example: &'static str,
}

const BENCHES: &[Bench] = &[
    Bench {
        name: "commits",
        what: "durable commits per second and p99 of the embedded log, group commit against one fsync each",
        package: "stentor-embedded",
        example: "bench-commits",
    },
    Bench {
        name: "open",
        what: "time and memory to open a data folder with a million events",
        package: "stentor-embedded",
        example: "bench-open",
    },
    Bench {
        name: "idle",
        what: "G1: resident memory per joined connection at rest",
        package: "stentor",
        example: "bench-idle",
    },
    Bench {
        name: "first-answer",
        what: "G12: time from starting `stentor dev` to the first answer of its bot",
        package: "stentor",
        example: "bench-first-answer",
    },
];

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Which benchmark; leave it out to see the list
    name: Option<String>,
    /// Arguments for the benchmark itself
    #[arg(last = true)]
    arguments: Vec<String>,
}

/// Runs the named benchmark, or lists all.
pub(crate) fn run(
    workspace: &Workspace,
    options: &Options,
    report: &mut Report,
) -> anyhow::Result<()> {
    let Some(name) = &options.name else {
        for bench in BENCHES {
            println!("{:<12} {}", bench.name, bench.what);
        }
        return Ok(());
    };
    let bench = BENCHES.iter().find(|bench| bench.name == name).with_context(|| {
        let names: Vec<&str> = BENCHES.iter().map(|bench| bench.name).collect();
        format!("there is no benchmark {name:?}; there are: {}", names.join(", "))
    })?;
    report.heading(bench.what);
    // Some of them start the package's own program.
    let mut cargo = workspace.cargo();
    cargo.args(["build", "--quiet", "--release", "-p", bench.package]);
    anyhow::ensure!(run_seen(&mut cargo, |_| {})?.success(), "the package does not build");
    let mut cargo = workspace.cargo();
    cargo.args([
        "run",
        "--quiet",
        "--release",
        "-p",
        bench.package,
        "--example",
        bench.example,
        "--",
    ]);
    cargo.args(&options.arguments);
    let status = run_seen(&mut cargo, |_| {})?;
    if status.success() {
        report.pass(bench.name);
    } else {
        report.fail(bench.name, &format!("ended with {status}"));
    }
    Ok(())
}
