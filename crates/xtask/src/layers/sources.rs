//! Looks at every committed source file: none too long, no ignored test, nothing left unfinished.

use std::path::Path;
use std::process::Command;

use anyhow::Context as _;

use crate::process::run_quiet;

/// A longer file is two files.
const LINES_MAX: usize = 500;

/// What must not be committed, put together here so that this file does not find itself.
fn forbidden() -> [(String, &'static str); 3] {
    [
        (["#[", "ignore"].concat(), "a test that never runs proves nothing"),
        (["todo", "!("].concat(), "unfinished code"),
        (["FIX", "ME"].concat(), "a known defect: mend it or file it"),
    ]
}

/// Every breach, in words. Looks at what git knows and at new files that it does not ignore.
pub(super) fn check(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut git = Command::new("git");
    git.args(["ls-files", "--cached", "--others", "--exclude-standard", "-z", "--"]);
    git.args(["*.rs", "*.js", "*.mjs"]).current_dir(root);
    let listed = run_quiet(&mut git)?;
    let mut problems = Vec::new();
    for name in listed.split('\0').filter(|name| !name.is_empty()) {
        let path = root.join(name);
        // Deleted in the work tree, not yet in the index.
        if !path.exists() {
            continue;
        }
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("failed to read {name}"))?;
        problems.extend(look(name, &text));
    }
    Ok(problems)
}

fn look(name: &str, text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let lines = text.lines().count();
    if lines > LINES_MAX {
        problems.push(format!("{name} has {lines} lines, at most {LINES_MAX} are allowed"));
    }
    for (number, line) in text.lines().enumerate() {
        for (word, why) in forbidden() {
            if line.contains(&word) {
                problems.push(format!("{name}:{} contains {word}: {why}", number + 1));
            }
        }
    }
    if name.ends_with("/mod.rs") {
        problems.push(format!("{name}: name the file after its module instead"));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::look;

    #[test]
    fn a_long_file_and_an_ignored_test_are_found() {
        assert!(look("a.rs", &"x\n".repeat(500)).is_empty());
        assert_eq!(look("a.rs", &"x\n".repeat(501)).len(), 1);
        let ignored = ["#[", "ignore]"].concat();
        assert_eq!(look("a.rs", &ignored).len(), 1);
    }
}
