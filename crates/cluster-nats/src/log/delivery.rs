//! Messages that the server pushes: the last of every subject, or all since a time. Without payloads.

use std::time::Duration;

use async_nats::jetstream::{
    Message,
    consumer::{AckPolicy, DeliverPolicy, push},
};
use futures_util::StreamExt as _;
use stentor_cluster::LogError;
use stentor_types::Sequence;

use super::{NatsLog, trouble::Trouble};

/// How often the server shows that it is still there; twice as long without that is an error.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// How long the server keeps a consumer that nobody listens to. It allows a thousand.
const INACTIVE: Duration = Duration::from_secs(5);
/// Silence after which the server is asked whether anything is still to come.
const SILENCE: Duration = Duration::from_secs(1);
/// Such questions until it is given up.
const SILENCES_MAX: u32 = 10;

/// What a consumer of one's own is given: complete and in order, or an error.
pub(crate) struct Delivery {
    messages: push::Messages,
    name: String,
    /// What the server said is still to come.
    pending: u64,
    received: u64,
}

/// A message without its payload.
#[derive(Debug)]
pub(crate) struct Delivered {
    pub(crate) sequence: Sequence,
    pub(crate) message: Message,
}

// === impl NatsLog ===

impl NatsLog {
    /// Has the messages on `filter` delivered.
    pub(super) async fn deliver(
        &self,
        filter: String,
        deliver_policy: DeliverPolicy,
    ) -> Result<Delivery, LogError> {
        let client = self.connection.client();
        let name = client.new_inbox();
        let config = push::Config {
            // Named, so that the subject of the request shows what will be read.
            name: name.rsplit('.').next().map(str::to_owned),
            deliver_subject: client.new_inbox(),
            deliver_policy,
            filter_subject: filter,
            ack_policy: AckPolicy::None,
            headers_only: true,
            flow_control: true,
            idle_heartbeat: HEARTBEAT,
            inactive_threshold: INACTIVE,
            memory_storage: true,
            num_replicas: 1,
            ..push::Config::default()
        };
        let consumer = self.stream.create_consumer(config).await;
        let consumer = consumer.map_err(Trouble::of("asking for messages"))?;
        let messages = consumer.messages().await.map_err(Trouble::of("asking for messages"))?;
        let info = consumer.cached_info();
        Ok(Delivery { messages, name: info.name.clone(), pending: info.num_pending, received: 0 })
    }

    /// The next message; nothing when all that there was has come.
    pub(super) async fn next_delivered(
        &self,
        delivery: &mut Delivery,
    ) -> Result<Option<Delivered>, LogError> {
        let mut silences = 0;
        while delivery.pending > 0 {
            if let Ok(next) = tokio::time::timeout(SILENCE, delivery.messages.next()).await {
                return delivery.take(next).map(Some);
            }
            // What was still to come may have been trimmed meanwhile.
            let info = self.stream.consumer_info(&delivery.name).await;
            if info.is_ok_and(|info| {
                info.num_pending == 0 && info.delivered.consumer_sequence == delivery.received
            }) {
                delivery.pending = 0;
            }
            silences += 1;
            if silences > SILENCES_MAX {
                return Err(Trouble::Late.into());
            }
        }
        Ok(None)
    }
}

// === impl Delivery ===

impl Delivery {
    fn take(
        &mut self,
        next: Option<Result<Message, push::MessagesError>>,
    ) -> Result<Delivered, LogError> {
        let message = next.ok_or(Trouble::Lost)?.map_err(Trouble::of("waiting for messages"))?;
        let info = message.info().map_err(Trouble::of("reading where a message lies"))?;
        self.received += 1;
        if info.consumer_sequence != self.received {
            return Err(Trouble::Answer("messages with a hole between them").into());
        }
        self.pending = info.pending;
        let sequence = Sequence(info.stream_sequence);
        Ok(Delivered { sequence, message })
    }
}
