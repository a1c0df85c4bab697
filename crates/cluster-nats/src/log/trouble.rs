//! Why the log could not do something just now.

use stentor_cluster::LogError;

use super::codes::Refusal;

/// Why the log could not do something just now.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    #[error("the connection to NATS is down")]
    Down,
    #[error("the connection to NATS was lost before an answer came")]
    Lost,
    #[error("NATS did not answer in time")]
    Late,
    #[error("NATS refused it: {0}")]
    Refused(Refusal),
    #[error("what NATS answered is not understood: {0}")]
    Answer(&'static str),
    #[error("{what} failed")]
    Request {
        what: &'static str,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

// === impl Trouble ===

impl Trouble {
    /// For `map_err`, with what was being done.
    pub(crate) fn of<E>(what: &'static str) -> impl FnOnce(E) -> LogError
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        move |source| Self::Request { what, source: source.into() }.into()
    }
}

impl From<Trouble> for LogError {
    fn from(trouble: Trouble) -> Self {
        Self::Unavailable(Box::new(trouble))
    }
}
