//! One request to the database: bounded, timed and counted.

use std::{ops::ControlFlow, sync::Arc, time::Duration};

use scylla::{
    client::session::Session,
    deserialize::row::DeserializeRow,
    errors::{ConnectionError, ConnectionPoolError, ConnectionSetupRequestErrorKind, DbError},
    errors::{ExecutionError, MetadataError, NewSessionError, PrepareError, RequestAttemptError},
    response::{PagingState, query_result::QueryResult},
    serialize::row::SerializeRow,
    statement::{
        batch::{Batch, BatchType},
        prepared::PreparedStatement,
    },
};
use stentor_store::StoreError;
use tokio::{sync::Semaphore, time::Instant};

use crate::{
    metrics::{Kind, Metrics, Outcome},
    state::{State, Why},
    statements::Statements,
};

/// Requests that the database is given at a time. Beyond it they wait, each at most [`REQUEST_TIMEOUT`], and
/// then fail: whoever asks has bounds of their own and asks again.
pub(crate) const REQUESTS_MAX: usize = 256;
/// What a request may take, repeats on other nodes included. The database itself gives up after 2 s (writes)
/// and 5 s (reads), and should be the first to do so.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(6);

/// A connection to the database, with its statements.
#[derive(Debug)]
pub(crate) struct Connection {
    session: Session,
    statements: Statements,
    permits: Arc<Semaphore>,
    metrics: Metrics,
}

/// A request failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    /// There is no connection yet.
    #[error("{0}")]
    NotConnected(State),
    /// It could not begin in time.
    #[error("the database is busy with {REQUESTS_MAX} other requests")]
    Busy,
    /// The database or the way to it.
    #[error("failed to ask the database")]
    Execution(#[source] Box<ExecutionError>),
    /// What it answered is not what the tables hold.
    #[error("failed to read an answer of the database")]
    Answer(#[source] Box<dyn std::error::Error + Send + Sync>),
}

// === impl Connection ===

impl Connection {
    pub(crate) const fn new(
        session: Session,
        statements: Statements,
        permits: Arc<Semaphore>,
        metrics: Metrics,
    ) -> Self {
        Self { session, statements, permits, metrics }
    }

    pub(crate) const fn statements(&self) -> &Statements {
        &self.statements
    }

    pub(crate) const fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Writes or deletes one row.
    pub(crate) async fn write(
        &self,
        kind: Kind,
        statement: &PreparedStatement,
        values: impl SerializeRow,
    ) -> Result<(), RequestError> {
        self.counted(kind, self.session.execute_unpaged(statement, values)).await.map(|_| ())
    }

    /// Writes or deletes rows of one partition, all or none.
    pub(crate) async fn write_all<V: SerializeRow>(
        &self,
        kind: Kind,
        statement: &PreparedStatement,
        rows: Vec<V>,
    ) -> Result<(), RequestError> {
        let mut batch = Batch::new(BatchType::Unlogged);
        batch.set_is_idempotent(true);
        for _ in &rows {
            batch.append_statement(statement.clone());
        }
        self.counted(kind, self.session.batch(&batch, rows)).await.map(|_| ())
    }

    /// The first row, if there is one.
    pub(crate) async fn first<R>(
        &self,
        kind: Kind,
        statement: &PreparedStatement,
        values: impl SerializeRow,
    ) -> Result<Option<R>, RequestError>
    where
        R: for<'frame, 'metadata> DeserializeRow<'frame, 'metadata>,
    {
        let answered = self.counted(kind, self.session.execute_unpaged(statement, values)).await?;
        let rows = answered.into_rows_result().map_err(answer)?;
        rows.maybe_first_row::<R>().map_err(answer)
    }

    /// All rows, page by page.
    pub(crate) async fn all<R>(
        &self,
        kind: Kind,
        statement: &PreparedStatement,
        values: impl SerializeRow,
    ) -> Result<Vec<R>, RequestError>
    where
        R: for<'frame, 'metadata> DeserializeRow<'frame, 'metadata>,
    {
        let mut all = Vec::new();
        let mut next = Some(PagingState::start());
        while let Some(state) = next {
            let (rows, after) = self.page(kind, statement, &values, state).await?;
            all.extend(rows);
            next = after;
        }
        Ok(all)
    }

    /// One page of rows, and where the next one begins.
    pub(crate) async fn page<R>(
        &self,
        kind: Kind,
        statement: &PreparedStatement,
        values: &impl SerializeRow,
        state: PagingState,
    ) -> Result<(Vec<R>, Option<PagingState>), RequestError>
    where
        R: for<'frame, 'metadata> DeserializeRow<'frame, 'metadata>,
    {
        let asking = self.session.execute_single_page(statement, values, state);
        let (answered, after): (QueryResult, _) = self.counted(kind, asking).await?;
        let rows = answered.into_rows_result().map_err(answer)?;
        let rows = rows.rows::<R>().map_err(answer)?;
        let rows = rows.collect::<Result<Vec<R>, _>>().map_err(answer)?;
        let after = match after.into_paging_control_flow() {
            ControlFlow::Continue(state) => Some(state),
            ControlFlow::Break(()) => None,
        };
        Ok((rows, after))
    }

    async fn counted<T>(
        &self,
        kind: Kind,
        asking: impl Future<Output = Result<T, ExecutionError>>,
    ) -> Result<T, RequestError> {
        let begun = Instant::now();
        let permit = tokio::time::timeout(REQUEST_TIMEOUT, self.permits.acquire()).await;
        let Ok(Ok(_permit)) = permit else {
            self.metrics.ended(kind, Outcome::Busy, begun.elapsed());
            return Err(RequestError::Busy);
        };
        let answered = asking.await;
        let outcome = answered.as_ref().map_or_else(outcome, |_| Outcome::Done);
        self.metrics.ended(kind, outcome, begun.elapsed());
        answered.map_err(|cause| RequestError::Execution(Box::new(cause)))
    }
}

// === impl RequestError ===

impl RequestError {
    /// As those see it who read or write `what`.
    pub(crate) fn about(self, what: &impl std::fmt::Display) -> StoreError {
        match self {
            Self::Answer(_) => StoreError::Corrupt { what: what.to_string() },
            Self::NotConnected(_) | Self::Busy | Self::Execution(_) => {
                StoreError::Unavailable(Box::new(self))
            }
        }
    }

    /// What it says about the database.
    pub(crate) fn why(&self) -> Why {
        match self {
            Self::NotConnected(_) | Self::Busy | Self::Answer(_) => Why::Failed,
            Self::Execution(cause) => why(cause),
        }
    }
}

fn answer(cause: impl std::error::Error + Send + Sync + 'static) -> RequestError {
    RequestError::Answer(Box::new(cause))
}

const fn outcome(cause: &ExecutionError) -> Outcome {
    match why(cause) {
        Why::TooSlow | Why::TooFewReplicas => Outcome::TimedOut,
        Why::NotYet | Why::NoNode | Why::Login => Outcome::Unreachable,
        Why::NotAllowed | Why::Failed => Outcome::Refused,
    }
}

/// Why a request failed.
pub(crate) const fn why(cause: &ExecutionError) -> Why {
    match cause {
        ExecutionError::RequestTimeout(_) => Why::TooSlow,
        ExecutionError::EmptyPlan => Why::NoNode,
        ExecutionError::ConnectionPoolError(cause) => why_no_connection(cause),
        ExecutionError::PrepareError(cause) => why_not_prepared(cause),
        ExecutionError::LastAttemptError(cause) => why_refused(cause),
        _ => Why::Failed,
    }
}

/// Why a statement could not be prepared.
pub(crate) const fn why_not_prepared(cause: &PrepareError) -> Why {
    match cause {
        PrepareError::ConnectionPoolError(cause) => why_no_connection(cause),
        PrepareError::AllAttemptsFailed { first_attempt } => why_refused(first_attempt),
        _ => Why::Failed,
    }
}

/// Why there is no session.
pub(crate) const fn why_no_session(cause: &NewSessionError) -> Why {
    match cause {
        NewSessionError::FailedToResolveAnyHostname(_) => Why::NoNode,
        NewSessionError::MetadataError(MetadataError::ConnectionPoolError(cause)) => {
            why_no_connection(cause)
        }
        _ => Why::Failed,
    }
}

const fn why_no_connection(cause: &ConnectionPoolError) -> Why {
    let ConnectionPoolError::Broken { last_connection_error } = cause else { return Why::NoNode };
    match last_connection_error {
        ConnectionError::ConnectTimeout => Why::TooSlow,
        ConnectionError::ConnectionSetupRequestError(cause) => match &cause.error {
            ConnectionSetupRequestErrorKind::MissingAuthentication
            | ConnectionSetupRequestErrorKind::DbError(DbError::AuthenticationError, _) => {
                Why::Login
            }
            ConnectionSetupRequestErrorKind::DbError(..) => Why::Failed,
            _ => Why::NoNode,
        },
        _ => Why::NoNode,
    }
}

const fn why_refused(cause: &RequestAttemptError) -> Why {
    match cause {
        RequestAttemptError::BrokenConnectionError(_)
        | RequestAttemptError::UnableToAllocStreamId => Why::NoNode,
        RequestAttemptError::DbError(cause, _) => match cause {
            DbError::Unavailable { .. }
            | DbError::ReadTimeout { .. }
            | DbError::WriteTimeout { .. } => Why::TooFewReplicas,
            DbError::Overloaded => Why::TooSlow,
            DbError::Unauthorized => Why::NotAllowed,
            DbError::AuthenticationError => Why::Login,
            _ => Why::Failed,
        },
        _ => Why::Failed,
    }
}
