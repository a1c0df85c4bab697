//! One bit turned over, anywhere.

use std::{fs, path::Path};

use stentor_faultfs::disk::{Crash, Dice, Disk};

use crate::{
    conversations::{Acks, acks, use_folder},
    record, setting,
};

/// Acknowledgements of one batch at most, as the workload writes them.
const BATCH_MAX: usize = 3;

#[derive(Debug, Default)]
struct Counts {
    /// Everything that was acknowledged is there.
    harmless: usize,
    /// Some sessions say that they are damaged, and all others go on.
    closed: usize,
    /// All sessions say that they are damaged: the bit was in a block that the database needs to find any.
    all_closed: usize,
    /// Nothing more is written by anybody: the database has met the damage while it merged tables.
    stopped: usize,
    /// The folder is refused.
    refused: usize,
}

/// Turns bits over in a folder and looks what is left. Never a panic; whatever is missing is named.
fn flip(disk: &Disk, acks: &Acks, flips: u64, seed: u64, root: &Path) -> Counts {
    let mut counts = Counts::default();
    let mut dice = Dice(seed);
    for _ in 0..flips {
        let mut flipped = disk.clone();
        let files: Vec<_> =
            disk.files().map(|(path, content, _)| (path.to_owned(), content.len())).collect();
        let total: usize = files.iter().map(|(_, size)| size).sum();
        let mut at = usize::try_from(dice.roll(total as u64)).unwrap();
        let bit = u8::try_from(dice.roll(8)).unwrap();
        let mut hit = String::new();
        for (path, size) in files {
            if at < size {
                flipped.flip(&path, at, bit);
                hit = format!("bit {bit} of byte {at} of {path}");
                break;
            }
            at -= size;
        }
        for used in [false, true] {
            let root = root.join("flipped");
            fs::create_dir(&root).unwrap();
            flipped.lay_out(&root, Crash::Kill, &mut dice).unwrap();
            let data = root.join("data");
            if used {
                match use_folder(&data, acks) {
                    Ok(found) if found.stopped => counts.stopped += 1,
                    Ok(found) if found.closed.is_empty() => counts.harmless += 1,
                    Ok(found) if found.whole == 0 => counts.all_closed += 1,
                    Ok(_) => counts.closed += 1,
                    Err(error) => {
                        assert!(error.to_string().contains("data"), "{hit}: {error}");
                        counts.refused += 1;
                    }
                }
            } else if let Ok(report) = stentor_embedded::verify(&data, Some(&root.join("acks"))) {
                assert_eq!(report.is_sound(), report.listed.is_empty(), "{hit}");
            }
            fs::remove_dir_all(root).unwrap();
        }
    }
    counts
}

#[test]
fn f23_a_flipped_bit_in_a_closed_folder_is_found_and_named_or_harmless() {
    let (seed, flips) = (setting("FAULTFS_SEED", 5), setting("FAULTFS_FLIPS", 150));
    println!("FAULTFS_SEED={seed} FAULTFS_FLIPS={flips}");
    let folder = tempfile::tempdir().unwrap();
    let recording = record(folder.path(), &[seed, 200], &[]);
    let disk = Disk::replay(&recording.operations);
    let counts = flip(&disk, &acks(disk.acks()), flips, seed, folder.path());
    println!("closed in good order: {counts:?}");
    assert!(counts.harmless > 0 && counts.closed > 0, "{counts:?}");
}

#[test]
fn f23_a_flipped_bit_in_a_crashed_folder_is_found_and_named_or_harmless() {
    let (seed, flips) = (setting("FAULTFS_SEED", 6), setting("FAULTFS_FLIPS", 150) / 2);
    println!("FAULTFS_SEED={seed} FAULTFS_FLIPS={flips}");
    let folder = tempfile::tempdir().unwrap();
    let recording = record(folder.path(), &[seed, 200], &[]);
    // Before the end, and so before it was closed.
    let all = &recording.operations;
    let disk = Disk::replay(&all[..all.len() * 9 / 10]);
    // What a crash leaves of its last batch and what a flipped bit does to it look alike.
    let all: Vec<_> = disk.acks().split_inclusive(|byte| *byte == b'\n').collect();
    let safe = all[..all.len().saturating_sub(BATCH_MAX)].concat();
    let counts = flip(&disk, &acks(&safe), flips, seed, folder.path());
    println!("after a crash: {counts:?}");
    assert!(counts.refused > 0, "{counts:?}");
}
