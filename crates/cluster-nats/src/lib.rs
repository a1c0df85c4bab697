//! The log and the bus of a cluster, over NATS and JetStream.

#![forbid(unsafe_code)]

mod chance;
mod connect;

pub use self::connect::{
    ConnectError, Connection, ConnectionSettings, ConnectionStatus, Login, Tls,
};
