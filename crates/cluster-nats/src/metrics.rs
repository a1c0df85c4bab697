//! What the bus counts.

use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry, core::Collector,
};

/// What every process counts. A clone is a handle to the same numbers, as for all below.
#[derive(Clone, Debug)]
pub(crate) struct LineMetrics {
    pub(crate) reconnects: IntCounter,
    pub(crate) overflows: IntCounter,
}

/// What a router counts.
#[derive(Clone, Debug)]
pub(crate) struct RouterMetrics {
    pub(crate) owned: IntGauge,
    pub(crate) term: IntGauge,
    pub(crate) taken: IntCounterVec,
    pub(crate) given_up: IntCounterVec,
    pub(crate) lapses: IntCounter,
    pub(crate) take_up_seconds: Histogram,
    pub(crate) release_seconds: Histogram,
    pub(crate) clock_offset_ms: IntGauge,
    pub(crate) finalized: IntGauge,
    pub(crate) requests: IntCounterVec,
    /// Of `requests`.
    pub(crate) requests_taken: IntCounter,
    pub(crate) fanout: IntCounterVec,
    /// Of `fanout`.
    pub(crate) fanout_sent: IntCounter,
    pub(crate) effects: IntCounterVec,
}

/// What whoever asks owners counts.
#[derive(Clone, Debug)]
pub(crate) struct CallerMetrics {
    pub(crate) requests: IntCounterVec,
    /// Of `requests`.
    pub(crate) answered: IntCounter,
    pub(crate) retries: IntCounter,
    pub(crate) outdated: IntCounter,
}

/// What a gateway counts.
#[derive(Clone, Debug)]
pub(crate) struct GatewayMetrics {
    pub(crate) received: IntCounter,
    pub(crate) missed: IntCounterVec,
    pub(crate) renamed: IntCounter,
}

/// What a connector counts.
#[derive(Clone, Debug)]
pub(crate) struct ConnectorMetrics {
    pub(crate) open: IntGauge,
    pub(crate) effects: IntCounterVec,
}

// === impl LineMetrics ===

impl LineMetrics {
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            reconnects: counter(registry, "reconnects_total", "Times the line to NATS was lost.")?,
            overflows: counter(
                registry,
                "overflows_total",
                "Messages dropped because a subscription was full.",
            )?,
        })
    }
}

// === impl RouterMetrics ===

impl RouterMetrics {
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let requests = counters(
            registry,
            "ingress_requests_total",
            "Requests that arrived, by what became of them.",
            "outcome",
        )?;
        let fanout = counters(
            registry,
            "fanout_messages_total",
            "Messages to gateways, by what became of them.",
            "outcome",
        )?;
        Ok(Self {
            requests_taken: requests.with_label_values(&["taken"]),
            requests,
            fanout_sent: fanout.with_label_values(&["sent"]),
            fanout,
            owned: gauge(registry, "partitions_owned", "Partitions that this router owns.")?,
            term: gauge(registry, "term_highest", "The highest term among them.")?,
            taken: counters(
                registry,
                "partitions_taken_total",
                "Partitions that came to this router: nobody had them, their owner was dead, or it handed them over.",
                "from",
            )?,
            given_up: counters(
                registry,
                "partitions_given_up_total",
                "Partitions that left this router, by why.",
                "why",
            )?,
            lapses: counter(
                registry,
                "lapses_total",
                "Times this router was silent for so long that others may have taken what it owned.",
            )?,
            take_up_seconds: seconds(
                registry,
                "take_up_seconds",
                "Time until all that was due in a partition had been taken up.",
            )?,
            release_seconds: seconds(
                registry,
                "release_seconds",
                "Time until what had begun in a partition was finished.",
            )?,
            clock_offset_ms: gauge(
                registry,
                "clock_offset_milliseconds",
                "By how much this router's clock is ahead of the broker's.",
            )?,
            finalized: gauge(
                registry,
                "cluster_version",
                "The version that the whole cluster has: nothing newer is written.",
            )?,
            effects: counters(
                registry,
                "effects_offered_total",
                "Effects offered again, by what became of them.",
                "outcome",
            )?,
        })
    }
}

// === impl CallerMetrics ===

impl CallerMetrics {
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let requests = counters(
            registry,
            "requests_total",
            "Requests to owners of partitions, by how they ended.",
            "outcome",
        )?;
        Ok(Self {
            answered: requests.with_label_values(&["answered"]),
            requests,
            retries: counter(
                registry,
                "request_retries_total",
                "Tries of a request that brought no answer.",
            )?,
            outdated: counter(
                registry,
                "outdated_answers_total",
                "Answers of routers that were no longer the owner, ignored.",
            )?,
        })
    }
}

// === impl GatewayMetrics ===

impl GatewayMetrics {
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            received: counter(registry, "fanout_received_total", "Messages from owners.")?,
            missed: counters(
                registry,
                "missed_total",
                "Times messages from owners may have been lost, by why.",
                "why",
            )?,
            renamed: counter(
                registry,
                "renamed_total",
                "Times this gateway was away so long that it took another name.",
            )?,
        })
    }
}

// === impl ConnectorMetrics ===

impl ConnectorMetrics {
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            open: gauge(registry, "effects_open", "Attempts that this connector makes just now.")?,
            effects: counters(
                registry,
                "effects_total",
                "Effects that came to this connector, by what became of them.",
                "outcome",
            )?,
        })
    }
}

fn register<C: Collector + Clone + 'static>(
    registry: &Registry,
    collector: C,
) -> Result<C, prometheus::Error> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

fn counter(registry: &Registry, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
    register(registry, IntCounter::new(format!("stentor_bus_{name}"), help)?)
}

fn counters(
    registry: &Registry,
    name: &str,
    help: &str,
    label: &str,
) -> Result<IntCounterVec, prometheus::Error> {
    let options = Opts::new(format!("stentor_bus_{name}"), help);
    register(registry, IntCounterVec::new(options, &[label])?)
}

fn gauge(registry: &Registry, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
    register(registry, IntGauge::new(format!("stentor_bus_{name}"), help)?)
}

fn seconds(registry: &Registry, name: &str, help: &str) -> Result<Histogram, prometheus::Error> {
    let options = HistogramOpts::new(format!("stentor_bus_{name}"), help);
    let buckets = vec![0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
    register(registry, Histogram::with_opts(options.buckets(buckets))?)
}
