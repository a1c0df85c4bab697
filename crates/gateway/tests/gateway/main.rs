//! The gateway against a scripted owner of sessions, spoken to by real WebSocket clients.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail"
)]

mod client;
mod conversation;
mod draining;
mod files;
mod handshake;
mod missed;
mod owner;
mod refusals;
mod sockets;
mod trouble;
