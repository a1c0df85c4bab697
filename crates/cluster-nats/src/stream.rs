//! The stream of a log group: made once, checked at each start, renewed by hand after a restore.
//!
//! Two processes may do any of it at once.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use async_nats::jetstream::{
    self, ErrorCode,
    context::{CreateStreamError, CreateStreamErrorKind, GetStreamErrorKind, KeyValueErrorKind},
    kv,
    stream::{Config, DiscardPolicy, RetentionPolicy, StorageType, Stream},
};
use stentor_types::Incarnation;

use crate::{
    Connection, dead, disk,
    monitor::{self, MonitorError},
    subjects::{self, LogGroup},
};

/// Where the stream's metadata names the log's incarnation.
const INCARNATION: &str = "stentor-incarnation";
/// The oldest server that has atomic batches.
const VERSION_MIN: (i64, i64, i64) = (2, 12, 0);

/// What a server must take in one message: a record and its headers. It is the server's default.
const MESSAGE_MIN: usize = 1 << 20;
/// For how long a cluster without a leader is asked again.
const OPEN_FOR: Duration = Duration::from_secs(30);
const OPEN_PAUSE: Duration = Duration::from_millis(500);

/// Which stream, and how it keeps what it is given.
#[derive(Clone, Debug)]
pub struct LogSettings {
    /// What the names of stream and bucket begin with.
    pub name_prefix: String,
    /// The log group.
    pub group: LogGroup,
    /// Copies: 1, or 3 in a cluster.
    pub replicas: usize,
    /// When the stream is full. Then nothing is written until it has been trimmed: a full disk would be
    /// worse. All streams and their Raft logs together must leave 40 % of the volume free.
    pub max_bytes: u64,
    /// The monitoring ports of the servers, `http://host:port`, over which they are asked whether they
    /// sync before they acknowledge.
    pub monitor_urls: Vec<String>,
    /// Whether servers are accepted that acknowledge before the disk has it: what was acknowledged may
    /// then be lost with the power.
    pub allow_lazy_fsync: bool,
    /// Whether limits are accepted that leave servers less than 40 % of what they can store.
    pub allow_large: bool,
    /// How long to wait for the answer to a write before its outcome counts as unknown.
    pub answer_timeout: Duration,
    /// For how long a write is tried again that was refused for reasons that pass.
    pub retry_for: Duration,
    /// For how long a write is tried again that was refused by a full stream.
    pub full_for: Duration,
}

/// Why a log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The server is too old.
    #[error("NATS {0} has no atomic batches; 2.12 or newer is needed")]
    Old(String),
    /// The server has atomic batches switched off, or another one in the cluster is too old.
    #[error("the stream {0} has no atomic batches")]
    NoBatches(String),
    /// The server takes no messages of the size that records may have.
    #[error("NATS takes messages of at most {0} bytes; set `max_payload` to 1 MiB or more")]
    SmallMessages(usize),
    /// A server acknowledges before the disk has it.
    #[error(
        "the NATS server {0} acknowledges before the disk has it: set `jetstream {{ sync_interval: always }}`"
    )]
    LazyFsync(String),
    /// The streams may become larger than the disk can bear.
    #[error(
        "the streams may take {wanted} bytes, more than 60 % of the {store} bytes that JetStream may store ({server}):          set `nats.max_bytes` to at most {largest}, give it more with `max_file_store`, or allow it with          `nats.allow_large_log`"
    )]
    TooLarge {
        /// Which server, or the account.
        server: String,
        /// What it can store.
        store: u64,
        /// What all streams may take.
        wanted: u64,
        /// The largest log that leaves enough.
        largest: u64,
    },
    /// Nobody could be asked.
    #[error(
        "whether the NATS servers sync before they acknowledge is unknown: give the URLs of their monitoring ports"
    )]
    FsyncUnknown(#[source] Option<MonitorError>),
    /// The stream is there, but not as it must be.
    #[error("the stream {stream} is not fit for a log: {what}")]
    Unfit {
        /// Its name.
        stream: String,
        /// What is wrong.
        what: &'static str,
    },
    /// Nobody has made it yet.
    #[error("there is no stream {0}: no router has ever run with these servers and this account")]
    Missing(String),
    /// JetStream did not do what it was asked.
    #[error("failed to prepare the stream {stream}")]
    JetStream {
        /// Its name.
        stream: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No random number for the incarnation.
    #[error("the system has no random numbers")]
    Random(#[source] getrandom::Error),
}

/// A stream that is fit for a log.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) stream: Stream<()>,
    pub(crate) cursors: kv::Store,
    pub(crate) incarnation: Incarnation,
}

// === impl OpenError ===

impl OpenError {
    /// Whether JetStream did not answer, rather than refuse.
    fn may_pass(&self) -> bool {
        let Self::JetStream { source, .. } = self else { return false };
        match source.downcast_ref::<CreateStreamError>().map(CreateStreamError::kind) {
            Some(CreateStreamErrorKind::JetStream(error)) => error.code() >= 500,
            _ => true,
        }
    }
}

// === impl LogSettings ===

impl LogSettings {
    /// Ordinary settings: one group, one copy, 10 GiB.
    #[must_use]
    pub fn new(monitor_urls: Vec<String>) -> Self {
        Self {
            name_prefix: "STENTOR".to_owned(),
            group: LogGroup(0),
            replicas: 1,
            max_bytes: 10 << 30,
            monitor_urls,
            allow_lazy_fsync: false,
            allow_large: false,
            answer_timeout: Duration::from_secs(3),
            retry_for: Duration::from_secs(4),
            full_for: Duration::from_secs(1),
        }
    }

    /// The name of the group's stream.
    #[must_use]
    pub fn stream_name(&self) -> String {
        format!("{}_log_{}", self.name_prefix, self.group.0)
    }

    fn bucket_name(&self) -> String {
        format!("{}_cursors", self.name_prefix)
    }

    fn config(&self, incarnation: Incarnation) -> Config {
        Config {
            name: self.stream_name(),
            description: Some("The log of a Stentor cluster. Do not purge by hand.".to_owned()),
            subjects: subjects::of_group(self.group),
            retention: RetentionPolicy::Limits,
            storage: StorageType::File,
            num_replicas: self.replicas,
            max_bytes: i64::try_from(self.max_bytes).unwrap_or(i64::MAX),
            discard: DiscardPolicy::New,
            allow_direct: true,
            allow_atomic_publish: true,
            metadata: HashMap::from([(INCARNATION.to_owned(), text(incarnation))]),
            ..Config::default()
        }
    }
}

/// Makes the stream of a log group, or checks the one that is there. While a cluster elects its leader
/// it does not answer at all, so that is tried for a while.
pub(crate) async fn ensure(
    connection: &Connection,
    settings: &LogSettings,
) -> Result<Opened, OpenError> {
    let begun = Instant::now();
    loop {
        match ensure_once(connection, settings).await {
            Err(error) if error.may_pass() && begun.elapsed() < OPEN_FOR => {
                tracing::warn!(error = %error, "JetStream cannot be asked just now");
                tokio::time::sleep(crate::chance::less_up_to_half(OPEN_PAUSE)).await;
            }
            ended => return ended,
        }
    }
}

async fn ensure_once(connection: &Connection, settings: &LogSettings) -> Result<Opened, OpenError> {
    let name = settings.stream_name();
    let (major, minor, patch) = VERSION_MIN;
    if !connection.client().is_server_compatible(major, minor, patch) {
        return Err(OpenError::Old(connection.client().server_info().version));
    }
    let largest = connection.client().server_info().max_payload;
    if largest < MESSAGE_MIN {
        return Err(OpenError::SmallMessages(largest));
    }
    check_fsync(settings).await?;
    disk::check(connection, settings).await?;
    let jetstream = connection.jetstream();
    let config = make_or_get(jetstream, settings, settings.config(random()?)).await?;
    check(&config, settings)?;
    let incarnation = incarnation_in(&config).ok_or_else(|| OpenError::Unfit {
        stream: name.clone(),
        what: "it was not made by Stentor: its metadata names no incarnation",
    })?;
    let limits = settings.config(incarnation);
    if (config.max_bytes, config.num_replicas) != (limits.max_bytes, limits.num_replicas) {
        let changed =
            Config { max_bytes: limits.max_bytes, num_replicas: limits.num_replicas, ..config };
        jetstream.update_stream(changed).await.map_err(failed(&name))?;
    }
    let cursors = cursors(jetstream, settings).await?;
    dead::ensure(connection, settings.replicas)
        .await
        .map_err(|source| OpenError::JetStream { stream: dead::DEAD_LETTERS.to_owned(), source })?;
    let stream = jetstream.get_stream_no_info(&name).await.map_err(failed(&name))?;
    Ok(Opened { stream, cursors, incarnation })
}

/// What is there already, for somebody who only looks at it.
pub(crate) async fn existing(
    connection: &Connection,
    settings: &LogSettings,
) -> Result<Opened, OpenError> {
    let name = settings.stream_name();
    let jetstream = connection.jetstream();
    let incarnation = incarnation(connection, settings).await?;
    let bucket = settings.bucket_name();
    let cursors = jetstream.get_key_value(&bucket).await.map_err(failed(&bucket))?;
    let stream = jetstream.get_stream_no_info(&name).await.map_err(failed(&name))?;
    Ok(Opened { stream, cursors, incarnation })
}

/// The incarnation of a log that is there, even if its bucket of cursors is lost.
///
/// # Errors
/// It is not there, is not fit, or cannot be reached.
pub async fn incarnation(
    connection: &Connection,
    settings: &LogSettings,
) -> Result<Incarnation, OpenError> {
    let name = settings.stream_name();
    let stream = find(connection.jetstream(), &name).await?;
    let config = &stream.cached_info().config;
    check(config, settings)?;
    incarnation_in(config).ok_or(OpenError::Unfit {
        stream: name,
        what: "it was not made by Stentor: its metadata names no incarnation",
    })
}

/// What the stream is like that is there.
pub(crate) async fn config(
    connection: &Connection,
    settings: &LogSettings,
) -> Result<Config, OpenError> {
    let stream = find(connection.jetstream(), &settings.stream_name()).await?;
    let config = &stream.cached_info().config;
    check(config, settings)?;
    Ok(config.clone())
}

/// Makes the stream of a log that is lost, with another incarnation and places from `first` on; or finds the
/// one that somebody else has made meanwhile.
pub(crate) async fn remake(
    connection: &Connection,
    settings: &LogSettings,
    first: u64,
) -> Result<Config, OpenError> {
    let config = Config { first_sequence: Some(first), ..settings.config(random()?) };
    let config = make_or_get(connection.jetstream(), settings, config).await?;
    check(&config, settings)?;
    Ok(config)
}

/// The incarnation that a stream's metadata name.
pub(crate) fn incarnation_in(config: &Config) -> Option<Incarnation> {
    config.metadata.get(INCARNATION).and_then(|text| parse(text))
}

pub(crate) async fn find(jetstream: &jetstream::Context, name: &str) -> Result<Stream, OpenError> {
    jetstream.get_stream(name).await.map_err(|error| match error.kind() {
        GetStreamErrorKind::JetStream(cause)
            if cause.error_code() == ErrorCode::STREAM_NOT_FOUND =>
        {
            OpenError::Missing(name.to_owned())
        }
        _ => failed(name)(error),
    })
}

/// Gives the log a new incarnation, so that every session begins a new numbering with its next commit.
/// To be done after the stream was restored from a backup, while no router runs.
///
/// # Errors
/// The log is not fit, or cannot be reached.
pub async fn fence(
    connection: &Connection,
    settings: &LogSettings,
) -> Result<Incarnation, OpenError> {
    let name = settings.stream_name();
    let jetstream = connection.jetstream();
    let stream = find(jetstream, &name).await?;
    let mut config = stream.cached_info().config.clone();
    check(&config, settings)?;
    let incarnation = random()?;
    config.metadata.insert(INCARNATION.to_owned(), text(incarnation));
    let info = jetstream.update_stream(config).await.map_err(failed(&name))?;
    incarnation_in(&info.config)
        .ok_or(OpenError::Unfit { stream: name, what: "its metadata cannot be changed" })
}

/// Refuses servers that are known to acknowledge too early, and those that nobody knows. A server that
/// is down at the moment is asked by the next process that starts.
async fn check_fsync(settings: &LogSettings) -> Result<(), OpenError> {
    if settings.allow_lazy_fsync {
        return Ok(());
    }
    let (mut known, mut trouble) = (false, None);
    for url in &settings.monitor_urls {
        match monitor::ask(url).await {
            Ok(server) if server.sync_always => known = true,
            Ok(server) => return Err(OpenError::LazyFsync(server.name)),
            Err(error) => {
                tracing::warn!(url, %error, "a NATS server could not be asked whether it syncs");
                trouble = Some(error);
            }
        }
    }
    if known { Ok(()) } else { Err(OpenError::FsyncUnknown(trouble)) }
}

async fn make_or_get(
    jetstream: &jetstream::Context,
    settings: &LogSettings,
    config: Config,
) -> Result<Config, OpenError> {
    let name = settings.stream_name();
    match jetstream.create_stream(config).await {
        Ok(made) => Ok(made.cached_info().config.clone()),
        Err(error) if is_there(&error.kind()) => {
            let stream = jetstream.get_stream(&name).await.map_err(failed(&name))?;
            Ok(stream.cached_info().config.clone())
        }
        Err(error) => Err(failed(&name)(error)),
    }
}

/// It was made before, or by somebody else just now, with another incarnation.
fn is_there(error: &CreateStreamErrorKind) -> bool {
    matches!(error, CreateStreamErrorKind::JetStream(error)
        if error.error_code() == ErrorCode::STREAM_NAME_EXIST)
}

fn check(config: &Config, settings: &LogSettings) -> Result<(), OpenError> {
    let stream = settings.stream_name();
    if !config.allow_atomic_publish {
        return Err(OpenError::NoBatches(stream));
    }
    let wanted = subjects::of_group(settings.group);
    let same_subjects = config.subjects.len() == wanted.len()
        && wanted.iter().all(|subject| config.subjects.contains(subject));
    let unlimited = config.max_age.is_zero()
        && config.max_messages <= 0
        && config.max_messages_per_subject <= 0;
    let faults = [
        (!same_subjects, "it takes other subjects"),
        (config.storage != StorageType::File, "it lies in memory"),
        (config.retention != RetentionPolicy::Limits, "it forgets what was read"),
        (config.discard != DiscardPolicy::New, "it drops the oldest when it is full"),
        (!unlimited, "it forgets by age or by number"),
        (!config.allow_direct, "it cannot be read directly"),
        (config.no_ack, "it does not acknowledge"),
        (config.sealed || config.deny_purge, "it cannot be changed or trimmed"),
    ];
    match faults.into_iter().find(|(fault, _)| *fault) {
        Some((_, what)) => Err(OpenError::Unfit { stream, what }),
        None => Ok(()),
    }
}

async fn cursors(
    jetstream: &jetstream::Context,
    settings: &LogSettings,
) -> Result<kv::Store, OpenError> {
    let bucket = settings.bucket_name();
    let config = kv::Config {
        bucket: bucket.clone(),
        history: 1,
        num_replicas: settings.replicas,
        ..kv::Config::default()
    };
    match jetstream.create_key_value(config).await {
        Ok(store) => Ok(store),
        // It is there with other settings, or somebody else makes it just now.
        Err(made) => match jetstream.get_key_value(&bucket).await {
            Ok(store) => Ok(store),
            Err(error) if error.kind() == KeyValueErrorKind::GetBucket => {
                Err(failed(&bucket)(made))
            }
            Err(error) => Err(failed(&bucket)(error)),
        },
    }
}

fn failed<E>(stream: &str) -> impl FnOnce(E) -> OpenError
where
    E: std::error::Error + Send + Sync + 'static,
{
    let stream = stream.to_owned();
    move |source| OpenError::JetStream { stream, source: Box::new(source) }
}

fn random() -> Result<Incarnation, OpenError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(OpenError::Random)?;
    Ok(Incarnation(u128::from_be_bytes(bytes)))
}

fn text(incarnation: Incarnation) -> String {
    format!("{:032x}", incarnation.0)
}

fn parse(text: &str) -> Option<Incarnation> {
    (text.len() == 32).then(|| u128::from_str_radix(text, 16).ok().map(Incarnation))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_stream_as_it_is_made_is_fit() {
        let settings = LogSettings::new(Vec::new());
        let good = settings.config(Incarnation(1));
        assert!(check(&good, &settings).is_ok());
        let spoil: [fn(&mut Config); 8] = [
            |config| config.max_age = Duration::from_secs(1),
            |config| config.discard = DiscardPolicy::Old,
            |config| config.storage = StorageType::Memory,
            |config| config.allow_atomic_publish = false,
            |config| config.allow_direct = false,
            |config| config.max_messages_per_subject = 1,
            |config| config.subjects.push("more".to_owned()),
            |config| config.subjects.truncate(1),
        ];
        for (number, spoil) in spoil.iter().enumerate() {
            let mut config = good.clone();
            spoil(&mut config);
            assert!(check(&config, &settings).is_err(), "{number}");
        }
    }

    #[test]
    fn an_incarnation_survives_the_metadata() {
        for number in [0, 1, u128::MAX] {
            assert_eq!(parse(&text(Incarnation(number))), Some(Incarnation(number)));
        }
        assert_eq!(parse("abc"), None);
    }
}
