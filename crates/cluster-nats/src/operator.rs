//! What an operator asks a running cluster: who owns a partition, who is alive, what an owner remembers.
//!
//! Takes no part: publishes no heartbeat, owns nothing, and believes whoever answers first.

use std::{collections::BTreeMap, fmt, time::Duration};

use bytes::Bytes;
use futures_util::StreamExt;
use stentor_types::Partition;

use crate::{
    Connection,
    ingress::Caller,
    members::{Heartbeat, Member, Standing},
    ownership::Records,
    version::{self, VersionError},
};

/// Members tell that they are alive once a second: three times that, and one lost sign of life hides
/// nobody.
const LISTEN_FOR: Duration = Duration::from_secs(3);

/// Something could not be asked.
#[derive(Debug, thiserror::Error)]
#[error("failed to ask for {what}")]
pub struct AskError {
    what: &'static str,
    #[source]
    source: Box<dyn std::error::Error + Send + Sync>,
}

/// Which router owns a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its name and the number of its life; nothing if the last one left and there was no other.
    pub router: Option<String>,
    /// Grows with every owner.
    pub term: u64,
}

/// A member that is alive.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Alive {
    /// `router`, `gateway` or `connector`.
    pub role: &'static str,
    /// Its name.
    pub name: String,
    /// The version of the rules that it knows.
    pub version: u32,
}

/// The version that the whole cluster has, as somebody has read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClusterVersion {
    /// Nothing is written that needs a later one.
    pub version: u32,
    revision: u64,
}

/// Who owns a partition, by the record of its leader; nothing if nobody ever did.
///
/// # Errors
/// NATS does not answer.
pub async fn owner_of(
    connection: &Connection,
    partition: Partition,
) -> Result<Option<Owner>, AskError> {
    // The number of copies matters to whoever makes the bucket.
    let known = Records::new(connection.clone(), 1).read(partition).await;
    let known = known.map_err(about("the owner of a partition"))?;
    Ok(known.map(|known| Owner {
        router: known.record.owner.map(|owner| owner.to_string()),
        term: known.record.term,
    }))
}

/// Who tells within three seconds that it is alive. A member that is frozen or cut off is not among them.
///
/// # Errors
/// NATS does not take the question.
pub async fn members(connection: &Connection) -> Result<Vec<Alive>, AskError> {
    let mut heard = connection.client().subscribe("hb.>").await.map_err(about("signs of life"))?;
    let mut alive = BTreeMap::new();
    let until = tokio::time::Instant::now() + LISTEN_FOR;
    while let Ok(Some(message)) = tokio::time::timeout_at(until, heard.next()).await {
        let Some(member) = Member::of_subject(&message.subject) else { continue };
        // Whoever says what is not understood here is alive all the same, and can do nothing new.
        let heartbeat = Heartbeat::decode(&message.payload);
        let (standing, version) = heartbeat
            .map_or((Standing::Unfit, version::FIRST), |heartbeat| {
                (heartbeat.standing, heartbeat.version)
            });
        if standing == Standing::Gone {
            alive.remove(&member);
        } else {
            alive.insert(member, version);
        }
    }
    let alive = alive.into_iter().map(|(member, version)| {
        let (role, name) = (member.role.as_str(), member.name.to_string());
        Alive { role, name, version }
    });
    Ok(alive.collect())
}

/// The version that the whole cluster has, from its leader.
///
/// # Errors
/// NATS does not answer, or nobody has ever run there.
pub async fn cluster_version(connection: &Connection) -> Result<ClusterVersion, VersionError> {
    let (version, revision) = version::read(connection).await?;
    Ok(ClusterVersion { version, revision })
}

/// Raises the version of the whole cluster. There is no way back: from then on things are written that a
/// member of a lower version does not know.
///
/// # Errors
/// NATS does not answer, or somebody else has raised it.
pub async fn finalize(
    connection: &Connection,
    from: ClusterVersion,
    to: u32,
) -> Result<(), VersionError> {
    version::raise(connection, to, from.revision).await
}

/// The answer of a partition's owner to a request; nothing if there is no owner who answers.
///
/// # Errors
/// NATS does not take the request.
pub async fn ask_owner(
    connection: &Connection,
    partition: Partition,
    request: Bytes,
) -> Result<Option<Bytes>, AskError> {
    let subject = Caller::Operators.subject(partition);
    match connection.client().request(subject, request).await {
        // Whoever is about to hand the partition over answers without words.
        Ok(answer) => Ok((!answer.payload.is_empty()).then_some(answer.payload)),
        Err(error) => match error.kind() {
            async_nats::RequestErrorKind::NoResponders | async_nats::RequestErrorKind::TimedOut => {
                Ok(None)
            }
            _ => Err(about("what an owner remembers")(error)),
        },
    }
}

// === impl ClusterVersion ===

impl ClusterVersion {
    /// A version that nobody has read: nothing can be raised from it.
    #[must_use]
    pub const fn of(version: u32) -> Self {
        Self { version, revision: u64::MAX }
    }
}

// === impl Alive ===

impl fmt::Display for Alive {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.role, self.name)
    }
}

fn about<E>(what: &'static str) -> impl FnOnce(E) -> AskError
where
    E: std::error::Error + Send + Sync + 'static,
{
    move |source| AskError { what, source: Box::new(source) }
}
