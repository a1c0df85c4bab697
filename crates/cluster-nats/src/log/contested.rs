//! Entities that others write to as well, so that they do not hold up their neighbours.
//!
//! Who was refused twice is one of them. So may be everything in a partition that was taken a moment ago:
//! whoever had it before may not know yet. Once an entity has been written to by its new owner, whatever the
//! old one still tries is refused to the old one.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use stentor_cluster::Entity;
use stentor_types::Partition;

/// How long a refusal is remembered, and how long an entity goes alone.
const MEMORY: Duration = Duration::from_secs(10);
/// Refusals within that time after which an entity goes alone.
const REFUSALS: u32 = 2;
/// Entities remembered, of each kind. Overflow: all are forgotten, and found again by their next refusals, or
/// go alone once more.
const ENTITIES_MAX: usize = 10_000;

/// Who was refused lately, and what was taken lately.
#[derive(Debug, Default)]
pub(crate) struct Contested(Mutex<Lately>);

#[derive(Debug, Default)]
struct Lately {
    refused: HashMap<Entity, (u32, Instant)>,
    taken: HashMap<Partition, Instant>,
    /// Those in such partitions that have been written to since.
    written: HashSet<Entity>,
}

// === impl Contested ===

impl Contested {
    pub(crate) fn refused(&self, entity: &Entity, now: Instant) {
        let refused = &mut self.lately().refused;
        if refused.len() >= ENTITIES_MAX {
            refused.retain(|_, (_, at)| now.duration_since(*at) < MEMORY);
        }
        if refused.len() >= ENTITIES_MAX {
            refused.clear();
        }
        let (count, at) = refused.entry(entity.clone()).or_insert((0, now));
        if now.duration_since(*at) >= MEMORY {
            *count = 0;
        }
        (*count, *at) = (count.saturating_add(1), now);
    }

    /// A partition is this process's from now on.
    pub(crate) fn taken(&self, partition: Partition, now: Instant) {
        let mut lately = self.lately();
        lately.written.retain(|entity| entity.partition() != partition);
        lately.taken.insert(partition, now);
    }

    /// This process has written to an entity.
    pub(crate) fn written(&self, entity: &Entity, now: Instant) {
        let mut lately = self.lately();
        if !lately.is_fresh(entity, now) {
            return;
        }
        if lately.written.len() >= ENTITIES_MAX {
            lately.written.clear();
        }
        lately.written.insert(entity.clone());
    }

    /// Whether the entity must not share a batch.
    pub(crate) fn is_alone(&self, entity: &Entity, now: Instant) -> bool {
        let mut lately = self.lately();
        let known = lately.refused.get(entity);
        let contested =
            known.is_some_and(|(count, at)| *count >= REFUSALS && now.duration_since(*at) < MEMORY);
        contested || (lately.is_fresh(entity, now) && !lately.written.contains(entity))
    }

    fn lately(&self) -> MutexGuard<'_, Lately> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Lately ===

impl Lately {
    /// Whether the partition of an entity was taken a moment ago.
    fn is_fresh(&mut self, entity: &Entity, now: Instant) -> bool {
        let partition = entity.partition();
        let Some(taken) = self.taken.get(&partition) else { return false };
        if now.duration_since(*taken) < MEMORY {
            return true;
        }
        self.taken.remove(&partition);
        self.written.retain(|entity| entity.partition() != partition);
        false
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
    fn whoever_was_refused_twice_goes_alone_for_ten_seconds() {
        let contested = Contested::default();
        let entity = entity(1);
        let begin = Instant::now();
        let after = |seconds| begin + Duration::from_secs(seconds);
        contested.refused(&entity, begin);
        assert!(!contested.is_alone(&entity, begin));
        contested.refused(&entity, after(9));
        assert!(contested.is_alone(&entity, after(18)));
        assert!(!contested.is_alone(&entity, after(19)));
        contested.refused(&entity, after(30));
        assert!(!contested.is_alone(&entity, after(30)), "an old refusal counts no longer");
    }

    #[test]
    fn cluster_3_what_was_taken_a_moment_ago_goes_alone_until_it_was_written_to() {
        let contested = Contested::default();
        let (one, two) = (entity(1), entity(2));
        let begin = Instant::now();
        let after = |seconds| begin + Duration::from_secs(seconds);
        assert!(!contested.is_alone(&one, begin));
        contested.taken(one.partition(), begin);
        assert!(contested.is_alone(&one, after(9)));
        assert!(!contested.is_alone(&two, after(9)), "of another partition");
        assert!(!contested.is_alone(&one, after(10)));
        contested.taken(one.partition(), after(20));
        contested.written(&one, after(21));
        assert!(!contested.is_alone(&one, after(22)));
        // It was somebody else's in between.
        contested.taken(one.partition(), after(23));
        assert!(contested.is_alone(&one, after(24)));
    }

    #[test]
    fn i15_what_is_remembered_is_bounded() {
        let contested = Contested::default();
        let now = Instant::now();
        for partition in Partition::all() {
            contested.taken(partition, now);
        }
        for number in 0..3 * u64::try_from(ENTITIES_MAX).unwrap() {
            contested.written(&entity(number), now);
            contested.refused(&entity(number), now);
        }
        let lately = contested.lately();
        assert!(lately.written.len() <= ENTITIES_MAX && lately.refused.len() <= ENTITIES_MAX);
    }
}
