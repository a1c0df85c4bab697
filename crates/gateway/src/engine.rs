//! Sockets: accepted by hyper, spoken by tokio-tungstenite, one lean task each.
//!
//! Knows nothing of chats: what a message means, and what is to be written, is the business of a
//! [`Handler`]. Nothing is allocated for a socket at rest but its small read buffer.
//!
//! Reading order: [`slot`] (what others may leave for a socket), [`pace`] (when it is
//! woken for it), [`registry`] (how they find it),
//! [`turn`] (when it may catch up), [`meter`] (what is counted on its way in), [`socket`] (the loop), [`handler`] (who decides).

mod handler;
mod meter;
mod pace;
mod registry;
mod slot;
mod socket;
mod turn;

pub use self::{
    handler::{Closing, Frames, Handler},
    registry::Registry,
    slot::Slot,
    socket::{Socket, accept_key, wanted_upgrade},
    turn::Turn,
};

use std::time::Duration;

/// Largest message that is read at all, in bytes; beyond it the socket is closed with 1009. Four times
/// what an app may allow, so that a message that is merely too long is answered with a text.
pub const MESSAGE_BYTES_MAX: usize = 256 * 1024;
/// Most pieces of one message. A browser sends one; 64 KiB in pieces of 1,300 bytes are 51.
pub const FRAGMENTS_MAX: u32 = 64;
/// What may wait for one socket before it counts as hopelessly behind, in bytes.
pub const SOCKET_BYTES_MAX: usize = 256 * 1024;
/// What may be ready to be written before the peer is not listened to until it takes some of it, in bytes: every
/// message may be answered, and whoever sends without reading must not fill the memory with answers.
const FRAMES_BYTES_MAX: usize = 64 * 1024;
/// Every socket is pinged this often. Proxies close what is silent for 60 s.
pub const PING_EVERY: Duration = Duration::from_secs(25);
/// Pings in a row after which nothing was heard at all: the peer is gone.
const MISSES_MAX: u8 = 2;
/// A peer that takes nothing for this long is gone, or means harm.
const STALL_MAX: Duration = Duration::from_secs(10);
/// How long the peer's Close is waited for after ours.
const CLOSE_WAIT: Duration = Duration::from_secs(5);
/// Allocated for every socket: small, because ten thousand of them are silent.
const READ_BUFFER_BYTES: usize = 512;
/// Frames that are ready at the same time leave in one write up to this size. The buffer grows only as
/// far as it was ever needed.
const WRITE_BUFFER_BYTES: usize = 4 * 1024;
