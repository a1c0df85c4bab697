//! The suites of one process once more, unchanged, on a cluster: 2 gateways, 2 routers, a connector, 3 nodes of
//! NATS and Cassandra per start.
//!
//! Left out is what is about one process only: the data folder and `verify` (`bad_input`, `crash`), and the bytes
//! of WebSocket, which a gateway of a cluster reads with the same code.

use anyhow::Context as _;
use stentor_testkit::Cassandra;
use stentor_testkit::cluster::keep_files_under;

use crate::process::run_seen;
use crate::report::Report;
use crate::subject::Subject;
use crate::suite::count;
use crate::workspace::Workspace;
use crate::{api, browser, client, cluster};

/// Tests of the package `stentor` that say nothing of one process.
const TESTS: [&str; 5] = ["people", "second_dialect", "fallback", "lists", "api"];

/// Clusters at the same time.
const AT_ONCE: &str = "2";

/// Browser scenarios in which it matters who is where and who is gone. The others are about what one gateway and
/// one connector do, and those do it with the same code.
/// Not among them: a stop and start of everything under the published widget, which holds a text for ten seconds
/// and no longer. Our own chat holds it for as long as that takes.
const SCENARIOS: [&str; 13] = [
    "first chat",
    "a reload keeps",
    "two tabs",
    "a reset begins",
    "kill -9 in",
    "kill -9 between",
    "kill -9 while",
    "kill -9 for",
    "agents on their page and",
    "a fresh widget of the same visitor",
    "S3 ",
    "draft",
    "our own chat on",
];

/// Runs all of them, with browser scenarios whose name contains `only`, or a choice of them.
pub(crate) fn run(
    workspace: &Workspace,
    only: Option<&str>,
    report: &mut Report,
) -> anyhow::Result<()> {
    report.heading("the suites of one process, on a cluster");
    if let Err(skip) = cluster::servers(workspace, true) {
        report.skip(skip);
        return Ok(());
    }
    keep_files_under(&workspace.target().join("cluster-conformance"))?;
    let runtime = tokio::runtime::Runtime::new().context("failed to start the runtime")?;
    let database = runtime.block_on(Cassandra::start())?;
    let subject = Subject::cluster(workspace, database.address());
    let mut cargo = workspace.cargo();
    cargo.args(["test", "--package", "stentor", "--no-fail-fast"]);
    for test in TESTS {
        cargo.args(["--test", test]);
    }
    cargo.args(["--", "--test-threads", AT_ONCE]);
    subject.tell(&mut cargo);
    count(&subject.named("cargo test"), |see| run_seen(&mut cargo, see), report)?;
    api::run_on(workspace, &subject, report);
    client::run_on(workspace, &subject, report)?;
    let scenarios = only.map_or_else(|| SCENARIOS.to_vec(), |only| vec![only]);
    browser::run_on(workspace, &subject, &scenarios, report)
}
