//! The database's tables, and what is kept about the folder as a whole.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    time::{Duration, Instant},
};

use bytes::Bytes;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use stentor_types::Incarnation;

use crate::{
    folder::Folder,
    open::{OpenError, Options},
    values,
};

/// Open files. The hard limit of a process is often 1,024.
const FILES_MAX: usize = 256;
/// How long closing waits for memory to be written out. Later than that the journal has it anyway.
const FLUSH_MAX: Duration = Duration::from_secs(5);
const FLUSH_POLL: Duration = Duration::from_millis(2);

/// Where the position is kept; written with every batch.
pub(crate) const POSITION: &[u8] = b"position";
const INCARNATION: &[u8] = b"incarnation";

/// The database's tables.
#[derive(Clone)]
pub(crate) struct Tables {
    pub(crate) records: Keyspace,
    pub(crate) heads: Keyspace,
    pub(crate) events: Keyspace,
    pub(crate) sessions: Keyspace,
    pub(crate) directories: Keyspace,
    pub(crate) listings: Keyspace,
    pub(crate) places: Keyspace,
    pub(crate) erasures: Keyspace,
    pub(crate) meta: Keyspace,
    pub(crate) database: Database,
    /// Last, so that it is unlocked last.
    pub(crate) folder: Folder,
}

/// How far the database has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position {
    /// The last sequence that was given to a record.
    pub(crate) sequence: u64,
    /// Batches that were written.
    pub(crate) batches: u64,
    /// The database's own number of that batch is at least this, and more than that of the one before.
    pub(crate) number: u64,
}

// === impl Tables ===

impl Tables {
    pub(crate) fn open(folder: &Folder, options: Options) -> Result<Self, OpenError> {
        // The database asserts here and there on what it reads; damage must not look like a bug of ours.
        let opened = catch_unwind(AssertUnwindSafe(|| Self::try_open(folder, options)));
        let path = || folder.path().to_owned();
        match opened {
            Ok(Ok(tables)) => Ok(tables),
            Ok(Err(fjall::Error::Locked)) => Err(OpenError::InUse { folder: path() }),
            Ok(Err(other)) => Err(match refusal(&other) {
                Some(code) => {
                    let source = io::Error::from_raw_os_error(code);
                    OpenError::Io { folder: path(), source }
                }
                None => OpenError::Damaged { folder: path(), source: Box::new(other) },
            }),
            Err(_) => Err(OpenError::Damaged {
                folder: path(),
                source: "the database gave up while reading it".into(),
            }),
        }
    }

    fn try_open(folder: &Folder, options: Options) -> fjall::Result<Self> {
        let database = Database::builder(folder.database())
            .cache_size(options.cache_bytes)
            .max_journaling_size(options.journal_bytes.max(Options::JOURNAL_BYTES_MIN))
            .max_cached_files(Some(FILES_MAX))
            .open()?;
        let table = |name: &str| {
            database.keyspace(name, || {
                KeyspaceCreateOptions::default().max_memtable_size(options.memory_bytes)
            })
        };
        Ok(Self {
            records: table("records")?,
            heads: table("heads")?,
            events: table("events")?,
            sessions: table("sessions")?,
            directories: table("directories")?,
            listings: table("listings")?,
            places: table("places")?,
            erasures: table("erasures")?,
            meta: table("meta")?,
            database,
            folder: folder.clone(),
        })
    }

    /// The random id of this log, drawn when the folder was made.
    pub(crate) fn incarnation(&self) -> Result<Incarnation, OpenError> {
        let folder = self.folder.path();
        if let Some(value) = self.meta(INCARNATION)? {
            let id = value.as_ref().try_into().map(u128::from_be_bytes);
            return id.map(Incarnation).map_err(|_| damaged(folder, INCARNATION));
        }
        if !self.folder.is_fresh() {
            return Err(damaged(folder, INCARNATION));
        }
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(|error| OpenError::Io {
            folder: folder.to_owned(),
            source: io::Error::other(error),
        })?;
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncAll));
        batch.insert(&self.meta, INCARNATION, values::seal(INCARNATION, &id));
        batch.commit().map_err(|source| OpenError::Damaged {
            folder: folder.to_owned(),
            source: Box::new(source),
        })?;
        Ok(Incarnation(u128::from_be_bytes(id)))
    }

    /// How far it has come.
    pub(crate) fn position(&self) -> Result<Position, OpenError> {
        let Some(value) = self.meta(POSITION)? else { return Ok(Position::default()) };
        let position = Position::decode(&value);
        position.ok_or_else(|| damaged(self.folder.path(), POSITION))
    }

    fn meta(&self, key: &[u8]) -> Result<Option<Bytes>, OpenError> {
        let found = self.meta.get(key).map_err(|source| OpenError::Damaged {
            folder: self.folder.path().to_owned(),
            source: Box::new(source),
        })?;
        let Some(sealed) = found else { return Ok(None) };
        let value = values::unseal(key, &sealed.into());
        value.map(Some).map_err(|_| damaged(self.folder.path(), key))
    }

    /// Writes everything that is in memory to tables, so that the journal is not needed the next time.
    /// Says whether that was done.
    pub(crate) fn flush(&self) -> bool {
        let all = [
            &self.records,
            &self.heads,
            &self.events,
            &self.sessions,
            &self.directories,
            &self.listings,
            &self.places,
            &self.erasures,
            &self.meta,
        ];
        let end = Instant::now() + FLUSH_MAX;
        let asked = all.iter().all(|table| table.rotate_memtable().is_ok());
        while asked && all.iter().any(|table| table.sealed_memtable_count() > 0) {
            if Instant::now() > end {
                return false;
            }
            std::thread::sleep(FLUSH_POLL);
        }
        asked
    }
}

impl Tables {
    /// Writes the tables that hold what was said anew, without what was removed from them. Takes as long as it
    /// takes to copy them. The journal needs nothing of it afterwards, and goes when the database begins another.
    pub(crate) fn rewrite(&self) -> fjall::Result<()> {
        for table in [
            &self.records,
            &self.heads,
            &self.events,
            &self.sessions,
            &self.directories,
            &self.listings,
            &self.places,
        ] {
            table.rotate_memtable_and_wait()?;
            table.major_compact()?;
        }
        // The journal is cut off only when nothing in it is needed.
        self.erasures.rotate_memtable_and_wait()?;
        self.meta.rotate_memtable_and_wait()
    }
}

/// What the operating system said, if it was that which failed.
fn refusal(error: &fjall::Error) -> Option<i32> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(code) = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
            return Some(code);
        }
        cause = error.source();
    }
    None
}

fn damaged(folder: &Path, name: &[u8]) -> OpenError {
    let name = String::from_utf8_lossy(name);
    let source = format!("the value {name:?} is missing or does not fit its checksum").into();
    OpenError::Damaged { folder: folder.to_owned(), source }
}

// === impl Position ===

impl Position {
    pub(crate) fn encode(self) -> Vec<u8> {
        [self.sequence, self.batches, self.number].map(u64::to_be_bytes).concat()
    }

    pub(crate) fn decode(mut value: &[u8]) -> Option<Self> {
        let sequence = values::take(&mut value).ok()?;
        let batches = values::take(&mut value).ok()?;
        let number = values::take(&mut value).ok()?;
        Some(Self { sequence, batches, number })
    }
}
