//! The port to the history: events and states that outlive the log.
//!
//! A projector copies commits here before the log is trimmed. Every write carries the time of its
//! commit, so that a repeated or late write changes nothing. [`memory`] is an implementation for
//! tests; [`contract`] the suite that every implementation has to pass.

pub mod absent;
pub mod contract;
pub mod memory;
mod port;

pub use self::port::{
    DirectoryRow, Erasure, Listing, Projection, SessionRow, Store, StoreError, StoredEvent,
};
