//! A second witness of how far the log had come.
//!
//! The database cuts its journal off at the first place that it cannot read. After a crash that is
//! right: what follows was never acknowledged. After damage in the middle it would silently take
//! acknowledged records with it. So the last sequence is also written to a file beside the database, now
//! and then and without haste; a database that has come back shorter than that has lost something.

use std::{fs, io, path::Path};

use xxhash_rust::xxh3::xxh3_64;

const FILE: &str = "WATERMARK";

/// Writes how far the log has come. Not synced: after a power loss an older mark only notices less.
pub(crate) fn write(folder: &Path, sequence: u64) -> io::Result<()> {
    let number = sequence.to_string();
    let text = format!("{number} {:016x}\n", xxh3_64(number.as_bytes()));
    let draft = folder.join(".WATERMARK.new");
    fs::write(&draft, text)?;
    fs::rename(draft, folder.join(FILE))
}

/// How far the log had come at least. A mark that is missing or damaged says nothing.
pub(crate) fn read(folder: &Path) -> u64 {
    let text = fs::read_to_string(folder.join(FILE)).unwrap_or_default();
    let Some((number, checksum)) = text.trim().split_once(' ') else { return 0 };
    let fits = format!("{:016x}", xxh3_64(number.as_bytes())) == checksum;
    if fits { number.parse().unwrap_or(0) } else { 0 }
}
