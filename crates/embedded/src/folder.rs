//! The folder itself: which format it has, and that it is ours.

use std::{fs, io::Write as _, path::Path};

use crate::open::OpenError;

/// The format that this version writes, and the highest that it reads.
const FORMAT: u32 = 1;
const FILE: &str = "FORMAT";
const TITLE: &str = "stentor data folder, format ";

/// Makes sure that a folder is a data folder of a known format; an empty or missing one becomes one.
pub(crate) fn prepare(folder: &Path) -> Result<(), OpenError> {
    let io = |source| OpenError::Io { folder: folder.to_owned(), source };
    fs::create_dir_all(folder).map_err(io)?;
    let file = folder.join(FILE);
    match fs::read_to_string(&file) {
        Ok(text) => check(folder, &text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let mut entries = fs::read_dir(folder).map_err(io)?;
            if entries.next().is_some() {
                return Err(OpenError::NotADataFolder { folder: folder.to_owned() });
            }
            create(folder, &file).map_err(io)
        }
        Err(error) => Err(io(error)),
    }
}

/// The file comes into being whole: it is written under another name first.
fn create(folder: &Path, file: &Path) -> std::io::Result<()> {
    let draft = folder.join(".FORMAT.new");
    let mut out = fs::File::create(&draft)?;
    writeln!(out, "{TITLE}{FORMAT}")?;
    out.sync_all()?;
    fs::rename(&draft, file)?;
    fs::File::open(folder)?.sync_all()
}

fn check(folder: &Path, text: &str) -> Result<(), OpenError> {
    let found = text.trim().strip_prefix(TITLE).and_then(|number| number.parse().ok());
    match found {
        Some(FORMAT) => Ok(()),
        Some(found) if found > FORMAT => {
            Err(OpenError::NewerVersion { folder: folder.to_owned(), found, supported: FORMAT })
        }
        _ => Err(OpenError::NotADataFolder { folder: folder.to_owned() }),
    }
}
