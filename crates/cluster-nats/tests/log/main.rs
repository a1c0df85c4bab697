//! The log on real servers: the contract of all logs, and what is JetStream's own.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod batches;
mod contract;
mod erasing;
mod faults;
mod full;
mod harness;
mod lost;
mod opening;
mod partition;
mod replicas;
