//! Tokens by which an app's operator vouches for somebody: JWTs, signed with one of the app's keys.
//!
//! The algorithm belongs to the key, never to the token. Knows nothing of sockets, apps' files or who is
//! connected.

#![forbid(unsafe_code)]

mod claims;
mod key;

pub use self::{
    claims::{Claims, LIFE_MAX_S, Purpose, Role, TokenError, inspect, mint, verify, verify_for},
    key::{Algorithm, Key, KeyError, Keys},
};
