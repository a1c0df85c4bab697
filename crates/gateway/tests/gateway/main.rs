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
mod cut_off;
mod draining;
mod erasing;
mod files;
mod handshake;
mod lists;
mod lossy;
mod missed;
mod names;
mod owner;
mod peers;
mod refusals;
mod seeded;
mod sockets;
mod town;
mod trouble;
mod unknown;
