//! The tables, and how they come to be: numbered migrations that only ever add.
//!
//! Several processes may migrate at once: every statement creates what is not there, and a version is
//! written down after its statements are done. ScyllaDB orders changes of the schema by itself; on a
//! Cassandra of several nodes two processes that create a table on two of them in the same instant could
//! leave the nodes disagreeing, so there the first start of a new version is one process.
//!
//! Times in `at` columns are microseconds since 1970, as in the log.

use scylla::{client::session::Session, errors::ExecutionError};

use crate::options::Options;

/// The newest version of the schema that this program knows.
pub const SCHEMA_VERSION: i32 = 2;

/// One step. What has been released never changes.
struct Migration {
    version: i32,
    statements: &'static [&'static str],
}

const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        statements: &[
            // Rows of one time end together, so whole files are dropped instead of compacted.
            "CREATE TABLE IF NOT EXISTS {keyspace}.messages (
                 app text, session text, bucket bigint, n bigint, at bigint, event blob,
                 PRIMARY KEY ((app, session, bucket), n)
             ) WITH compaction = {'class': 'TimeWindowCompactionStrategy',
                 'compaction_window_unit': 'DAYS', 'compaction_window_size': 10}",
            // Which buckets above the first a session has; most have none.
            "CREATE TABLE IF NOT EXISTS {keyspace}.message_buckets (
                 app text, session text, bucket bigint,
                 PRIMARY KEY ((app, session), bucket)
             )",
            "CREATE TABLE IF NOT EXISTS {keyspace}.sessions (
                 app text, session text, epoch bigint, projected_n bigint, first_n bigint,
                 at bigint, log blob, state blob,
                 PRIMARY KEY ((app, session))
             )",
            "CREATE TABLE IF NOT EXISTS {keyspace}.directories (
                 app text, user blob, at bigint, directory blob,
                 PRIMARY KEY ((app, user))
             )",
            // The newest row is a session's listing; older ones are about to be removed. A place that comes
            // back because a replica missed its removal is seen to be stale, so tombstones need not stay
            // for long: past the three hours in which other nodes keep hints.
            "CREATE TABLE IF NOT EXISTS {keyspace}.listings (
                 app text, session text, at bigint, listing blob,
                 PRIMARY KEY ((app, session), at)
             ) WITH CLUSTERING ORDER BY (at DESC) AND gc_grace_seconds = 14400",
            "CREATE TABLE IF NOT EXISTS {keyspace}.sessions_by_app (
                 app text, day int, at bigint, session text,
                 PRIMARY KEY ((app, day), at, session)
             ) WITH CLUSTERING ORDER BY (at DESC, session DESC) AND gc_grace_seconds = 14400",
            // Which days an app's list has.
            "CREATE TABLE IF NOT EXISTS {keyspace}.listing_days (
                 app text, day int,
                 PRIMARY KEY ((app), day)
             ) WITH CLUSTERING ORDER BY (day DESC)",
        ],
    },
    Migration {
        version: 2,
        statements: &[
            // Sessions whose history has been erased, and what the certificate says.
            "CREATE TABLE IF NOT EXISTS {keyspace}.erasures (
                 app text, session text, at bigint, erasure blob,
                 PRIMARY KEY ((app), session)
             )",
        ],
    },
];

/// The schema could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MigrateError {
    #[error("failed to read or change the schema")]
    Execution(#[source] Box<ExecutionError>),
    #[error("failed to read what the database says about its schema")]
    Answer(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("schema {found} is newer than {SCHEMA_VERSION}, the newest that this version knows")]
    Newer { found: i32 },
}

/// Creates what is missing. Each change waits until all nodes that answer agree about it.
pub(crate) async fn migrate(session: &Session, options: &Options) -> Result<(), MigrateError> {
    let keyspace = &options.keyspace;
    let known = "SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = ?";
    if count(session, known, (keyspace,)).await? == 0 {
        let replication = options.replication.cql();
        let create =
            format!("CREATE KEYSPACE IF NOT EXISTS {keyspace} WITH replication = {replication}");
        session.query_unpaged(create, ()).await.map_err(execution)?;
    }
    let known = "SELECT table_name FROM system_schema.tables \
                 WHERE keyspace_name = ? AND table_name = 'schema_versions'";
    if count(session, known, (keyspace,)).await? == 0 {
        let create = format!(
            "CREATE TABLE IF NOT EXISTS {keyspace}.schema_versions (version int PRIMARY KEY)"
        );
        session.query_unpaged(create, ()).await.map_err(execution)?;
    }
    let done = versions(session, keyspace).await?;
    if let Some(found) = done.iter().copied().filter(|found| *found > SCHEMA_VERSION).max() {
        return Err(MigrateError::Newer { found });
    }
    for migration in MIGRATIONS.iter().filter(|migration| !done.contains(&migration.version)) {
        for statement in migration.statements {
            session
                .query_unpaged(statement.replace("{keyspace}", keyspace), ())
                .await
                .map_err(execution)?;
        }
        // Its number is its time: whoever writes it, it is the same cell.
        let insert = format!(
            "INSERT INTO {keyspace}.schema_versions (version) VALUES (?) USING TIMESTAMP ?"
        );
        let values = (migration.version, i64::from(migration.version));
        session.query_unpaged(insert, values).await.map_err(execution)?;
        tracing::info!(keyspace, version = migration.version, "database schema brought up to date");
    }
    session
        .await_schema_agreement()
        .await
        .map_err(|cause| MigrateError::Answer(Box::new(cause)))?;
    Ok(())
}

async fn versions(session: &Session, keyspace: &str) -> Result<Vec<i32>, MigrateError> {
    let select = format!("SELECT version FROM {keyspace}.schema_versions");
    let rows = session
        .query_unpaged(select, ())
        .await
        .map_err(execution)?
        .into_rows_result()
        .map_err(answer)?;
    let rows = rows.rows::<(i32,)>().map_err(answer)?;
    rows.map(|row| row.map(|(version,)| version).map_err(answer)).collect()
}

async fn count(session: &Session, select: &str, values: (&str,)) -> Result<usize, MigrateError> {
    let answer_rows = session.query_unpaged(select, values).await.map_err(execution)?;
    Ok(answer_rows.into_rows_result().map_err(answer)?.rows_num())
}

fn execution(cause: ExecutionError) -> MigrateError {
    MigrateError::Execution(Box::new(cause))
}

fn answer(cause: impl std::error::Error + Send + Sync + 'static) -> MigrateError {
    MigrateError::Answer(Box::new(cause))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrations_are_numbered_without_a_hole_and_only_add() {
        let versions: Vec<_> = MIGRATIONS.iter().map(|migration| migration.version).collect();
        assert_eq!(versions, (1..=SCHEMA_VERSION).collect::<Vec<_>>());
        for statement in MIGRATIONS.iter().flat_map(|migration| migration.statements) {
            let adds = statement.starts_with("CREATE TABLE IF NOT EXISTS {keyspace}.")
                || statement.starts_with("ALTER TABLE {keyspace}.") && statement.contains(" ADD ");
            assert!(adds, "{statement}");
        }
    }
}
