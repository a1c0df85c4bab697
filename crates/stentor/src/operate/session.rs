//! One session as log and database have it, read without a router.

use anyhow::{Context as _, bail};
use stentor_cluster::{Entity, EntityKind, Head, Log as _, Record};
use stentor_cluster_nats::NatsLog;
use stentor_postoffice::{Session, State};
use stentor_store::{SessionRow, Store as _};
use stentor_store_scylla::ScyllaStore;
use stentor_types::{AppId, EventNumber, Sequence, SessionId};
use stentor_wire::{CommitRecord, decode_commit, decode_snapshot};

/// Heads read at a time.
const HEADS_PAGE: usize = 500;
/// Bytes of records read at a time.
const RECORDS_PAGE: usize = 1 << 20;

/// A session that is there.
pub(super) struct Found {
    pub(super) entity: Entity,
    /// Its newest record; nothing if the log has forgotten it.
    pub(super) head: Option<Head>,
    /// The database's row, if there is a database and a row.
    pub(super) row: Option<SessionRow>,
}

// === impl Found ===

impl Found {
    /// The session with this id.
    pub(super) async fn find(
        log: &NatsLog,
        store: Option<&ScyllaStore>,
        id: SessionId,
        app: Option<&AppId>,
    ) -> anyhow::Result<Self> {
        let kind = EntityKind::Session(id);
        let in_log = match app {
            Some(app) => {
                let entity = Entity { app: app.clone(), kind };
                log.head(&entity).await?.map(|head| (entity, head))
            }
            None => search(log, id).await?,
        };
        let app = match (&in_log, app) {
            (Some((entity, _)), _) => entity.app.clone(),
            (None, Some(app)) => app.clone(),
            (None, None) => bail!(
                "the log has no session {id}; if it is older than what the log keeps, name its app \
                 with --app, so that the database can be asked; `stentor sessions` lists the log"
            ),
        };
        let row = match store {
            Some(store) => store.session(&app, id).await.context("the database does not answer")?,
            None => None,
        };
        if in_log.is_none() && row.is_none() {
            let database = if store.is_some() {
                "nor has the database"
            } else {
                "and no database is configured"
            };
            bail!(
                "the log has no session {id} of {app}, {database}; is it the right app and cluster?"
            );
        }
        let head = in_log.map(|(_, head)| head);
        Ok(Self { entity: Entity { app, kind }, head, row })
    }

    /// Its records from one with a snapshot on, at least `events_min` events if there are so many.
    pub(super) async fn commits(
        &self,
        log: &NatsLog,
        events_min: u64,
    ) -> anyhow::Result<Vec<CommitRecord>> {
        let Some(head) = self.head else { return Ok(Vec::new()) };
        let tail = log.read_tail(&self.entity, events_min.max(1)).await?;
        let first = tail.first().map_or(head.sequence, |record| record.sequence);
        let from = head.snapshot.map_or(Sequence(0), |snapshot| snapshot.min(first));
        let mut records = Vec::new();
        let mut next = from;
        loop {
            let page = log.read(&self.entity, next, RECORDS_PAGE).await?;
            let Some(last) = page.last() else { break };
            next = Sequence(last.sequence.0.saturating_add(1));
            records.extend(page);
        }
        records.iter().map(decoded).collect()
    }

    /// What it is after these commits.
    pub(super) fn state(&self, id: SessionId, commits: &[CommitRecord]) -> anyhow::Result<State> {
        let row = |row: &SessionRow| anyhow::Ok(Session::restore(id, decode_snapshot(&row.state)?));
        let mut session: Option<Session> = None;
        for record in commits {
            let commit = &record.commit;
            if let Some(snapshot) = &record.snapshot {
                session = Some(Session::restore(id, decode_snapshot(snapshot)?));
                continue;
            }
            let mut before = match session.take() {
                Some(session) => session,
                None if commit.first == EventNumber(1) => Session::new(id, commit.epoch),
                None => row(self.row.as_ref().context(
                    "the log no longer has its beginning, and the database has no state of it",
                )?)?,
            };
            if commit.first == before.state().n.next() {
                before.apply(commit);
            }
            session = Some(before);
        }
        let session = match (session, &self.row) {
            (Some(session), _) => session,
            (None, Some(kept)) => row(kept)?,
            (None, None) => bail!("there is nothing of it"),
        };
        Ok(session.state().clone())
    }
}

fn decoded(record: &Record) -> anyhow::Result<CommitRecord> {
    decode_commit(&record.record)
        .with_context(|| format!("record {} cannot be read", record.sequence))
}

/// Looks through the session's partition for its app.
async fn search(log: &NatsLog, id: SessionId) -> anyhow::Result<Option<(Entity, Head)>> {
    let mut after = None;
    loop {
        let page = log.heads(id.partition(), after, HEADS_PAGE).await?;
        let Some((last, _)) = page.last() else { return Ok(None) };
        after = Some(last.clone());
        let found = page.into_iter().find(|(entity, _)| entity.kind == EntityKind::Session(id));
        if found.is_some() {
            return Ok(found);
        }
    }
}
