//! Log and store on one local database, for a router that is one process.
//!
//! What is reported as written has been fsynced: one fsync for all that was waiting. One thread writes;
//! compare-and-set is judged there. Every value carries a checksum of its own, so that a damaged one is
//! found and named, and closes its session alone.
//!
//! Why this database: `docs/adr/001-embedded-database.md`.

mod folder;
mod journal;
mod keys;
mod lists;
mod log;
mod open;
mod read;
mod store;
mod tables;
mod values;
mod verify;
mod watermark;
mod writer;

pub use self::{
    open::{Embedded, OpenError, Options},
    verify::{Report, VerifyError, read_acks, verify},
};
