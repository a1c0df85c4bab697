//! What every process needs besides its job: settings that cannot be wrong once they exist, and the
//! signal to stop.
//!
//! Settings come from a TOML file, the environment and flags, later ones win. All problems are
//! named at once, before anything is started. Knows nothing of apps, which have files of their own.

mod cidr;
mod config;
mod fields;
mod reference;
mod signal;

pub use self::{
    config::{Config, ConfigError, Database, LogFormat, Login, Nats, Sources},
    reference::reference_markdown,
    signal::shutdown_signal,
};

/// Exit status for a configuration that cannot be used: `EX_USAGE` of sysexits.
pub const EXIT_USAGE: u8 = 64;
