//! What the log counts.

use prometheus::{IntCounter, IntGauge, Registry};

/// The log's metrics. A clone is a handle to the same ones.
#[derive(Clone, Debug)]
pub struct LogMetrics {
    pub(crate) batches: IntCounter,
    pub(crate) singles: IntCounter,
    pub(crate) halvings: IntCounter,
    pub(crate) conflicts: IntCounter,
    pub(crate) later: IntCounter,
    pub(crate) full: IntCounter,
    pub(crate) unknown: IntCounter,
    pub(crate) behind: IntCounter,
    pub(crate) renewed: IntCounter,
    pub(crate) bytes: IntGauge,
    pub(crate) max_bytes: IntGauge,
    pub(crate) subjects: IntGauge,
}

// === impl LogMetrics ===

impl LogMetrics {
    /// Metrics that `registry` shows.
    ///
    /// # Errors
    /// They are registered already.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        Ok(Self {
            bytes: gauge("stentor_log_bytes", "Bytes in the stream of the log.")?,
            max_bytes: gauge("stentor_log_max_bytes", "Bytes at which that stream is full.")?,
            subjects: gauge("stentor_log_subjects", "Sessions and directories in that stream.")?,
            batches: counter("stentor_log_batches_total", "Atomic batches offered to JetStream.")?,
            singles: counter(
                "stentor_log_singles_total",
                "Records offered to JetStream alone, without a batch.",
            )?,
            halvings: counter(
                "stentor_log_halvings_total",
                "Batches refused because of a session in them and offered again by halves.",
            )?,
            conflicts: counter(
                "stentor_log_conflicts_total",
                "Records refused because somebody else had written.",
            )?,
            later: counter(
                "stentor_log_refused_total",
                "Batches and records that JetStream could not take just then.",
            )?,
            full: counter(
                "stentor_log_full_total",
                "Batches and records refused because the stream has reached its limit.",
            )?,
            unknown: counter(
                "stentor_log_unknown_total",
                "Batches and records without an answer: nobody knows whether they were stored.",
            )?,
            renewed: counter(
                "stentor_log_renewed_total",
                "Times the log was found to be another one than before.",
            )?,
            behind: counter(
                "stentor_log_reads_behind_total",
                "Reads that a replica answered without the newest records, ended by the leader.",
            )?,
        })
    }
}
