//! The newest record of entities that this process has met lately, and their newest snapshot.
//!
//! Only ever used to say in a record where the newest snapshot before it lies. That is a fact about the
//! record before, so nothing here can be out of date: it is either about that record or not.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use stentor_cluster::Entity;
use stentor_types::Sequence;

/// Entities in each of the two halves. What falls out is read again from its head: 100 bytes each, so
/// about 13 MB when full, for all sessions that a router has open at once.
const HALF_MAX: usize = 65_536;

/// What is known of entities. Overflow: those not met for longest are forgotten, half of all at once.
#[derive(Debug)]
pub(crate) struct Known {
    halves: Mutex<Halves>,
    half_max: usize,
}

#[derive(Debug, Default)]
struct Halves {
    young: HashMap<Entity, At>,
    old: HashMap<Entity, At>,
}

/// The newest record of an entity, and the newest snapshot as of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct At {
    pub(crate) head: Sequence,
    pub(crate) snapshot: Option<Sequence>,
}

// === impl Known ===

impl Default for Known {
    fn default() -> Self {
        Self { halves: Mutex::default(), half_max: HALF_MAX }
    }
}

impl Known {
    pub(crate) fn get(&self, entity: &Entity) -> Option<At> {
        self.with(|halves| {
            halves.young.get(entity).copied().or_else(|| halves.old.get(entity).copied())
        })
    }

    pub(crate) fn put(&self, entity: Entity, at: At) {
        self.with(|halves| {
            if halves.young.len() >= self.half_max {
                halves.old = std::mem::take(&mut halves.young);
            }
            halves.young.insert(entity, at);
        });
    }

    pub(crate) fn forget(&self, entity: &Entity) {
        self.with(|halves| {
            halves.young.remove(entity);
            halves.old.remove(entity);
        });
    }

    /// Another log begins: nothing of what was known is about it.
    pub(crate) fn clear(&self) {
        self.with(|halves| *halves = Halves::default());
    }

    fn with<T>(&self, work: impl FnOnce(&mut Halves) -> T) -> T {
        work(&mut self.halves.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use stentor_cluster::EntityKind;
    use stentor_types::{AppId, PlacementKey, SessionId};

    use super::*;

    fn entity(number: u64) -> Entity {
        let session = SessionId::new(PlacementKey(number), 0);
        Entity { app: AppId::try_new("a").unwrap(), kind: EntityKind::Session(session) }
    }

    #[test]
    fn it_is_bounded_and_forgets_the_longest_unmet() {
        let known = Known { half_max: 10, ..Known::default() };
        let at = |head| At { head: Sequence(head), snapshot: None };
        for number in 0..100 {
            known.put(entity(number), at(number));
            known.put(entity(0), at(1_000 + number));
        }
        assert_eq!(known.get(&entity(0)), Some(at(1_099)));
        assert_eq!(known.get(&entity(99)), Some(at(99)));
        assert_eq!(known.get(&entity(50)), None);
        known.with(|halves| assert!(halves.young.len() + halves.old.len() <= 20));
        known.forget(&entity(0));
        assert_eq!(known.get(&entity(0)), None);
    }
}
