//! The records of who owns what, in a bucket that changes by revision.
//!
//! Plans are made by a read that any replica may answer, perhaps with something old: the revision that
//! the next write names decides. What has to be certain is read from the leader.

use std::{collections::BTreeMap, time::Duration};

use async_nats::{
    HeaderMap, StatusCode,
    header::{NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, NATS_SEQUENCE, NATS_SUBJECT},
    jetstream::{context::PublishErrorKind, kv, stream::LastRawMessageErrorKind},
};
use futures_util::StreamExt;
use stentor_types::Partition;
use tracing::{info, warn};

use super::record::{Known, Record};
use crate::{bucket, claims, connect::Connection, trying, version};

/// The bucket.
const BUCKET: &str = "STENTOR_owner";
/// The stream in which the bucket lies.
pub(crate) const STREAM: &str = "KV_STENTOR_owner";
/// Where the bucket's keys lie.
const PREFIX: &str = "$KV.STENTOR_owner.";
/// How long all records together may take to be read.
const READ_ALL_FOR: Duration = Duration::from_secs(2);

/// The records could not be read, or the bucket could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// The server does not do what is asked.
    #[error("the server refuses")]
    Server(#[source] async_nats::Error),
    /// The server says no without words.
    #[error("the server answers with status {0}")]
    Status(StatusCode),
    /// What was read is no record.
    #[error("a record cannot be read")]
    Malformed,
    /// It does not answer.
    #[error("no answer")]
    Silent,
}

/// A record was not written, or perhaps it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WriteError {
    /// Somebody else has written.
    Conflict,
    /// Nobody knows. The next read tells.
    Unknown,
}

/// All records, as one reading gives them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct All {
    pub(crate) partitions: BTreeMap<Partition, Known>,
    /// The version that the whole cluster has.
    pub(crate) finalized: u32,
}

/// The records of all partitions. A clone is a handle to the same ones.
#[derive(Clone, Debug)]
pub(crate) struct Records {
    connection: Connection,
    replicas: usize,
    founding: Option<Founding>,
}

/// What a new cluster begins with.
#[derive(Clone, Debug)]
struct Founding {
    /// The stream of the log: a cluster is new if that was never written to.
    log: String,
    version: u32,
}

// === impl Records ===

impl Records {
    pub(crate) const fn new(connection: Connection, replicas: usize) -> Self {
        Self { connection, replicas, founding: None }
    }

    /// The same, of a router of this version, with which a cluster begins whose log is new.
    pub(crate) fn founding(self, log: String, version: u32) -> Self {
        Self { founding: Some(Founding { log, version }), ..self }
    }

    /// Makes the bucket if it is not there, that of names that are used up once, and that of what is being
    /// tried.
    pub(crate) async fn ensure(&self) -> Result<(), ReadError> {
        let own = kv::Config {
            bucket: BUCKET.to_owned(),
            description: "Which router owns which partition.".to_owned(),
            history: 1,
            num_replicas: self.replicas,
            ..kv::Config::default()
        };
        for config in [claims::config(self.replicas), trying::config(self.replicas), own] {
            bucket::ensure(&self.connection, config).await.map_err(ReadError::Server)?;
        }
        if let Some(Founding { log, version }) = &self.founding {
            match version::begin(&self.connection, log, *version).await {
                Ok(true) => info!(version, "a new cluster begins"),
                Ok(false) => {}
                // It is no reason not to serve.
                Err(cause) => warn!(
                    cause = &cause as &(dyn std::error::Error + 'static),
                    version,
                    "a new cluster cannot be told with which version it begins, so it has version 1; may this user \
                     write it (`deploy/nats/accounts.conf`)? `stentor upgrade finalize` raises it"
                ),
            }
        }
        Ok(())
    }

    /// All records, perhaps not the newest ones.
    pub(crate) async fn read_all(&self) -> Result<All, ReadError> {
        let reading = tokio::time::timeout(READ_ALL_FOR, self.read_all_slowly());
        reading.await.unwrap_or(Err(ReadError::Silent))
    }

    /// The same. A bucket that was deleted by hand is made anew.
    pub(crate) async fn read_or_make(&self) -> Result<All, ReadError> {
        let read = self.read_all().await;
        if !matches!(read, Err(ReadError::Status(StatusCode::NO_RESPONDERS))) {
            return read;
        }
        // It is not there, or none of its servers is: the leader of all streams knows.
        let made = tokio::time::timeout(READ_ALL_FOR, self.ensure()).await;
        made.unwrap_or(Err(ReadError::Silent))?;
        self.read_all().await
    }

    async fn read_all_slowly(&self) -> Result<All, ReadError> {
        let client = self.connection.client();
        let inbox = client.new_inbox();
        let server = |cause: async_nats::SubscribeError| ReadError::Server(Box::new(cause));
        let mut answers = client.subscribe(inbox.clone()).await.map_err(server)?;
        let body = format!(r#"{{"multi_last":["{PREFIX}>"]}}"#);
        let asked =
            client.publish_with_reply(format!("$JS.API.DIRECT.GET.{STREAM}"), inbox, body.into());
        asked.await.map_err(|cause| ReadError::Server(Box::new(cause)))?;
        let mut all = All { partitions: BTreeMap::new(), finalized: version::FIRST };
        while let Some(answer) = answers.next().await {
            match answer.status {
                None => {}
                // The end; or there is none.
                Some(status) if status.as_u16() == 204 || status.as_u16() == 404 => {
                    return Ok(all);
                }
                Some(status) => return Err(ReadError::Status(status)),
            }
            let headers = answer.headers.as_ref().ok_or(ReadError::Malformed)?;
            let subject = headers.get(NATS_SUBJECT).map_or("", |subject| subject.as_str());
            if subject == version::SUBJECT {
                if answer.payload.is_empty() {
                    // Deleted: as if it had never been raised.
                    continue;
                }
                let read = version::parse(&answer.payload);
                all.finalized = read.ok_or(ReadError::Malformed)?;
                continue;
            }
            // Other keys are the affair of a later version.
            let Some(partition) = partition_of(subject) else { continue };
            let revision = headers.get(NATS_SEQUENCE).and_then(|text| text.as_str().parse().ok());
            let record = Record::decode(&answer.payload);
            let known = revision.zip(record).ok_or(ReadError::Malformed)?;
            all.partitions.insert(partition, Known { revision: known.0, record: known.1 });
        }
        Err(ReadError::Silent)
    }

    /// The newest record of a partition, from the leader.
    pub(crate) async fn read(&self, partition: Partition) -> Result<Option<Known>, ReadError> {
        let server = |cause: async_nats::Error| ReadError::Server(cause);
        let stream = self.connection.jetstream().get_stream_no_info(STREAM).await;
        let stream = stream.map_err(|cause| server(Box::new(cause)))?;
        match stream.get_last_raw_message_by_subject(&subject_of(partition)).await {
            Ok(message) => {
                let record = Record::decode(&message.payload).ok_or(ReadError::Malformed)?;
                Ok(Some(Known { revision: message.sequence, record }))
            }
            Err(cause) if cause.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Err(cause) => Err(server(Box::new(cause))),
        }
    }

    /// The term of a partition's owner, perhaps not the newest. Needs no more than the right to look up that one
    /// record.
    pub(crate) async fn term(&self, partition: Partition) -> Option<u64> {
        let subject = format!("$JS.API.DIRECT.GET.{STREAM}.{}", subject_of(partition));
        let answer = self.connection.client().request(subject, bytes::Bytes::new()).await.ok()?;
        if answer.status.is_some() {
            return None;
        }
        Record::decode(&answer.payload).map(|record| record.term).filter(|term| *term > 0)
    }

    /// Writes a record if the newest one has this revision; 0 = there must be none. Returns the new
    /// revision.
    pub(crate) async fn write(
        &self,
        partition: Partition,
        revision: u64,
        record: &Record,
    ) -> Result<u64, WriteError> {
        let mut headers = HeaderMap::new();
        headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, revision.to_string());
        let jetstream = self.connection.jetstream();
        let sent =
            jetstream.publish_with_headers(subject_of(partition), headers, record.encode()).await;
        let Ok(sent) = sent else { return Err(WriteError::Unknown) };
        match sent.await {
            Ok(stored) => Ok(stored.sequence),
            Err(cause) if cause.kind() == PublishErrorKind::WrongLastSequence => {
                Err(WriteError::Conflict)
            }
            Err(_) => Err(WriteError::Unknown),
        }
    }

    /// The broker's time, in microseconds since 1970.
    pub(crate) async fn time(&self) -> Result<i128, ReadError> {
        let asked = self
            .connection
            .client()
            .request(format!("$JS.API.STREAM.INFO.{STREAM}"), bytes::Bytes::new())
            .await
            .map_err(|cause| ReadError::Server(Box::new(cause)))?;
        let answer: serde_json::Value =
            serde_json::from_slice(&asked.payload).map_err(|_| ReadError::Malformed)?;
        let time = answer.get("ts").and_then(serde_json::Value::as_str);
        let time = time.and_then(|time| async_nats::datetime::parse_rfc3339(time).ok());
        Ok(time.ok_or(ReadError::Malformed)?.unix_timestamp_nanos() / 1_000)
    }
}

fn subject_of(partition: Partition) -> String {
    format!("{PREFIX}{partition}")
}

fn partition_of(subject: &str) -> Option<Partition> {
    let number: u8 = subject.strip_prefix(PREFIX)?.parse().ok()?;
    Partition::all().nth(usize::from(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_the_number_of_its_partition() {
        for partition in Partition::all() {
            assert_eq!(partition_of(&subject_of(partition)), Some(partition));
        }
        assert_eq!(partition_of("$KV.STENTOR_owner.64"), None);
        assert_eq!(partition_of(version::SUBJECT), None);
    }
}
