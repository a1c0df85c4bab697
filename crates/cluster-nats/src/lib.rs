//! The log and the bus of a cluster, over NATS and JetStream.

#![forbid(unsafe_code)]

mod bucket;
mod bus;
mod chance;
mod claims;
mod clock;
mod connect;
mod dead;
mod disk;
mod effects;
mod fanout;
mod ingress;
mod log;
mod members;
mod metrics;
mod monitor;
pub mod operator;
mod ownership;
mod readiness;
mod stream;
pub mod subjects;
mod timings;
mod trying;
mod version;

pub use self::{
    bus::{
        BusFailure, BusSetupError, ConnectorBus, ConnectorBusSettings, ConnectorEnds, GatewayBus,
        GatewayBusSettings, GatewayEnds, RouterBus, RouterBusSettings, RouterEnds,
        RunningConnectorBus, RunningGatewayBus, RunningRouterBus,
    },
    connect::{ConnectError, Connection, ConnectionSettings, ConnectionStatus, Login, Tls},
    dead::{Buried, DEAD_LETTERS, ReadError as DeadLettersError, dead_letters},
    ingress::{ANSWER_MAX, REQUEST_MAX},
    log::{LogMetrics, NatsLog},
    members::{InvalidName, MemberName, RouterId},
    monitor::MonitorError,
    readiness::{BusState, StateReceiver, Trouble},
    stream::{LogSettings, OpenError, fence, incarnation},
    timings::{Timings, TimingsError},
    version::{VersionError, finalized},
};
