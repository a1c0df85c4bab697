//! A copy of the sources to break, refreshed from the checkout as it is now (uncommitted changes included).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use super::Mutant;
use crate::process::run_quiet;

/// Brings the copy up to date. Unchanged files keep their times, so cargo rebuilds only what changed.
pub(super) fn refresh(root: &Path, tree: &Path) -> anyhow::Result<PathBuf> {
    let mut git = Command::new("git");
    git.args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"]).current_dir(root);
    let listed = run_quiet(&mut git)?;
    let manifest = tree.with_extension("list");
    remove_gone(tree, &std::fs::read_to_string(&manifest).unwrap_or_default(), &listed)?;
    for name in listed.split('\0').filter(|name| !name.is_empty()) {
        let (from, to) = (root.join(name), tree.join(name));
        let Ok(wanted) = std::fs::read(&from) else { continue };
        if std::fs::read(&to).is_ok_and(|found| found == wanted) {
            continue;
        }
        if let Some(folder) = to.parent() {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("failed to create {}", folder.display()))?;
        }
        std::fs::write(&to, wanted).with_context(|| format!("failed to write {}", to.display()))?;
    }
    std::fs::write(&manifest, &listed)
        .with_context(|| format!("failed to write {}", manifest.display()))?;
    Ok(tree.to_path_buf())
}

/// A test file that is gone from the checkout must not go on running in the copy.
fn remove_gone(tree: &Path, before: &str, now: &str) -> anyhow::Result<()> {
    let now: BTreeSet<&str> = now.split('\0').collect();
    for name in before.split('\0').filter(|name| !name.is_empty() && !now.contains(name)) {
        let path = tree.join(name);
        if path.exists() {
            std::fs::remove_file(&path)
                .with_context(|| format!("failed to remove {}", path.display()))?;
        }
    }
    Ok(())
}

/// Applies one mutant in the copy and returns the file's sound text.
pub(super) fn break_file(tree: &Path, mutant: &Mutant) -> anyhow::Result<String> {
    let path = tree.join(mutant.file);
    let sound = std::fs::read_to_string(&path)
        .with_context(|| format!("{}: failed to read", path.display()))?;
    let found = sound.matches(mutant.find).count();
    anyhow::ensure!(
        found == 1,
        "mutant {:?} no longer applies: its text stands {found} times in {}",
        mutant.name,
        mutant.file
    );
    std::fs::write(&path, sound.replacen(mutant.find, mutant.replace, 1))
        .with_context(|| format!("failed to break {}", path.display()))?;
    Ok(sound)
}
