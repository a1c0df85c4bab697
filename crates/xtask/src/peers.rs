//! Fetches the peers that the end-to-end tests talk to, each pinned, into `target/peers`.
//!
//! Versions live in the lockfiles beside the tests and in the constants here. What is there already is not fetched again.

mod servers;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

pub(crate) use self::servers::{cassandra, nats};

use crate::process::{exists, run_quiet};
use crate::report::{Report, Skip};
use crate::workspace::Workspace;

/// The published widget and the hash of its package, so that a changed package is noticed.
const WIDGET: &str = "@xapp/chat-widget@1.74.6";
const WIDGET_INTEGRITY: &str = "sha512-rsBVMSsebbFAfzkMvcT2JmqPHZv5J1H+ESzBl16I074E981DXNJjux9aYup0I12UK8HJ7Tmuumju8XpyUNWFFg==";

/// Runs the Autobahn case files without Python 2 and without Docker.
const KOSOKU: &str = "kosoku==0.1.0";
const SCHEMATHESIS: &str = "schemathesis==4.32.5";

const NODE_HOW: &str = "install Node.js 20 or newer with npm, and let it reach the npm registry";
const GO_HOW: &str = "install Go 1.26 or newer, and let it reach its module proxy";
const PYTHON_HOW: &str = "install Python 3.10 or newer with venv, and let pip reach PyPI";

/// Fetches all peers; what cannot be had is reported as skipped.
pub(crate) fn fetch_all(workspace: &Workspace, report: &mut Report) {
    report.heading("peers");
    let fetched = [
        ("bot", bot(workspace)),
        ("widget", widget(workspace)),
        ("browser driver", browser_driver(workspace)),
        ("kosoku", kosoku(workspace)),
        ("schemathesis", schemathesis(workspace)),
        ("chromium", chromium()),
        ("rivals", rivals(workspace)),
        ("redis", redis()),
        ("nats", nats(workspace)),
        ("cassandra", cassandra(workspace)),
    ];
    for (name, result) in fetched {
        match result {
            Ok(path) => report.pass(&format!("{name} in {}", path.display())),
            Err(skip) => report.skip(skip),
        }
    }
}

/// The folder with the real Stentor bot, its dependencies installed.
pub(crate) fn bot(workspace: &Workspace) -> Result<PathBuf, Skip> {
    let source = workspace.root().join("tests/peers/bot");
    let folder = npm_ci(&source, &workspace.peers().join("bot"), "bot")?;
    for file in ["bot.js", "server.js"] {
        copy(&source.join(file), &folder.join(file))
            .map_err(|error| skip("bot", &error, NODE_HOW))?;
    }
    Ok(folder)
}

/// The folder with `playwright-core`, which drives the machine's own Chromium.
pub(crate) fn browser_driver(workspace: &Workspace) -> Result<PathBuf, Skip> {
    let source = workspace.root().join("tests/browser");
    npm_ci(&source, &workspace.peers().join("browser"), "browser driver")
}

/// The folder with the widget's published script and style sheet.
pub(crate) fn widget(workspace: &Workspace) -> Result<PathBuf, Skip> {
    fetch_widget(&workspace.peers().join("widget"))
        .map_err(|error| skip("widget", &error, NODE_HOW))
}

/// The `kosoku` program.
pub(crate) fn kosoku(workspace: &Workspace) -> Result<PathBuf, Skip> {
    fetch_python(&workspace.peers().join("kosoku"), KOSOKU, "kosoku")
        .map_err(|error| skip("kosoku", &error, PYTHON_HOW))
}

/// The `schemathesis` program.
pub(crate) fn schemathesis(workspace: &Workspace) -> Result<PathBuf, Skip> {
    fetch_python(&workspace.peers().join("schemathesis"), SCHEMATHESIS, "schemathesis")
        .map_err(|error| skip("schemathesis", &error, PYTHON_HOW))
}

/// The folder with the servers that benchmarks compare with: `node/*.mjs`, `centrifuge/centrifuge`.
pub(crate) fn rivals(workspace: &Workspace) -> Result<PathBuf, Skip> {
    let source = workspace.root().join("loadtest/rivals");
    let folder = workspace.peers().join("rivals");
    npm_ci(&source.join("node"), &folder.join("node"), "rivals")?;
    for file in ["ws.mjs", "socketio.mjs"] {
        let (from, to) = (source.join("node").join(file), folder.join("node").join(file));
        copy(&from, &to).map_err(|error| skip("rivals", &error, NODE_HOW))?;
    }
    let go = || -> anyhow::Result<()> {
        need("go")?;
        let program = folder.join("centrifuge/centrifuge");
        // Go knows by itself what is fresh.
        let mut build = Command::new("go");
        build.args(["build", "-o"]).arg(program).arg(".").current_dir(source.join("centrifuge"));
        run_quiet(&mut build)?;
        Ok(())
    };
    go().map_err(|error| skip("rivals", &error, GO_HOW))?;
    Ok(folder)
}

/// The machine's own Redis, which the engine that we compare a cluster with keeps its history in.
pub(crate) fn redis() -> Result<PathBuf, Skip> {
    let program = "redis-server";
    if exists(program) {
        return Ok(PathBuf::from(program));
    }
    Err(Skip {
        name: "redis".to_owned(),
        reason: "no redis-server on this machine".to_owned(),
        how: "apt-get install redis-server".to_owned(),
    })
}

/// A Chromium on this machine; never a downloaded one.
pub(crate) fn chromium() -> Result<PathBuf, Skip> {
    if let Some(path) = std::env::var_os("CHROMIUM") {
        return Ok(PathBuf::from(path));
    }
    ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"]
        .into_iter()
        .map(PathBuf::from)
        .find(|path| path.exists())
        .ok_or_else(|| Skip {
            name: "chromium".to_owned(),
            reason: "no Chromium on this machine".to_owned(),
            how: "apt-get install chromium fonts-dejavu fonts-liberation, or set CHROMIUM to its path".to_owned(),
        })
}

fn fetch_widget(folder: &Path) -> anyhow::Result<PathBuf> {
    let files = ["xapp-chat-widget.js", "xapp-chat-widget.css"];
    if is_fresh(folder, WIDGET_INTEGRITY) && files.iter().all(|file| folder.join(file).exists()) {
        return Ok(folder.to_path_buf());
    }
    need("npm")?;
    std::fs::create_dir_all(folder)
        .with_context(|| format!("failed to create {}", folder.display()))?;
    let listed =
        run_quiet(Command::new("npm").args(["pack", "--json", WIDGET]).current_dir(folder))?;
    // npm 11 and older print a list, newer ones an object by package name.
    let listed: serde_json::Value =
        serde_json::from_str(&listed).context("npm pack printed no JSON")?;
    let packed = listed
        .get(0)
        .or_else(|| listed.as_object()?.values().next())
        .context("npm pack listed nothing")?;
    let integrity = packed.get("integrity").and_then(serde_json::Value::as_str).unwrap_or_default();
    anyhow::ensure!(
        integrity == WIDGET_INTEGRITY,
        "{WIDGET} has integrity {integrity}, not the pinned one"
    );
    let archive = packed
        .get("filename")
        .and_then(serde_json::Value::as_str)
        .context("npm pack named no file")?;
    let mut tar = Command::new("tar");
    tar.args(["-xzf", archive, "--strip-components=2"]);
    tar.args(files.map(|file| format!("package/dist/{file}"))).current_dir(folder);
    run_quiet(&mut tar)?;
    mark_fresh(folder, WIDGET_INTEGRITY)?;
    Ok(folder.to_path_buf())
}

/// Installs one pinned package into an environment of its own.
fn fetch_python(folder: &Path, package: &str, name: &str) -> anyhow::Result<PathBuf> {
    let program = folder.join("bin").join(name);
    if is_fresh(folder, package) && program.exists() {
        return Ok(program);
    }
    need("python3")?;
    run_quiet(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder))?;
    run_quiet(Command::new(folder.join("bin/pip")).args([
        "install",
        "--quiet",
        "--disable-pip-version-check",
        package,
    ]))?;
    mark_fresh(folder, package)?;
    Ok(program)
}

/// Installs exactly what the lockfile of `source` names into `folder`, unless that is there already.
fn npm_ci(source: &Path, folder: &Path, name: &str) -> Result<PathBuf, Skip> {
    try_npm_ci(source, folder).map_err(|error| skip(name, &error, NODE_HOW))?;
    Ok(folder.to_path_buf())
}

fn try_npm_ci(source: &Path, folder: &Path) -> anyhow::Result<()> {
    let lock = source.join("package-lock.json");
    let pinned = std::fs::read_to_string(&lock)
        .with_context(|| format!("failed to read {}", lock.display()))?;
    if is_fresh(folder, &pinned) && folder.join("node_modules").exists() {
        return Ok(());
    }
    need("npm")?;
    std::fs::create_dir_all(folder)
        .with_context(|| format!("failed to create {}", folder.display()))?;
    for file in ["package.json", "package-lock.json"] {
        copy(&source.join(file), &folder.join(file))?;
    }
    // No package's own scripts run: none of these peers needs one.
    let arguments = ["ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund"];
    run_quiet(Command::new("npm").args(arguments).current_dir(folder))?;
    mark_fresh(folder, &pinned)
}

fn is_fresh(folder: &Path, pinned: &str) -> bool {
    std::fs::read_to_string(folder.join(".pinned")).is_ok_and(|found| found == pinned)
}

/// Written last: a fetch that was cut short is done again.
fn mark_fresh(folder: &Path, pinned: &str) -> anyhow::Result<()> {
    std::fs::write(folder.join(".pinned"), pinned)
        .with_context(|| format!("failed to mark {}", folder.display()))
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::copy(from, to)
        .with_context(|| format!("failed to copy {} to {}", from.display(), to.display()))?;
    Ok(())
}

fn need(program: &str) -> anyhow::Result<()> {
    anyhow::ensure!(exists(program), "there is no {program} on this machine");
    Ok(())
}

fn skip(name: &str, error: &anyhow::Error, how: &str) -> Skip {
    Skip { name: name.to_owned(), reason: format!("{error:#}"), how: how.to_owned() }
}
