//! Which sessions a visitor has: their own names for them, and ours.

use stentor_types::{SessionId, Timestamp};

/// Sessions that a visitor can come back to.
pub const DIRECTORY_ENTRIES_MAX: usize = 8;

/// The sessions of one visitor, latest use first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directory {
    /// At most [`DIRECTORY_ENTRIES_MAX`].
    pub entries: Vec<DirectoryEntry>,
}

/// One session of a visitor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// The id that the visitor's widget made up for it.
    pub claimed: Option<String>,
    /// The session.
    pub session: SessionId,
    /// When it last became the latest one.
    pub last_used: Timestamp,
}

/// Where a visitor's claim leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolved {
    /// To this session; nothing needs to be written.
    Known(SessionId),
    /// To this session, once the directory is written as given.
    Changed(SessionId, Directory),
    /// Nowhere: a bare reconnect of a visitor without a session.
    Nowhere,
}

// === impl Directory ===

impl Directory {
    /// The same without a session.
    #[must_use]
    pub fn without(&self, session: SessionId) -> Self {
        let entries = self.entries.iter().filter(|entry| entry.session != session);
        Self { entries: entries.cloned().collect() }
    }

    /// Where `claimed` leads: to the session of that name, to `fresh` if there is none. A bare
    /// reconnect (`None`) leads to the session used last.
    #[must_use]
    pub fn resolve(&self, claimed: Option<&str>, fresh: SessionId, now: Timestamp) -> Resolved {
        let Some(claimed) = claimed else {
            return self
                .entries
                .first()
                .map_or(Resolved::Nowhere, |entry| Resolved::Known(entry.session));
        };
        let place = self.entries.iter().position(|entry| entry.claimed.as_deref() == Some(claimed));
        if place == Some(0) {
            return self.resolve(None, fresh, now);
        }
        let mut entries = self.entries.clone();
        let session = match place.map(|place| entries.remove(place)) {
            Some(entry) => entry.session,
            None => fresh,
        };
        entries.insert(
            0,
            DirectoryEntry { claimed: Some(claimed.to_owned()), session, last_used: now },
        );
        entries.truncate(DIRECTORY_ENTRIES_MAX);
        Resolved::Changed(session, Self { entries })
    }
}

#[cfg(test)]
mod tests {
    use stentor_types::PlacementKey;

    use super::*;

    fn id(random: u128) -> SessionId {
        SessionId::new(PlacementKey(1), random)
    }

    fn resolve(directory: &mut Directory, claimed: Option<&str>, fresh: u128) -> Option<u128> {
        let session = match directory.resolve(claimed, id(fresh), Timestamp(1)) {
            Resolved::Known(session) => session,
            Resolved::Changed(session, changed) => {
                *directory = changed;
                session
            }
            Resolved::Nowhere => return None,
        };
        (1..100).find(|random| id(*random) == session)
    }

    #[test]
    fn a_bare_reconnect_leads_to_the_session_used_last() {
        let mut directory = Directory::default();
        assert_eq!(resolve(&mut directory, None, 1), None);
        assert_eq!(resolve(&mut directory, Some("a"), 1), Some(1));
        assert_eq!(resolve(&mut directory, Some("b"), 2), Some(2));
        assert_eq!(resolve(&mut directory, None, 3), Some(2));
        assert_eq!(resolve(&mut directory, Some("a"), 4), Some(1));
        assert_eq!(resolve(&mut directory, None, 5), Some(1));
    }

    #[test]
    fn i15_a_directory_keeps_eight_sessions() {
        let mut directory = Directory::default();
        for number in 1..=9 {
            resolve(&mut directory, Some(&format!("s{number}")), number);
        }
        assert_eq!(directory.entries.len(), DIRECTORY_ENTRIES_MAX);
        assert_eq!(resolve(&mut directory, Some("s2"), 20), Some(2));
        assert_eq!(
            resolve(&mut directory, Some("s1"), 21),
            Some(21),
            "the oldest name is free again"
        );
    }
}
