//! Structured logs: constant messages, data in fields, to standard error.

use std::{io::IsTerminal as _, panic};

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};

/// Libraries that tell more than an operator wants to know; a directive of their own overrides this.
const QUIET: &str = "fjall=warn,lsm_tree=warn,scylla=off,async_nats=warn";

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object.
    Json,
}

/// Logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter makes no sense.
    #[error("log.level is no filter: {0}")]
    Filter(String),
    /// It was set up before.
    #[error("logging was set up before")]
    Twice,
}

/// Sets logging up for the whole process, panics included.
///
/// # Errors
/// `level` is no filter, or logging was set up before.
pub fn init(format: Format, level: &str) -> Result<(), LogError> {
    let filter = EnvFilter::try_new(format!("{QUIET},{level}"))
        .map_err(|error| LogError::Filter(error.to_string()))?;
    let registry = tracing_subscriber::registry().with(filter);
    let set = match format {
        Format::Text => {
            let ansi = std::io::stderr().is_terminal();
            let layer =
                fmt::layer().with_writer(std::io::stderr).with_target(false).with_ansi(ansi);
            registry.with(layer).try_init()
        }
        Format::Json => {
            let layer = fmt::layer().json().flatten_event(true).with_writer(std::io::stderr);
            registry.with(layer).try_init()
        }
    };
    set.map_err(|_| LogError::Twice)?;
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "a panic: a bug of ours, please report it");
    }));
    Ok(())
}
