//! Names that are used up once in the whole cluster: codes of login links.
//!
//! A bucket whose keys are only ever made, never changed. Routers make the bucket; whoever uses a name up needs
//! no more than the right to publish there. Old names go by themselves, long after what they stand for has expired.

use std::time::Duration;

use async_nats::{
    HeaderMap,
    header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE,
    jetstream::{context::PublishErrorKind, kv},
};
use stentor_cluster::BusError;

use crate::connect::Connection;

/// The bucket.
const BUCKET: &str = "STENTOR_spent";
/// How long a name stays used up: what it stands for is valid for half of that at most.
const LASTING: Duration = Duration::from_secs(48 * 3600);
/// What all names together may take: some hundred thousand of them. Beyond it nothing can be used up.
const BYTES_MAX: i64 = 64 << 20;

/// The bucket as it is made.
pub(crate) fn config(replicas: usize) -> kv::Config {
    kv::Config {
        bucket: BUCKET.to_owned(),
        description: "What may be used once, and was.".to_owned(),
        history: 1,
        max_age: LASTING,
        max_bytes: BYTES_MAX,
        num_replicas: replicas,
        ..kv::Config::default()
    }
}

/// Uses a name up; false if it was before.
pub(crate) async fn claim(connection: &Connection, name: &str) -> Result<bool, BusError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if name.is_empty() || name.len() > 64 || !name.bytes().all(allowed) {
        return Err(BusError::Unavailable);
    }
    let mut headers = HeaderMap::new();
    headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, "0");
    let subject = format!("$KV.{BUCKET}.{name}");
    let published = connection.jetstream().publish_with_headers(subject, headers, "1".into()).await;
    let acknowledged = match published {
        Ok(acknowledged) => acknowledged.await,
        Err(cause) => Err(cause),
    };
    match acknowledged {
        Ok(_) => Ok(true),
        Err(cause) if cause.kind() == PublishErrorKind::WrongLastSequence => Ok(false),
        // If it was written all the same, the name is lost for its owner, and for everybody else.
        Err(_) => Err(BusError::NoAnswer),
    }
}
