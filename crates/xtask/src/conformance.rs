//! WebSocket conformance (S8): the Autobahn case families 1 to 7 against the gateway's socket engine.
//!
//! The engine runs in the gateway's example `echo`, which sends every message back; the cases need nothing else.

use std::collections::BTreeMap;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde::Deserialize;

use crate::peers;
use crate::process::{Background, last_lines, run_logged, shown};
use crate::report::Report;
use crate::workspace::Workspace;

/// Framing, pings, reserved bits, opcodes, fragmentation, UTF-8, closing.
const FAMILIES: [&str; 7] = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*"];

/// The families hold 246 cases in the pinned version; fewer means that they did not really run.
const CASES_MIN: usize = 240;

/// All cases take 3 s against a good server; a hanging one is given this long.
const LIMIT: Duration = Duration::from_secs(300);

/// Ten pings at once, ten pongs expected. RFC 6455, 5.5.3 permits to answer only the latest of pings that
/// arrive together, and that is what the WebSocket library does when all ten come in one read.
const LATEST_PONG_ONLY: &str = "2.10";

#[derive(Debug, Deserialize)]
struct Case {
    behavior: String,
    #[serde(rename = "behaviorClose")]
    behavior_close: String,
}

/// Starts the echo server, runs the cases, counts each of them.
pub(crate) fn run(workspace: &Workspace, report: &mut Report) -> anyhow::Result<()> {
    report.heading("WebSocket conformance, Autobahn case families 1 to 7");
    let kosoku = match peers::kosoku(workspace) {
        Ok(program) => program,
        Err(skip) => {
            report.skip(skip);
            return Ok(());
        }
    };
    let folder = workspace.target().join("conformance");
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("failed to create {}", folder.display()))?;
    let address = free_address()?;
    let mut command = Command::new(workspace.debug_binary("examples/echo"));
    command.args(["--listen", &address]).stdin(Stdio::null()).stdout(Stdio::null());
    let child = command.spawn().with_context(|| format!("failed to start {}", shown(&command)))?;
    let mut echo = Background(child);
    if let Err(error) = wait_for(&address, &mut echo) {
        report.fail("S8 conformance", &format!("{error:#}"));
        return Ok(());
    }

    let reports = folder.join("reports");
    if reports.exists() {
        std::fs::remove_dir_all(&reports)
            .with_context(|| format!("failed to clear {}", reports.display()))?;
    }
    let mut command = Command::new(kosoku);
    command.arg(&address);
    for family in FAMILIES {
        command.args(["--include", family]);
    }
    command.args(["--parallelism", "4", "--outdir"]).arg(&reports);
    let log = folder.join("kosoku.log");
    let status = run_logged(&mut command, &log, LIMIT)?;
    let Some(status) = status else {
        report.fail(
            "S8 conformance",
            &format!("still running after {LIMIT:?}; see {}", log.display()),
        );
        return Ok(());
    };
    let index = reports.join("index.json");
    if !index.exists() {
        let said = std::fs::read_to_string(&log).unwrap_or_default();
        report.fail(
            "S8 conformance",
            &format!("ended with {status} and no report: {}", last_lines(&said, 3)),
        );
        return Ok(());
    }
    count(&index, report)
}

/// Reads kosoku's index: one entry per case, each with a verdict on its messages and on its closing.
fn count(index: &Path, report: &mut Report) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(index)
        .with_context(|| format!("failed to read {}", index.display()))?;
    let servers: BTreeMap<String, BTreeMap<String, Case>> = serde_json::from_str(&text)
        .with_context(|| format!("failed to understand {}", index.display()))?;
    let cases: BTreeMap<String, Case> = servers.into_values().flatten().collect();
    let mut good = 0;
    for (id, case) in &cases {
        let permitted = is_good(&case.behavior) || id == LATEST_PONG_ONLY;
        if permitted && is_good(&case.behavior_close) {
            good += 1;
        } else {
            let why = format!(
                "{} / close {}; see {}",
                case.behavior,
                case.behavior_close,
                index.display()
            );
            report.fail(&format!("S8 case {id}"), &why);
        }
    }
    println!("{good} of {} cases hold", cases.len());
    report.passed_by_child(good);
    if cases.len() < CASES_MIN {
        report.fail(
            "S8 conformance",
            &format!("only {} cases ran, expected at least {CASES_MIN}", cases.len()),
        );
    }
    Ok(())
}

/// `NON-STRICT` is a permitted choice (when to notice bad UTF-8), `INFORMATIONAL` has no right answer.
fn is_good(verdict: &str) -> bool {
    matches!(verdict, "OK" | "NON-STRICT" | "INFORMATIONAL")
}

/// A loopback address that nobody listened on a moment ago.
/// An address that nobody listens on just now.
pub(crate) fn free_address() -> anyhow::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").context("failed to find a free port")?;
    Ok(listener.local_addr().context("failed to read the free port")?.to_string())
}

/// Waits until a server takes connections.
pub(crate) fn wait_for(address: &str, server: &mut Background) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    while Instant::now() < deadline {
        if TcpStream::connect(address).is_ok() {
            return Ok(());
        }
        if let Some(status) = server.0.try_wait().context("failed to watch the server")? {
            anyhow::bail!("the server ended with {status}");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    anyhow::bail!("the server does not listen on {address}")
}

#[cfg(test)]
mod tests {
    use super::is_good;

    #[test]
    fn a_failed_or_wrong_code_case_is_no_success() {
        assert!(is_good("OK") && is_good("NON-STRICT") && is_good("INFORMATIONAL"));
        assert!(!is_good("FAILED") && !is_good("WRONG CODE") && !is_good("UNCLEAN"));
    }
}
