//! Looks at the database's journals before the database does.
//!
//! A crash leaves the last batch of the last journal incomplete, in any part: it was never acknowledged,
//! and is cut off here. The database would do that too, but only if the beginning of the batch is what
//! survived; and it treats damage in the middle in the same way, dropping all that follows. So here every
//! batch is checked against its checksum, and behind the first bad one a good one is looked for: only one
//! batch is ever on its way, so a good one behind a bad one proves that the bad one had been acknowledged.
//! Then nothing is touched and the folder is refused.
//!
//! The number of a batch, by which the database tells what is already in tables, is in no checksum of its
//! own. Our batches carry a value that says what it must be, near enough.
//!
//! Not told apart: damage in the very last batch from a batch that a crash cut short. If the folder was
//! closed in good order there is nothing to tell: all is in tables by then.
//!
//! The format is that of fjall 3: start (tag 1, items `u32`, number `u64`), items (tag 2, two bytes, keyspace
//! `u64`, key length `u16`, value length `u32`, stored length `u32`, key, value; or tag 4, keyspace `u64`), end
//! (tag 3, xxh3 of the items `u64`, magic), all little-endian; zeros behind the last batch.

use std::{
    fs::{self, File},
    io::{self, BufReader, Read, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use tracing::warn;
use xxhash_rust::xxh3::Xxh3;

use crate::{
    tables::{POSITION, Position},
    values,
};

const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEAR: u8 = 4;
const MAGIC: &[u8] = b"FJL\x03";
/// Items of one batch, above which a length is taken for damage. Ours have a few thousand.
const ITEMS_MAX: u32 = 10_000_000;
/// Numbers that a batch may be ahead of the one before it, above which it is taken for something else.
const AHEAD_MAX: u64 = 1 << 32;
/// Numbers that the database may use for its own purposes between two of our batches.
const ASIDE_MAX: u64 = 1 << 20;
/// Bytes read at a time.
const CHUNK: usize = 1 << 20;

/// A journal that cannot be read to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    /// Which.
    pub(crate) journal: PathBuf,
    /// Up to where it is whole.
    pub(crate) at: u64,
    /// Whole batches follow.
    pub(crate) followed: bool,
}

struct Batch {
    length: u64,
    number: u64,
}

/// Makes the journals readable, or says which one is damaged and where. `closed`: they are not needed.
pub(crate) fn recover(folder: &Path, database: &Path, closed: bool) -> io::Result<Option<Broken>> {
    let broken = examine(database)?;
    if let Some(damage) = broken.iter().find(|broken| broken.followed)
        && !closed
    {
        return Ok(Some(damage.clone()));
    }
    for Broken { journal, at, .. } in broken {
        if closed {
            // Nobody needs it. A copy is kept all the same, for whoever wants to know what happened.
            let name = journal.file_name().unwrap_or_default().to_string_lossy().into_owned();
            warn!(journal = name, at, "a journal is damaged, but everything in it is in tables");
            fs::copy(&journal, folder.join(format!("damaged-{name}")))?;
        }
        let file = File::options().write(true).open(journal)?;
        file.set_len(at)?;
        file.sync_all()?;
    }
    Ok(None)
}

/// Every journal that is broken.
fn examine(database: &Path) -> io::Result<Vec<Broken>> {
    let mut journals = Vec::new();
    let entries = match fs::read_dir(database) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let path = entry?.path();
        let number = path.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok());
        if let (Some(number), Some("jnl")) = (number, path.extension().and_then(|e| e.to_str())) {
            journals.push((number, path));
        }
    }
    journals.sort();
    let mut broken: Vec<Broken> = Vec::new();
    let mut number = None;
    for (_, journal) in journals {
        let mut file = File::open(&journal)?;
        let before = number;
        let end = walk(&file, &mut number)?;
        // Whatever is whole in this journal follows what is broken in those before it.
        if number > before {
            broken.iter_mut().for_each(|broken| broken.followed = true);
        }
        if let Some(rest) = rest(&mut file, end)? {
            let followed = holds_batch(&rest, number);
            if followed {
                broken.iter_mut().for_each(|broken| broken.followed = true);
            }
            broken.push(Broken { journal, at: end, followed });
        }
    }
    Ok(broken)
}

/// Where the first batch that is not whole begins. `number` becomes that of the last whole one.
fn walk(file: &File, number: &mut Option<u64>) -> io::Result<u64> {
    let mut reader = BufReader::with_capacity(CHUNK, file);
    let (mut at, mut scratch) = (0, Vec::new());
    while let Some(batch) = batch(&mut reader, &mut scratch)? {
        if number.is_some_and(|number| batch.number <= number) {
            break;
        }
        at += batch.length;
        *number = Some(batch.number);
    }
    Ok(at)
}

/// What stands behind the last whole batch; nothing if that is only zeros.
fn rest(file: &mut File, from: u64) -> io::Result<Option<Vec<u8>>> {
    file.seek(SeekFrom::Start(from))?;
    let zeros = vec![0; CHUNK];
    let (mut chunk, mut rest, mut used) = (vec![0; CHUNK], Vec::new(), 0);
    loop {
        let size = file.read(&mut chunk)?;
        let Some(read) = chunk.get(..size).filter(|read| !read.is_empty()) else { break };
        let zero = zeros.get(..size) == Some(read);
        if zero && used == 0 {
            // Not worth keeping, but worth counting: offsets do not matter, only what follows.
            continue;
        }
        rest.extend_from_slice(read);
        if !zero {
            used = rest.len();
        }
    }
    rest.truncate(used);
    Ok((used > 0).then_some(rest))
}

/// Whether a whole batch begins anywhere in there, with a number not far from that of the last one. Not
/// necessarily a higher one: it may be the last one's number that is damaged.
fn holds_batch(bytes: &[u8], number: Option<u64>) -> bool {
    let near = number.map_or(0, |number| number.saturating_sub(ASIDE_MAX));
    let near = near..near.saturating_add(AHEAD_MAX);
    let mut scratch = Vec::new();
    let mut at = 0;
    while let Some(ahead) = bytes.get(at..).filter(|ahead| !ahead.is_empty()) {
        let Some(next) = ahead.iter().position(|byte| *byte == START) else { return false };
        at += next;
        let candidate = bytes.get(at..).unwrap_or_default();
        // Most places are ruled out by their number.
        let number = candidate.get(5..13).and_then(|bytes| bytes.try_into().ok());
        if number.is_some_and(|bytes| near.contains(&u64::from_le_bytes(bytes)))
            && batch(&mut &*candidate, &mut scratch).is_ok_and(|batch| batch.is_some())
        {
            return true;
        }
        at += 1;
    }
    false
}

/// The batch that begins here, if it is whole.
fn batch(from: &mut impl Read, scratch: &mut Vec<u8>) -> io::Result<Option<Batch>> {
    match try_batch(from, scratch) {
        Ok(batch) => Ok(batch),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

fn try_batch(from: &mut impl Read, scratch: &mut Vec<u8>) -> io::Result<Option<Batch>> {
    let [tag] = bytes(from)?;
    if tag != START {
        return Ok(None);
    }
    let items = u32::from_le_bytes(bytes(from)?);
    let number = u64::from_le_bytes(bytes(from)?);
    if items == 0 || items > ITEMS_MAX {
        return Ok(None);
    }
    let mut hasher = Xxh3::new();
    let (mut length, mut position) = (13, None);
    for _ in 0..items {
        let [tag] = bytes(from)?;
        hasher.update(&[tag]);
        let mut keyed = None;
        let size = match tag {
            ITEM => {
                let head: [u8; 20] = bytes(from)?;
                hasher.update(&head);
                let [value_type, compression, rest @ ..] = head;
                let [.., k0, k1, _, _, _, _, v0, v1, v2, v3] = rest;
                if value_type > 4 || compression > 1 {
                    return Ok(None);
                }
                let key = u64::from(u16::from_le_bytes([k0, k1]));
                let value = u64::from(u32::from_le_bytes([v0, v1, v2, v3]));
                length += 20;
                keyed = Some(usize::from(u16::from_le_bytes([k0, k1])));
                key + value
            }
            CLEAR => 8,
            _ => return Ok(None),
        };
        scratch.clear();
        // Grows with what is there, not with what a damaged length promises.
        if from.take(size).read_to_end(scratch)? as u64 != size {
            return Ok(None);
        }
        hasher.update(scratch);
        length += 1 + size;
        let item = keyed.and_then(|key| scratch.split_at_checked(key));
        if let Some((POSITION, sealed)) = item {
            position = sealed.get(values::CHECKSUM..).and_then(Position::decode);
        }
    }
    let [tag] = bytes(from)?;
    let checksum = u64::from_le_bytes(bytes(from)?);
    let magic: [u8; 4] = bytes(from)?;
    let fits = position.is_none_or(|position| {
        (position.number..=position.number.saturating_add(ASIDE_MAX)).contains(&number)
    });
    let whole = tag == END && checksum == hasher.digest() && magic == *MAGIC && fits;
    Ok(whole.then_some(Batch { length: length + 13, number }))
}

fn bytes<const N: usize>(from: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A journal of `count` batches as the database itself writes it.
    fn journal(folder: &Path, count: u64) -> (PathBuf, Vec<u8>) {
        let database = fjall::Database::builder(folder).open().unwrap();
        let table = database.keyspace("t", fjall::KeyspaceCreateOptions::default).unwrap();
        for number in 0..count {
            let mut batch = database.batch().durability(Some(fjall::PersistMode::SyncAll));
            // Above 4 KiB values are compressed.
            for size in [3, 700, 9_000] {
                batch.insert(&table, format!("{number}-{size}"), vec![b'x'; size]);
            }
            batch.remove(&table, format!("{number}-3"));
            let position = Position { number: database.seqno(), ..Position::default() };
            batch.insert(&table, POSITION, values::seal(POSITION, &position.encode()));
            batch.commit().unwrap();
        }
        drop((database, table));
        let path = folder.join("0.jnl");
        let bytes = fs::read(&path).unwrap();
        (path, bytes)
    }

    fn end(path: &Path) -> u64 {
        walk(&File::open(path).unwrap(), &mut None).unwrap()
    }

    #[test]
    fn a_sound_journal_is_whole_to_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let (path, bytes) = journal(folder.path(), 20);
        let end = usize::try_from(end(&path)).unwrap();
        assert!(end > 20 * 700 && bytes[end..].iter().all(|byte| *byte == 0), "{end}");
        assert_eq!(examine(folder.path()).unwrap(), []);
    }

    #[test]
    fn f23_every_flipped_bit_in_the_middle_is_told_from_a_torn_end() {
        let folder = tempfile::tempdir().unwrap();
        let (path, mut bytes) = journal(folder.path(), 4);
        let end = usize::try_from(end(&path)).unwrap();
        bytes.truncate(end);
        fs::write(&path, &bytes[..end - 1]).unwrap();
        let last = usize::try_from(self::end(&path)).unwrap();
        // Every bit of the beginning of a batch, and some of the rest.
        for at in (0..200).chain((200..last).step_by(7)) {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            fs::write(&path, &flipped).unwrap();
            let broken = examine(folder.path()).unwrap();
            assert!(broken.len() == 1 && broken[0].followed, "bit at {at}: {broken:?}");
            let kept = recover(folder.path(), folder.path(), false).unwrap();
            assert_eq!(kept.as_ref(), broken.first());
            assert!(fs::read(&path).unwrap() == flipped, "a damaged journal was touched");
        }
    }

    #[test]
    fn f23_whatever_is_left_of_the_last_batch_is_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let (path, mut bytes) = journal(folder.path(), 4);
        let end = usize::try_from(end(&path)).unwrap();
        bytes.truncate(end);
        fs::write(&path, &bytes[..end - 1]).unwrap();
        let last = usize::try_from(self::end(&path)).unwrap();
        for hole in (last..end).step_by(11) {
            // The pages of one write reach the disk in any order: here all but one place.
            let mut torn = bytes.clone();
            torn[hole] = !torn[hole];
            torn.extend_from_slice(&[0; 5_000]);
            fs::write(&path, &torn).unwrap();
            assert_eq!(recover(folder.path(), folder.path(), false).unwrap(), None, "{hole}");
            assert!(fs::read(&path).unwrap() == bytes[..last], "hole at {hole}");
        }
    }
}
