//! A second witness of how far the database had come, and whether it was closed in good order.
//!
//! The database cuts its journal off at the first place that it cannot read. After a crash that is
//! right: what follows was never acknowledged. After damage it would silently take acknowledged records
//! with it. [`crate::journal`] tells the two apart where it can; where it cannot (the last batch of all),
//! this file can: a database that has come back shorter than it says has lost something.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
};

use xxhash_rust::xxh3::xxh3_64;

const FILE: &str = "WATERMARK";
const DRAFT: &str = ".WATERMARK.new";

/// What the witness says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Batches that were written, at least.
    pub(crate) batches: u64,
    /// Everything that was written is in tables: the journal is no longer needed.
    pub(crate) closed: bool,
}

impl Mark {
    /// What the file says. One that is missing or damaged says nothing.
    pub(crate) fn read(folder: &Path) -> Self {
        let text = fs::read(folder.join(FILE)).unwrap_or_default();
        Self::parse(&String::from_utf8_lossy(&text)).unwrap_or_default()
    }

    fn parse(text: &str) -> Option<Self> {
        let (said, checksum) = text.trim_end().rsplit_once(' ')?;
        if format!("{:016x}", xxh3_64(said.as_bytes())) != checksum {
            return None;
        }
        let (batches, state) = said.split_once(' ')?;
        Some(Self { batches: batches.parse().ok()?, closed: state == "closed" })
    }

    /// Writes it down, at once or whenever the system likes: an older mark only notices less. "Closed" is
    /// taken back at once, before anything is written that would make it a lie.
    pub(crate) fn write(self, folder: &Path, at_once: bool) -> io::Result<()> {
        let said = format!("{} {}", self.batches, if self.closed { "closed" } else { "open" });
        let mut draft = File::create(folder.join(DRAFT))?;
        writeln!(draft, "{said} {:016x}", xxh3_64(said.as_bytes()))?;
        if at_once {
            draft.sync_all()?;
        }
        fs::rename(folder.join(DRAFT), folder.join(FILE))?;
        if at_once { File::open(folder)?.sync_all() } else { Ok(()) }
    }
}
