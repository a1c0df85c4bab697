//! Finds out the exact version that is being built.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=../../.git/HEAD");
    println!("cargo:rerun-if-changed=../../.git/refs/heads");
    let output =
        Command::new("git").args(["describe", "--always", "--dirty=+", "--abbrev=12"]).output();
    let commit = output.ok().filter(|output| output.status.success());
    let commit = commit.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    println!("cargo:rustc-env=STENTOR_COMMIT={}", commit.unwrap_or_else(|| "unknown".into()));
}
