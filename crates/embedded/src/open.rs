//! Opening a data folder.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use stentor_types::Incarnation;

use crate::{folder, values, watermark, writer::Writer};

/// Journal bytes before memory is written out to tables: bounds what is read again at the next start.
const JOURNAL_BYTES: u64 = 128 << 20;
/// Open files. The hard limit of a process is often 1,024.
const FILES_MAX: usize = 256;

/// How a data folder is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Bytes of tables kept in memory.
    pub cache_bytes: u64,
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
    /// It has lost records that were acknowledged.
    #[error(
        "the data folder {} ends at record {found}, but had come to {expected}: its journal is damaged. \
         Restore a backup, or accept the loss by removing the file WATERMARK in it",
        folder.display()
    )]
    Shortened {
        /// Which.
        folder: PathBuf,
        /// Where it ends.
        found: u64,
        /// Where it had come to.
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

/// The database's tables.
#[derive(Clone)]
pub(crate) struct Tables {
    pub(crate) database: Database,
    pub(crate) records: Keyspace,
    pub(crate) heads: Keyspace,
    pub(crate) events: Keyspace,
    pub(crate) sessions: Keyspace,
    pub(crate) directories: Keyspace,
    pub(crate) meta: Keyspace,
}

/// Entities with a damaged record. Nothing may be written behind one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Damaged(Arc<Mutex<BTreeSet<Vec<u8>>>>);

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        Self { cache_bytes: 64 << 20 }
    }
}

// === impl Embedded ===

impl Embedded {
    /// Opens a data folder, making one if it is missing or empty.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(folder: &Path, options: Options) -> Result<Self, OpenError> {
        folder::prepare(folder)?;
        let tables = Tables::open(folder, options)?;
        let incarnation = tables.incarnation(folder)?;
        let last = tables.last_sequence(folder)?;
        let expected = watermark::read(folder);
        if last < expected {
            return Err(OpenError::Shortened { folder: folder.to_owned(), found: last, expected });
        }
        let damaged = Damaged::default();
        let writer = Writer::start(folder.to_owned(), tables.clone(), damaged.clone(), last)
            .map_err(|source| OpenError::Io { folder: folder.to_owned(), source })?;
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

// === impl Tables ===

impl Tables {
    pub(crate) fn open(folder: &Path, options: Options) -> Result<Self, OpenError> {
        let path = folder.join("db");
        // The database asserts here and there on what it reads; damage must not look like a bug of ours.
        let opened = std::panic::catch_unwind(|| Self::try_open(&path, options));
        let wrap = |source: Box<dyn std::error::Error + Send + Sync>| OpenError::Damaged {
            folder: folder.to_owned(),
            source,
        };
        match opened {
            Ok(Ok(tables)) => Ok(tables),
            Ok(Err(fjall::Error::Locked)) => Err(OpenError::InUse { folder: folder.to_owned() }),
            Ok(Err(fjall::Error::Io(source))) => {
                Err(OpenError::Io { folder: folder.to_owned(), source })
            }
            Ok(Err(other)) => Err(wrap(Box::new(other))),
            Err(_) => Err(wrap("the database gave up while reading it".into())),
        }
    }

    fn try_open(path: &Path, options: Options) -> fjall::Result<Self> {
        let database = Database::builder(path)
            .cache_size(options.cache_bytes)
            .max_journaling_size(JOURNAL_BYTES)
            .max_cached_files(Some(FILES_MAX))
            .open()?;
        let table = |name: &str| database.keyspace(name, KeyspaceCreateOptions::default);
        Ok(Self {
            records: table("records")?,
            heads: table("heads")?,
            events: table("events")?,
            sessions: table("sessions")?,
            directories: table("directories")?,
            meta: table("meta")?,
            database,
        })
    }

    /// The random id of this log, drawn when the folder was made.
    fn incarnation(&self, folder: &Path) -> Result<Incarnation, OpenError> {
        let key = b"incarnation";
        if let Some(value) = self.meta(folder, key)? {
            let id = value.as_ref().try_into().map(u128::from_be_bytes);
            return id.map(Incarnation).map_err(|_| damaged_meta(folder, "incarnation"));
        }
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(|error| OpenError::Io {
            folder: folder.to_owned(),
            source: io::Error::other(error),
        })?;
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncAll));
        batch.insert(&self.meta, key.as_slice(), values::seal(key, &id));
        batch.commit().map_err(|source| OpenError::Damaged {
            folder: folder.to_owned(),
            source: Box::new(source),
        })?;
        Ok(Incarnation(u128::from_be_bytes(id)))
    }

    /// The last sequence that was given.
    pub(crate) fn last_sequence(&self, folder: &Path) -> Result<u64, OpenError> {
        let Some(value) = self.meta(folder, LAST_SEQUENCE)? else { return Ok(0) };
        let number = value.as_ref().try_into().map(u64::from_be_bytes);
        number.map_err(|_| damaged_meta(folder, "sequence"))
    }

    fn meta(&self, folder: &Path, key: &[u8]) -> Result<Option<Bytes>, OpenError> {
        let found = self.meta.get(key).map_err(|source| OpenError::Damaged {
            folder: folder.to_owned(),
            source: Box::new(source),
        })?;
        let Some(sealed) = found else { return Ok(None) };
        let name = String::from_utf8_lossy(key).into_owned();
        values::unseal(key, &sealed.into()).map(Some).map_err(|_| damaged_meta(folder, &name))
    }
}

/// Where the last sequence is kept; written with every batch.
pub(crate) const LAST_SEQUENCE: &[u8] = b"sequence";

fn damaged_meta(folder: &Path, name: &str) -> OpenError {
    let source = format!("the value {name} does not fit its checksum").into();
    OpenError::Damaged { folder: folder.to_owned(), source }
}

// === impl Damaged ===

impl Damaged {
    pub(crate) fn mark(&self, entity: &[u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(entity.to_vec());
    }

    pub(crate) fn has(&self, entity: &[u8]) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(entity)
    }
}
