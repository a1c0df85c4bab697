//! Many messages with one question: direct get by batch, which any replica answers.

use async_nats::{HeaderMap, HeaderName, Message, Request, StatusCode, header};
use bytes::Bytes;
use futures_util::StreamExt as _;
use stentor_cluster::LogError;
use stentor_types::Sequence;

use super::{NatsLog, codes::Refusal, trouble::Trouble};

/// Messages asked for at once.
const MESSAGES_MAX: usize = 500;
/// Bytes asked for at once: above the largest message, or there might be no answer at all.
const BYTES_MIN: usize = 1 << 20;
const BYTES_MAX: usize = 8 << 20;
/// How many messages are still to come.
const PENDING: HeaderName = HeaderName::from_static("Nats-Num-Pending");

/// A message of the stream.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) subject: String,
    pub(crate) sequence: Sequence,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Bytes,
}

/// Messages one after the other, without a hole between them.
#[derive(Debug, Default)]
pub(crate) struct Range {
    pub(crate) messages: Vec<Fetched>,
    /// Whether there were more at the replica that answered.
    pub(crate) more: bool,
}

// === impl NatsLog ===

impl NatsLog {
    /// Messages on `subject`, which may hold wildcards, from `from` on, some 500 or `bytes_max` bytes.
    /// Complete, as far as the replica knows, or an error.
    pub(super) async fn range(
        &self,
        subject: &str,
        from: Sequence,
        bytes_max: usize,
    ) -> Result<Range, LogError> {
        let messages = if bytes_max <= 1 { 1 } else { MESSAGES_MAX };
        let question = serde_json::json!({
            "batch": messages,
            "max_bytes": bytes_max.clamp(BYTES_MIN, BYTES_MAX),
            "seq": from.0.max(1),
            "next_by_subj": subject,
        });
        let inbox = self.connection.client().new_inbox();
        let subscribed = self.connection.client().subscribe(inbox.clone()).await;
        let mut answers = subscribed.map_err(Trouble::of("subscribing to answers"))?;
        let request = Request::new().inbox(inbox).payload(question.to_string().into());
        let api = format!("DIRECT.GET.{}", self.stream_name);
        let sent = self.connection.jetstream().send_request(api, request).await;
        sent.map_err(Trouble::of("asking for records"))?;
        let mut range = Range::default();
        loop {
            let next = tokio::time::timeout(self.settings.answer_timeout, answers.next()).await;
            let message = next.map_err(|_| Trouble::Late)?.ok_or(Trouble::Lost)?;
            match message.status {
                None => range.push(message)?,
                Some(StatusCode::NOT_FOUND) => return Ok(range),
                Some(StatusCode::NO_RESPONDERS) => {
                    return Err(Trouble::Refused(Refusal::nobody()).into());
                }
                Some(status) if status.as_u16() == 204 => {
                    range.end(&message)?;
                    return Ok(range);
                }
                Some(status) => {
                    let text = message.description.unwrap_or_default();
                    return Err(Trouble::Refused(Refusal::new(status.as_u16().into(), text)).into());
                }
            }
        }
    }
}

// === impl Range ===

impl Range {
    fn last(&self) -> Option<u64> {
        self.messages.last().map(|fetched| fetched.sequence.0)
    }

    /// Every message names the one before it.
    fn push(&mut self, message: Message) -> Result<(), Trouble> {
        let headers = message.headers.unwrap_or_default();
        let subject = headers.get(header::NATS_SUBJECT).map(|value| value.as_str().to_owned());
        let sequence = number(&headers, header::NATS_SEQUENCE);
        let (subject, sequence) =
            subject.zip(sequence).ok_or(Trouble::Answer("a record without its place"))?;
        if number(&headers, header::NATS_LAST_SEQUENCE).unwrap_or(0) != self.last().unwrap_or(0) {
            return Err(Trouble::Answer("records with a hole between them"));
        }
        let sequence = Sequence(sequence);
        self.messages.push(Fetched { subject, sequence, headers, payload: message.payload });
        Ok(())
    }

    fn end(&mut self, message: &Message) -> Result<(), Trouble> {
        let Some(headers) = &message.headers else { return Ok(()) };
        let last = number(headers, header::NATS_LAST_SEQUENCE);
        if last.is_some_and(|last| last != self.last().unwrap_or(0)) {
            return Err(Trouble::Answer("records that end too early"));
        }
        self.more = number(headers, PENDING).is_some_and(|pending| pending > 0);
        Ok(())
    }
}

fn number(headers: &HeaderMap, name: HeaderName) -> Option<u64> {
    headers.get(name)?.as_str().parse().ok()
}
