//! The log and the bus of a cluster, over NATS and JetStream.

#![forbid(unsafe_code)]

mod chance;
mod connect;
mod log;
mod monitor;
mod stream;
pub mod subjects;

pub use self::{
    connect::{ConnectError, Connection, ConnectionSettings, ConnectionStatus, Login, Tls},
    log::{LogMetrics, NatsLog},
    monitor::MonitorError,
    stream::{LogSettings, OpenError, fence},
};
