//! The connector: carries out effects. Here: asks Stentor bots.
//!
//! One effect is one attempt. When to try again, and what the visitor is shown meanwhile, is decided by
//! the session; the connector only says how the attempt ended, until somebody has taken note of it.
//! Knows nothing of sessions, nor of what a Request says.

mod address;
mod breaker;
mod call;
mod client;
pub mod echo_bot;
mod lanes;
mod metrics;
mod outcome;
mod run;

pub use self::{
    address::AddressPolicy,
    client::ClientError,
    run::{Config, Connector, SetupError},
};
