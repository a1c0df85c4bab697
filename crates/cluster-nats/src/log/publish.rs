//! One write to the stream and its answer: a plain message, or an atomic batch.

use async_nats::{
    Client, HeaderMap, Message, Request, StatusCode, SubscribeError, Subscriber,
    client::RequestErrorKind, header, jetstream,
};
use bytes::Bytes;
use futures_util::StreamExt as _;
use stentor_cluster::{Append, Entity, Header};
use stentor_types::Sequence;
use tokio::time::Instant;

use super::{NatsLog, codes::Refusal, headers, trouble::Trouble};
use crate::subjects;

/// What the headers of a message may add to it, well above what they do.
const HEADERS_BYTES: usize = 1_024;

/// A record on its way into the log.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    /// Its place in the batch of the caller.
    pub(crate) index: usize,
    pub(crate) entity: Entity,
    pub(crate) expected: Option<Sequence>,
    pub(crate) header: Header,
    /// The newest snapshot before it.
    pub(crate) before: Option<Sequence>,
    record: Bytes,
    effects: Vec<Bytes>,
}

/// The turn to write a batch.
#[derive(Debug, Default)]
pub(crate) struct Turn(Option<Answers>);

/// Where the answers to batches come to. One subscription for all of them: each that comes or goes makes the servers
/// look through what they remember of all subjects, and tell each other.
#[derive(Debug)]
struct Answers {
    inbox: String,
    subscriber: Subscriber,
    /// Batches so far.
    number: u64,
}

/// What became of a write.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// All of it is stored and synced; the records' places.
    Stored(Vec<Sequence>),
    /// Nothing of it is stored.
    Refused(Refusal),
    /// Nobody knows.
    Unknown(Trouble),
}

// === impl Item ===

impl Item {
    pub(crate) fn new(index: usize, append: Append) -> Self {
        Self {
            index,
            entity: append.entity,
            expected: append.expected,
            header: append.header,
            before: None,
            record: append.record,
            effects: append.effects,
        }
    }

    /// Messages that it needs.
    pub(crate) const fn messages(&self) -> usize {
        1 + self.effects.len()
    }

    /// Bytes that it needs, about.
    pub(crate) fn bytes(&self) -> usize {
        let payloads = self.effects.iter().chain([&self.record]);
        payloads.map(|payload| payload.len() + HEADERS_BYTES).sum()
    }

    /// The largest of its messages.
    pub(crate) fn largest(&self) -> usize {
        self.effects.iter().map(Bytes::len).fold(self.record.len(), usize::max)
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = headers::write(&self.header, self.before);
        let expected = self.expected.map_or(0, |sequence| sequence.0);
        headers.insert(header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, expected.to_string());
        headers
    }
}

// === impl Turn ===

impl Turn {
    async fn answers(&mut self, client: &Client) -> Result<&mut Answers, SubscribeError> {
        let answers = match self.0.take() {
            Some(answers) => answers,
            None => {
                let inbox = client.new_inbox();
                let subscriber = client.subscribe(format!("{inbox}.*")).await?;
                Answers { inbox, subscriber, number: 0 }
            }
        };
        Ok(self.0.insert(answers))
    }
}

// === impl Answers ===

impl Answers {
    /// Where the answers to the first and the last message of the next batch are to come.
    fn subjects(&mut self) -> (String, String) {
        self.number += 1;
        let Self { inbox, number, .. } = self;
        (format!("{inbox}.{number}-first"), format!("{inbox}.{number}-last"))
    }
}

// === impl NatsLog ===

impl NatsLog {
    /// Writes all of `items` or nothing. Their entities must differ.
    pub(super) async fn publish(&self, items: &[Item]) -> Outcome {
        match items {
            [] => Outcome::Stored(Vec::new()),
            [item] if item.effects.is_empty() => self.publish_single(item).await,
            _ => self.publish_batch(items).await,
        }
    }

    async fn publish_single(&self, item: &Item) -> Outcome {
        self.metrics.singles.inc();
        let request = Request::new()
            .headers(item.headers())
            .payload(item.record.clone())
            .timeout(Some(self.settings.answer_timeout));
        let subject = subjects::entity(self.settings.group, &item.entity);
        let answer = tokio::select! {
            biased;
            answer = self.connection.client().send_request(subject, request) => answer,
            () = self.lost() => return Outcome::Unknown(Trouble::Lost),
        };
        match answer {
            Ok(message) => outcome(&message, |ack| Some(vec![Sequence(ack.sequence)])),
            Err(error) => match error.kind() {
                RequestErrorKind::NoResponders => Outcome::Refused(Refusal::nobody()),
                RequestErrorKind::TimedOut => Outcome::Unknown(Trouble::Late),
                _ => Outcome::Unknown(sending(error)),
            },
        }
    }

    async fn publish_batch(&self, items: &[Item]) -> Outcome {
        let mut turn = self.batch.lock().await;
        self.metrics.batches.inc();
        let client = self.connection.client();
        let answers = match turn.answers(client).await {
            Ok(answers) => answers,
            Err(error) => return Outcome::Unknown(sending(error)),
        };
        let inbox = client.new_inbox();
        // 22 letters and digits that nobody else has.
        let id = inbox.rsplit('.').next().unwrap_or(&inbox);
        let (first, last) = answers.subjects();
        let lost = self.lost();
        let count: usize = items.iter().map(Item::messages).sum();
        let sending = async {
            let mut number = 0;
            for (subject, mut headers, payload) in items.iter().flat_map(|item| self.messages(item))
            {
                number += 1;
                headers.insert(header::NATS_BATCH_ID, id);
                headers.insert(header::NATS_BATCH_SEQUENCE, number.to_string());
                if number == count {
                    headers.insert(header::NATS_BATCH_COMMIT, header::NATS_BATCH_COMMIT_FINAL);
                }
                // The first one's answer is empty, or says why there can be no batch at all.
                let reply = match number {
                    _ if number == count => Some(&last),
                    1 => Some(&first),
                    _ => None,
                };
                match reply {
                    None => client.publish_with_headers(subject, headers, payload).await,
                    Some(reply) => {
                        let reply = reply.clone();
                        client
                            .publish_with_reply_and_headers(subject, reply, headers, payload)
                            .await
                    }
                }
                .map_err(sending)?;
            }
            let mut refused = None;
            while let Some(message) = answers.subscriber.next().await {
                if message.subject.as_str() == last {
                    return Ok((refused, message));
                }
                // Otherwise it belongs to a batch that was given up.
                if message.subject.as_str() == first {
                    refused = refused.or_else(|| refusal(&message));
                }
            }
            Err(Trouble::Lost)
        };
        let until = Instant::now() + self.settings.answer_timeout;
        let answered = tokio::select! {
            biased;
            answered = tokio::time::timeout_at(until, sending) => answered,
            () = lost => return Outcome::Unknown(Trouble::Lost),
        };
        match answered {
            Err(_) => Outcome::Unknown(Trouble::Late),
            Ok(Err(trouble)) => Outcome::Unknown(trouble),
            Ok(Ok((early, message))) => {
                let outcome = outcome(&message, |ack| places(items, &ack, count));
                // The end of a batch that never began says only that its beginning is missing.
                match (early, outcome) {
                    (Some(early), Outcome::Refused(_)) => Outcome::Refused(early),
                    (_, outcome) => outcome,
                }
            }
        }
    }

    fn messages<'a>(
        &'a self,
        item: &'a Item,
    ) -> impl Iterator<Item = (String, HeaderMap, Bytes)> + 'a {
        let group = self.settings.group;
        let record = (subjects::entity(group, &item.entity), item.headers(), item.record.clone());
        let effects = item.effects.iter().map(move |effect| {
            (subjects::effects(group, &item.entity.app), HeaderMap::new(), effect.clone())
        });
        std::iter::once(record).chain(effects)
    }

    /// Returns when the line is lost: an answer that was on it never comes.
    fn lost(&self) -> impl Future<Output = ()> + use<> {
        let mut status = self.connection.status();
        let losses = status.borrow().losses;
        async move {
            // An error means that the connection was closed for good, which is a loss too.
            let _ = status.wait_for(|status| status.losses != losses).await;
        }
    }
}

fn sending<E>(source: E) -> Trouble
where
    E: std::error::Error + Send + Sync + 'static,
{
    Trouble::Request { what: "sending", source: Box::new(source) }
}

/// Where the records of a batch lie: its messages lie one after the other, the last where the answer says.
fn places(
    items: &[Item],
    ack: &jetstream::publish::PublishAck,
    count: usize,
) -> Option<Vec<Sequence>> {
    let count = u64::try_from(count).ok()?;
    if ack.batch_size != Some(count) {
        return None;
    }
    let mut next = ack.sequence.checked_sub(count)? + 1;
    let place = |item: &Item| {
        let place = Sequence(next);
        next += u64::try_from(item.messages()).ok()?;
        Some(place)
    };
    items.iter().map(place).collect()
}

fn outcome(
    message: &Message,
    places: impl FnOnce(jetstream::publish::PublishAck) -> Option<Vec<Sequence>>,
) -> Outcome {
    if let Some(refusal) = refusal(message) {
        return Outcome::Refused(refusal);
    }
    match serde_json::from_slice(&message.payload).ok().and_then(places) {
        Some(places) => Outcome::Stored(places),
        None => Outcome::Unknown(Trouble::Answer("an acknowledgement")),
    }
}

fn refusal(message: &Message) -> Option<Refusal> {
    if message.status == Some(StatusCode::NO_RESPONDERS) {
        return Some(Refusal::nobody());
    }
    let answer: serde_json::Value = serde_json::from_slice(&message.payload).ok()?;
    let error = answer.get("error")?;
    let number = |name| error.get(name).and_then(serde_json::Value::as_u64);
    let code = number("err_code").or_else(|| number("code")).unwrap_or(0);
    let text = error.get("description").and_then(serde_json::Value::as_str).unwrap_or_default();
    Some(Refusal::new(code, text))
}
