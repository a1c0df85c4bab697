//! F23: a power loss or a kill at every write and every sync of a long mixed run.
//!
//! The seed is printed; `FAULTFS_SEED` and `FAULTFS_STEPS` repeat or lengthen a run.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test"
)]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use stentor_faultfs::trace::Operation;

/// Threads that share the points.
const WORKERS: usize = 3;

/// A file: what is in it, and what of that would survive a power loss.
#[derive(Clone, Default)]
struct Content {
    now: Vec<u8>,
    safe: Vec<u8>,
    /// Where the safe content differs from the present one, in order of writing.
    pending: Vec<(u64, Vec<u8>)>,
}

#[derive(Clone, Default)]
struct Disk {
    files: BTreeMap<String, Content>,
    folders: Vec<String>,
    acks: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Crash {
    /// The process ends; what it wrote is there.
    Kill,
    /// The power goes; what was not synced is not there.
    PowerLoss,
    /// The power goes; of what was not synced, the beginning is there, up to any byte.
    Torn,
}

impl Content {
    fn write(&mut self, at: u64, data: &[u8]) {
        put(&mut self.now, at, data);
        self.pending.push((at, data.to_vec()));
    }

    fn sync(&mut self) {
        self.safe.clone_from(&self.now);
        self.pending.clear();
    }

    fn after(&self, crash: Crash, dice: &mut u64) -> Vec<u8> {
        match crash {
            Crash::Kill => self.now.clone(),
            Crash::PowerLoss => self.safe.clone(),
            Crash::Torn => {
                let mut content = self.safe.clone();
                let total: usize = self.pending.iter().map(|(_, data)| data.len()).sum();
                let mut left = roll(dice, total + 1);
                for (at, data) in &self.pending {
                    let part = &data[..data.len().min(left)];
                    put(&mut content, *at, part);
                    left -= part.len();
                }
                content
            }
        }
    }
}

fn put(content: &mut Vec<u8>, at: u64, data: &[u8]) {
    if data.is_empty() {
        return;
    }
    let at = usize::try_from(at).unwrap();
    if content.len() < at + data.len() {
        content.resize(at + data.len(), 0);
    }
    content[at..at + data.len()].copy_from_slice(data);
}

fn roll(dice: &mut u64, below: usize) -> usize {
    *dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    usize::try_from((*dice >> 33) % (below as u64)).unwrap()
}

impl Disk {
    /// Carries an operation out. Names and lengths are safe at once, as on a journaling file system;
    /// contents when synced.
    fn apply(&mut self, operation: &Operation) {
        match operation {
            // The child's own marks are no part of the folder.
            Operation::Create(path) if path == "acks" => {}
            Operation::Create(path) => {
                self.files.insert(path.clone(), Content::default());
            }
            Operation::Write(path, at, data) => {
                self.files.entry(path.clone()).or_default().write(*at, data);
            }
            Operation::Truncate(path, length) => {
                let length = usize::try_from(*length).unwrap();
                let content = self.files.entry(path.clone()).or_default();
                content.now.resize(length, 0);
                content.safe.resize(length, 0);
            }
            Operation::Sync(path) => {
                if let Some(content) = self.files.get_mut(path) {
                    content.sync();
                }
            }
            Operation::Rename(from, to) => {
                if let Some(content) = self.files.remove(from) {
                    self.files.insert(to.clone(), content);
                }
            }
            Operation::Remove(path) => {
                self.files.remove(path);
            }
            Operation::MakeFolder(path) => self.folders.push(path.clone()),
            Operation::RemoveFolder(path) => self.folders.retain(|folder| folder != path),
            Operation::Ack(data) => self.acks.extend_from_slice(data),
        }
    }

    fn lay_out(&self, root: &Path, crash: Crash, dice: &mut u64) {
        for folder in &self.folders {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        for (path, content) in &self.files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content.after(crash, dice)).unwrap();
        }
        fs::write(root.join("acks"), &self.acks).unwrap();
    }
}

fn record(root: &Path, seed: u64, steps: u64) -> Vec<Operation> {
    let library = library();
    let trace = root.join("trace");
    let work = root.join("work");
    fs::create_dir(&work).unwrap();
    let status = Command::new(env!("CARGO_BIN_EXE_faultfs-workload"))
        .args([work.display().to_string(), seed.to_string(), steps.to_string()])
        .env("LD_PRELOAD", &library)
        .env("FAULTFS_ROOT", &work)
        .env("FAULTFS_TRACE", &trace)
        .status()
        .unwrap();
    assert!(status.success(), "the workload failed");
    let operations = Operation::decode_all(&fs::read(trace).unwrap());
    // The trace tells the whole truth: replayed to its end it gives the folder that is there.
    let mut disk = Disk::default();
    operations.iter().for_each(|operation| disk.apply(operation));
    for (path, content) in &disk.files {
        let real =
            fs::read(work.join(path)).unwrap_or_else(|_| panic!("{path} is only in the trace"));
        assert!(real == content.now, "{path} differs from the trace");
    }
    operations
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

/// Looks at every `WORKERS`th point, beginning with `first`. Returns how many points there are.
fn look_at_points(operations: &[Operation], folder: &Path, seed: u64, first: usize) -> usize {
    let mut disk = Disk::default();
    let mut dice = seed;
    let mut points = 0;
    for (place, operation) in operations.iter().enumerate() {
        disk.apply(operation);
        let is_point =
            matches!(operation, Operation::Write(..) | Operation::Sync(_) | Operation::Rename(..));
        // Before anything was acknowledged nothing can be lost.
        if !is_point || disk.acks.is_empty() {
            continue;
        }
        points += 1;
        if points % WORKERS != first {
            continue;
        }
        let crash = [Crash::Kill, Crash::PowerLoss, Crash::Torn][points / WORKERS % 3];
        let root = folder.join(format!("crashed-{first}"));
        fs::create_dir(&root).unwrap();
        disk.lay_out(&root, crash, &mut dice);
        let report = stentor_embedded::verify(&root.join("data"), Some(&root.join("acks")));
        let report = report.unwrap_or_else(|error| {
            panic!("seed {seed}, operation {place} ({crash:?}): cannot be opened: {error:?}")
        });
        assert!(report.is_sound(), "seed {seed}, operation {place} ({crash:?}):\n{report}");
        fs::remove_dir_all(root).unwrap();
    }
    points
}

#[test]
fn f23_nothing_acknowledged_is_lost_at_any_write_or_sync() {
    let (seed, steps) = (setting("FAULTFS_SEED", 23), setting("FAULTFS_STEPS", 480));
    println!("FAULTFS_SEED={seed} FAULTFS_STEPS={steps}");
    let folder = tempfile::tempdir().unwrap();
    let operations = record(folder.path(), seed, steps);
    let (operations, path) = (&operations, folder.path());
    let points = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|first| scope.spawn(move || look_at_points(operations, path, seed, first)))
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).max().unwrap()
    });
    println!("{points} points, {} operations", operations.len());
    assert!(points >= 1_000, "only {points} points");
}

#[test]
fn f23_a_flipped_bit_is_found_and_named_or_harmless() {
    let seed = setting("FAULTFS_SEED", 5);
    println!("FAULTFS_SEED={seed}");
    let folder = tempfile::tempdir().unwrap();
    let operations = record(folder.path(), seed, 200);
    let mut disk = Disk::default();
    operations.iter().for_each(|operation| disk.apply(operation));
    let mut dice = seed;
    let (mut found, mut harmless) = (0, 0);
    for _ in 0..150 {
        let root = folder.path().join("flipped");
        fs::create_dir(&root).unwrap();
        let mut flipped = disk.clone();
        let bytes: usize = flipped.files.values().map(|content| content.now.len()).sum();
        let mut at = roll(&mut dice, bytes);
        let hit = flipped.files.iter_mut().find_map(|(path, content)| {
            if at < content.now.len() {
                content.now[at] ^= 1 << roll(&mut dice, 8);
                return Some((path.clone(), at));
            }
            at -= content.now.len();
            None
        });
        flipped.lay_out(&root, Crash::Kill, &mut dice);
        // Never a panic, and never a report that calls it sound while something acknowledged is missing:
        // the list of acknowledgements is part of the check.
        match stentor_embedded::verify(&root.join("data"), Some(&root.join("acks"))) {
            Ok(report) if report.is_sound() => harmless += 1,
            Ok(report) => {
                assert!(!report.listed.is_empty(), "{hit:?}");
                found += 1;
            }
            Err(error) => {
                assert!(!error.to_string().is_empty(), "{hit:?}");
                found += 1;
            }
        }
        fs::remove_dir_all(root).unwrap();
    }
    println!("{found} found and named, {harmless} harmless");
    assert!(found > 0);
}
