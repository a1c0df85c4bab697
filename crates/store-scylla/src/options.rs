//! What an operator says about the database. Names that become part of CQL text are checked here: values
//! are always bound, but a keyspace and a data centre cannot be.

use std::{fmt, sync::Arc, time::Duration};

use stentor_types::AppId;

/// The longest name of a keyspace that Cassandra takes.
const KEYSPACE_CHARS_MAX: usize = 48;

/// How long the history of an app is kept: what is older has gone from the database by itself. `None` means
/// for ever.
pub type Retention = Arc<dyn Fn(&AppId) -> Option<Duration> + Send + Sync>;

/// How to reach the database, and how it keeps our keyspace.
#[derive(Clone)]
pub struct Options {
    /// Nodes to ask first, `host:port`; the others are found through them.
    pub nodes: Vec<String>,
    /// The keyspace, of lower-case letters, digits and `_`. It is created if it is not there.
    pub keyspace: String,
    /// How a keyspace is replicated that does not exist yet.
    pub replication: Replication,
    /// How many replicas have to agree.
    pub consistency: Consistency,
    /// The data centre whose nodes are asked; all of them if not given.
    pub datacenter: Option<String>,
    /// Name and password, if the database asks for them.
    pub login: Option<Login>,
    /// How long the history of each app is kept.
    pub retention: Retention,
}

/// How a new keyspace is replicated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replication {
    /// So many copies anywhere; for tests and a single data centre that will stay single.
    Simple(u8),
    /// So many copies in each of these data centres.
    PerDatacenter(Vec<(String, u8)>),
}

/// How many replicas have to agree before a request is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Consistency {
    /// Most of those in our data centre.
    #[default]
    LocalQuorum,
    /// Most of all.
    Quorum,
    /// One in our data centre. Only where there is but one copy: else a read may miss what was written.
    LocalOne,
}

/// Who we are to the database.
#[derive(Clone)]
pub struct Login {
    /// The role's name.
    pub user: String,
    /// Its password.
    pub password: String,
}

/// An option cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{option} must be {rule}")]
pub struct InvalidOption {
    /// Which.
    pub option: &'static str,
    /// What it has to look like.
    pub rule: &'static str,
}

// === impl Options ===

impl Options {
    /// One copy, kept for ever: what tests begin with.
    #[must_use]
    pub fn new(nodes: Vec<String>, keyspace: &str) -> Self {
        Self {
            nodes,
            keyspace: keyspace.to_owned(),
            replication: Replication::Simple(1),
            consistency: Consistency::default(),
            datacenter: None,
            login: None,
            retention: Arc::new(|_| None),
        }
    }

    /// Whether all of them can be used.
    pub(crate) fn check(&self) -> Result<(), InvalidOption> {
        let lower = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let keyspace = self.keyspace.as_bytes();
        if self.nodes.is_empty() {
            return Err(InvalidOption { option: "nodes", rule: "at least one host:port" });
        }
        if !keyspace.first().is_some_and(u8::is_ascii_lowercase)
            || keyspace.len() > KEYSPACE_CHARS_MAX
            || !keyspace.iter().copied().all(lower)
        {
            let rule = "1 to 48 lower-case letters, digits and _, beginning with a letter";
            return Err(InvalidOption { option: "keyspace", rule });
        }
        match &self.replication {
            Replication::Simple(1..) => Ok(()),
            Replication::PerDatacenter(all)
                if !all.is_empty()
                    && all.iter().all(|(name, copies)| *copies > 0 && is_datacenter(name)) =>
            {
                Ok(())
            }
            Replication::Simple(_) | Replication::PerDatacenter(_) => {
                let rule = "one copy or more, in data centres named by letters, digits and -_.";
                Err(InvalidOption { option: "replication", rule })
            }
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Options")
            .field("nodes", &self.nodes)
            .field("keyspace", &self.keyspace)
            .field("replication", &self.replication)
            .field("consistency", &self.consistency)
            .field("datacenter", &self.datacenter)
            .field("login", &self.login)
            .finish_non_exhaustive()
    }
}

// === impl Replication ===

impl Replication {
    /// The value of the option `replication` in CQL; its names have been checked.
    pub(crate) fn cql(&self) -> String {
        match self {
            Self::Simple(copies) => {
                format!("{{'class': 'SimpleStrategy', 'replication_factor': {copies}}}")
            }
            Self::PerDatacenter(all) => {
                let all: String =
                    all.iter().map(|(name, copies)| format!(", '{name}': {copies}")).collect();
                format!("{{'class': 'NetworkTopologyStrategy'{all}}}")
            }
        }
    }
}

// === impl Consistency ===

impl From<Consistency> for scylla::statement::Consistency {
    fn from(consistency: Consistency) -> Self {
        match consistency {
            Consistency::LocalQuorum => Self::LocalQuorum,
            Consistency::Quorum => Self::Quorum,
            Consistency::LocalOne => Self::LocalOne,
        }
    }
}

// === impl Login ===

impl fmt::Debug for Login {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

fn is_datacenter(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !name.is_empty() && name.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(keyspace: &str) -> Options {
        Options::new(vec!["127.0.0.1:9042".to_owned()], keyspace)
    }

    #[test]
    fn s6_only_plain_names_become_part_of_cql() {
        assert_eq!(options("stentor_2").check(), Ok(()));
        for bad in ["", "2", "a b", "a;b", "a'", "A", "a\"", "a.b", "ä", &"x".repeat(49)] {
            assert!(options(bad).check().is_err(), "{bad:?}");
        }
        for bad in ["", "dc'", "dc}", "a b", "a\n"] {
            let replication = Replication::PerDatacenter(vec![(bad.to_owned(), 3)]);
            assert!(Options { replication, ..options("a") }.check().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_keyspace_without_copies_is_refused() {
        for replication in [
            Replication::Simple(0),
            Replication::PerDatacenter(Vec::new()),
            Replication::PerDatacenter(vec![("dc1".to_owned(), 3), ("dc2".to_owned(), 0)]),
        ] {
            assert!(Options { replication, ..options("a") }.check().is_err());
        }
        let replication =
            Replication::PerDatacenter(vec![("dc1".to_owned(), 3), ("dc-2".to_owned(), 2)]);
        assert_eq!(replication.cql(), "{'class': 'NetworkTopologyStrategy', 'dc1': 3, 'dc-2': 2}");
        assert_eq!(Options { replication, ..options("a") }.check(), Ok(()));
    }

    #[test]
    fn a_password_is_never_printed() {
        let login = Login { user: "stentor".to_owned(), password: "hunter2".to_owned() };
        let printed = format!("{:?}", Options { login: Some(login), ..options("a") });
        assert!(printed.contains("stentor") && !printed.contains("hunter2"), "{printed}");
    }
}
