//! Entities that others write to as well, so that they do not hold up their neighbours.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use stentor_cluster::Entity;

/// How long a refusal is remembered, and how long an entity goes alone.
const MEMORY: Duration = Duration::from_secs(10);
/// Refusals within that time after which an entity goes alone.
const REFUSALS: u32 = 2;
/// Entities remembered. Overflow: all are forgotten, and found again by their next refusals.
const ENTITIES_MAX: usize = 10_000;

/// Who was refused lately.
#[derive(Debug, Default)]
pub(crate) struct Contested {
    refused: Mutex<HashMap<Entity, (u32, Instant)>>,
}

// === impl Contested ===

impl Contested {
    pub(crate) fn refused(&self, entity: &Entity, now: Instant) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
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

    /// Whether the entity must not share a batch.
    pub(crate) fn is_alone(&self, entity: &Entity, now: Instant) -> bool {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let known = refused.get(entity);
        known.is_some_and(|(count, at)| *count >= REFUSALS && now.duration_since(*at) < MEMORY)
    }
}

#[cfg(test)]
mod tests {
    use stentor_cluster::EntityKind;
    use stentor_types::{AppId, PlacementKey, SessionId};

    use super::*;

    #[test]
    fn whoever_was_refused_twice_goes_alone_for_ten_seconds() {
        let contested = Contested::default();
        let session = SessionId::new(PlacementKey(1), 0);
        let entity =
            Entity { app: AppId::try_new("a").unwrap(), kind: EntityKind::Session(session) };
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
}
