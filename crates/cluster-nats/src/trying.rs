//! What the owner of each partition is trying just now, written down for the owner after it.
//!
//! A bucket with one key per partition, which only its owner writes; should two believe that they are, the later
//! word counts, and what the other tried would be tried once more.

use async_nats::jetstream::{kv, stream::LastRawMessageErrorKind};
use bytes::Bytes;
use stentor_types::Partition;

use crate::connect::Connection;

/// The bucket.
const BUCKET: &str = "STENTOR_trying";
/// The stream in which it lies.
const STREAM: &str = "KV_STENTOR_trying";

/// Why something could not be read or written.
type Cause = Box<dyn std::error::Error + Send + Sync>;

/// The bucket as it is made.
pub(crate) fn config(replicas: usize) -> kv::Config {
    kv::Config {
        bucket: BUCKET.to_owned(),
        description: "What owners of partitions are trying, and may be lost over.".to_owned(),
        history: 1,
        max_bytes: BYTES_MAX,
        num_replicas: replicas,
        ..kv::Config::default()
    }
}

/// 64 partitions with at most 64 lines of 51 bytes each, and what the server adds.
const BYTES_MAX: i64 = 1 << 20;

/// What was written last, from the leader.
pub(crate) async fn read(
    connection: &Connection,
    partition: Partition,
) -> Result<Option<Bytes>, Cause> {
    let stream = connection.jetstream().get_stream_no_info(STREAM).await?;
    match stream.get_last_raw_message_by_subject(&subject_of(partition)).await {
        Ok(message) => Ok(Some(message.payload)),
        Err(cause) if cause.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
        Err(cause) => Err(Box::new(cause)),
    }
}

/// Writes in its place.
pub(crate) async fn write(
    connection: &Connection,
    partition: Partition,
    trying: Bytes,
) -> Result<(), Cause> {
    let sent = connection.jetstream().publish(subject_of(partition), trying).await?;
    sent.await?;
    Ok(())
}

fn subject_of(partition: Partition) -> String {
    format!("$KV.{BUCKET}.{partition}")
}
