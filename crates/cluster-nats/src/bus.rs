//! The bus of a cluster, as each kind of process holds it.
//!
//! Each kind has a handle with the ports that it needs, ends to receive from, and something to run. When
//! what runs is dropped, everything ends at once, as if the process had.

mod connector;
mod gateway;
mod router;

use std::time::Duration;

use prometheus::Registry;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use self::{
    connector::{ConnectorBus, ConnectorBusSettings, ConnectorEnds, RunningConnectorBus},
    gateway::{GatewayBus, GatewayBusSettings, GatewayEnds, RunningGatewayBus},
    router::{RouterBus, RouterBusSettings, RouterEnds, RunningRouterBus},
};
use crate::{
    connect::Connection, fanout::ReceiveError, metrics::LineMetrics, timings::TimingsError,
};

/// A bus could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum BusSetupError {
    /// The timings contradict each other.
    #[error(transparent)]
    Timings(#[from] TimingsError),
    /// A metric of the same name is registered already.
    #[error("failed to register a metric")]
    Metrics(#[from] prometheus::Error),
    /// The operating system has no random numbers.
    #[error("failed to draw random numbers from the operating system")]
    Random(#[from] getrandom::Error),
}

/// A bus cannot go on: the process has to be started again.
#[derive(Debug, thiserror::Error)]
pub enum BusFailure {
    /// The connection was closed for good.
    #[error("the connection to NATS is closed")]
    Closed,
    /// Nothing can be listened to.
    #[error("failed to listen on NATS")]
    Subscribe(#[from] async_nats::SubscribeError),
    /// The operating system has no random numbers.
    #[error("failed to draw random numbers from the operating system")]
    Random(#[from] getrandom::Error),
}

/// What runs beside each other in one process.
type Tasks = JoinSet<Result<(), BusFailure>>;

impl From<ReceiveError> for BusFailure {
    fn from(error: ReceiveError) -> Self {
        match error {
            ReceiveError::Subscribe(cause) => Self::Subscribe(cause),
            ReceiveError::Random(cause) => Self::Random(cause),
        }
    }
}

/// Counts what happens to the line, until `stop` is cancelled.
async fn watch_line(
    connection: Connection,
    metrics: LineMetrics,
    stop: CancellationToken,
) -> Result<(), BusFailure> {
    let mut status = connection.status();
    let mut before = *status.borrow_and_update();
    loop {
        tokio::select! {
            changed = status.changed() => changed.map_err(|_| BusFailure::Closed)?,
            () = stop.cancelled() => return Ok(()),
        }
        let now = *status.borrow_and_update();
        metrics.reconnects.inc_by(now.losses.saturating_sub(before.losses));
        metrics.overflows.inc_by(now.overflows.saturating_sub(before.overflows));
        before = now;
    }
}

/// Waits for the first that ends: none may before it is told to. When it is its own failure, that is it.
async fn first_end(tasks: &mut Tasks) -> BusFailure {
    match tasks.join_next().await {
        Some(Ok(Err(failure))) => failure,
        Some(Ok(Ok(())) | Err(_)) | None => BusFailure::Closed,
    }
}

/// Ends what runs, and waits for it a while: nothing of it is needed any more.
async fn end(mut tasks: Tasks, stop: CancellationToken) {
    stop.cancel();
    let all = async { while tasks.join_next().await.is_some() {} };
    // The rest is dropped.
    let _ = tokio::time::timeout(Duration::from_secs(2), all).await;
}

fn line_metrics(registry: &Registry) -> Result<LineMetrics, BusSetupError> {
    Ok(LineMetrics::new(registry)?)
}
