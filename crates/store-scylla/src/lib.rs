//! The history of a cluster, in ScyllaDB (or any database that speaks the CQL which Cassandra 5 does).
//!
//! Every write and every delete carries the time of its commit as CQL timestamp, so a repeated write makes
//! the same cell, an older writer loses, and a write that timed out may simply be made again. Nothing here
//! needs lightweight transactions. What is past its retention goes by itself: every write has a time to live.
//!
//! [`ScyllaStore::open`] returns at once, whether or not the database is there; [`State`] says how it is. The
//! driver is not seen outside this crate.

#![forbid(unsafe_code)]

mod options;
mod schema;
mod state;
mod store;

mod connect;
mod erasing;
mod events;
mod expiry;
mod listings;
mod metrics;
mod request;
mod rows;
mod statements;
mod values;

pub use self::{
    options::{Consistency, InvalidOption, Login, Options, Replication, Retention},
    schema::SCHEMA_VERSION,
    state::{State, Why},
    store::{OpenError, ScyllaStore},
};
