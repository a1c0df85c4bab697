//! What a connector counts.

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
};
use stentor_types::FailureReason;

/// The connector's metrics. A clone is a handle to the same ones.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    calls: IntCounterVec,
    seconds: HistogramVec,
    waited: Histogram,
    pub(crate) inflight: IntGauge,
    pub(crate) waiting: IntGauge,
    pub(crate) breakers_opened: IntCounter,
    pub(crate) duplicates: IntCounter,
    removed: IntCounterVec,
}

// === impl Metrics ===

impl Metrics {
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let seconds =
            vec![0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0, 60.0];
        let metrics = Self {
            calls: IntCounterVec::new(
                Opts::new(
                    "stentor_connector_calls_total",
                    "Attempts to ask a bot, by how they ended.",
                ),
                &["outcome"],
            )?,
            seconds: HistogramVec::new(
                HistogramOpts::new("stentor_connector_call_seconds", "Duration of calls to bots.")
                    .buckets(seconds.clone()),
                &["outcome"],
            )?,
            waited: Histogram::with_opts(
                HistogramOpts::new(
                    "stentor_connector_wait_seconds",
                    "Time that attempts waited for a free slot of their app.",
                )
                .buckets(seconds),
            )?,
            inflight: IntGauge::new("stentor_connector_calls_inflight", "Calls to bots just now.")?,
            waiting: IntGauge::new(
                "stentor_connector_calls_waiting",
                "Attempts that wait for a slot.",
            )?,
            breakers_opened: IntCounter::new(
                "stentor_connector_breakers_opened_total",
                "Times a bot was left alone after too many failures.",
            )?,
            duplicates: IntCounter::new(
                "stentor_connector_duplicates_total",
                "Attempts handed over a second time and not made again.",
            )?,
            removed: IntCounterVec::new(
                Opts::new(
                    "stentor_connector_fields_removed_total",
                    "Parts of bots' answers that would have harmed a widget and were taken out, by field.",
                ),
                &["field", "why"],
            )?,
        };
        registry.register(Box::new(metrics.calls.clone()))?;
        registry.register(Box::new(metrics.seconds.clone()))?;
        registry.register(Box::new(metrics.waited.clone()))?;
        registry.register(Box::new(metrics.inflight.clone()))?;
        registry.register(Box::new(metrics.waiting.clone()))?;
        registry.register(Box::new(metrics.breakers_opened.clone()))?;
        registry.register(Box::new(metrics.duplicates.clone()))?;
        registry.register(Box::new(metrics.removed.clone()))?;
        Ok(metrics)
    }

    pub(crate) fn called(&self, outcome: &str, took: std::time::Duration) {
        self.calls.with_label_values(&[outcome]).inc();
        self.seconds.with_label_values(&[outcome]).observe(took.as_secs_f64());
    }

    pub(crate) fn waited(&self, time: std::time::Duration) {
        self.waited.observe(time.as_secs_f64());
    }

    pub(crate) fn removed(&self, field: &str, why: &str, count: u64) {
        self.removed.with_label_values(&[field, why]).inc_by(count);
    }
}

/// The label of a failure.
pub(crate) const fn label(reason: FailureReason) -> &'static str {
    match reason {
        FailureReason::TimedOut => "timed_out",
        FailureReason::Unreachable => "unreachable",
        FailureReason::Status => "status",
        FailureReason::BadAnswer => "bad_answer",
        FailureReason::BreakerOpen => "breaker_open",
        FailureReason::NotAllowed => "not_allowed",
    }
}
