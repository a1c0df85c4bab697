//! The records of each session or directory as a chain: judged one by one, in the order of their sequences.
//!
//! Knows neither log nor database: it is given what they have.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use stentor_cluster::{Entity, EntityKind, Header, Record};
use stentor_types::{AppId, Epoch, EventNumber, Sequence, SessionId, Timestamp};
use stentor_wire::{CommitRecord, decode_commit_by, decode_directory_by};

use super::report::Report;

/// An event as the database has it.
pub(super) struct Kept {
    pub(super) n: EventNumber,
    pub(super) at: Timestamp,
    pub(super) event: Bytes,
}

/// Where the chain of a session ends, and what it needs the database for.
pub(super) struct End {
    pub(super) app: AppId,
    pub(super) session: SessionId,
    pub(super) last: EventNumber,
    /// Events up to this one are not in the log, and no snapshot in it tells of them; 0 = none.
    pub(super) begins_after: EventNumber,
}

/// All chains of a log.
#[derive(Debug, Default)]
pub(super) struct Chains {
    chains: BTreeMap<Entity, Chain>,
    /// The log has forgotten everything before it, perhaps only just now.
    floor: Sequence,
}

#[derive(Debug, Default)]
struct Chain {
    sequence: Sequence,
    at: Timestamp,
    epoch: Epoch,
    last: EventNumber,
    begins_after: EventNumber,
    /// Runs of events that are in the log, ordered.
    runs: Vec<(EventNumber, EventNumber)>,
    /// What came before could not be read: the next record is believed.
    torn: bool,
}

// === impl Chains ===

impl Chains {
    /// The log has forgotten everything before `floor`.
    pub(super) fn forgotten(&mut self, floor: Sequence) {
        self.floor = self.floor.max(floor);
    }

    /// Judges the next record of an entity. Returns it if it is a session's and can be read.
    pub(super) fn record(
        &mut self,
        entity: &Entity,
        record: &Record,
        report: &mut Report,
    ) -> Option<CommitRecord> {
        report.records += 1;
        let begins = !self.chains.contains_key(entity);
        let chain = self.chains.entry(entity.clone()).or_default();
        let name = format!("record {} of {entity}", record.sequence);
        let (commit, previous, at) = match entity.kind {
            EntityKind::Session(_) => {
                report.sessions += u64::from(begins);
                match decode_commit_by(&record.record, u32::MAX) {
                    Ok(commit) => {
                        let (previous, at) = (commit.previous, commit.commit.at);
                        (Some(commit), previous, at)
                    }
                    Err(error) => return chain.unreadable(record, &name, &error, report),
                }
            }
            EntityKind::Directory(..) => {
                report.directories += u64::from(begins);
                match decode_directory_by(&record.record, u32::MAX) {
                    Ok(directory) => (None, directory.previous, directory.at),
                    Err(error) => return chain.unreadable(record, &name, &error, report),
                }
            }
        };
        if previous.is_some_and(|previous| previous > chain.sequence && previous < self.floor) {
            // What was between has been trimmed since.
            (chain.sequence, chain.torn) = (previous.unwrap_or_default(), true);
        }
        if !begins {
            // The first record that is left may follow one that was trimmed.
            if previous != Some(chain.sequence) {
                let named =
                    previous.map_or_else(|| "none".to_owned(), |sequence| sequence.to_string());
                report.problem(format!(
                    "{name}: names {named} as the record before it, which is {}",
                    chain.sequence
                ));
            }
            if !chain.torn && at <= chain.at {
                report.problem(format!("{name}: is not later than the one before"));
            }
        }
        if let Some(commit) = &commit {
            chain.commit(&name, entity, commit, &record.header, begins, report);
        }
        (chain.sequence, chain.at, chain.torn) = (record.sequence, at, false);
        commit
    }

    /// A record that could not even be fetched.
    pub(super) fn damaged(&mut self, entity: &Entity, sequence: Sequence) {
        let chain = self.chains.entry(entity.clone()).or_default();
        (chain.sequence, chain.torn) = (sequence, true);
    }

    pub(super) fn apps(&self) -> BTreeSet<AppId> {
        self.chains.keys().map(|entity| entity.app.clone()).collect()
    }

    pub(super) fn sessions(&self) -> impl Iterator<Item = End> {
        self.chains.iter().filter_map(|(entity, chain)| match entity.kind {
            EntityKind::Session(session) => Some(End {
                app: entity.app.clone(),
                session,
                last: chain.last,
                begins_after: chain.begins_after,
            }),
            EntityKind::Directory(..) => None,
        })
    }

    /// Whether an event is in the log.
    pub(super) fn has(&self, session: SessionId, n: EventNumber) -> bool {
        let kind = EntityKind::Session(session);
        let chains = self.chains.iter().filter(|(entity, _)| entity.kind == kind);
        chains.flat_map(|(_, chain)| &chain.runs).any(|(first, last)| (*first..=*last).contains(&n))
    }

    /// The last record of an entity that was seen.
    pub(super) fn end_of(&self, entity: &Entity) -> Sequence {
        self.chains.get(entity).map_or(Sequence(0), |chain| chain.sequence)
    }
}

// === impl Chain ===

impl Chain {
    fn unreadable<T>(
        &mut self,
        record: &Record,
        name: &str,
        error: &dyn std::error::Error,
        report: &mut Report,
    ) -> Option<T> {
        report.problem(format!("{name}: {error}"));
        (self.sequence, self.torn) = (record.sequence, true);
        // Its header may be right.
        self.last = self.last.max(record.header.last);
        None
    }

    fn commit(
        &mut self,
        name: &str,
        entity: &Entity,
        record: &CommitRecord,
        header: &Header,
        begins: bool,
        report: &mut Report,
    ) {
        let commit = &record.commit;
        let (first, last) = (commit.first, commit.last());
        report.events += u64::try_from(commit.events.len()).unwrap_or(0);
        if EntityKind::Session(record.session) != entity.kind || record.app != entity.app {
            report.problem(format!(
                "{name}: belongs to session {} of {}",
                record.session, record.app
            ));
        }
        let told = if commit.is_empty() { EventNumber::NONE } else { first };
        if header.first != told || header.last != last || header.at != commit.at {
            report.problem(format!("{name}: its header disagrees with it"));
        }
        if begins || self.torn {
            if begins && first.0 > 1 && record.snapshot.is_none() {
                self.begins_after = EventNumber(first.0.saturating_sub(1));
            }
        } else {
            let renewed = commit.epoch > self.epoch;
            if commit.epoch < self.epoch {
                report.problem(format!(
                    "{name}: has epoch {} after epoch {}",
                    commit.epoch, self.epoch
                ));
            }
            // A new numbering goes on where the database ends, which may be further than the log.
            if first != self.last.next() && !(renewed && first > self.last) {
                report
                    .problem(format!("{name}: begins at event {first} after event {}", self.last));
            }
        }
        self.epoch = self.epoch.max(commit.epoch);
        self.last = self.last.max(last);
        if !commit.is_empty() {
            match self.runs.last_mut() {
                Some((_, end)) if end.next() == first => *end = last,
                _ => self.runs.push((first, last)),
            }
        }
    }
}

/// Events of a commit against those of the database under the same numbers.
pub(super) fn compare(record: &CommitRecord, kept: &[Kept], report: &mut Report) {
    let kept: BTreeMap<_, _> = kept.iter().map(|kept| (kept.n, kept)).collect();
    let name =
        |n: EventNumber| format!("event {n} of session {} of {}", record.session, record.app);
    for (event, bytes) in record.commit.events.iter().zip(&record.events) {
        report.compared += 1;
        match kept.get(&event.n) {
            None => report.problem(format!(
                "{}: is missing in the database, which is said to have everything so far",
                name(event.n)
            )),
            Some(kept) if kept.event == *bytes => {}
            Some(kept) if kept.at > record.commit.at => report.problem(format!(
                "{}: the database has a later one under this number; was the log restored without `stentor log fence`?",
                name(event.n)
            )),
            Some(_) => report.problem(format!("{}: the database has something else", name(event.n))),
        }
    }
}

#[cfg(test)]
mod tests;
