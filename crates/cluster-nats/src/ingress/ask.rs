//! The caller's side: asks the owner of a partition, whoever it is just now, until there is an answer.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
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
use crate::{
    chance, connect::Connection, metrics::CallerMetrics, ownership::Records, timings::Timings,
};

/// Requests that may wait for an answer; beyond it they are refused. Every connection of a gateway has
/// at most one.
const WAITING_MAX: usize = 131_072;

/// How long the record of an owner may take to be read while a request waits for it.
const RECORD_FOR: Duration = Duration::from_millis(500);

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
    /// Where answers come to: this, a dot, and the number of the try. That number modulo the number of
    /// partitions is the partition.
    inbox: String,
    next: AtomicU64,
    waiting: Mutex<HashMap<u64, Waiting>>,
    /// The highest term seen of each partition.
    terms: Vec<AtomicU64>,
}

/// A try that waits for its answer.
#[derive(Debug)]
struct Waiting {
    /// Told the answer.
    answer: oneshot::Sender<Outcome>,
    /// Told that it has to be tried again, unless an answer comes all the same: while a partition changes
    /// hands, the old owner sends away what the new one answers.
    again: Option<oneshot::Sender<Outcome>>,
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
            Err(BusError::OwnerGone) => requests.with_label_values(&["owner_gone"]).inc(),
            Err(BusError::TooLarge { .. }) => requests.with_label_values(&["too_large"]).inc(),
            Err(BusError::NoAnswer) => requests.with_label_values(&["no_answer"]).inc(),
        }
        asked
    }

    async fn ask(&self, partition: Partition, request: Bytes) -> Result<Bytes, BusError> {
        let shared = &*self.shared;
        if request.len() > REQUEST_MAX {
            warn!(%partition, bytes = request.len(), "a request is too large to be sent");
            return Err(BusError::TooLarge { bytes: request.len(), max: REQUEST_MAX });
        }
        let end = Instant::now() + shared.timings.ask_for;
        let mut result = BusError::Unavailable;
        // Under which term somebody had the request and did not answer.
        let mut unanswered = None;
        loop {
            if let Some(term) = unanswered
                && shared.term_by_record(partition).await > Some(term)
            {
                return Err(BusError::OwnerGone);
            }
            let known = shared.known_term(partition);
            let outcome = if shared.connection.is_up() {
                let asking = shared.attempt(partition, request.clone());
                let asking = tokio::time::timeout(shared.timings.try_for, asking);
                tokio::select! {
                    biased;
                    outcome = asking => outcome,
                    // The answer was on its way over a line that is no more: it is asked for again.
                    () = shared.connection.renewed() => Ok(Outcome::Unknown),
                }
            } else {
                // It would only wait for the line, and go out long after it was given up.
                Ok(Outcome::Nobody)
            };
            match outcome {
                Ok(Outcome::Answer(answer)) => return Ok(answer),
                Ok(Outcome::Refused) => return Err(BusError::NoAnswer),
                Ok(Outcome::Nobody) => tokio::time::sleep(shared.pause()).await,
                Ok(Outcome::Busy) => {}
                Ok(Outcome::Unknown) => result = BusError::NoAnswer,
                // Its owner may be frozen, or gone; by now another one may be there.
                Err(_) => {
                    result = BusError::NoAnswer;
                    if unanswered.is_none() {
                        unanswered = match known {
                            Some(term) => Some(term),
                            None => shared.term_by_record(partition).await,
                        };
                    }
                }
            }
            shared.metrics.retries.inc();
            if Instant::now() >= end {
                return Err(result);
            }
        }
    }
}

// === impl Shared ===

impl Shared {
    /// One try. If it is to be tried again, some time has passed.
    async fn attempt(&self, partition: Partition, request: Bytes) -> Outcome {
        let number = self.next.fetch_add(u64::from(PARTITIONS), Ordering::Relaxed)
            + u64::from(partition.number());
        let ((answer, mut answered), (again, told)) = (oneshot::channel(), oneshot::channel());
        {
            let mut waiting = self.waiting();
            if waiting.len() >= WAITING_MAX {
                return Outcome::Nobody;
            }
            let entry = Waiting { answer, again: Some(again), parts: Parts::default() };
            waiting.insert(number, entry);
        }
        let _guard = Guard(self, number);
        let (subject, reply) = (self.from.subject(partition), format!("{}.{number}", self.inbox));
        let sent = self.connection.client().publish_with_reply(subject, reply, request).await;
        if sent.is_err() {
            return Outcome::Nobody;
        }
        let again = tokio::select! {
            biased;
            answer = &mut answered => return answer.unwrap_or(Outcome::Unknown),
            Ok(again) = told => again,
        };
        let answer = tokio::time::timeout(self.pause(), answered).await;
        answer.ok().and_then(Result::ok).unwrap_or(again)
    }

    /// The highest term that an answer, or the record, has told of; nothing before that.
    fn known_term(&self, partition: Partition) -> Option<u64> {
        let term = self.terms.get(usize::from(partition.number()))?.load(Ordering::Acquire);
        (term > 0).then_some(term)
    }

    /// The term of whoever owns the partition by the record; what is known if it cannot be read soon. Only asked
    /// when somebody did not answer, so it costs an ordinary request nothing.
    async fn term_by_record(&self, partition: Partition) -> Option<u64> {
        let records = Records::new(self.connection.clone(), 1);
        let read = tokio::time::timeout(RECORD_FOR, records.term(partition)).await;
        if let (Ok(Some(term)), Some(highest)) =
            (read, self.terms.get(usize::from(partition.number())))
        {
            highest.fetch_max(term, Ordering::AcqRel);
        }
        self.known_term(partition)
    }

    fn pause(&self) -> Duration {
        chance::less_up_to_half(self.timings.try_pause)
    }

    /// Takes an answer to whoever waits for it.
    fn hand_out(&self, message: Message) {
        let number = message.subject.rsplit('.').next().and_then(|number| number.parse().ok());
        let Some(number) = number else { return };
        let is_current = self.is_current(number, &message);
        let mut waiting = self.waiting();
        let Some(entry) = waiting.get_mut(&number).filter(|_| is_current) else { return };
        let Some(outcome) = entry.judge(&message) else { return };
        // Whoever does not wait any more has removed the entry, or is about to.
        if matches!(outcome, Outcome::Busy | Outcome::Unknown) {
            let _ = entry.again.take().map(|again| again.send(outcome));
        } else if let Some(entry) = waiting.remove(&number) {
            let _ = entry.answer.send(outcome);
        }
    }

    /// Whether nobody is known to have owned the partition after the one that answers. Answers that come
    /// too late for anybody tell that, too.
    fn is_current(&self, number: u64, message: &Message) -> bool {
        let term = header(message.headers.as_ref(), TERM).and_then(|term| term.parse().ok());
        let partition = usize::try_from(number % u64::from(PARTITIONS)).unwrap_or_default();
        let (Some(term), Some(highest)) = (term, self.terms.get(partition)) else { return true };
        let is_current = highest.fetch_max(term, Ordering::AcqRel) <= term;
        if !is_current {
            self.metrics.outdated.inc();
        }
        is_current
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<u64, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Waiting ===

impl Waiting {
    /// What an answer means; nothing if more is to come.
    fn judge(&mut self, message: &Message) -> Option<Outcome> {
        if message.status == Some(StatusCode::NO_RESPONDERS) {
            return Some(Outcome::Nobody);
        }
        let headers = message.headers.as_ref();
        let term: u64 = header(headers, TERM)?.parse().ok()?;
        match header(headers, SAYS) {
            None => Some(Outcome::Answer(message.payload.clone())),
            Some(BUSY) => Some(Outcome::Busy),
            Some(UNKNOWN) => Some(Outcome::Unknown),
            Some(REFUSED) => Some(Outcome::Refused),
            Some(says) => {
                let mut words = says.split(' ');
                let (page, number, count) = (words.next()?, words.next()?, words.next()?);
                let (number, count) = (number.parse().ok()?, count.parse().ok()?);
                let answer = self.parts.add(term, number, count, &message.payload);
                (page == PAGE).then_some(answer).flatten().map(Outcome::Answer)
            }
        }
    }
}

// === impl Guard ===

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.0.waiting().remove(&self.1);
    }
}
