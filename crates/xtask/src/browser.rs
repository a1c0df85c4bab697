//! The published widget in a real Chromium, a real bot, and the real server process between them.
//!
//! The scenarios are JavaScript (`tests/browser`); this finds what they need and counts what they print.

use std::process::Command;

use crate::peers;
use crate::process::run_seen;
use crate::report::{Report, Skip};
use crate::subject::Subject;
use crate::workspace::Workspace;

/// Runs all scenarios, or those whose name contains `only`.
pub(crate) fn run(
    workspace: &Workspace,
    only: Option<&str>,
    report: &mut Report,
) -> anyhow::Result<()> {
    run_on(workspace, &Subject::one_process(workspace), only.as_slice(), report)
}

/// Runs those with one of these texts in their name, without any all of them, on whatever takes the flags of
/// `stentor dev`; on a cluster also those about its members.
pub(crate) fn run_on(
    workspace: &Workspace,
    subject: &Subject,
    only: &[&str],
    report: &mut Report,
) -> anyhow::Result<()> {
    let suite = subject.named("browser");
    report.heading(&format!("{suite}: published widget, real bot"));
    let mut node = match command(workspace, subject) {
        Ok(node) => node,
        Err(skip) => {
            report.skip(skip);
            return Ok(());
        }
    };
    for text in only {
        node.args(["--only", text]);
    }
    let mut passed = 0;
    let mut failed = Vec::new();
    let status = run_seen(&mut node, |line| {
        if line.starts_with("ok      ") {
            passed += 1;
        } else if let Some(name) = line.strip_prefix("FAILED  ") {
            failed.push(format!("{suite}: {name}"));
        }
    })?;
    report.passed_by_child(passed);
    if !status.success() && failed.is_empty() {
        report.fail(&suite, &format!("the runner ended with {status}"));
    } else if passed == 0 && failed.is_empty() {
        report.fail(&suite, "no scenario ran");
    }
    for name in failed {
        report.failed_by_child(name);
    }
    Ok(())
}

fn command(workspace: &Workspace, subject: &Subject) -> Result<Command, Skip> {
    let chromium = peers::chromium()?;
    peers::bot(workspace)?;
    peers::widget(workspace)?;
    peers::browser_driver(workspace)?;
    let out = if subject.is_cluster() { "browser-cluster" } else { "browser" };
    let mut node = Command::new("node");
    node.arg(workspace.root().join("tests/browser/run.mjs"));
    node.arg("--stentor").arg(subject.program());
    node.arg("--peers").arg(workspace.peers());
    node.arg("--chromium").arg(chromium);
    node.arg("--out").arg(workspace.target().join(out));
    subject.tell(&mut node);
    if subject.is_cluster() {
        node.arg("--cluster");
    }
    Ok(node)
}
