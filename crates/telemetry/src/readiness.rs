//! Whether the process can serve: ready once every part has said so, and until one takes it back.

use std::sync::{Arc, Mutex, PoisonError};

/// All that has to be true. A clone is a handle to the same list.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Mutex<Vec<(&'static str, bool)>>>);

/// One thing that has to be true.
#[derive(Clone, Debug)]
pub struct Check {
    name: &'static str,
    all: Readiness,
}

// === impl Readiness ===

impl Readiness {
    /// Adds something that has to be true; it is not yet.
    #[must_use]
    pub fn check(&self, name: &'static str) -> Check {
        let check = Check { name, all: self.clone() };
        check.set(false);
        check
    }

    /// What is not true yet; empty when ready.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().filter(|(_, holds)| !holds).map(|(name, _)| *name).collect()
    }
}

// === impl Check ===

impl Check {
    /// Says whether it holds.
    pub fn set(&self, holds: bool) {
        let mut all = self.all.0.lock().unwrap_or_else(PoisonError::into_inner);
        match all.iter_mut().find(|(name, _)| *name == self.name) {
            Some((_, before)) => *before = holds,
            None => all.push((self.name, holds)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_means_every_part_has_said_so() {
        let readiness = Readiness::default();
        let (log, drain) = (readiness.check("log"), readiness.check("not draining"));
        log.set(true);
        assert_eq!(readiness.missing(), ["not draining"]);
        drain.set(true);
        assert!(readiness.missing().is_empty());
        drain.set(false);
        assert_eq!(readiness.missing(), ["not draining"]);
    }
}
