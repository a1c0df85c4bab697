//! Opening a data folder.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use stentor_types::Incarnation;

use crate::{
    folder::Folder,
    journal::{self, Broken},
    tables::Tables,
    watermark::Mark,
    writer::Writer,
};

/// How a data folder is opened. All bytes count against the memory of the process, except the journal's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Bytes of tables kept in memory.
    pub cache_bytes: u64,
    /// Bytes of each of the eight tables that are gathered in memory before they are written out; while
    /// the disk is slow there may be up to four times as many. Settled when a folder is made.
    pub memory_bytes: u64,
    /// Bytes of journals, above which memory is written out so that old ones can go: bounds what is read
    /// again at the next start. At least [`Self::JOURNAL_BYTES_MIN`].
    pub journal_bytes: u64,
}

/// A data folder cannot be opened. Each message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error(
        "the data folder {} is in use by another process: stop that one, or give this one another folder with --data",
        folder.display()
    )]
    InUse {
        /// Which.
        folder: PathBuf,
    },
    /// It was written by a later version.
    #[error(
        "the data folder {} has format {found}, this version reads up to {supported}: use the version that wrote it",
        folder.display()
    )]
    NewerVersion {
        /// Which.
        folder: PathBuf,
        /// Its format.
        found: u32,
        /// The highest that can be read.
        supported: u32,
    },
    /// It holds something else.
    #[error(
        "{} is not empty and no data folder: choose an empty one with --data",
        folder.display()
    )]
    NotADataFolder {
        /// Which.
        folder: PathBuf,
    },
    /// There is none.
    #[error("{} is no data folder: name the one that the server was given with --data", folder.display())]
    Missing {
        /// Which.
        folder: PathBuf,
    },
    /// A journal is damaged in the middle. Nothing was changed.
    #[error(
        "the data folder {} is damaged: its journal {} cannot be read at byte {at}, and records follow that \
         were acknowledged. Restore a backup; nothing was changed",
        folder.display(), journal.display()
    )]
    JournalDamaged {
        /// Which.
        folder: PathBuf,
        /// Its journal.
        journal: PathBuf,
        /// Up to where that is whole.
        at: u64,
    },
    /// It has lost what was acknowledged.
    #[error(
        "the data folder {} ends at write {found}, but had come to {expected}: something was lost. \
         Restore a backup, or accept the loss by removing the file WATERMARK in it",
        folder.display()
    )]
    Shortened {
        /// Which.
        folder: PathBuf,
        /// How many writes it has seen.
        found: u64,
        /// How many it had seen.
        expected: u64,
    },
    /// The database cannot make sense of it.
    #[error("the data folder {} is damaged: restore a backup", folder.display())]
    Damaged {
        /// Which.
        folder: PathBuf,
        /// What the database said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The operating system refused.
    #[error("the data folder {} cannot be used", folder.display())]
    Io {
        /// Which.
        folder: PathBuf,
        /// What it said.
        #[source]
        source: io::Error,
    },
}

/// Log and store in one data folder. A clone is a handle to the same one.
#[derive(Clone)]
pub struct Embedded {
    pub(crate) tables: Tables,
    pub(crate) writer: Arc<Writer>,
    pub(crate) damaged: Damaged,
    pub(crate) incarnation: Incarnation,
}

/// Entities with a damaged record. Nothing may be written behind one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Damaged(Arc<Mutex<BTreeSet<Vec<u8>>>>);

// === impl Options ===

impl Options {
    /// The database's own minimum.
    pub const JOURNAL_BYTES_MIN: u64 = 64 << 20;
}

impl Default for Options {
    fn default() -> Self {
        Self { cache_bytes: 64 << 20, memory_bytes: 16 << 20, journal_bytes: 128 << 20 }
    }
}

// === impl Embedded ===

impl Embedded {
    /// Opens a data folder, making one if it is missing or empty. Blocks.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(folder: &Path, options: Options) -> Result<Self, OpenError> {
        Self::open_claimed(Folder::claim(folder)?, options)
    }

    /// Opens a data folder that is there. Blocks.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open_existing(folder: &Path, options: Options) -> Result<Self, OpenError> {
        Self::open_claimed(Folder::existing(folder)?, options)
    }

    fn open_claimed(folder: Folder, options: Options) -> Result<Self, OpenError> {
        let io = |source| OpenError::Io { folder: folder.path().to_owned(), source };
        let mark = recover(&folder)?;
        if mark.closed {
            // From here on the journal is needed again.
            Mark { closed: false, ..mark }.write(folder.path(), true).map_err(io)?;
        }
        let tables = Tables::open(&folder, options)?;
        let incarnation = tables.incarnation()?;
        let position = tables.position()?;
        if position.batches < mark.batches {
            let (found, expected) = (position.batches, mark.batches);
            return Err(OpenError::Shortened { folder: folder.path().to_owned(), found, expected });
        }
        if folder.is_fresh() {
            folder.finish().map_err(io)?;
        }
        let damaged = Damaged::default();
        let writer = Writer::start(tables.clone(), damaged.clone(), position).map_err(io)?;
        Ok(Self { tables, writer: Arc::new(writer), damaged, incarnation })
    }
}

impl std::fmt::Debug for Embedded {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Embedded")
            .field("incarnation", &self.incarnation)
            .finish_non_exhaustive()
    }
}

/// Makes the journals of a folder readable; refuses one that has lost something in the middle.
pub(crate) fn recover(folder: &Folder) -> Result<Mark, OpenError> {
    if folder.is_fresh() {
        return Ok(Mark::default());
    }
    let path = folder.path().to_owned();
    let mark = Mark::read(&path);
    match journal::recover(&path, &folder.database(), mark.closed) {
        Ok(None) => Ok(mark),
        Ok(Some(Broken { journal, at, .. })) => {
            let journal = journal.strip_prefix(&path).map(Path::to_owned).unwrap_or(journal);
            Err(OpenError::JournalDamaged { folder: path, journal, at })
        }
        Err(source) => Err(OpenError::Io { folder: path, source }),
    }
}

// === impl Damaged ===

impl Damaged {
    /// Says whether that is news.
    pub(crate) fn mark(&self, entity: &[u8]) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(entity.to_vec())
    }

    pub(crate) fn has(&self, entity: &[u8]) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(entity)
    }
}
