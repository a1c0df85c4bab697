//! A disk that is full, or that fails to sync.

use std::{fs, process::ExitStatus};

use stentor_faultfs::trace::Operation;

use crate::{
    conversations::{acks, use_folder},
    record,
};

/// What the workload says when the disk has failed and it has made sure that nothing is promised any more.
const FAILED: i32 = 3;

/// So many that most syncs and most bytes are those of writing, not of making the folder.
const STEPS: u64 = 300;

/// Runs into the fault, then opens the folder again on a disk that is well.
fn fail(fault: (&str, u64)) -> ExitStatus {
    let folder = tempfile::tempdir().unwrap();
    let recording = record(folder.path(), &[11, STEPS], &[fault]);
    let what = format!("{fault:?}: {}", recording.status);
    let data = recording.work.join("data");
    let promised = acks(&fs::read(recording.work.join("acks")).unwrap_or_default());
    if data.join("FORMAT").exists() {
        let report = stentor_embedded::verify(&data, Some(&recording.work.join("acks"))).unwrap();
        assert!(report.is_sound(), "{what}:\n{report}");
    } else {
        assert!(promised.is_empty(), "{what}: acknowledged before the folder was made");
    }
    let found = use_folder(&data, &promised).unwrap();
    assert!(found.closed.is_empty() && !found.stopped, "{what}: {found:?}");
    recording.status
}

#[test]
fn f13_on_a_full_disk_nothing_is_acknowledged_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let whole = record(folder.path(), &[11, STEPS], &[]);
    let written = whole.operations.iter().map(|operation| match operation {
        Operation::Write(_, _, data) => data.len() as u64,
        _ => 0,
    });
    let written: u64 = written.sum();
    let mut failed = 0;
    for part in 1..=16 {
        // Well below all of it: how much the database writes in the background is not the same twice.
        let status = fail(("FAULTFS_SPACE", written * part / 24));
        assert!(!status.success(), "part {part}: a full disk was not noticed");
        failed += u32::from(status.code() == Some(FAILED));
    }
    assert!(failed >= 12, "only {failed} ran into the full disk while writing");
}

#[test]
fn f13_a_sync_that_fails_ends_all_promises() {
    let folder = tempfile::tempdir().unwrap();
    let whole = record(folder.path(), &[11, STEPS], &[]);
    let sync = |operation: &&Operation| matches!(operation, Operation::Sync(_));
    let syncs = whole.operations.iter().filter(sync).count() as u64;
    let mut failed = 0;
    for part in 1..=12 {
        let status = fail(("FAULTFS_SYNCS", syncs * part / 14));
        assert!(!status.success(), "part {part}: a sync that failed was not noticed");
        failed += u32::from(status.code() == Some(FAILED));
    }
    assert!(failed >= 9, "only {failed} failed while writing");
}
