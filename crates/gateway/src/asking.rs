//! One request to the owner of a partition, asked until it is answered.
//!
//! The same request again and again: whoever took it before says so. Nothing is given up while the
//! socket is there; the widget is told when it takes long. Only what owners are gone over is not asked for
//! ever (`poison`).

mod poison;

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use prost::Message;
use stentor_cluster::{BusError, Ingress};
use stentor_types::Partition;
use stentor_wire::{
    pb,
    pb::{erase_reply, input_reply, reply},
};
use tokio::time::{Instant, Sleep};
use tracing::warn;

use crate::metrics::Metrics;

/// How long one attempt may take. A failover of the log takes up to nine seconds.
const ATTEMPT_MAX: Duration = Duration::from_secs(10);
/// Between the first attempt and the second; doubles from then on.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// Between attempts at most.
const PAUSE_MAX: Duration = Duration::from_secs(8);
/// After this long the widget is told that nothing works.
pub(crate) const LATE_AFTER: Duration = Duration::from_secs(30);

/// After this long what a socket left behind is given up. Longer than any failover.
const HOPELESS_AFTER: Duration = Duration::from_secs(300);

/// Most that the inputs of one request may take. A request is at most 256 KiB, or the bus does not carry it:
/// it has room for 1 MiB, and what an owner makes of a request is twice as long. 1 KiB is for what stands
/// around the inputs.
pub(crate) const INPUTS_BYTES_MAX: usize = 255 * 1024;

type Attempt = Pin<Box<dyn Future<Output = Result<Bytes, BusError>> + Send>>;

/// A request on its way.
pub(crate) struct Asking<B> {
    bus: Arc<B>,
    partition: Partition,
    request: Bytes,
    poison: poison::Suspicion,
    since: Instant,
    pauses: u32,
    /// Spreads the attempts of many connections.
    spread: u64,
    /// An attempt has ended without telling whether anything was done.
    in_doubt: bool,
    state: State,
}

enum State {
    Asked(Attempt, Instant),
    Pausing(Pin<Box<Sleep>>),
}

/// An answer that is more than "not now".
#[derive(Debug)]
pub(crate) enum Answer {
    /// One result per input; the first of them is not "not now".
    Inputs(Vec<pb::InputReply>),
    /// Events.
    Events(pb::FetchReply),
    /// Sessions.
    List(pb::ListReply),
    /// What came of erasing a session; never "not now".
    Erased(pb::erase_reply::Kind),
    /// The request made no sense to the owner.
    Malformed,
    /// The request is longer than the bus carries: no owner has seen it.
    TooLarge,
}

// === impl Asking ===

impl<B: Ingress> Asking<B> {
    pub(crate) fn new(
        bus: Arc<B>,
        partition: Partition,
        request: &pb::Request,
        spread: u64,
    ) -> Self {
        let request = Bytes::from(request.encode_to_vec());
        let attempt = attempt(&bus, partition, &request);
        Self {
            bus,
            partition,
            request,
            poison: poison::Suspicion::default(),
            since: Instant::now(),
            pauses: 0,
            spread,
            in_doubt: false,
            state: State::Asked(attempt, Instant::now()),
        }
    }

    /// Whether it takes so long that the widget should say so.
    pub(crate) fn is_late(&self) -> bool {
        self.since.elapsed() >= LATE_AFTER
    }

    /// Whether it takes so long that, with nobody waiting, it is not worth going on.
    pub(crate) fn is_hopeless(&self) -> bool {
        self.since.elapsed() >= HOPELESS_AFTER
    }

    /// Whether an earlier attempt may have been carried out.
    pub(crate) const fn was_in_doubt(&self) -> bool {
        self.in_doubt
    }

    /// Whether it may have been carried out already, if nobody waits for it any more.
    pub(crate) const fn is_in_doubt(&self) -> bool {
        self.in_doubt || matches!(self.state, State::Asked(..))
    }

    /// Asks at once instead of pausing: whoever could not answer may be able to now.
    pub(crate) fn hurry(&mut self) {
        if matches!(self.state, State::Pausing(_)) {
            self.pauses = 0;
            let attempt = attempt(&self.bus, self.partition, &self.request);
            self.state = State::Asked(attempt, Instant::now());
        }
    }

    pub(crate) fn poll(&mut self, context: &mut Context<'_>, metrics: &Metrics) -> Poll<Answer> {
        loop {
            match &mut self.state {
                State::Asked(attempt, began) => {
                    let answer = ready!(attempt.as_mut().poll(context));
                    metrics.answered(began.elapsed());
                    if let Err(cause @ BusError::TooLarge { .. }) = answer {
                        warn!(partition = %self.partition, %cause, "a request is refused");
                        return Poll::Ready(Answer::TooLarge);
                    }
                    if matches!(answer, Err(BusError::OwnerGone)) {
                        metrics.retried();
                        self.in_doubt = true;
                        if let Some(answer) = self.owner_gone(metrics) {
                            return Poll::Ready(answer);
                        }
                        continue;
                    }
                    // Even "not now" may come from an owner that had tried before.
                    let says_nothing = !matches!(answer, Err(BusError::Unavailable));
                    match answer.ok().map(pb::Reply::decode) {
                        Some(Ok(pb::Reply { kind: Some(kind) })) => match read(kind) {
                            Ok(answer) => return Poll::Ready(self.poison.complete(answer)),
                            Err(pause) => self.pause(pause, metrics),
                        },
                        _ => self.pause(None, metrics),
                    }
                    self.in_doubt |= says_nothing;
                }
                State::Pausing(pause) => {
                    ready!(pause.as_mut().poll(context));
                    let attempt = attempt(&self.bus, self.partition, &self.request);
                    self.state = State::Asked(attempt, Instant::now());
                }
            }
        }
    }

    /// Whoever had the request is gone. Asks the next owner at once, with a word of warning; the answer if
    /// nobody is to be asked any more.
    fn owner_gone(&mut self, metrics: &Metrics) -> Option<Answer> {
        let asked = match self.poison.owner_gone(&self.request) {
            poison::Next::Ask(request) => request,
            poison::Next::GiveUp { letter, ask } => {
                metrics.poison();
                self.bus.bury(letter);
                let Some(request) = ask else {
                    let kind = input_reply::Kind::Rejected(pb::RejectCode::Poison.into());
                    let answer = Answer::Inputs(vec![pb::InputReply { kind: Some(kind) }]);
                    return Some(self.poison.complete(answer));
                };
                request
            }
        };
        self.request = asked;
        let attempt = attempt(&self.bus, self.partition, &self.request);
        self.state = State::Asked(attempt, Instant::now());
        None
    }

    fn pause(&mut self, wanted: Option<Duration>, metrics: &Metrics) {
        metrics.retried();
        let doubled = PAUSE_MIN.saturating_mul(1_u32.checked_shl(self.pauses).unwrap_or(u32::MAX));
        let pause = wanted.unwrap_or(doubled).min(PAUSE_MAX);
        self.pauses = self.pauses.saturating_add(1).min(8);
        let spread = u32::try_from(self.spread.wrapping_mul(0x9e37_79b9) % 256).unwrap_or(0);
        let pause = pause + pause * spread / 1024;
        self.state = State::Pausing(Box::pin(tokio::time::sleep(pause)));
    }
}

impl<B> fmt::Debug for Asking<B> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Asking").field("partition", &self.partition).finish_non_exhaustive()
    }
}

/// What an input takes of a request's [`INPUTS_BYTES_MAX`].
pub(crate) fn input_bytes(input: &pb::ConnectionInput) -> usize {
    // A tag of one byte and a length of at most four.
    input.encoded_len().saturating_add(5)
}

fn attempt<B: Ingress>(bus: &Arc<B>, partition: Partition, request: &Bytes) -> Attempt {
    let (bus, request) = (Arc::clone(bus), request.clone());
    Box::pin(async move {
        let answer = tokio::time::timeout(ATTEMPT_MAX, bus.request(partition, request));
        answer.await.unwrap_or(Err(BusError::NoAnswer))
    })
}

/// The answer; or how long to wait before asking again.
fn read(kind: reply::Kind) -> Result<Answer, Option<Duration>> {
    match kind {
        reply::Kind::Connection(pb::ConnectionReply { results }) => {
            match results.first().map(|first| &first.kind) {
                Some(Some(input_reply::Kind::TryAgainMs(ms))) => {
                    Err(Some(Duration::from_millis(u64::from(*ms).max(100))))
                }
                Some(_) => Ok(Answer::Inputs(results)),
                None => Err(None),
            }
        }
        reply::Kind::Fetch(pb::FetchReply { try_again: true, .. }) => Err(None),
        reply::Kind::Fetch(events) => Ok(Answer::Events(events)),
        reply::Kind::Malformed(_) => Ok(Answer::Malformed),
        reply::Kind::List(pb::ListReply { try_again: true, .. }) => Err(None),
        reply::Kind::List(list) => Ok(Answer::List(list)),
        reply::Kind::Erase(pb::EraseReply { kind }) => match kind {
            Some(erase_reply::Kind::TryAgainMs(ms)) => {
                Err(Some(Duration::from_millis(u64::from(ms).max(100))))
            }
            Some(kind) => Ok(Answer::Erased(kind)),
            None => Err(None),
        },
        reply::Kind::Outcome(_) | reply::Kind::Signalled(_) | reply::Kind::Explain(_) => Err(None),
    }
}
