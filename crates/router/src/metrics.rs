//! What a router counts.

use std::{error::Error, fmt::Write as _, time::Duration};

use prometheus::{
    Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
};
use stentor_wire::pb::DeadReason;

use crate::projector::Lag;

/// The router's metrics. A clone is a handle to the same ones.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    events: IntCounter,
    commits: IntCounter,
    batch_commits: Histogram,
    batch_seconds: Histogram,
    conflicts: IntCounter,
    panics: IntCounter,
    too_large: IntCounter,
    damaged: IntCounter,
    newer: IntCounter,
    dead_letters: IntCounterVec,
    fanout_missed: IntCounter,
    effects_delayed: IntCounter,
    actors_started: IntCounter,
    memory: IntGauge,
    evicted: IntCounter,
    actors_ended: IntCounter,
    trimmed: IntCounter,
    pub(crate) projector: ProjectorMetrics,
}

/// What the projector counts. A clone is a handle to the same metrics.
#[derive(Clone, Debug)]
pub(crate) struct ProjectorMetrics {
    lag_seconds: Gauge,
    lag_sequences: IntGauge,
    waiting: IntGauge,
    behind: IntGauge,
    refused: IntGauge,
    records: IntCounter,
    rows: IntCounter,
    failures: IntCounter,
}

// === impl Metrics ===

impl Metrics {
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let histogram = |name: &str, help: &str, buckets: Vec<f64>| {
            let histogram = Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets))?;
            registry.register(Box::new(histogram.clone()))?;
            Ok::<_, prometheus::Error>(histogram)
        };
        let dead_letters = IntCounterVec::new(
            Opts::new("stentor_router_dead_letters_total", "Things given up on, by `reason`."),
            &["reason"],
        )?;
        registry.register(Box::new(dead_letters.clone()))?;
        // There from the start, so that an alarm sees the first.
        for reason in ["panic", "router_gone", "history"] {
            dead_letters.with_label_values(&[reason]);
        }
        let memory = IntGauge::new(
            "stentor_router_memory_bytes",
            "What the sessions in memory take together, as far as it can be known.",
        )?;
        registry.register(Box::new(memory.clone()))?;
        Ok(Self {
            memory,
            evicted: counter(
                "stentor_router_actors_evicted_total",
                "Sessions asked to leave memory because others needed the room.",
            )?,
            dead_letters,
            events: counter("stentor_router_events_committed_total", "Events written to the log.")?,
            commits: counter("stentor_router_commits_total", "Commits offered to the log.")?,
            batch_commits: histogram(
                "stentor_router_batch_commits",
                "Commits that shared one write to the log.",
                vec![1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 400.0],
            )?,
            batch_seconds: histogram(
                "stentor_router_batch_seconds",
                "Time from handing a batch to the log to its answer.",
                vec![0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0],
            )?,
            conflicts: counter(
                "stentor_router_conflicts_total",
                "Commits refused because somebody else had written to the session.",
            )?,
            too_large: counter(
                "stentor_router_too_large_total",
                "Inputs that were refused because what they would have written is larger than the log takes.",
            )?,
            panics: counter(
                "stentor_router_panics_total",
                "Panics of the session logic that were caught and their input refused.",
            )?,
            damaged: counter(
                "stentor_router_sessions_damaged_total",
                "Times a session was found damaged and stayed closed.",
            )?,
            newer: counter(
                "stentor_router_newer_records_total",
                "Times something was found that a later version of this program has to serve.",
            )?,
            fanout_missed: counter(
                "stentor_router_fanout_missed_total",
                "Fan-out messages that found a gateway's queue full; the gateway fetches them.",
            )?,
            effects_delayed: counter(
                "stentor_router_effects_delayed_total",
                "Attempts that found the connectors' queue full and were offered again.",
            )?,
            actors_started: counter(
                "stentor_router_actors_started_total",
                "Sessions taken into memory.",
            )?,
            actors_ended: counter(
                "stentor_router_actors_ended_total",
                "Sessions dropped from memory.",
            )?,
            trimmed: counter(
                "stentor_router_records_trimmed_total",
                "Records removed from the log after they were copied to the history.",
            )?,
            projector: ProjectorMetrics::new(registry)?,
        })
    }

    pub(crate) fn events_committed(&self, events: usize) {
        self.events.inc_by(u64::try_from(events).unwrap_or(u64::MAX));
    }

    #[expect(clippy::cast_precision_loss, reason = "a batch has at most some hundred commits")]
    pub(crate) fn batch_written(&self, commits: usize, took: Duration) {
        self.commits.inc_by(u64::try_from(commits).unwrap_or(u64::MAX));
        self.batch_commits.observe(commits as f64);
        self.batch_seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn conflict(&self) {
        self.conflicts.inc();
    }

    pub(crate) fn panic_caught(&self) {
        self.panics.inc();
    }

    pub(crate) fn too_large(&self) {
        self.too_large.inc();
    }

    pub(crate) fn session_damaged(&self) {
        self.damaged.inc();
    }

    pub(crate) fn newer_record(&self) {
        self.newer.inc();
    }

    pub(crate) fn buried(&self, reason: DeadReason) {
        let label = match reason {
            DeadReason::Unspecified => "unspecified",
            DeadReason::Panic => "panic",
            DeadReason::RouterGone => "router_gone",
            DeadReason::RoutersGone => "routers_gone",
            DeadReason::History => "history",
        };
        self.dead_letters.with_label_values(&[label]).inc();
    }

    pub(crate) fn fanout_missed(&self) {
        self.fanout_missed.inc();
    }

    pub(crate) fn effect_delayed(&self) {
        self.effects_delayed.inc();
    }

    pub(crate) fn actors_started(&self) {
        self.actors_started.inc();
    }

    pub(crate) fn actors_ended(&self) {
        self.actors_ended.inc();
    }

    pub(crate) fn memory(&self, bytes: u64, evicted: u64) {
        self.memory.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        self.evicted.inc_by(evicted);
    }

    pub(crate) fn records_trimmed(&self, records: u64) {
        self.trimmed.inc_by(records);
    }
}

// === impl ProjectorMetrics ===

impl ProjectorMetrics {
    fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
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
        let lag_seconds = Gauge::new(
            "stentor_router_projector_lag_seconds",
            "Age of the oldest commit that the history lacks.",
        )?;
        registry.register(Box::new(lag_seconds.clone()))?;
        Ok(Self {
            lag_seconds,
            lag_sequences: gauge(
                "stentor_router_projector_lag_sequences",
                "Longest way from a partition's cursor to its newest record.",
            )?,
            waiting: gauge(
                "stentor_router_projector_waiting",
                "Records in memory that the history lacks.",
            )?,
            behind: gauge(
                "stentor_router_projector_partitions_behind",
                "Partitions that have to be read from the log for the history.",
            )?,
            refused: gauge(
                "stentor_router_projector_refused",
                "Sessions and directories given up on; they keep the log from being trimmed.",
            )?,
            records: counter(
                "stentor_router_projector_records_total",
                "Records copied to the history.",
            )?,
            rows: counter(
                "stentor_router_projector_rows_total",
                "States of sessions written to the history.",
            )?,
            failures: counter(
                "stentor_router_projector_failures_total",
                "Writes to the history that failed and are made again.",
            )?,
        })
    }

    pub(crate) fn lag(&self, lag: &Lag, age: Duration) {
        let whole = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        self.lag_seconds.set(age.as_secs_f64());
        self.lag_sequences.set(i64::try_from(lag.sequences).unwrap_or(i64::MAX));
        self.waiting.set(whole(lag.records));
        self.behind.set(whole(lag.behind));
        self.refused.set(whole(lag.refused));
    }

    pub(crate) fn written(&self, records: usize, row: bool) {
        self.records.inc_by(u64::try_from(records).unwrap_or(u64::MAX));
        self.rows.inc_by(u64::from(row));
    }

    pub(crate) fn failed(&self) {
        self.failures.inc();
    }
}

/// An error and its causes in one line, for a log field.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Writing to a string cannot fail.
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}
