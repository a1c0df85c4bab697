//! The version of the rules that the whole cluster has.
//!
//! Nothing is written that needs a later one, so that until it is raised every member can be replaced by one
//! of the version before. It stands beside the owners of partitions, is raised by hand, and never falls. A new cluster
//! begins with that of its first router: nobody was there who could come back.

use async_nats::{
    HeaderMap, HeaderName, StatusCode,
    client::RequestErrorKind,
    header::{NATS_EXPECTED_LAST_SEQUENCE, NATS_EXPECTED_LAST_SUBJECT_SEQUENCE},
    jetstream::{
        ErrorCode,
        context::{GetStreamErrorKind, PublishErrorKind},
        stream::LastRawMessageErrorKind,
    },
};
use bytes::Bytes;

use crate::{connect::Connection, ownership::RECORDS_STREAM};

/// What a cluster has in which nobody has said anything.
pub(crate) const FIRST: u32 = 1;
/// Where it stands.
pub(crate) const SUBJECT: &str = "$KV.STENTOR_owner.cluster";

/// The version of the cluster could not be read or raised.
#[derive(Debug, thiserror::Error)]
pub enum VersionError {
    /// Nothing answers: no router has ever run here, or `JetStream` has no leader.
    #[error("nobody answers who knows the version of the cluster")]
    Nobody,
    /// The server does not do what is asked.
    #[error("failed to ask for the version of the cluster")]
    Server(#[source] async_nats::Error),
    /// What is written there is no version.
    #[error("what is written as the version of the cluster is none")]
    Malformed,
    /// Somebody else has written meanwhile.
    #[error("somebody else has changed the version of the cluster meanwhile")]
    Changed,
}

/// The version of the cluster, from any replica: it may have just been raised. Needs no right but that to ask
/// for this very thing.
///
/// # Errors
/// It is not known.
pub async fn finalized(connection: &Connection) -> Result<u32, VersionError> {
    let subject = format!("$JS.API.DIRECT.GET.{RECORDS_STREAM}.{SUBJECT}");
    let answer = match connection.client().request(subject, Bytes::new()).await {
        Ok(answer) => answer,
        Err(error) => {
            return Err(match error.kind() {
                RequestErrorKind::NoResponders | RequestErrorKind::TimedOut => VersionError::Nobody,
                _ => VersionError::Server(Box::new(error)),
            });
        }
    };
    match answer.status {
        None => parse(&answer.payload).ok_or(VersionError::Malformed),
        Some(status) if status == StatusCode::NOT_FOUND => Ok(FIRST),
        Some(_) => Err(VersionError::Nobody),
    }
}

/// The version of the cluster and the revision of its record, from the leader.
pub(crate) async fn read(connection: &Connection) -> Result<(u32, u64), VersionError> {
    let server = |cause: async_nats::Error| VersionError::Server(cause);
    let stream = connection.jetstream().get_stream_no_info(RECORDS_STREAM).await;
    let stream = stream.map_err(|cause| server(Box::new(cause)))?;
    match stream.get_last_raw_message_by_subject(SUBJECT).await {
        Ok(message) => {
            let version = parse(&message.payload).ok_or(VersionError::Malformed)?;
            Ok((version, message.sequence))
        }
        Err(cause) if cause.kind() == LastRawMessageErrorKind::NoMessageFound => Ok((FIRST, 0)),
        Err(cause) => Err(server(Box::new(cause))),
    }
}

/// Raises the version of the cluster, if its record still has this revision.
pub(crate) async fn raise(
    connection: &Connection,
    version: u32,
    revision: u64,
) -> Result<(), VersionError> {
    write(connection, version, (NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, revision)).await
}

/// Lets a new cluster begin with this version. It is new if nothing was ever written to its log, which is there, and
/// nobody has ever owned a partition. Whether it is what it begins with.
///
/// Nobody writes to the log who owns no partition, and the server takes the version only as the first of all records
/// of owners. So of two members at most one says it, and none after an owner did, of whatever version that is.
pub(crate) async fn begin(
    connection: &Connection,
    log: &str,
    version: u32,
) -> Result<bool, VersionError> {
    if version == FIRST || !is_untouched(connection, log).await? {
        return Ok(false);
    }
    match write(connection, version, (NATS_EXPECTED_LAST_SEQUENCE, 0)).await {
        Ok(()) => Ok(true),
        Err(VersionError::Changed) => Ok(false),
        Err(cause) => Err(cause),
    }
}

/// Whether a stream is there and has never held anything: one that was emptied, or made anew behind what was lost,
/// goes on counting.
async fn is_untouched(connection: &Connection, stream: &str) -> Result<bool, VersionError> {
    match connection.jetstream().get_stream(stream).await {
        Ok(stream) => Ok(stream.cached_info().state.last_sequence == 0),
        Err(cause) => match cause.kind() {
            GetStreamErrorKind::JetStream(missing)
                if missing.error_code() == ErrorCode::STREAM_NOT_FOUND =>
            {
                Ok(false)
            }
            _ => Err(VersionError::Server(Box::new(cause))),
        },
    }
}

/// Writes the version, if a number of the bucket is still what `expected` says.
async fn write(
    connection: &Connection,
    version: u32,
    expected: (HeaderName, u64),
) -> Result<(), VersionError> {
    let mut headers = HeaderMap::new();
    headers.insert(expected.0, expected.1.to_string());
    let payload = version.to_string().into();
    let sent = connection.jetstream().publish_with_headers(SUBJECT, headers, payload).await;
    let sent = sent.map_err(|cause| VersionError::Server(Box::new(cause)))?;
    match sent.await {
        Ok(_) => Ok(()),
        Err(cause) if cause.kind() == PublishErrorKind::WrongLastSequence => {
            Err(VersionError::Changed)
        }
        Err(cause) => Err(VersionError::Server(Box::new(cause))),
    }
}

/// Reads a version. What a later one adds behind it is ignored.
pub(crate) fn parse(payload: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(payload).ok()?;
    text.split(' ').next()?.parse().ok().filter(|version| *version >= FIRST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_a_number_that_a_later_one_may_say_more_behind() {
        assert_eq!(parse(b"2"), Some(2));
        assert_eq!(parse(b"3 since today"), Some(3));
        for other in [&b""[..], b"0", b"-1", b"two", b"\xff"] {
            assert_eq!(parse(other), None, "{other:?}");
        }
    }
}
