//! Checks a data folder that no process has open: checksums, chains, dense numbers, and, given a list
//! of what was acknowledged, that none of it is missing.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    ops::Bound,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use bytes::Bytes;
use stentor_cluster::{Entity, EntityKind, Head, Header};
use stentor_types::{EventNumber, Sequence, SessionId};
use stentor_wire::{decode_commit, decode_directory};

use crate::{
    folder::Folder,
    keys,
    open::{OpenError, Options, recover},
    tables::Tables,
    values,
};

/// Problems that are listed; more are only counted.
const LISTED_MAX: usize = 50;

/// A folder could not be checked.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// It could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The list of acknowledgements makes no sense.
    #[error("{file}, line {line}: {what}; each line is a session id and an event number")]
    Acks {
        /// Which file.
        file: String,
        /// Which line; 0 = the file itself.
        line: usize,
        /// What is wrong.
        what: String,
    },
}

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Sessions in the log.
    pub sessions: u64,
    /// Directories in the log.
    pub directories: u64,
    /// Records read.
    pub records: u64,
    /// Events in them.
    pub events: u64,
    /// Events in the history.
    pub stored_events: u64,
    /// Acknowledgements looked up.
    pub acks: u64,
    /// How many things are wrong.
    pub problems: u64,
    /// The first of them.
    pub listed: Vec<String>,
}

/// Where the check of one entity stands.
struct Chain {
    key: Vec<u8>,
    entity: Entity,
    last: Sequence,
    header: Header,
    snapshot: Option<Sequence>,
}

struct Check<'a> {
    tables: &'a Tables,
    report: Report,
    /// Per session the runs of numbers that are there.
    numbers: BTreeMap<SessionId, Vec<(EventNumber, EventNumber)>>,
    heads_seen: BTreeSet<Vec<u8>>,
}

/// Checks a data folder that nobody has open. `acks` is a text file with a session id and an event number
/// per line. Blocks. Changes nothing, except that it finishes what every start does: what a crash left
/// of the last, unacknowledged batch is cut off.
///
/// # Errors
/// The folder cannot be opened or the list cannot be read. What is wrong inside is in the report.
pub fn verify(data: &Path, acks: Option<&Path>) -> Result<Report, VerifyError> {
    let acks = acks.map(read_acks).transpose()?.unwrap_or_default();
    let folder = Folder::existing(data)?;
    let mark = recover(&folder)?;
    let tables = Tables::open(&folder, Options::default())?;
    let mut check = Check {
        tables: &tables,
        report: Report::default(),
        numbers: BTreeMap::new(),
        heads_seen: BTreeSet::new(),
    };
    let found = tables.position()?.batches;
    if found < mark.batches {
        let expected = mark.batches;
        check.problem(format!("the folder ends at write {found}, but had come to {expected}"));
    }
    if let Err(error) = tables.incarnation() {
        check.problem(error.to_string());
    }
    // The database asserts here and there on what it reads.
    for pass in [Check::store, Check::records, Check::heads] {
        if catch_unwind(AssertUnwindSafe(|| pass(&mut check))).is_err() {
            check.problem("the database gave up while reading it".into());
        }
    }
    for (session, n) in acks {
        check.ack(session, n);
    }
    Ok(check.report)
}

/// Reads a list of what was acknowledged: a session id and an event number per line.
///
/// # Errors
/// It cannot be read, or a line says something else.
pub fn read_acks(file: &Path) -> Result<Vec<(SessionId, EventNumber)>, VerifyError> {
    let wrong = |line: usize, what: String| VerifyError::Acks {
        file: file.display().to_string(),
        line,
        what,
    };
    let text = fs::read_to_string(file).map_err(|error| wrong(0, error.to_string()))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(place, line)| {
            let mut words = line.split_whitespace();
            let session = words.next().unwrap_or_default();
            let session = session
                .parse()
                .map_err(|_| wrong(place + 1, format!("{session:?} is no session id")))?;
            let n = words.next().unwrap_or_default();
            let n = n.parse().map_err(|_| wrong(place + 1, format!("{n:?} is no event number")))?;
            Ok((session, EventNumber(n)))
        })
        .collect()
}

// === impl Check ===

impl Check<'_> {
    fn problem(&mut self, problem: String) {
        self.report.problems += 1;
        if self.report.listed.len() < LISTED_MAX {
            self.report.listed.push(problem);
        }
    }

    /// All records, entity by entity. Behind a block that cannot be read it goes on with the next entity
    /// that has a head.
    fn records(&mut self) {
        let mut from = Vec::new();
        loop {
            let (at, error) = match self.records_from(from) {
                Ok(()) => return,
                Err(stopped) => stopped,
            };
            let mut later = self
                .tables
                .heads
                .range::<Vec<u8>, _>((Bound::Excluded(at.clone()), Bound::Unbounded));
            let next = later.next().and_then(|pair| pair.key().ok()).map(|key| key.to_vec());
            let name = |key: &[u8]| keys::parse_entity(key).map(|entity| entity.to_string());
            let here = name(&at).unwrap_or_else(|| "the first entity".into());
            let there = next.as_deref().and_then(name).unwrap_or_else(|| "nothing else".into());
            self.problem(format!(
                "records: a block cannot be read: {error}; it holds records of {here} or up to {there}"
            ));
            let Some(next) = next else { return };
            from = next;
        }
    }

    /// From a key on; when it fails, the entity where it did.
    fn records_from(&mut self, from: Vec<u8>) -> Result<(), (Vec<u8>, fjall::Error)> {
        let mut at = from.clone();
        let mut chain: Option<Chain> = None;
        for pair in self.tables.records.range(from..) {
            let (key, sealed) = match pair.into_inner() {
                Ok(pair) => pair,
                Err(error) => {
                    // What there is of this one is not judged: its head may be right.
                    self.heads_seen.insert(at.clone());
                    return Err((at, error));
                }
            };
            let Some((entity_key, sequence)) = keys::split_record(&key) else {
                self.problem("records: a key of impossible length".into());
                continue;
            };
            if chain.as_ref().is_none_or(|chain| chain.key != entity_key) {
                if let Some(done) = chain.take() {
                    self.end(&done);
                }
                at = entity_key.to_vec();
                chain = self.begin(entity_key);
            }
            if let Some(chain) = &mut chain {
                self.record(chain, &key, sequence, &sealed.into());
            }
        }
        if let Some(done) = chain.take() {
            self.end(&done);
        }
        Ok(())
    }

    fn begin(&mut self, key: &[u8]) -> Option<Chain> {
        let Some(entity) = keys::parse_entity(key) else {
            self.problem("records: a key that names no session or directory".into());
            return None;
        };
        match entity.kind {
            EntityKind::Session(_) => self.report.sessions += 1,
            EntityKind::Directory(..) => self.report.directories += 1,
        }
        let header = Header::default();
        Some(Chain { key: key.to_vec(), entity, last: Sequence(0), header, snapshot: None })
    }

    fn record(&mut self, chain: &mut Chain, key: &[u8], sequence: Sequence, sealed: &Bytes) {
        self.report.records += 1;
        let name = format!("record {sequence} of {}", chain.entity);
        let decoded = values::unseal(key, sealed).and_then(|value| values::decode_record(&value));
        let Ok((header, record)) = decoded else {
            self.problem(format!("{name}: does not fit its checksum"));
            chain.last = sequence;
            return;
        };
        let previous = match chain.entity.kind {
            EntityKind::Session(session) => self.commit(&name, session, chain, &header, &record),
            EntityKind::Directory(..) => match decode_directory(&record) {
                Ok(directory) => directory.previous,
                Err(error) => {
                    self.problem(format!("{name}: {error}"));
                    Some(chain.last)
                }
            },
        };
        let before = (chain.last.0 > 0).then_some(chain.last);
        // The first record that is left may follow one that was trimmed.
        if before.is_some() && previous != before {
            self.problem(format!("{name}: follows {previous:?}, but {before:?} comes before it"));
        }
        if header.snapshot {
            chain.snapshot = Some(sequence);
        }
        chain.last = sequence;
        chain.header = header;
    }

    fn commit(
        &mut self,
        name: &str,
        session: SessionId,
        chain: &Chain,
        header: &Header,
        record: &Bytes,
    ) -> Option<Sequence> {
        let commit = match decode_commit(record) {
            Ok(commit) => commit,
            Err(error) => {
                self.problem(format!("{name}: {error}"));
                return (chain.last.0 > 0).then_some(chain.last);
            }
        };
        let (first, last) = (commit.commit.first, commit.commit.last());
        self.report.events += u64::try_from(commit.events.len()).unwrap_or(0);
        if commit.session != session || commit.app != chain.entity.app {
            self.problem(format!(
                "{name}: belongs to session {} of {}",
                commit.session, commit.app
            ));
        }
        if header.first != first || header.last != last || header.at != commit.commit.at {
            self.problem(format!("{name}: its header disagrees with it"));
        }
        if chain.last.0 > 0 && first != chain.header.last.next() {
            self.problem(format!(
                "{name}: begins at event {first} after event {}",
                chain.header.last
            ));
        }
        if chain.last.0 > 0 && commit.commit.at <= chain.header.at {
            self.problem(format!("{name}: is not later than the one before"));
        }
        if chain.last.0 == 0 && first.0 > 1 && commit.snapshot.is_none() {
            let row = self.tables.sessions.contains_key(keys::session(&chain.entity.app, session));
            if !row.unwrap_or(false) {
                self.problem(format!("{name}: what came before it is nowhere"));
            }
        }
        self.numbers.entry(session).or_default().push((first, last));
        commit.previous
    }

    fn end(&mut self, chain: &Chain) {
        self.heads_seen.insert(chain.key.clone());
        let head = self.tables.heads.get(&chain.key).ok().flatten();
        let head = head.map(|sealed| {
            values::unseal(&chain.key, &sealed.into()).and_then(|value| values::decode_head(&value))
        });
        let expected =
            Head { sequence: chain.last, header: chain.header, snapshot: chain.snapshot };
        match head {
            Some(Ok(head)) if head == expected => {}
            Some(Ok(_)) => {
                self.problem(format!("head of {}: disagrees with its records", chain.entity))
            }
            Some(Err(_)) => {
                self.problem(format!("head of {}: does not fit its checksum", chain.entity))
            }
            None => self.problem(format!("head of {}: is missing", chain.entity)),
        }
    }

    fn heads(&mut self) {
        for pair in self.tables.heads.iter() {
            match pair.key() {
                Ok(key) if self.heads_seen.contains(&key[..]) => {}
                Ok(key) => {
                    let name =
                        keys::parse_entity(&key).map_or_else(|| "nobody".into(), |e| e.to_string());
                    self.problem(format!("head of {name}: has no records"));
                }
                Err(error) => {
                    self.problem(format!("heads: a block cannot be read: {error}"));
                    return;
                }
            }
        }
    }

    fn store(&mut self) {
        let tables = [
            ("event", &self.tables.events),
            ("session row", &self.tables.sessions),
            ("directory row", &self.tables.directories),
            ("listing", &self.tables.listings),
            ("place in a list", &self.tables.places),
        ];
        for (what, table) in tables {
            for pair in table.iter() {
                let (key, sealed) = match pair.into_inner() {
                    Ok(pair) => pair,
                    Err(error) => {
                        self.problem(format!(
                            "history: a block of the kind {what} cannot be read: {error}"
                        ));
                        break;
                    }
                };
                if values::unseal(&key, &sealed.into()).is_err() {
                    self.problem(format!("history: one {what} does not fit its checksum"));
                }
                if what == "event" {
                    self.report.stored_events += 1;
                    self.stored(&key);
                }
            }
        }
    }

    fn stored(&mut self, key: &[u8]) {
        let numbered = key.iter().position(|byte| *byte == 0).and_then(|end| {
            let id: [u8; 24] = key.get(end + 1..end + 25)?.try_into().ok()?;
            let n: [u8; 8] = key.get(end + 25..)?.try_into().ok()?;
            Some((SessionId::from_bytes(id), EventNumber(u64::from_be_bytes(n))))
        });
        if let Some((session, n)) = numbered {
            let runs = self.numbers.entry(session).or_default();
            match runs.last_mut() {
                Some((_, last)) if last.next() == n => *last = n,
                _ => runs.push((n, n)),
            }
        }
    }

    fn ack(&mut self, session: SessionId, n: EventNumber) {
        self.report.acks += 1;
        let runs = self.numbers.get(&session).into_iter().flatten();
        if !runs.into_iter().any(|(first, last)| (*first..=*last).contains(&n)) {
            self.problem(format!(
                "event {n} of session {session}: was acknowledged and is missing"
            ));
        }
    }
}

// === impl Report ===

impl Report {
    /// Nothing is wrong.
    #[must_use]
    pub const fn is_sound(&self) -> bool {
        self.problems == 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sessions, directories, records, events, stored_events, acks, problems, listed } =
            self;
        writeln!(formatter, "sessions     {sessions}")?;
        writeln!(formatter, "directories  {directories}")?;
        writeln!(formatter, "records      {records}")?;
        writeln!(formatter, "events       {events} in the log, {stored_events} in the history")?;
        writeln!(formatter, "acks         {acks} looked up")?;
        for problem in listed {
            writeln!(formatter, "PROBLEM      {problem}")?;
        }
        let more = problems.saturating_sub(u64::try_from(listed.len()).unwrap_or(0));
        if more > 0 {
            writeln!(formatter, "             and {more} more")?;
        }
        if self.is_sound() {
            write!(formatter, "sound")
        } else {
            write!(formatter, "{problems} problems")
        }
    }
}
