//! The folder itself: that it is ours, of a known format, whole, and open only once.
//!
//! `FORMAT` says what the folder is. It appears, by a rename, when everything beside it has been made and
//! synced: a folder without it was never used, so a creation that was interrupted is begun again.
//! `LOCK` is locked for as long as the folder is open.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::open::OpenError;

/// The format that this version writes, and the highest that it reads.
const FORMAT: u32 = 1;
const TITLE: &str = "stentor data folder, format ";
const FILE: &str = "FORMAT";
const DRAFT: &str = ".FORMAT.new";
const LOCK: &str = "LOCK";
/// What a folder may hold that is about to become one of ours: our own beginnings, and what the root of a
/// freshly made file system holds.
const HARMLESS: [&str; 3] = [DRAFT, LOCK, "lost+found"];

/// A folder that this process has to itself. A clone is a handle to the same one.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    fresh: bool,
    /// Unlocks when the last handle goes.
    _lock: Arc<File>,
}

// === impl Folder ===

impl Folder {
    /// Takes a folder, which may be missing or empty.
    pub(crate) fn claim(path: &Path) -> Result<Self, OpenError> {
        let io = |source| OpenError::Io { folder: path.to_owned(), source };
        fs::create_dir_all(path).map_err(io)?;
        if format(path)?.is_none() && !may_become_ours(path).map_err(io)? {
            return Err(OpenError::NotADataFolder { folder: path.to_owned() });
        }
        let lock = lock(path)?;
        // Only now is what is read here settled: another process may have been at it.
        let fresh = format(path)?.is_none();
        let folder = Self { path: path.to_owned(), fresh, _lock: Arc::new(lock) };
        if fresh {
            folder.begin().map_err(io)?;
        }
        Ok(folder)
    }

    /// Takes a folder that is one of ours.
    pub(crate) fn existing(path: &Path) -> Result<Self, OpenError> {
        if format(path)?.is_none() {
            return Err(OpenError::Missing { folder: path.to_owned() });
        }
        Ok(Self { path: path.to_owned(), fresh: false, _lock: Arc::new(lock(path)?) })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the database lies.
    pub(crate) fn database(&self) -> PathBuf {
        database(&self.path)
    }

    /// Whether it is being made just now.
    pub(crate) const fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// Clears away what an interrupted creation has left. Nothing in it was ever acknowledged: there is
    /// no `FORMAT`.
    fn begin(&self) -> io::Result<()> {
        let database = self.database();
        if database.exists() {
            fs::remove_dir_all(database)?;
        }
        let mut draft = File::create(self.path.join(DRAFT))?;
        writeln!(draft, "{TITLE}{FORMAT}")?;
        draft.sync_all()
    }

    /// Makes a new folder one of ours, once everything in it is synced.
    pub(crate) fn finish(&self) -> io::Result<()> {
        sync(&self.path)?;
        fs::rename(self.path.join(DRAFT), self.path.join(FILE))?;
        sync(&self.path)?;
        // The folder's own name: the first commit must not be lost with it.
        self.path.parent().filter(|parent| !parent.as_os_str().is_empty()).map_or(Ok(()), sync)
    }
}

fn database(folder: &Path) -> PathBuf {
    folder.join("db")
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn lock(folder: &Path) -> Result<File, OpenError> {
    let io = |source| OpenError::Io { folder: folder.to_owned(), source };
    let file = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(folder.join(LOCK))
        .map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { folder: folder.to_owned() }),
        Err(TryLockError::Error(source)) => Err(io(source)),
    }
}

/// The folder's format; nothing if it has none.
fn format(folder: &Path) -> Result<Option<u32>, OpenError> {
    let text = match fs::read(folder.join(FILE)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(OpenError::Io { folder: folder.to_owned(), source }),
    };
    let text = String::from_utf8_lossy(&text);
    let found = text.trim().strip_prefix(TITLE).and_then(|number| number.parse().ok());
    match found {
        Some(FORMAT) => Ok(Some(FORMAT)),
        Some(found) if found > FORMAT => {
            Err(OpenError::NewerVersion { folder: folder.to_owned(), found, supported: FORMAT })
        }
        // Ours by its database, or somebody else's file of that name.
        _ if database(folder).is_dir() => Err(OpenError::Damaged {
            folder: folder.to_owned(),
            source: format!("the file {FILE} does not say which format it has").into(),
        }),
        _ => Err(OpenError::NotADataFolder { folder: folder.to_owned() }),
    }
}

/// It is empty, or has what an interrupted creation leaves.
fn may_become_ours(folder: &Path) -> io::Result<bool> {
    let begun = folder.join(DRAFT).exists();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let harmless = HARMLESS.iter().any(|known| name == *known);
        if !(harmless || begun && name == "db") {
            return Ok(false);
        }
    }
    Ok(true)
}
