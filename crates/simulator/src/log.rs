//! A log as the ports describe it: records per entity, compare-and-set on the last one, durable or not
//! there at all. What has been asked for but not been made durable lives with the owner that asked.

use std::collections::BTreeMap;

use bytes::Bytes;
use stentor_types::{Sequence, SessionId, Timestamp, UserKey};

/// What a record belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Entity {
    Session(SessionId),
    Directory(UserKey),
}

/// One record to be written if `expected` is still the entity's last one.
#[derive(Clone, Debug)]
pub(crate) struct Append {
    pub(crate) entity: Entity,
    pub(crate) expected: Option<Sequence>,
    pub(crate) record: Bytes,
    pub(crate) snapshot: bool,
    pub(crate) attached: bool,
    pub(crate) next_deadline: Option<Timestamp>,
}

/// What became of one append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Appended {
    Stored(Sequence),
    Conflict,
}

/// A durable record.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) sequence: Sequence,
    pub(crate) record: Bytes,
    pub(crate) snapshot: bool,
    pub(crate) attached: bool,
    pub(crate) next_deadline: Option<Timestamp>,
}

/// All that is durable.
#[derive(Debug, Default)]
pub(crate) struct Log {
    last: u64,
    entities: BTreeMap<Entity, Vec<Stored>>,
}

// === impl Log ===

impl Log {
    pub(crate) fn append(&mut self, append: &Append) -> Appended {
        let records = self.entities.entry(append.entity).or_default();
        if records.last().map(|record| record.sequence) != append.expected {
            return Appended::Conflict;
        }
        self.last += 1;
        let sequence = Sequence(self.last);
        records.push(Stored {
            sequence,
            record: append.record.clone(),
            snapshot: append.snapshot,
            attached: append.attached,
            next_deadline: append.next_deadline,
        });
        Appended::Stored(sequence)
    }

    pub(crate) fn head(&self, entity: Entity) -> Option<&Stored> {
        self.entities.get(&entity)?.last()
    }

    /// All records of an entity, oldest first.
    pub(crate) fn records(&self, entity: Entity) -> &[Stored] {
        self.entities.get(&entity).map(Vec::as_slice).unwrap_or_default()
    }

    /// The newest record of every session.
    pub(crate) fn heads(&self) -> impl Iterator<Item = (SessionId, &Stored)> {
        self.entities.iter().filter_map(|(entity, records)| match entity {
            Entity::Session(session) => Some((*session, records.last()?)),
            Entity::Directory(_) => None,
        })
    }
}
