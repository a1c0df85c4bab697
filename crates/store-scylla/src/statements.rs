//! Every statement there is, prepared once per connection. All of them may be made twice: writes and deletes
//! carry the time of their commit.

use std::time::Duration;

use scylla::{
    client::session::Session, errors::PrepareError, statement::prepared::PreparedStatement,
};

/// Rows that one answer holds when events are read: 256 events of 64 KiB, the largest, are 16 MiB.
const EVENTS_PAGE: i32 = 256;
/// Rows that one answer holds when keys are read.
const KEYS_PAGE: i32 = 1_000;
/// Places that one answer holds; a page of a list is seldom longer.
const PLACES_PAGE: i32 = 100;
/// What the probe may take: a database that is slower than that is of no use.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);

/// All statements.
#[derive(Debug)]
pub(crate) struct Statements {
    pub(crate) put_event: PreparedStatement,
    pub(crate) put_bucket: PreparedStatement,
    pub(crate) events: PreparedStatement,
    pub(crate) buckets: PreparedStatement,
    pub(crate) event_times: PreparedStatement,
    pub(crate) all_buckets: PreparedStatement,
    pub(crate) delete_event: PreparedStatement,

    pub(crate) put_session: PreparedStatement,
    pub(crate) session: PreparedStatement,
    pub(crate) all_sessions: PreparedStatement,
    pub(crate) delete_session: PreparedStatement,

    pub(crate) put_directory: PreparedStatement,
    pub(crate) directory: PreparedStatement,
    pub(crate) all_directories: PreparedStatement,
    pub(crate) delete_directory: PreparedStatement,

    pub(crate) put_listing: PreparedStatement,
    pub(crate) listing: PreparedStatement,
    pub(crate) listing_time: PreparedStatement,
    pub(crate) delete_listing: PreparedStatement,
    pub(crate) put_place: PreparedStatement,
    pub(crate) places: PreparedStatement,
    pub(crate) places_after: PreparedStatement,
    pub(crate) places_before: PreparedStatement,
    pub(crate) delete_place: PreparedStatement,
    pub(crate) put_day: PreparedStatement,
    pub(crate) days: PreparedStatement,

    pub(crate) put_erasure: PreparedStatement,
    pub(crate) erasure: PreparedStatement,
    pub(crate) forget_events: PreparedStatement,
    pub(crate) forget_listings: PreparedStatement,

    pub(crate) probe: PreparedStatement,
}

// === impl Statements ===

impl Statements {
    /// Prepares them on all nodes.
    pub(crate) async fn prepare(session: &Session, keyspace: &str) -> Result<Self, PrepareError> {
        let prepare = async |text: &str, page: i32| {
            let text = text.replace("{ks}", keyspace);
            let mut statement = session.prepare(text).await?;
            statement.set_is_idempotent(true);
            statement.set_page_size(page);
            Ok::<_, PrepareError>(statement)
        };
        let write = async |text: &str| prepare(text, KEYS_PAGE).await;
        let keys = async |text: &str| prepare(text, KEYS_PAGE).await;
        Ok(Self {
            put_event: write(
                "INSERT INTO {ks}.messages (app, session, bucket, n, at, event) \
                 VALUES (?, ?, ?, ?, ?, ?) USING TIMESTAMP ? AND TTL ?",
            )
            .await?,
            put_bucket: write(
                "INSERT INTO {ks}.message_buckets (app, session, bucket) \
                 VALUES (?, ?, ?) USING TIMESTAMP ? AND TTL ?",
            )
            .await?,
            events: prepare(
                "SELECT n, at, event FROM {ks}.messages \
                 WHERE app = ? AND session = ? AND bucket = ? AND n >= ? AND n <= ?",
                EVENTS_PAGE,
            )
            .await?,
            buckets: keys(
                "SELECT bucket FROM {ks}.message_buckets \
                 WHERE app = ? AND session = ? AND bucket >= ? AND bucket <= ?",
            )
            .await?,
            event_times: keys(
                "SELECT n, at FROM {ks}.messages WHERE app = ? AND session = ? AND bucket = ?",
            )
            .await?,
            all_buckets: keys("SELECT DISTINCT app, session, bucket FROM {ks}.messages").await?,
            delete_event: write(
                "DELETE FROM {ks}.messages USING TIMESTAMP ? \
                 WHERE app = ? AND session = ? AND bucket = ? AND n = ?",
            )
            .await?,
            put_session: write(
                "INSERT INTO {ks}.sessions \
                 (app, session, epoch, projected_n, first_n, at, log, state) \
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ? AND TTL ?",
            )
            .await?,
            session: keys(
                "SELECT epoch, projected_n, first_n, at, log, state FROM {ks}.sessions \
                 WHERE app = ? AND session = ?",
            )
            .await?,
            all_sessions: keys("SELECT app, session, at FROM {ks}.sessions").await?,
            delete_session: write(
                "DELETE FROM {ks}.sessions USING TIMESTAMP ? WHERE app = ? AND session = ?",
            )
            .await?,
            put_directory: write(
                "INSERT INTO {ks}.directories (app, user, at, directory) \
                 VALUES (?, ?, ?, ?) USING TIMESTAMP ? AND TTL ?",
            )
            .await?,
            directory: keys(
                "SELECT at, directory FROM {ks}.directories WHERE app = ? AND user = ?",
            )
            .await?,
            all_directories: keys("SELECT app, user, at FROM {ks}.directories").await?,
            delete_directory: write(
                "DELETE FROM {ks}.directories USING TIMESTAMP ? WHERE app = ? AND user = ?",
            )
            .await?,
            put_listing: write(
                "INSERT INTO {ks}.listings (app, session, at, listing) \
                 VALUES (?, ?, ?, ?) USING TIMESTAMP ? AND TTL ?",
            )
            .await?,
            listing: keys(
                "SELECT at, listing FROM {ks}.listings WHERE app = ? AND session = ? LIMIT 1",
            )
            .await?,
            listing_time: keys(
                "SELECT at FROM {ks}.listings WHERE app = ? AND session = ? LIMIT 1",
            )
            .await?,
            delete_listing: write(
                "DELETE FROM {ks}.listings USING TIMESTAMP ? \
                 WHERE app = ? AND session = ? AND at = ?",
            )
            .await?,
            put_place: write(
                "INSERT INTO {ks}.sessions_by_app (app, day, at, session) \
                 VALUES (?, ?, ?, ?) USING TIMESTAMP ? AND TTL ?",
            )
            .await?,
            places: prepare(
                "SELECT at, session FROM {ks}.sessions_by_app WHERE app = ? AND day = ?",
                PLACES_PAGE,
            )
            .await?,
            places_after: prepare(
                "SELECT at, session FROM {ks}.sessions_by_app \
                 WHERE app = ? AND day = ? AND (at, session) < (?, ?)",
                PLACES_PAGE,
            )
            .await?,
            places_before: keys(
                "SELECT at, session FROM {ks}.sessions_by_app \
                 WHERE app = ? AND day = ? AND at < ?",
            )
            .await?,
            delete_place: write(
                "DELETE FROM {ks}.sessions_by_app USING TIMESTAMP ? \
                 WHERE app = ? AND day = ? AND at = ? AND session = ?",
            )
            .await?,
            put_day: write(
                "INSERT INTO {ks}.listing_days (app, day) \
                 VALUES (?, ?) USING TIMESTAMP ? AND TTL ?",
            )
            .await?,
            days: keys("SELECT day FROM {ks}.listing_days WHERE app = ? AND day <= ?").await?,
            put_erasure: write(
                "INSERT INTO {ks}.erasures (app, session, at, erasure) \
                 VALUES (?, ?, ?, ?) USING TIMESTAMP ?",
            )
            .await?,
            erasure: keys("SELECT at, erasure FROM {ks}.erasures WHERE app = ? AND session = ?")
                .await?,
            forget_events: write(
                "DELETE FROM {ks}.messages USING TIMESTAMP ? \
                 WHERE app = ? AND session = ? AND bucket = ?",
            )
            .await?,
            forget_listings: write(
                "DELETE FROM {ks}.listings USING TIMESTAMP ? WHERE app = ? AND session = ?",
            )
            .await?,
            probe: {
                let text = "SELECT version FROM {ks}.schema_versions WHERE version = 1";
                let mut probe = keys(text).await?;
                probe.set_request_timeout(Some(PROBE_TIMEOUT));
                probe
            },
        })
    }
}
