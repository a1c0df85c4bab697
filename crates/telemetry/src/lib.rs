//! How a process is watched: structured logs, metrics, and an admin port with its health.
//!
//! Knows nothing of what the process does; parts bring their metrics and their readiness.

mod admin;
mod logging;
mod readiness;
mod version;

pub use self::{
    admin::AdminServer,
    logging::{Format, LogError, init as init_logging},
    readiness::{Check, Readiness},
    version::{VERSION, register_build_info},
};
