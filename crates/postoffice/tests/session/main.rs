//! A session as a script of inputs and the events that must follow.
//!
//! Knows nothing of logs or wires: what is written is kept in a list and folded again.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

mod bot;
mod clock;
mod coming_and_going;
mod control;
mod crowds;
mod erasing;
mod generate;
mod messages;
mod people;
mod properties;
mod script;
