//! F13 and F23: the data folder after a crash at any write and any sync, with any bit turned over, and on
//! a disk that is full or fails.
//!
//! Each test prints its seed. `FAULTFS_SEED` repeats a run as far as the database's own threads allow;
//! the trace of a run that failed is kept and named, and `FAULTFS_TRACE_FILE` looks at it again.
//! `FAULTFS_STEPS` and `FAULTFS_FLIPS` make for a longer run.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test"
)]

mod conversations;
mod crash_points;
mod failing_disk;
mod flipped_bits;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
};

use stentor_faultfs::{disk::Disk, trace::Operation};

/// A run of the workload in a process of its own.
struct Recording {
    status: ExitStatus,
    operations: Vec<Operation>,
    trace: PathBuf,
    /// What the process left: the folder `data` and the file `acks`.
    work: PathBuf,
}

/// Runs the workload in `root` and gives what it did. `arguments`: seed, steps, MiB of history.
fn record(root: &Path, arguments: &[u64], faults: &[(&str, u64)]) -> Recording {
    let (trace, work) = (root.join("trace"), root.join("work"));
    fs::create_dir(&work).unwrap();
    let status = Command::new(env!("CARGO_BIN_EXE_faultfs-workload"))
        .arg(&work)
        .args(arguments.iter().map(u64::to_string))
        .env("LD_PRELOAD", library())
        .env("FAULTFS_ROOT", &work)
        .env("FAULTFS_TRACE", &trace)
        .envs(faults.iter().map(|(name, value)| (name, value.to_string())))
        .status()
        .unwrap();
    let operations = Operation::decode_all(&fs::read(&trace).unwrap());
    // The trace tells the whole truth: replayed to its end it gives the folder that is there.
    for (path, content, length) in Disk::replay(&operations).files() {
        let real =
            fs::read(work.join(path)).unwrap_or_else(|_| panic!("{path} is only in the trace"));
        assert_eq!(real.len() as u64, length, "length of {path}");
        let (begin, end) = real.split_at(content.len().min(real.len()));
        assert!(begin == content, "{path} differs from the trace");
        assert!(end.iter().all(|byte| *byte == 0), "{path} has more than the trace");
    }
    Recording { status, operations, trace, work }
}

/// The preloaded library lies beside the test.
fn library() -> PathBuf {
    let here = std::env::current_exe().unwrap();
    let folder = here.parent().unwrap();
    let name = "libstentor_faultfs.so";
    [folder.join(name), folder.parent().unwrap().join(name)]
        .into_iter()
        .find(|path| path.exists())
        .unwrap()
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}
