//! The gateway against a scripted owner of sessions, spoken to by real WebSocket clients.

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
