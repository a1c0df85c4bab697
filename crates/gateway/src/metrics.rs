//! What a gateway counts.

use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// Why a socket was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The peer closed it properly.
    Peer,
    /// It broke.
    Lost,
    /// Nothing was heard for two pings.
    Silent,
    /// The peer took nothing for ten seconds.
    Stalled,
    /// More was waiting for the peer than may.
    Overflow,
    /// This process goes away.
    Drain,
    /// This process cannot reach the owners of sessions; others may.
    CutOff,
    /// A message was too large, or in too many pieces.
    TooBig,
    /// The peer violated the WebSocket protocol.
    Protocol,
    /// What the peer said made no sense too often, or it may not be here.
    Refused,
    /// What became of something that the peer had said could not be found out.
    Unknown,
    /// What it holds is out of date in a way that only a new connection mends.
    Stale,
}

/// What was refused, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A handshake: not a proper one.
    Handshake,
    /// A handshake: the origin is not allowed.
    Origin,
    /// A handshake or first frame: there is no such app.
    App,
    /// A handshake: this process cannot reach the owners of sessions; others may.
    CutOff,
    /// A handshake: too many connections of that address.
    AddressConnections,
    /// A connection: too many of that user.
    UserConnections,
    /// A token that is not believed.
    Token,
    /// A connection that wants to be an agent's.
    Admin,
    /// A frame that makes no sense.
    Frame,
    /// A frame that is too long.
    TooLong,
    /// A frame too many.
    TooFast,
    /// A message whose body is no Request.
    Body,
    /// A message that the session does not take.
    Message,
}

/// The gateway's metrics.
#[derive(Debug)]
pub struct Metrics {
    open: IntGauge,
    waiting_bytes: IntGauge,
    opened: IntCounter,
    closed: IntCounterVec,
    frames_in: IntCounter,
    frames_out: IntCounter,
    frames_out_bytes: IntCounter,
    refusals: IntCounterVec,
    outbox_drops: IntCounter,
    fetches: IntCounter,
    missed: IntCounter,
    renamed: IntCounter,
    caught_up: IntCounter,
    requests: Histogram,
    retries: IntCounter,
    poison: IntCounter,
    upgrades: Histogram,
}

// === impl CloseReason ===

impl CloseReason {
    const fn label(self) -> &'static str {
        match self {
            Self::Peer => "peer",
            Self::Lost => "lost",
            Self::Silent => "silent",
            Self::Stalled => "stalled",
            Self::Overflow => "overflow",
            Self::Drain => "drain",
            Self::CutOff => "cut_off",
            Self::TooBig => "too_big",
            Self::Protocol => "protocol",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
            Self::Stale => "stale",
        }
    }
}

// === impl Refusal ===

impl Refusal {
    const fn label(self) -> &'static str {
        match self {
            Self::Handshake => "handshake",
            Self::Origin => "origin",
            Self::App => "app",
            Self::CutOff => "cut_off",
            Self::AddressConnections => "address_connections",
            Self::UserConnections => "user_connections",
            Self::Token => "token",
            Self::Admin => "admin",
            Self::Frame => "frame",
            Self::TooLong => "too_long",
            Self::TooFast => "too_fast",
            Self::Body => "body",
            Self::Message => "message",
        }
    }
}

// === impl Metrics ===

impl Metrics {
    /// Registers them.
    ///
    /// # Errors
    /// They are registered already.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let by_reason = |name: &str, help: &str| {
            let counter = IntCounterVec::new(Opts::new(name, help), &["reason"])?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let seconds = |name: &str, help: &str| {
            let buckets = vec![0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 4.0, 10.0];
            let histogram = Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets))?;
            registry.register(Box::new(histogram.clone()))?;
            Ok::<_, prometheus::Error>(histogram)
        };
        Ok(Self {
            open: gauge("stentor_gateway_connections", "Sockets open now.")?,
            waiting_bytes: gauge(
                "stentor_gateway_outbox_bytes",
                "Bytes that wait for sockets to take them.",
            )?,
            opened: counter("stentor_gateway_connections_opened_total", "Sockets opened.")?,
            closed: by_reason(
                "stentor_gateway_connections_closed_total",
                "Sockets closed, by reason.",
            )?,
            frames_in: counter("stentor_gateway_frames_in_total", "Messages read from sockets.")?,
            frames_out: counter(
                "stentor_gateway_frames_out_total",
                "Messages written to sockets.",
            )?,
            frames_out_bytes: counter(
                "stentor_gateway_frames_out_bytes_total",
                "Bytes of messages written to sockets.",
            )?,
            refusals: by_reason(
                "stentor_gateway_refusals_total",
                "Handshakes, connections and messages refused, by reason.",
            )?,
            outbox_drops: counter(
                "stentor_gateway_outbox_drops_total",
                "Times too much was waiting for a socket.",
            )?,
            fetches: counter(
                "stentor_gateway_fetches_total",
                "Times that events had to be asked for because their fan-out was missed.",
            )?,
            missed: counter(
                "stentor_gateway_missed_total",
                "Times that messages of owners may have been lost, so that every socket had to look.",
            )?,
            renamed: counter(
                "stentor_gateway_renamed_total",
                "Times that the gateway was away for so long that it goes by another name now.",
            )?,
            caught_up: counter(
                "stentor_gateway_catch_ups_total",
                "Sockets that were told to look for what they missed.",
            )?,
            requests: seconds(
                "stentor_gateway_request_seconds",
                "Time until the owner of a session answered.",
            )?,
            poison: counter(
                "stentor_gateway_poison_total",
                "Inputs refused for good because routers were gone over them.",
            )?,
            retries: counter(
                "stentor_gateway_request_retries_total",
                "Requests sent again because there was no answer, or not now.",
            )?,
            upgrades: seconds(
                "stentor_gateway_upgrade_seconds",
                "Time from accepting a connection to its upgrade to a socket.",
            )?,
        })
    }

    pub(crate) fn opened(&self, took: Duration) {
        self.opened.inc();
        self.upgrades.observe(took.as_secs_f64());
    }

    pub(crate) fn closed(&self, reason: CloseReason) {
        self.closed.with_label_values(&[reason.label()]).inc();
    }

    pub(crate) fn open_now(&self, open: usize, waiting_bytes: usize) {
        self.open.set(i64::try_from(open).unwrap_or(i64::MAX));
        self.waiting_bytes.set(i64::try_from(waiting_bytes).unwrap_or(i64::MAX));
    }

    pub(crate) fn frame_in(&self) {
        self.frames_in.inc();
    }

    pub(crate) fn frame_out(&self, bytes: usize) {
        self.frames_out.inc();
        self.frames_out_bytes.inc_by(u64::try_from(bytes).unwrap_or(0));
    }

    pub(crate) fn refused(&self, refusal: Refusal) {
        self.refusals.with_label_values(&[refusal.label()]).inc();
    }

    pub(crate) fn outbox_dropped(&self) {
        self.outbox_drops.inc();
    }

    pub(crate) fn fetched(&self) {
        self.fetches.inc();
    }

    pub(crate) fn missed(&self) {
        self.missed.inc();
    }

    pub(crate) fn renamed(&self) {
        self.renamed.inc();
    }

    pub(crate) fn caught_up(&self) {
        self.caught_up.inc();
    }

    pub(crate) fn answered(&self, took: Duration) {
        self.requests.observe(took.as_secs_f64());
    }

    pub(crate) fn poison(&self) {
        self.poison.inc();
    }

    pub(crate) fn retried(&self) {
        self.retries.inc();
    }
}
