//! The JavaScript client against a real server process, in Node.
//!
//! The tests are JavaScript (`tests/client`); this finds Node and counts what they print.

use std::process::Command;

use crate::process::run_seen;
use crate::report::{Report, Skip};
use crate::subject::Subject;
use crate::workspace::Workspace;

/// Runs all of them.
pub(crate) fn run(workspace: &Workspace, report: &mut Report) -> anyhow::Result<()> {
    run_on(workspace, &Subject::one_process(workspace), report)
}

/// Runs them on whatever takes the flags of `stentor dev`.
pub(crate) fn run_on(
    workspace: &Workspace,
    subject: &Subject,
    report: &mut Report,
) -> anyhow::Result<()> {
    let suite = subject.named("client");
    report.heading(&format!("{suite}: stentor.js in Node, connections that break"));
    let mut node = match command(workspace, subject) {
        Ok(node) => node,
        Err(skip) => {
            report.skip(skip);
            return Ok(());
        }
    };
    let mut passed = 0;
    let mut failed = Vec::new();
    let status = run_seen(&mut node, |line| {
        // The file itself counts as one when it fails.
        if line.starts_with("ok ") {
            passed += 1;
        } else if let Some(name) = line.strip_prefix("not ok ") {
            failed.push(format!("{suite}: {name}"));
        }
    })?;
    report.passed_by_child(passed);
    if failed.is_empty() && (!status.success() || passed == 0) {
        report.fail(&suite, &format!("{passed} passed, and node ended with {status}"));
    }
    for name in failed {
        report.failed_by_child(name);
    }
    Ok(())
}

fn command(workspace: &Workspace, subject: &Subject) -> Result<Command, Skip> {
    let has_sockets = Command::new("node").args(["-p", "typeof WebSocket"]).output();
    let has_sockets = has_sockets.map_err(|error| Skip {
        name: "client".to_owned(),
        reason: format!("node cannot be run: {error}"),
        how: "install Node 20 or later".to_owned(),
    })?;
    let mut node = Command::new("node");
    // Node 20 hides it behind a flag.
    if has_sockets.stdout.starts_with(b"undefined") {
        node.args(["--experimental-websocket", "--no-warnings"]);
    }
    node.args(["--test", "--test-reporter=tap"]);
    for name in ["client", "list"] {
        node.arg(workspace.root().join(format!("tests/client/{name}.test.mjs")));
    }
    node.env("ROUTER_PROGRAM", subject.program());
    subject.tell(&mut node);
    Ok(node)
}
