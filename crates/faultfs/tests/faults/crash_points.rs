//! A power loss or a kill at every write, every sync and every change of a name of a long mixed run.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
};

use stentor_faultfs::{
    disk::{Crash, Dice, Disk},
    trace::Operation,
};

use crate::{
    conversations::{acks, use_folder},
    record, setting,
};

/// Threads that share the points.
const WORKERS: usize = 4;
/// Every how many points the folder is not only checked but used.
const USED_EVERY: usize = 6;

/// Points to look at, and what a failure names.
struct Look<'a> {
    operations: &'a [Operation],
    points: Vec<usize>,
    folder: &'a Path,
    name: String,
}

/// Any operation that changes what a crash would leave.
fn points(operations: &[Operation]) -> Vec<usize> {
    let places = operations.iter().enumerate();
    places.filter(|(_, op)| !matches!(op, Operation::Ack(_))).map(|(place, _)| place).collect()
}

impl Look<'_> {
    fn run(&self) {
        let counter = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            let used = &counter;
            let workers = (0..WORKERS).map(|first| scope.spawn(move || self.share(first, used)));
            for worker in workers.collect::<Vec<_>>() {
                worker.join().unwrap_or_else(|_| panic!("{}", self.name));
            }
            println!("{} points, {} used", self.points.len(), used.load(Ordering::Relaxed));
        });
    }

    /// Every `WORKERS`th point, beginning with `first`.
    fn share(&self, first: usize, used: &AtomicUsize) {
        let mut disk = Disk::default();
        let mut next = 0;
        for (number, place) in self.points.iter().enumerate() {
            if number % WORKERS != first {
                continue;
            }
            self.operations[next..=*place].iter().for_each(|operation| disk.apply(operation));
            next = place + 1;
            let crash = Crash::ALL[(number / WORKERS) % Crash::ALL.len()];
            let root = self.folder.join(format!("crashed-{first}"));
            fs::create_dir(&root).unwrap();
            disk.lay_out(&root, crash, &mut Dice(*place as u64)).unwrap();
            let what = format!("{}, operation {place} ({crash:?})", self.name);
            if look(&root, &disk, (number / WORKERS).is_multiple_of(USED_EVERY), &what) {
                used.fetch_add(1, Ordering::Relaxed);
            }
            fs::remove_dir_all(root).unwrap();
        }
    }
}

/// Checks a folder; uses it if asked, or if it was still in the making.
fn look(root: &Path, disk: &Disk, wanted: bool, what: &str) -> bool {
    let data = root.join("data");
    let made = data.join("FORMAT").exists();
    if made {
        let report = stentor_embedded::verify(&data, Some(&root.join("acks")));
        let report = report.unwrap_or_else(|error| panic!("{what}: cannot be opened: {error:?}"));
        assert!(report.is_sound(), "{what}:\n{report}");
    } else {
        assert!(disk.acks().is_empty(), "{what}: acknowledged before the folder was made");
    }
    if !wanted && made {
        return false;
    }
    let found = use_folder(&data, &acks(disk.acks()));
    let found = found.unwrap_or_else(|error| panic!("{what}: cannot be used: {error:?}"));
    assert!(found.closed.is_empty() && !found.stopped, "{what}: {found:?}");
    true
}

/// Keeps a trace where a failure can be looked at again.
fn keep(trace: &Path, name: &str) -> PathBuf {
    let kept = std::env::temp_dir().join(format!("faultfs-{name}.trace"));
    fs::copy(trace, &kept).unwrap();
    kept
}

#[test]
fn f23_nothing_acknowledged_is_lost_at_any_write_or_sync() {
    let (seed, steps) = (setting("FAULTFS_SEED", 23), setting("FAULTFS_STEPS", 240));
    println!("FAULTFS_SEED={seed} FAULTFS_STEPS={steps}");
    let folder = tempfile::tempdir().unwrap();
    let (operations, trace) = match std::env::var("FAULTFS_TRACE_FILE") {
        Ok(file) => (Operation::decode_all(&fs::read(&file).unwrap()), PathBuf::from(file)),
        Err(_) => {
            let recording = record(folder.path(), &[seed, steps], &[]);
            assert!(recording.status.success(), "the workload failed");
            (recording.operations, keep(&recording.trace, "crash-points"))
        }
    };
    let points = points(&operations);
    assert!(points.len() >= 1_000, "only {} points", points.len());
    let name = format!("seed {seed}, trace {}", trace.display());
    Look { operations: &operations, points, folder: folder.path(), name }.run();
    fs::remove_file(trace).unwrap();
}

#[test]
fn f23_nothing_is_lost_when_the_database_changes_to_its_next_journal() {
    let folder = tempfile::tempdir().unwrap();
    let recording = record(folder.path(), &[7, 60, 66], &[]);
    assert!(recording.status.success(), "the workload failed");
    let operations = recording.operations;
    let next = |operation: &Operation| matches!(operation, Operation::Create(path) if path.ends_with("/1.jnl"));
    let change = operations.iter().position(next).unwrap();
    let points = points(&operations);
    let middle = points.iter().position(|place| *place >= change).unwrap();
    let points = points[middle - 10..(middle + 25).min(points.len())].to_vec();
    let name = "the change of journals".to_owned();
    Look { operations: &operations, points, folder: folder.path(), name }.run();
}

#[test]
fn p1_every_acknowledgement_follows_a_sync_of_the_journal() {
    let folder = tempfile::tempdir().unwrap();
    let recording = record(folder.path(), &[1, 60], &[]);
    assert!(recording.status.success(), "the workload failed");
    let (mut disk, mut acks, mut syncs) = (Disk::default(), 0, 0);
    for (place, operation) in recording.operations.iter().enumerate() {
        match operation {
            Operation::Ack(_) => {
                let open: Vec<_> =
                    disk.unsafe_files().filter(|path| path.ends_with(".jnl")).collect();
                assert!(open.is_empty(), "acknowledged at {place} while {open:?} is not synced");
                acks += 1;
            }
            Operation::Sync(path) if path.ends_with(".jnl") => syncs += 1,
            _ => {}
        }
        disk.apply(operation);
    }
    assert!(acks >= 60 && syncs >= 60, "{acks} acknowledgements, {syncs} syncs");
}
