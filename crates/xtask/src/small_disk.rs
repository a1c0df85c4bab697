//! Whether this machine lets tests have a file system of their own that is soon full. Knows nothing of the tests.

use std::process::Command;

use crate::{process::run_quiet, report::Skip, workspace::Workspace};

/// How the tests that need one are named.
pub(crate) const TESTS: &str = "f13_";

/// Mounts one and takes it away again, as the tests do: whoever is root may still not be allowed to.
pub(crate) fn probe(workspace: &Workspace) -> Result<(), Skip> {
    let place = workspace.target().join("small-disk");
    let tried = std::fs::create_dir_all(&place).map_err(anyhow::Error::from).and_then(|()| {
        run_quiet(
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(&place),
        )?;
        run_quiet(Command::new("umount").arg(&place))
    });
    tried.map(drop).map_err(|cause| Skip {
        name: "F13: the disk under the log is full".to_owned(),
        reason: format!("no small file system can be mounted here: {cause:#}"),
        how: "run as root, where mounting is allowed".to_owned(),
    })
}
