//! The caller's side: asks the owner of a partition, whoever it is just now, until there is an answer.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use async_nats::{Message, StatusCode};
use bytes::Bytes;
use futures_util::StreamExt;
use stentor_cluster::BusError;
use stentor_types::{PARTITIONS, Partition};
use tokio::{sync::oneshot, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{BUSY, Caller, PAGE, REFUSED, REQUEST_MAX, SAYS, TERM, UNKNOWN, header, pages::Parts};
use crate::{chance, connect::Connection, metrics::CallerMetrics, timings::Timings};

/// Requests that may wait for an answer; beyond it they are refused. Every connection of a gateway has
/// at most one.
const WAITING_MAX: usize = 131_072;

/// Asks owners. A clone is a handle to the same one.
#[derive(Clone, Debug)]
pub(crate) struct Asker {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    connection: Connection,
    from: Caller,
    timings: Timings,
    metrics: CallerMetrics,
    /// Where answers come to: this, a dot, and the number of the try.
    inbox: String,
    next: AtomicU64,
    waiting: Mutex<HashMap<u64, Waiting>>,
    /// The highest term seen of each partition.
    terms: Vec<AtomicU64>,
}

/// A try that waits for its answer.
#[derive(Debug)]
struct Waiting {
    partition: Partition,
    outcome: oneshot::Sender<Outcome>,
    parts: Parts,
}

/// How a try ended.
#[derive(Debug)]
enum Outcome {
    Answer(Bytes),
    /// Nobody listens.
    Nobody,
    Busy,
    Unknown,
    /// Now and for ever.
    Refused,
}

/// Forgets a try that nobody waits for any more.
struct Guard<'shared>(&'shared Shared, u64);

// === impl Asker ===

impl Asker {
    pub(crate) fn new(
        connection: Connection,
        from: Caller,
        timings: Timings,
        metrics: CallerMetrics,
    ) -> Self {
        let inbox = connection.client().new_inbox();
        let shared = Shared {
            connection,
            from,
            timings,
            metrics,
            inbox,
            next: AtomicU64::new(0),
            waiting: Mutex::default(),
            terms: (0..PARTITIONS).map(|_| AtomicU64::new(0)).collect(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Hands out answers until `stop` is cancelled.
    pub(crate) async fn run(
        self,
        stop: CancellationToken,
    ) -> Result<(), async_nats::SubscribeError> {
        let subject = format!("{}.*", self.shared.inbox);
        let mut answers = self.shared.connection.client().subscribe(subject).await?;
        loop {
            tokio::select! {
                Some(answer) = answers.next() => self.shared.hand_out(answer),
                () = stop.cancelled() => return Ok(()),
                else => return Ok(()),
            }
        }
    }

    /// Asks until there is an answer, or time is up. Cancel safe: the outcome of a dropped request is
    /// unknown.
    pub(crate) async fn request(
        &self,
        partition: Partition,
        request: Bytes,
    ) -> Result<Bytes, BusError> {
        let asked = self.ask(partition, request).await;
        let requests = &self.shared.metrics.requests;
        match asked {
            Ok(_) => self.shared.metrics.answered.inc(),
            Err(BusError::Unavailable) => requests.with_label_values(&["unavailable"]).inc(),
            Err(_) => requests.with_label_values(&["no_answer"]).inc(),
        }
        asked
    }

    async fn ask(&self, partition: Partition, request: Bytes) -> Result<Bytes, BusError> {
        let shared = &*self.shared;
        if request.len() > REQUEST_MAX {
            warn!(%partition, bytes = request.len(), "a request is too large to be sent");
            shared.metrics.requests.with_label_values(&["too_large"]).inc();
            return Err(BusError::Unavailable);
        }
        let end = Instant::now() + shared.timings.ask_for;
        let mut result = BusError::Unavailable;
        loop {
            let outcome = if shared.connection.is_up() {
                let asking = shared.attempt(partition, request.clone());
                tokio::time::timeout(shared.timings.try_for, asking).await
            } else {
                // It would only wait for the line, and go out long after it was given up.
                Ok(Outcome::Nobody)
            };
            let pause = match outcome {
                Ok(Outcome::Answer(answer)) => return Ok(answer),
                Ok(Outcome::Refused) => return Err(BusError::NoAnswer),
                Ok(Outcome::Nobody | Outcome::Busy) => true,
                Ok(Outcome::Unknown) => {
                    result = BusError::NoAnswer;
                    true
                }
                // Its owner may be frozen; by now another one may be there.
                Err(_) => {
                    result = BusError::NoAnswer;
                    false
                }
            };
            shared.metrics.retries.inc();
            if pause {
                tokio::time::sleep(chance::less_up_to_half(shared.timings.try_pause)).await;
            }
            if Instant::now() >= end {
                return Err(result);
            }
        }
    }
}

// === impl Shared ===

impl Shared {
    async fn attempt(&self, partition: Partition, request: Bytes) -> Outcome {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (outcome, told) = oneshot::channel();
        {
            let mut waiting = self.waiting();
            if waiting.len() >= WAITING_MAX {
                return Outcome::Busy;
            }
            waiting.insert(number, Waiting { partition, outcome, parts: Parts::default() });
        }
        let _guard = Guard(self, number);
        let (subject, reply) = (self.from.subject(partition), format!("{}.{number}", self.inbox));
        let sent = self.connection.client().publish_with_reply(subject, reply, request).await;
        if sent.is_err() {
            return Outcome::Nobody;
        }
        told.await.unwrap_or(Outcome::Unknown)
    }

    /// Takes an answer to whoever waits for it.
    fn hand_out(&self, message: Message) {
        let number = message.subject.rsplit('.').next().and_then(|number| number.parse().ok());
        let Some(number) = number else { return };
        let mut waiting = self.waiting();
        let Some(entry) = waiting.get_mut(&number) else { return };
        if let Some(outcome) = self.judge(entry, &message)
            && let Some(entry) = waiting.remove(&number)
        {
            // Nobody waits any more: the guard was about to remove it.
            let _ = entry.outcome.send(outcome);
        }
    }

    /// What an answer means; nothing if a better one is to be waited for.
    fn judge(&self, entry: &mut Waiting, message: &Message) -> Option<Outcome> {
        if message.status == Some(StatusCode::NO_RESPONDERS) {
            return Some(Outcome::Nobody);
        }
        let headers = message.headers.as_ref();
        let term: u64 = header(headers, TERM)?.parse().ok()?;
        let highest = self.terms.get(usize::from(entry.partition.number()))?;
        if highest.fetch_max(term, Ordering::AcqRel) > term {
            // Somebody who does not know yet that it is not the owner any more.
            self.metrics.outdated.inc();
            return None;
        }
        match header(headers, SAYS) {
            None => Some(Outcome::Answer(message.payload.clone())),
            Some(BUSY) => Some(Outcome::Busy),
            Some(UNKNOWN) => Some(Outcome::Unknown),
            Some(REFUSED) => Some(Outcome::Refused),
            Some(says) => {
                let mut words = says.split(' ');
                let (page, number, count) = (words.next()?, words.next()?, words.next()?);
                let (number, count) = (number.parse().ok()?, count.parse().ok()?);
                let answer = entry.parts.add(term, number, count, &message.payload);
                (page == PAGE).then_some(answer).flatten().map(Outcome::Answer)
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<u64, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Guard ===

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.0.waiting().remove(&self.1);
    }
}
