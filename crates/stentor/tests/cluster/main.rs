//! A whole cluster of real processes, and what becomes of conversations when members of it die, freeze, are
//! sent away or lose each other.
//!
//! `cargo xtask chaos` runs the same in full length. Names begin with the fault.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test"
)]

mod broker;
mod bus;
mod calls;
mod checks;
mod contested;
mod database;
mod disk;
mod erasing;
mod gateways;
mod lines;
mod load;
mod lost;
mod operate;
mod poison;
mod reload;
mod rolling;
mod routers;
mod setting;
mod trouble;
mod upgrade;
mod verifying;
mod visitors;
