//! Where things are: the root of the repository and the folders under its target directory.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

/// The checkout this task runs in.
#[derive(Clone, Debug)]
pub(crate) struct Workspace {
    root: PathBuf,
    target: PathBuf,
}

// === impl Workspace ===

impl Workspace {
    /// Finds the repository from the place where xtask was compiled.
    pub(crate) fn find() -> anyhow::Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .ancestors()
            .nth(2)
            .context("crates/xtask must lie two levels below the repository's root")?
            .to_path_buf();
        let target =
            std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
        let target = if target.is_absolute() { target } else { root.join(target) };
        Ok(Self { root, target })
    }

    /// The root of the repository.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Cargo's target directory: everything that a task writes lies in it.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// Where the pinned peers are kept between runs.
    pub(crate) fn peers(&self) -> PathBuf {
        self.target.join("peers")
    }

    /// `cargo` at the root of the repository.
    pub(crate) fn cargo(&self) -> Command {
        // Cargo names itself to what it runs, so a toolchain chosen with `cargo +NAME` is kept.
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.current_dir(&self.root);
        // Cargo described this task to it. Build scripts that look at such variables would run again for every
        // build that is started from here, and again for the next one that is not.
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
                command.env_remove(&*name);
            }
        }
        command
    }

    /// A file of a debug build, for instance `stentor` or `examples/echo`.
    pub(crate) fn debug_binary(&self, name: &str) -> PathBuf {
        self.target.join("debug").join(name)
    }
}
