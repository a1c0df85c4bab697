//! What the server's refusals mean for whoever wanted to write.

use std::fmt;

/// A refusal: nothing of what was sent is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) kind: RefusalKind,
    code: u64,
    text: String,
}

/// What to do about a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RefusalKind {
    /// Somebody else wrote to one of the subjects: 10071, 10164.
    Conflict,
    /// The stream has reached its limit and must be trimmed: 10077 and the account's limits.
    Full,
    /// The same again, a little later: everything else.
    Later,
}

/// The messages of a refused batch are never stored, whatever the code: an error is only ever given
/// instead of storing. So a code that is not known here is tried again like those that are:
/// 10176 (a message of the batch is missing), 10199 (too many messages), 10210 (too many open
/// batches), 10023 (no resources), 503 (nobody leads the stream just now).
const CONFLICTS: [u64; 2] = [10_071, 10_164];
/// 10077: the stream's `max_bytes`; 10047, 10002: the storage of the server or of the account.
const FULL: [u64; 3] = [10_077, 10_047, 10_002];

/// Nobody listens on the stream's subjects.
const NOBODY: u64 = 503;

// === impl Refusal ===

impl Refusal {
    pub(crate) fn new(code: u64, text: impl Into<String>) -> Self {
        let kind = if CONFLICTS.contains(&code) {
            RefusalKind::Conflict
        } else if FULL.contains(&code) {
            RefusalKind::Full
        } else {
            RefusalKind::Later
        };
        Self { kind, code, text: text.into() }
    }

    /// Whether nobody listens on the stream's subjects.
    pub(crate) const fn is_nobody(&self) -> bool {
        self.code == NOBODY
    }

    /// Nobody listens on the stream's subjects.
    pub(crate) fn nobody() -> Self {
        Self::new(NOBODY, "nobody leads the stream")
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({})", self.text, self.code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_say_what_to_do() {
        let kind = |code| Refusal::new(code, "").kind;
        assert_eq!([kind(10_071), kind(10_164)], [RefusalKind::Conflict; 2]);
        assert_eq!(kind(10_077), RefusalKind::Full);
        for code in [10_176, 10_199, 10_210, 10_023, 503, 1] {
            assert_eq!(kind(code), RefusalKind::Later, "{code}");
        }
        assert_eq!(Refusal::nobody().kind, RefusalKind::Later);
    }
}
