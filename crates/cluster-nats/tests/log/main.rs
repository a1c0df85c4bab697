//! The log on real servers: the contract of all logs, and what is JetStream's own.
#![allow(clippy::unwrap_used, reason = "tests")]

mod batches;
mod contract;
mod faults;
mod full;
mod harness;
mod opening;
mod partition;
mod replicas;
