//! Starts one benchmark by name, always in release mode. Which ones exist is the list below.

use std::{path::PathBuf, process::Command};

use anyhow::Context as _;

use crate::peers;
use crate::process::run_seen;
use crate::report::{Report, Skip};
use crate::workspace::Workspace;

/// One benchmark: a program that prints its own table.
struct Bench {
    name: &'static str,
    what: &'static str,
    program: Program,
}

enum Program {
    /// An example of a package.
    Example { package: &'static str, example: &'static str },
    /// A comparison of `stentor-bench`, which starts the rivals itself.
    Comparison,
    /// The same of a cluster, which needs NATS.
    OfCluster { redis: bool, database: bool },
}

const BENCHES: &[Bench] = &[
    Bench {
        name: "commits",
        what: "durable commits per second and p99 of the embedded log, group commit against one fsync each",
        program: Program::Example { package: "stentor-embedded", example: "bench-commits" },
    },
    Bench {
        name: "open",
        what: "time and memory to open a data folder with a million events",
        program: Program::Example { package: "stentor-embedded", example: "bench-open" },
    },
    Bench {
        name: "idle",
        what: "G1: resident memory per joined connection, ten sessions or one for each",
        program: Program::Example { package: "stentor", example: "bench-idle" },
    },
    Bench {
        name: "first-answer",
        what: "G12: time from starting `stentor dev` to the first answer of its bot",
        program: Program::Example { package: "stentor", example: "bench-first-answer" },
    },
    Bench {
        name: "fanout",
        what: "G2: one message at a time to a room of 1,000, against Socket.IO, ws and bare writes",
        program: Program::Comparison,
    },
    Bench {
        name: "busy",
        what: "G3: hundreds of messages per second to every socket, against the same",
        program: Program::Comparison,
    },
    Bench {
        name: "storm",
        what: "G8: everybody comes back at once, against Socket.IO, centrifuge and a bare upgrade",
        program: Program::Comparison,
    },
    Bench {
        name: "stalled",
        what: "G9: latency with and without some who do not read",
        program: Program::Comparison,
    },
    Bench {
        name: "rest",
        what: "G1 and G10: memory and processor time at rest, against Socket.IO, ws and centrifuge",
        program: Program::Comparison,
    },
    Bench {
        name: "nats-commits",
        what: "G6: durable commits per second of the log on NATS, group commit against one message each",
        program: Program::Example {
            package: "stentor-cluster-nats",
            example: "bench-commits-nats",
        },
    },
    Bench {
        name: "pipeline",
        what: "G4 and G5: the whole way of a message through a cluster, against centrifuge over Redis",
        program: Program::OfCluster { redis: true, database: true },
    },
    Bench {
        name: "growth",
        what: "G11: what a message costs a cluster with more sockets, sessions, routers",
        program: Program::OfCluster { redis: false, database: false },
    },
    Bench {
        name: "sessions",
        what: "G7: memory of a live session at gateways and NATS, against a subscription for each",
        program: Program::OfCluster { redis: false, database: false },
    },
    Bench {
        name: "cluster-storm",
        what: "G8: everybody comes back to a cluster at once, against the same as `storm`",
        program: Program::OfCluster { redis: true, database: false },
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
    let mut cargo = match &bench.program {
        Program::Example { package, example } => {
            // Some of them start the package's own program.
            let mut cargo = workspace.cargo();
            cargo.args(["build", "--quiet", "--release", "-p", package]);
            anyhow::ensure!(run_seen(&mut cargo, |_| {})?.success(), "the package does not build");
            let mut cargo = workspace.cargo();
            let what = ["run", "--quiet", "--release", "-p", package, "--example", example, "--"];
            cargo.args(what);
            cargo
        }
        Program::Comparison | Program::OfCluster { .. } => {
            let rivals = match bench.program.needs(workspace, false) {
                Ok(rivals) => rivals,
                Err(skip) => {
                    report.skip(skip);
                    return Ok(());
                }
            };
            let mut cargo = workspace.cargo();
            cargo.args(["build", "--quiet", "--release", "-p", "stentor", "--bin", "stentor"]);
            cargo.args(["-p", "stentor-gateway", "--example", "echo"]);
            anyhow::ensure!(run_seen(&mut cargo, |_| {})?.success(), "the programs do not build");
            let mut cargo = workspace.cargo();
            cargo.args(["run", "--quiet", "--release", "-p", "stentor-bench", "--", "--rivals"]);
            cargo.arg(rivals).arg(bench.name);
            cargo
        }
    };
    cargo.args(&options.arguments);
    let status = run_seen(&mut cargo, |_| {})?;
    if status.success() {
        report.pass(bench.name);
    } else {
        report.fail(bench.name, &format!("ended with {status}"));
    }
    Ok(())
}

// === impl Program ===

impl Program {
    /// Fetches what a comparison needs beside our own programs. Small ones do without a database.
    fn needs(&self, workspace: &Workspace, small: bool) -> Result<PathBuf, Skip> {
        let rivals = peers::rivals(workspace)?;
        if let Self::OfCluster { redis, database } = self {
            peers::nats(workspace)?;
            if *redis {
                peers::redis()?;
            }
            if *database && !small {
                peers::cassandra(workspace)?;
            }
        }
        Ok(rivals)
    }
}

/// Runs every comparison with small sizes: whether they work, not how fast anything is.
pub(crate) fn check(workspace: &Workspace, report: &mut Report) -> anyhow::Result<()> {
    report.heading("comparisons, small");
    let is_example = |bench: &&Bench| matches!(bench.program, Program::Example { .. });
    for bench in BENCHES.iter().filter(|bench| !is_example(bench)) {
        let rivals = match bench.program.needs(workspace, true) {
            Ok(rivals) => rivals,
            Err(skip) => {
                report.skip(Skip { name: format!("comparison {}", bench.name), ..skip });
                continue;
            }
        };
        let mut command = Command::new(workspace.debug_binary("stentor-bench"));
        command.arg("--rivals").arg(&rivals).args(["--small", bench.name]);
        let status = run_seen(&mut command, |_| {})?;
        if status.success() {
            report.pass(&format!("comparison {}", bench.name));
        } else {
            report.fail(bench.name, &format!("ended with {status}"));
        }
    }
    Ok(())
}
