//! How the database is, for those who wait for it.

use std::{fmt, time::Instant};

/// How the database is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It answers.
    Ready,
    /// It does not.
    Unreachable {
        /// Since when.
        since: Instant,
        /// As far as is known.
        why: Why,
    },
    /// Its schema was made by a newer version of this program, which this one does not understand.
    SchemaNewer {
        /// The version of the schema there.
        found: i32,
        /// The newest one that this program knows.
        known: i32,
    },
}

/// Why the database cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// We have not tried for long enough.
    NotYet,
    /// No node could be reached.
    NoNode,
    /// It refused name or password, or wants them.
    Login,
    /// The role may not do what is needed.
    NotAllowed,
    /// It answers, but not within the time that a request has.
    TooSlow,
    /// It answers, but too few replicas do.
    TooFewReplicas,
    /// Something else, which the log names.
    Failed,
}

// === impl State ===

impl State {
    /// Whether requests can succeed.
    #[must_use]
    pub const fn is_ready(self) -> bool {
        matches!(self, Self::Ready)
    }

    /// Whether a request would only wait for nothing. Where some replicas are missing, those of another key may
    /// be there.
    pub(crate) const fn is_hopeless(self) -> bool {
        match self {
            Self::Ready => false,
            Self::SchemaNewer { .. } => true,
            Self::Unreachable { why, .. } => matches!(why, Why::NoNode | Why::TooSlow),
        }
    }

    /// Whether somebody who reads the log has to be told: how long it lasts is no change.
    pub(crate) const fn differs(self, other: Self) -> bool {
        match (self, other) {
            (Self::Ready, Self::Ready) => false,
            (Self::Unreachable { why: one, .. }, Self::Unreachable { why: two, .. }) => {
                one as u8 != two as u8
            }
            (Self::SchemaNewer { found: one, .. }, Self::SchemaNewer { found: two, .. }) => {
                one != two
            }
            _ => true,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready => formatter.write_str("database ready"),
            Self::Unreachable { since, why } => {
                write!(formatter, "database unreachable for {} s: {why}", since.elapsed().as_secs())
            }
            Self::SchemaNewer { found, known } => write!(
                formatter,
                "database schema {found} is newer than this version, which knows {known}"
            ),
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::NotYet => "not yet tried",
            Self::NoNode => "no node answers",
            Self::Login => "name or password refused",
            Self::NotAllowed => "the role lacks a right",
            Self::TooSlow => "no answer in time",
            Self::TooFewReplicas => "too few replicas answer",
            Self::Failed => "a request failed",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_outage_is_told_once_and_again_when_its_reason_changes() {
        let begun = Instant::now();
        let down = |why| State::Unreachable { since: begun, why };
        let later = State::Unreachable { since: begun + Duration::from_secs(9), why: Why::NoNode };
        assert!(State::Ready.differs(down(Why::NoNode)));
        assert!(!down(Why::NoNode).differs(later));
        assert!(down(Why::NoNode).differs(down(Why::Login)));
        assert!(down(Why::Login).differs(State::Ready));
        assert!(!State::Ready.differs(State::Ready));
        let newer = |found| State::SchemaNewer { found, known: 1 };
        assert!(newer(2).differs(newer(3)) && !newer(2).differs(newer(2)));
        assert!(down(Why::NoNode).differs(newer(2)) && newer(2).differs(State::Ready));
    }

    #[test]
    fn requests_are_given_up_at_once_only_where_nobody_could_answer_any() {
        let down = |why| State::Unreachable { since: Instant::now(), why };
        assert!(down(Why::NoNode).is_hopeless() && down(Why::TooSlow).is_hopeless());
        assert!(!down(Why::TooFewReplicas).is_hopeless() && !State::Ready.is_hopeless());
    }
}
