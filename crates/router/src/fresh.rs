//! Sessions that this router has just made up, and that nobody can have written to before.
//!
//! They begin even while the store cannot be asked. Overflow: all are forgotten, and the store is asked.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

use stentor_types::SessionId;

/// Sessions remembered: as many as may be on the way from their directory to their first event.
const FRESH_MAX: usize = 16_384;

/// The sessions made up here in which nothing has happened yet.
#[derive(Debug, Default)]
pub(crate) struct Fresh(Mutex<HashSet<SessionId>>);

// === impl Fresh ===

impl Fresh {
    /// This session has just been made up.
    pub(crate) fn add(&self, session: SessionId) {
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if sessions.len() >= FRESH_MAX {
            sessions.clear();
        }
        sessions.insert(session);
    }

    /// It has been made up here, and has not begun.
    pub(crate) fn has(&self, session: SessionId) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&session)
    }

    /// It has begun.
    pub(crate) fn begun(&self, session: SessionId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&session);
    }
}
