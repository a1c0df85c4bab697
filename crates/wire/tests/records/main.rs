//! Records: written, read, damaged, of later versions, and of the past.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail"
)]

mod arbitrary;
mod bus;
mod corpus;
mod damage;
mod later_versions;
mod round_trip;
mod samples;

/// Runs of sessions, as the session's own tests make them.
#[path = "../../../postoffice/tests/session/generate.rs"]
mod generate;
#[allow(dead_code, reason = "the session's own tests use the rest")]
#[path = "../../../postoffice/tests/session/script.rs"]
mod script;
