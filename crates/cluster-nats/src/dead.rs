//! Dead letters: what routers and gateways gave up on, for whoever looks after the cluster.
//!
//! A small stream beside the log, from which the oldest goes first. Whoever buries something does not wait, and
//! loses it if the stream cannot be reached for long: it was logged and counted before.
//!
//! Overflow: of more than [`WAITING_MAX`] letters that wait for the stream, the newest are lost.

use std::{sync::Arc, time::Duration};

use async_nats::jetstream::stream::{
    Config, DirectGetErrorKind, DiscardPolicy, RawMessageErrorKind, RetentionPolicy, StorageType,
};
use bytes::Bytes;
use prost::Message;
use stentor_types::{AppId, SessionId};
use stentor_wire::{pb, session_to_bytes};
use tokio::sync::Semaphore;
use tracing::warn;

use crate::{OpenError, connect::Connection};

/// The stream.
pub const DEAD_LETTERS: &str = "STENTOR_dead";
/// What all of them may take: some thousand with long texts, and far more of the usual.
pub(crate) const BYTES_MAX: i64 = 64 << 20;
/// How many are kept.
const LETTERS_MAX: i64 = 10_000;
/// Letters of this process that wait for the stream.
const WAITING_MAX: usize = 64;
/// Tries per letter, and pauses between them.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_secs(1);

/// Who buries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Undertaker {
    Router,
    Gateway,
}

/// Where letters go. A clone is a handle to the same place.
#[derive(Clone, Debug)]
pub(crate) struct Graveyard {
    connection: Connection,
    from: Undertaker,
    places: Arc<Semaphore>,
}

/// A letter as it lies in the stream.
#[derive(Clone, Debug)]
pub struct Buried {
    /// Its place in the stream.
    pub sequence: u64,
    /// Which kind of process wrote it: `router` or `gateway`.
    pub from: String,
    /// What it says.
    pub letter: pb::DeadLetter,
}

/// Dead letters cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no stream yet: no router of this version has run.
    #[error("there is no stream {DEAD_LETTERS}: no router that keeps dead letters has run yet")]
    Missing,
    /// NATS does not do what is asked.
    #[error("failed to read the stream {DEAD_LETTERS}")]
    JetStream(#[source] Box<dyn std::error::Error + Send + Sync>),
}

// === impl Undertaker ===

impl Undertaker {
    const fn subject(self) -> &'static str {
        match self {
            Self::Router => "dead.router",
            Self::Gateway => "dead.gateway",
        }
    }
}

// === impl Graveyard ===

impl Graveyard {
    pub(crate) fn new(connection: Connection, from: Undertaker) -> Self {
        Self { connection, from, places: Arc::new(Semaphore::new(WAITING_MAX)) }
    }

    /// Keeps a letter. Needs a runtime.
    pub(crate) fn bury(&self, letter: Bytes) {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            warn!("too many dead letters wait for their stream; one is lost");
            return;
        };
        let this = self.clone();
        tokio::spawn(async move {
            for tried in 1..=TRIES {
                let jetstream = this.connection.jetstream();
                let sent = match jetstream.publish(this.from.subject(), letter.clone()).await {
                    Ok(sent) => sent.await,
                    Err(cause) => Err(cause),
                };
                match sent {
                    Ok(_) => break,
                    Err(cause) if tried == TRIES => {
                        warn!(%cause, "a dead letter could not be kept");
                    }
                    Err(_) => tokio::time::sleep(PAUSE * tried).await,
                }
            }
            drop(place);
        });
    }
}

/// Makes the stream if it is not there. Two may do so at once.
pub(crate) async fn ensure(
    connection: &Connection,
    replicas: usize,
) -> Result<(), async_nats::Error> {
    let config = Config {
        name: DEAD_LETTERS.to_owned(),
        description: Some("What Stentor gave up on. May be purged.".to_owned()),
        subjects: vec!["dead.*".to_owned()],
        retention: RetentionPolicy::Limits,
        storage: StorageType::File,
        num_replicas: replicas,
        max_bytes: BYTES_MAX,
        max_messages: LETTERS_MAX,
        discard: DiscardPolicy::Old,
        allow_direct: true,
        ..Config::default()
    };
    let jetstream = connection.jetstream();
    match jetstream.create_stream(config).await {
        Ok(_) => Ok(()),
        // It is there with other settings.
        Err(made) => match jetstream.get_stream_no_info(DEAD_LETTERS).await {
            Ok(stream) if stream.get_info().await.is_ok() => Ok(()),
            _ => Err(made.into()),
        },
    }
}

/// The newest letters, newest first.
///
/// # Errors
/// There is no stream, or it cannot be read.
pub async fn dead_letters(connection: &Connection, limit: usize) -> Result<Vec<Buried>, ReadError> {
    let failed = |cause: Box<dyn std::error::Error + Send + Sync>| ReadError::JetStream(cause);
    let stream = crate::stream::find(connection.jetstream(), DEAD_LETTERS).await;
    let stream = stream.map_err(|error| match error {
        OpenError::Missing(_) => ReadError::Missing,
        error => failed(Box::new(error)),
    })?;
    let state = &stream.cached_info().state;
    let mut letters = Vec::new();
    let mut sequence = state.last_sequence;
    while letters.len() < limit && sequence >= state.first_sequence && sequence > 0 {
        match stream.direct_get(sequence).await {
            Ok(message) => letters.push(Buried {
                sequence,
                from: message.subject.strip_prefix("dead.").unwrap_or_default().to_owned(),
                letter: pb::DeadLetter::decode(message.payload)
                    .map_err(|cause| failed(Box::new(cause)))?,
            }),
            // It went meanwhile.
            Err(cause) if cause.kind() == DirectGetErrorKind::NotFound => {}
            Err(cause) => return Err(failed(Box::new(cause))),
        }
        sequence -= 1;
    }
    Ok(letters)
}

/// Overwrites the letters that tell of a session.
pub(crate) async fn erase(
    connection: &Connection,
    app: &AppId,
    session: SessionId,
) -> Result<(), async_nats::Error> {
    let stream = connection.jetstream().get_stream_no_info(DEAD_LETTERS).await?;
    let session = session_to_bytes(session);
    let mut next = 1;
    loop {
        let asked = stream.raw_message_builder().sequence(next).next_by_subject("dead.*");
        let message = match asked.send().await {
            Ok(message) => message,
            // Nobody has given up on anything, or nothing more.
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        next = message.sequence.saturating_add(1);
        let letter = pb::DeadLetter::decode(message.payload);
        let tells = letter.is_ok_and(|letter| {
            letter.app == app.as_str() && letter.session.as_ref() == Some(&session)
        });
        if tells {
            stream.delete_message(message.sequence).await?;
        }
    }
}
