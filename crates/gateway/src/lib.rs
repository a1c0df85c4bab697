//! The gateway: terminates the sockets of chat widgets, and serves the widget's files.
//!
//! Keeps nothing that matters: sockets, and per connection the last event that was written. The rules of
//! a conversation are the router's; the gateway reads and checks frames, asks the owner of the session,
//! and encodes what happens for each of its sockets.
//!
//! Reading order: [`config`], `gateway` (what runs), [`engine`] (sockets), `identify` (who comes),
//! `legacy` (what they say and are shown), `http` (pages and handshakes), `limits`, [`metrics`].

mod asking;
mod batch;
mod catch_up;
mod config;
mod cut_off;
pub mod engine;
mod fanout;
mod gateway;
mod http;
mod identify;
mod legacy;
mod limits;
pub mod metrics;
mod parts;
mod shared;
mod spread;
mod strays;
mod v2;
mod watchers;

pub use self::{
    config::{Config, GatewayLimits, Site},
    gateway::{Acceptor, Gateway, GatewayFailed},
};
