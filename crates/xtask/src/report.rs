//! Counts what passed, failed and could not be run, and says so at the end.

use std::process::ExitCode;

/// Result of a whole task; every step adds to it.
#[derive(Debug, Default)]
pub(crate) struct Report {
    passed: usize,
    failed: Vec<String>,
    skipped: Vec<Skip>,
}

/// Something that this machine cannot run, and how to change that.
#[derive(Clone, Debug)]
pub(crate) struct Skip {
    pub(crate) name: String,
    pub(crate) reason: String,
    pub(crate) how: String,
}

// === impl Report ===

impl Report {
    /// Announces a step.
    pub(crate) fn heading(&self, title: &str) {
        println!("\n== {title}");
    }

    /// One check held.
    pub(crate) fn pass(&mut self, name: &str) {
        println!("ok      {name}");
        self.passed += 1;
    }

    /// Adds checks that a child has already printed.
    pub(crate) fn passed_by_child(&mut self, count: usize) {
        self.passed += count;
    }

    /// One check did not hold.
    pub(crate) fn fail(&mut self, name: &str, why: &str) {
        println!("FAILED  {name}: {why}");
        self.failed.push(format!("{name}: {why}"));
    }

    /// Adds a failure whose details a child has already printed.
    pub(crate) fn failed_by_child(&mut self, name: String) {
        self.failed.push(name);
    }

    /// One check could not be run. In CI that is a failure: a machine that lacks a peer proves nothing.
    pub(crate) fn skip(&mut self, skip: Skip) {
        println!("skipped: {} — {} — {}", skip.name, skip.reason, skip.how);
        if in_ci() {
            self.failed
                .push(format!("{}: skipped, which CI does not allow ({})", skip.name, skip.reason));
        } else {
            self.skipped.push(skip);
        }
    }

    /// Prints the summary; its last line stands alone so that other programs can read it.
    pub(crate) fn finish(self) -> ExitCode {
        if !self.failed.is_empty() {
            println!("\nfailures:");
            for failure in &self.failed {
                println!("    {failure}");
            }
        }
        if !self.skipped.is_empty() {
            println!("\nnot run on this machine:");
            for skip in &self.skipped {
                println!("    {} — {} — {}", skip.name, skip.reason, skip.how);
            }
        }
        println!(
            "\n{} passed, {} failed, {} skipped",
            self.passed,
            self.failed.len(),
            self.skipped.len()
        );
        if self.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// True on a build server, where nothing may be skipped.
pub(crate) fn in_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| value == "true")
}
