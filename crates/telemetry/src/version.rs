//! Which build this is.

use prometheus::{IntGauge, Opts, Registry};

/// The exact version: the crates' version and the commit they were built from.
pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("STENTOR_COMMIT"), ")");

/// Registers `stentor_build_info`, which is always 1 and carries the version as a label.
///
/// # Errors
/// It is registered already.
pub fn register_build_info(registry: &Registry) -> Result<(), prometheus::Error> {
    let options = Opts::new("stentor_build_info", "Always 1; the label says which build this is.")
        .const_label("version", VERSION);
    let gauge = IntGauge::with_opts(options)?;
    gauge.set(1);
    registry.register(Box::new(gauge))
}
