//! Connects in the background, however long it takes, and then watches whether the database answers.
//!
//! Once there is a connection the driver itself keeps it: it reconnects, follows nodes that come and go,
//! and prepares statements again.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use scylla::{
    client::{Compression, execution_profile::ExecutionProfile, session_builder::SessionBuilder},
    errors::{NewSessionError, PrepareError},
    policies::{load_balancing::DefaultPolicy, retry::DefaultRetryPolicy},
};
use tokio::sync::{Semaphore, watch};
use tracing::{info, warn};

use crate::{
    metrics::{Kind, Metrics},
    options::Options,
    request::{
        Connection, REQUEST_TIMEOUT, REQUESTS_MAX, RequestError, why, why_no_session,
        why_not_prepared,
    },
    schema::{MigrateError, SCHEMA_VERSION, migrate},
    state::{State, Why},
    statements::Statements,
};

/// The first wait after a failed attempt to connect; it doubles.
const BACKOFF_MIN: Duration = Duration::from_millis(200);
/// The longest wait: what a person hardly notices after a database is back.
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// Time between two looks at whether the database answers.
const PROBE: Duration = Duration::from_secs(1);
/// What one node may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a silent connection is asked for a sign of life, and how long it may take: a node that is frozen
/// is left after their sum.
const KEEPALIVE: Duration = Duration::from_secs(3);
/// What all nodes may take to agree about a schema.
const AGREEMENT_TIMEOUT: Duration = Duration::from_secs(60);

/// A connection could not be made.
#[derive(Debug, thiserror::Error)]
enum ConnectError {
    #[error("failed to connect")]
    Session(#[from] NewSessionError),
    #[error("failed to bring the schema up to date")]
    Migrate(#[from] MigrateError),
    #[error("failed to prepare a statement")]
    Prepare(#[from] PrepareError),
}

/// Tells what the task has found.
#[derive(Debug)]
pub(crate) struct Reporter {
    pub(crate) state: watch::Sender<State>,
    pub(crate) connection: watch::Sender<Option<Arc<Connection>>>,
    pub(crate) metrics: Metrics,
}

/// Runs until it is dropped.
pub(crate) async fn run(options: Options, reporter: Reporter) {
    let permits = Arc::new(Semaphore::new(REQUESTS_MAX));
    let mut wait = BACKOFF_MIN;
    let connection = loop {
        match connect(&options, &permits, &reporter.metrics).await {
            Ok(connection) => break Arc::new(connection),
            Err(cause) => reporter.failed(&cause),
        }
        tokio::time::sleep(wait).await;
        wait = BACKOFF_MAX.min(wait * 2);
    };
    reporter.connection.send_replace(Some(connection.clone()));
    reporter.report(State::Ready, None);
    loop {
        tokio::time::sleep(PROBE).await;
        let probe = &connection.statements().probe;
        match connection.first::<(i32,)>(Kind::Probe, probe, ()).await {
            Ok(_) => reporter.report(State::Ready, None),
            // Others keep it busy: it lives.
            Err(RequestError::Busy) => {}
            Err(cause) => {
                let why = cause.why();
                reporter.report(reporter.unreachable(why), Some(&cause));
            }
        }
    }
}

async fn connect(
    options: &Options,
    permits: &Arc<Semaphore>,
    metrics: &Metrics,
) -> Result<Connection, ConnectError> {
    let session = builder(options).build().await?;
    migrate(&session, options).await?;
    let statements = Statements::prepare(&session, &options.keyspace).await?;
    Ok(Connection::new(session, statements, permits.clone(), metrics.clone()))
}

fn builder(options: &Options) -> SessionBuilder {
    let mut balancing = DefaultPolicy::builder().token_aware(true);
    if let Some(datacenter) = &options.datacenter {
        balancing = balancing.prefer_datacenter(datacenter.clone()).permit_dc_failover(false);
    }
    let profile = ExecutionProfile::builder()
        .consistency(options.consistency.into())
        .serial_consistency(None)
        .request_timeout(Some(REQUEST_TIMEOUT))
        .retry_policy(Arc::new(DefaultRetryPolicy::new()))
        .load_balancing_policy(balancing.build())
        .build();
    let mut builder = SessionBuilder::new()
        .known_nodes(&options.nodes)
        .default_execution_profile_handle(profile.into_handle())
        .compression(Some(Compression::Lz4))
        .connection_timeout(CONNECT_TIMEOUT)
        .keepalive_interval(KEEPALIVE)
        .keepalive_timeout(KEEPALIVE)
        .schema_agreement_timeout(AGREEMENT_TIMEOUT)
        .tcp_nodelay(true);
    if let Some(login) = &options.login {
        builder = builder.user(&login.user, &login.password);
    }
    builder
}

// === impl Reporter ===

impl Reporter {
    fn failed(&self, cause: &ConnectError) {
        let state = match cause {
            ConnectError::Migrate(MigrateError::Newer { found }) => {
                State::SchemaNewer { found: *found, known: SCHEMA_VERSION }
            }
            ConnectError::Session(cause) => self.unreachable(why_no_session(cause)),
            ConnectError::Prepare(cause) => self.unreachable(why_not_prepared(cause)),
            ConnectError::Migrate(MigrateError::Execution(cause)) => self.unreachable(why(cause)),
            ConnectError::Migrate(MigrateError::Answer(_)) => self.unreachable(Why::Failed),
        };
        self.report(state, Some(cause));
    }

    fn unreachable(&self, why: Why) -> State {
        let since = match *self.state.borrow() {
            State::Unreachable { since, .. } => since,
            State::Ready | State::SchemaNewer { .. } => Instant::now(),
        };
        State::Unreachable { since, why }
    }

    /// Logged once per change; a repeated failure is only counted.
    fn report(&self, state: State, cause: Option<&dyn std::error::Error>) {
        self.metrics.connected.set(i64::from(state.is_ready()));
        let before = self.state.send_replace(state);
        if before.differs(state) {
            let cause = cause.map(chain);
            match state {
                State::Ready => info!("the database answers"),
                State::Unreachable { .. } => warn!(%state, cause, "the database cannot be used"),
                State::SchemaNewer { .. } => warn!(%state, "the database cannot be used"),
            }
        }
    }
}

/// An error and what caused it, in one line.
fn chain(cause: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(cause), |cause| cause.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// What requests are made with. While the probe finds that nothing answers, they fail at once instead of waiting
/// for their time-out, each behind the others.
pub(crate) fn connection(
    connection: &watch::Receiver<Option<Arc<Connection>>>,
    state: &watch::Receiver<State>,
) -> Result<Arc<Connection>, RequestError> {
    let state = *state.borrow();
    match &*connection.borrow() {
        Some(connected) if !state.is_hopeless() => Ok(connected.clone()),
        _ => Err(RequestError::NotConnected(state)),
    }
}
