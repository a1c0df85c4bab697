//! What is counted about the database.

use std::time::Duration;

use prometheus::{
    HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
};

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    WriteEvents,
    ReadEvents,
    WriteSession,
    ReadSession,
    WriteDirectory,
    ReadDirectory,
    WriteListing,
    ReadListing,
    ReadList,
    Expire,
    Probe,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    TimedOut,
    Unreachable,
    Refused,
    Busy,
}

/// The metrics. A clone is a handle to the same ones.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    requests: IntCounterVec,
    seconds: HistogramVec,
    pub(crate) connected: IntGauge,
    pub(crate) stale_places: IntCounter,
    pub(crate) too_old: IntCounter,
}

// === impl Metrics ===

impl Metrics {
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let buckets = vec![
            0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
        ];
        let metrics = Self {
            requests: IntCounterVec::new(
                Opts::new(
                    "stentor_store_requests_total",
                    "Requests to the database, by what for and how they ended.",
                ),
                &["kind", "outcome"],
            )?,
            seconds: HistogramVec::new(
                HistogramOpts::new(
                    "stentor_store_request_seconds",
                    "Duration of requests to the database, waiting for a free slot included.",
                )
                .buckets(buckets),
                &["kind"],
            )?,
            connected: IntGauge::new(
                "stentor_store_connected",
                "1 while the database answers, 0 while it does not.",
            )?,
            stale_places: IntCounter::new(
                "stentor_store_stale_places_total",
                "Places in lists that an interrupted write had left and that were passed over.",
            )?,
            too_old: IntCounter::new(
                "stentor_store_writes_too_old_total",
                "Events and rows that were not written, being past their retention.",
            )?,
        };
        registry.register(Box::new(metrics.requests.clone()))?;
        registry.register(Box::new(metrics.seconds.clone()))?;
        registry.register(Box::new(metrics.connected.clone()))?;
        registry.register(Box::new(metrics.stale_places.clone()))?;
        registry.register(Box::new(metrics.too_old.clone()))?;
        Ok(metrics)
    }

    pub(crate) fn ended(&self, kind: Kind, outcome: Outcome, took: Duration) {
        self.requests.with_label_values(&[kind.label(), outcome.label()]).inc();
        self.seconds.with_label_values(&[kind.label()]).observe(took.as_secs_f64());
    }
}

// === impl Kind ===

impl Kind {
    const fn label(self) -> &'static str {
        match self {
            Self::WriteEvents => "write_events",
            Self::ReadEvents => "read_events",
            Self::WriteSession => "write_session",
            Self::ReadSession => "read_session",
            Self::WriteDirectory => "write_directory",
            Self::ReadDirectory => "read_directory",
            Self::WriteListing => "write_listing",
            Self::ReadListing => "read_listing",
            Self::ReadList => "read_list",
            Self::Expire => "expire",
            Self::Probe => "probe",
        }
    }
}

// === impl Outcome ===

impl Outcome {
    const fn label(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::TimedOut => "timed_out",
            Self::Unreachable => "unreachable",
            Self::Refused => "refused",
            Self::Busy => "busy",
        }
    }
}
