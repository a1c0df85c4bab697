//! Names of processes, as they stand in subjects.

use std::{fmt, sync::Arc};

/// The longest name.
const CHARS_MAX: usize = 64;

/// The name of a process: 1 to 64 characters of `A-Z a-z 0-9 _ -`. Two processes with one name are told
/// apart, but share their place when partitions are spread: give each a name of its own.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberName(Arc<str>);

/// A text cannot be the name of a process.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} cannot be the name of a process: 1 to 64 characters of A-Z a-z 0-9 _ - are needed")]
pub struct InvalidName(String);

// === impl MemberName ===

impl MemberName {
    /// Checks and wraps a name.
    ///
    /// # Errors
    /// The name is empty, too long, or has a character that may not stand in a subject.
    pub fn try_new(name: &str) -> Result<Self, InvalidName> {
        let fits = !name.is_empty() && name.len() <= CHARS_MAX && name.chars().all(is_allowed);
        if fits { Ok(Self(name.into())) } else { Err(InvalidName(name.to_owned())) }
    }

    /// The name of a machine or pod, with `-` for whatever may not stand in a subject.
    #[must_use]
    pub fn of_host(host: &str) -> Self {
        let chars = host.chars().take(CHARS_MAX);
        let name: String = chars.map(|char| if is_allowed(char) { char } else { '-' }).collect();
        if name.is_empty() { Self("unnamed".into()) } else { Self(name.into()) }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MemberName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for MemberName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "MemberName({self})")
    }
}

const fn is_allowed(char: char) -> bool {
    char.is_ascii_alphanumeric() || char == '_' || char == '-'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i17_what_would_change_a_subject_is_no_name() {
        for name in ["", "a.b", "a b", "*", ">", "=x", "é", &"a".repeat(65)] {
            assert!(MemberName::try_new(name).is_err(), "{name:?}");
            let _ = MemberName::try_new(MemberName::of_host(name).as_str()).unwrap();
        }
        assert_eq!(MemberName::of_host("router-0.local").as_str(), "router-0-local");
    }
}
