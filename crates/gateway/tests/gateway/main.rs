//! The gateway against a scripted owner of sessions, spoken to by real WebSocket clients.

mod client;
mod conversation;
mod owner;
