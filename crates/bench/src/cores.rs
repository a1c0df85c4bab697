//! Who runs where: servers have the first half of the cores, the load has the rest.

use std::process::Command;

use anyhow::Context as _;
use rustix::thread::{CpuSet, Pid, sched_getaffinity, sched_setaffinity};

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

/// Moves all threads of a process to these cores; those that they start later follow.
pub(crate) fn move_process(process: u32, cores: &[usize]) -> anyhow::Result<()> {
    if cores.is_empty() {
        return Ok(());
    }
    let mut set = CpuSet::new();
    cores.iter().for_each(|core| set.set(*core));
    for thread in std::fs::read_dir(format!("/proc/{process}/task"))? {
        let thread = thread?.file_name();
        let id = thread.to_str().and_then(|id| id.parse().ok()).and_then(Pid::from_raw);
        // It may have ended meanwhile.
        let _ = sched_setaffinity(Some(id.context("no thread")?), &set);
    }
    Ok(())
}
