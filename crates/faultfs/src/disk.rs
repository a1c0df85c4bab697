//! A disk in memory: what a traced process did to a folder, and what of it would be there after a crash.
//!
//! The rules are those that a program may count on, no more: a file's contents are safe when the file was
//! synced; its name is safe when the file was synced after it was made, or when the folder was synced.
//! Lengths that were set are safe at once. What is not safe may be there or not, page by page.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
};

use crate::trace::Operation;

/// The unit that reaches a disk whole.
const PAGE: u64 = 4_096;

/// What a crash leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// The process ends; what it wrote is there.
    Kill,
    /// The power goes; of contents that were not synced nothing is there.
    PowerLoss,
    /// The power goes; of what was not synced the beginning is there, up to any byte.
    Torn,
    /// The power goes; of what was not synced any pages are there.
    Scattered,
    /// The power goes; neither contents nor names that were not synced are there.
    Forgotten,
}

/// Pseudo-random numbers, the same everywhere.
#[derive(Clone, Copy, Debug)]
pub struct Dice(pub u64);

/// Bytes with zeros behind them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Bytes {
    data: Vec<u8>,
    length: u64,
}

/// A file: what is in it, and what of that is safe.
#[derive(Clone, Debug, Default)]
struct Content {
    now: Bytes,
    safe: Bytes,
    /// What makes `now` of `safe`, in order.
    pending: Vec<(u64, Vec<u8>)>,
}

/// The disk.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    contents: Vec<Content>,
    names: BTreeMap<String, usize>,
    safe_names: BTreeMap<String, usize>,
    folders: BTreeSet<String>,
    safe_folders: BTreeSet<String>,
    acks: Vec<u8>,
}

// === impl Crash ===

impl Crash {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Kill, Self::PowerLoss, Self::Torn, Self::Scattered, Self::Forgotten];
}

// === impl Dice ===

impl Dice {
    /// A number below `below`.
    pub fn roll(&mut self, below: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below.max(1)
    }
}

// === impl Bytes ===

impl Bytes {
    fn put(&mut self, at: u64, data: &[u8]) {
        let Ok(start) = usize::try_from(at) else { return };
        let end = start + data.len();
        if self.data.len() < end {
            self.data.resize(end, 0);
        }
        if let Some(place) = self.data.get_mut(start..end) {
            place.copy_from_slice(data);
        }
        self.length = self.length.max(end as u64);
    }

    fn set_length(&mut self, length: u64) {
        self.data.truncate(usize::try_from(length).unwrap_or(usize::MAX));
        self.length = length;
    }

    /// A part, as far as it reaches.
    fn page(&self, from: u64, to: u64) -> Vec<u8> {
        let to = to.min(self.length);
        let mut page = vec![0; usize::try_from(to.saturating_sub(from)).unwrap_or(0)];
        let kept = usize::try_from(from).ok().and_then(|from| self.data.get(from..));
        for (place, byte) in page.iter_mut().zip(kept.unwrap_or_default()) {
            *place = *byte;
        }
        page
    }
}

// === impl Content ===

impl Content {
    fn write(&mut self, at: u64, data: &[u8]) {
        self.now.put(at, data);
        self.pending.push((at, data.to_vec()));
    }

    fn set_length(&mut self, length: u64) {
        self.now.set_length(length);
        self.safe.set_length(length);
        self.pending.retain_mut(|(at, data)| {
            data.truncate(usize::try_from(length.saturating_sub(*at)).unwrap_or(usize::MAX));
            !data.is_empty()
        });
    }

    fn sync(&mut self) {
        for (at, data) in self.pending.drain(..) {
            self.safe.put(at, &data);
        }
    }

    fn after(&self, crash: Crash, dice: &mut Dice) -> Bytes {
        let mut content = self.safe.clone();
        match crash {
            Crash::Kill => return self.now.clone(),
            Crash::PowerLoss | Crash::Forgotten => {}
            Crash::Torn => {
                let total: usize = self.pending.iter().map(|(_, data)| data.len()).sum();
                let mut left = usize::try_from(dice.roll(total as u64 + 1)).unwrap_or(0);
                for (at, data) in &self.pending {
                    let (part, _) = data.split_at(data.len().min(left));
                    content.put(*at, part);
                    left -= part.len();
                }
            }
            Crash::Scattered => {
                let pages = self.pending.iter().flat_map(|(at, data)| {
                    at / PAGE..=(at + (data.len() as u64).saturating_sub(1)) / PAGE
                });
                let pages: BTreeSet<u64> = pages.collect();
                for page in pages {
                    if dice.roll(2) == 0 {
                        content.put(page * PAGE, &self.now.page(page * PAGE, (page + 1) * PAGE));
                    }
                }
            }
        }
        content
    }
}

// === impl Disk ===

impl Disk {
    /// What a trace leaves behind.
    #[must_use]
    pub fn replay(operations: &[Operation]) -> Self {
        let mut disk = Self::default();
        operations.iter().for_each(|operation| disk.apply(operation));
        disk
    }

    /// Carries an operation out.
    pub fn apply(&mut self, operation: &Operation) {
        match operation {
            // The child's own marks are no part of the folder.
            Operation::Create(path) if path == "acks" => {}
            Operation::Create(path) => {
                self.names.insert(path.clone(), self.contents.len());
                self.contents.push(Content::default());
            }
            Operation::Write(path, at, data) => self.with(path, |file| file.write(*at, data)),
            Operation::Truncate(path, length) => self.with(path, |file| file.set_length(*length)),
            Operation::Sync(path) => self.sync(path),
            Operation::Rename(from, to) => {
                if let Some(file) = self.names.remove(from) {
                    self.names.insert(to.clone(), file);
                }
            }
            Operation::Remove(path) => drop(self.names.remove(path)),
            Operation::MakeFolder(path) => drop(self.folders.insert(path.clone())),
            Operation::RemoveFolder(path) => drop(self.folders.remove(path)),
            Operation::Ack(data) => self.acks.extend_from_slice(data),
        }
    }

    fn with(&mut self, path: &str, work: impl FnOnce(&mut Content)) {
        if let Some(file) = self.names.get(path).and_then(|file| self.contents.get_mut(*file)) {
            work(file);
        }
    }

    fn sync(&mut self, path: &str) {
        if let Some(file) = self.names.get(path).copied() {
            self.with(path, Content::sync);
            self.safe_names.insert(path.to_owned(), file);
            // Its folder was made before it, so its name cannot be safe without the folder's.
            self.keep_folders(path);
        } else if path.is_empty() || self.folders.contains(path) {
            let here = |name: &str| parent(name) == path;
            self.safe_names.retain(|name, _| !here(name));
            let names = self.names.iter().filter(|(name, _)| here(name));
            self.safe_names.extend(names.map(|(name, file)| (name.clone(), *file)));
            self.safe_folders.retain(|name| !here(name));
            self.safe_folders.extend(self.folders.iter().filter(|name| here(name)).cloned());
            self.keep_folders(path);
            self.safe_folders.insert(path.to_owned());
        }
    }

    fn keep_folders(&mut self, path: &str) {
        let mut path = parent(path);
        while !path.is_empty() {
            self.safe_folders.insert(path.to_owned());
            path = parent(path);
        }
    }

    /// What the child considered safe so far.
    #[must_use]
    pub fn acks(&self) -> &[u8] {
        &self.acks
    }

    /// Files whose contents are not safe.
    pub fn unsafe_files(&self) -> impl Iterator<Item = &str> {
        let files = self.names.iter().filter(|(_, file)| {
            self.contents.get(**file).is_some_and(|content| !content.pending.is_empty())
        });
        files.map(|(name, _)| name.as_str())
    }

    /// All files with their contents as the process saw them, without zeros at the end.
    pub fn files(&self) -> impl Iterator<Item = (&str, &[u8], u64)> {
        self.names.iter().filter_map(|(name, file)| {
            let content = self.contents.get(*file)?;
            Some((name.as_str(), &content.now.data[..], content.now.length))
        })
    }

    /// Turns one bit over, as if by the disk itself.
    pub fn flip(&mut self, path: &str, at: usize, bit: u8) {
        self.with(path, |file| {
            if let Some(byte) = file.now.data.get_mut(at) {
                *byte ^= 1 << (bit % 8);
            }
        });
    }

    /// Makes the folder as it would be found after a crash, and beside it the file `acks`.
    ///
    /// # Errors
    /// The real disk refuses.
    pub fn lay_out(&self, root: &Path, crash: Crash, dice: &mut Dice) -> io::Result<()> {
        let (names, folders) = if crash == Crash::Forgotten {
            (&self.safe_names, &self.safe_folders)
        } else {
            (&self.names, &self.folders)
        };
        for folder in folders {
            fs::create_dir_all(root.join(folder))?;
        }
        for (path, file) in names {
            let Some(content) = self.contents.get(*file) else { continue };
            let Bytes { data, length } = content.after(crash, dice);
            let path = root.join(path);
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            fs::write(&path, data)?;
            fs::File::options().write(true).open(path)?.set_len(length)?;
        }
        fs::write(root.join("acks"), &self.acks)
    }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}
