//! Who runs where: servers have the first half of the cores, the load has the rest.

use std::process::Command;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Moves the calling thread, and all that it starts from now on, to the cores of the load; must come before the
/// runtime. Returns the cores of the servers, empty if there is only one for both.
pub(crate) fn split() -> anyhow::Result<Vec<usize>> {
    let ours = sched_getaffinity(None)?;
    let mut servers: Vec<_> = (0..CpuSet::MAX_CPU).filter(|core| ours.is_set(*core)).collect();
    let load = servers.split_off(servers.len() / 2);
    let mut set = CpuSet::new();
    load.iter().for_each(|core| set.set(*core));
    sched_setaffinity(None, &set)?;
    Ok(servers)
}

/// A command that runs the program it is given as arguments on these cores.
pub(crate) fn command_on(cores: &[usize]) -> Command {
    if cores.is_empty() {
        return Command::new("env");
    }
    let cores: Vec<_> = cores.iter().map(ToString::to_string).collect();
    let mut command = Command::new("taskset");
    command.args(["-c", &cores.join(",")]);
    command
}
