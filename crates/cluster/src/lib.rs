//! The ports between the parts of a cluster: the log that routers commit to, the bus on which
//! gateways, routers and connectors reach each other, and the queue of effects.
//!
//! Payloads are bytes: what they mean is written down in `/proto` and known to the parts alone.
//! [`local`] implements the bus for parts that live in one process, [`memory`] the log for tests;
//! [`contract`] is the suite that every implementation of the log has to pass.

mod bus;
pub mod contract;
pub mod local;
mod log;
pub mod memory;
mod ownership;

pub use self::{
    bus::{
        BusError, EffectDelivery, Effects, Fanout, GatewayMessage, Ingress, IngressRequest,
        PublishOutcome,
    },
    log::{
        Append, Appended, Entity, EntityKind, Head, Header, Log, LogError, PartitionLog, Record,
        Scan, TooLarge, TrimReport,
    },
    ownership::{Ownership, OwnershipChange},
};
