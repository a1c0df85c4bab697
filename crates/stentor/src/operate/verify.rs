//! `stentor verify` for a cluster: the log against itself, against the database, and against what clients saw.
//!
//! Only reads, and may run while the cluster does: what is not yet copied to the database is no finding. The lists
//! of apps and the rows of directories are not looked at; they follow from the log.

mod chain;
mod report;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::ExitCode,
    time::Duration,
};

use anyhow::Context as _;
use stentor_cluster::{Entity, EntityKind, Log as _, LogError, PartitionLog as _, Record};
use stentor_cluster_nats::NatsLog;
use stentor_store::Store as _;
use stentor_store_scylla::ScyllaStore;
use stentor_types::{AppId, EventNumber, Partition, Sequence, SessionId};
use stentor_wire::CommitRecord;

use self::{
    chain::{Chains, Kept},
    report::Report,
};
use super::{Printed, flags::Verify, reach::Reach, run, time::now};

/// Bytes of records read at a time.
const PAGE: usize = 4 << 20;

/// `stentor verify` with settings of a cluster.
pub(crate) fn verify(flags: &Verify) -> anyhow::Result<ExitCode> {
    let acks = flags.acks.as_deref().map(read_acks).transpose()?.unwrap_or_default();
    run(check(flags, acks))
}

fn read_acks(file: &Path) -> anyhow::Result<Vec<(SessionId, EventNumber)>> {
    stentor_embedded::read_acks(file).context("--acks")
}

async fn check(flags: &Verify, acks: Vec<(SessionId, EventNumber)>) -> anyhow::Result<Printed> {
    let reach = Reach::open(&flags.cluster).await?;
    let log = reach.log().await?;
    let store = reach.store().await?;
    let mut check = Check {
        store_asked: store.is_some(),
        retentions: reach.retentions()?,
        log,
        store,
        chains: Chains::default(),
        report: Report::default(),
    };
    for partition in Partition::all() {
        check.partition(partition).await.with_context(|| format!("partition {partition}"))?;
    }
    check.ends().await?;
    let mut apps: BTreeSet<AppId> = check.chains.apps();
    apps.extend(flags.app.clone());
    for (session, n) in acks {
        check.ack(&apps, session, n).await?;
    }
    let report = check.report;
    let printed = Printed::new(&flags.cluster, &report.json(check.store_asked), || report.words());
    Ok(if report.is_sound() { printed } else { printed.failed() })
}

struct Check {
    log: NatsLog,
    store: Option<ScyllaStore>,
    store_asked: bool,
    retentions: BTreeMap<AppId, Duration>,
    chains: Chains,
    report: Report,
}

// === impl Check ===

impl Check {
    async fn partition(&mut self, partition: Partition) -> anyhow::Result<()> {
        // Before the records: everything before it is said to be in the database already.
        let cursor = self.log.cursor(partition).await?.unwrap_or(Sequence(0));
        let (mut next, mut bytes) = (Sequence(0), PAGE);
        loop {
            let scan = match self.log.scan(partition, next, bytes).await {
                Ok(scan) => scan,
                Err(LogError::Corrupt { entity, sequence, what }) => {
                    if bytes > 1 {
                        // What comes before it in the page is judged first, record by record.
                        bytes = 1;
                        continue;
                    }
                    self.report.problem(format!("record {sequence} of {entity}: {what}"));
                    self.chains.damaged(&entity, sequence);
                    (next, bytes) = (Sequence(sequence.0.saturating_add(1)), PAGE);
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            self.chains.forgotten(self.log.first().await?);
            let mut below = Vec::new();
            for (entity, record) in &scan.records {
                let commit = self.chains.record(entity, record, &mut self.report);
                below.extend(commit.filter(|_| record.sequence < cursor));
            }
            self.compare(&below).await?;
            next = scan.next;
            if scan.end {
                return Ok(());
            }
        }
    }

    /// Commits that the database must have, against what it has.
    async fn compare(&mut self, commits: &[CommitRecord]) -> anyhow::Result<()> {
        let Some(store) = &self.store else { return Ok(()) };
        for commit in commits.iter().filter(|commit| !commit.events.is_empty()) {
            let kept_for = self.retentions.get(&commit.app);
            if kept_for.is_some_and(|kept_for| commit.commit.at.after(*kept_for) <= now()) {
                // It may have expired, or be about to.
                continue;
            }
            let (first, last) = (commit.commit.first, commit.commit.last());
            let kept = store.events(&commit.app, commit.session, first, last).await;
            let kept = kept.context("the database does not answer")?;
            let kept =
                kept.into_iter().map(|event| Kept { n: event.n, at: event.at, event: event.event });
            chain::compare(commit, &kept.collect::<Vec<_>>(), &mut self.report);
        }
        Ok(())
    }

    /// No session's row may be ahead of its log, nor may what the log has forgotten be nowhere.
    async fn ends(&mut self) -> anyhow::Result<()> {
        let Some(store) = &self.store else { return Ok(()) };
        for end in self.chains.sessions() {
            let row = store.session(&end.app, end.session).await;
            let row = row.context("the database does not answer")?;
            if end.begins_after.0 > 0
                && row.as_ref().is_none_or(|row| row.projected < end.begins_after)
            {
                self.report.problem(format!(
                    "session {} of {}: the log begins after event {}, and the database has not come so far",
                    end.session, end.app, end.begins_after
                ));
            }
            let Some(row) = row.filter(|row| row.projected > end.last) else { continue };
            // Perhaps the session has only gone on since it was read.
            let entity = Entity { app: end.app.clone(), kind: EntityKind::Session(end.session) };
            let head = self.log.head(&entity).await?;
            if head.is_none_or(|head| head.header.last < row.projected) {
                self.report.problem(format!(
                    "session {} of {}: the database has come to event {}, the log only to {}: it has lost something; \
                     was it restored without `stentor log fence`?",
                    end.session, end.app, row.projected, end.last
                ));
            }
        }
        Ok(())
    }

    async fn ack(
        &mut self,
        apps: &BTreeSet<AppId>,
        session: SessionId,
        n: EventNumber,
    ) -> anyhow::Result<()> {
        self.report.acks += 1;
        if self.chains.has(session, n) {
            return Ok(());
        }
        for app in apps {
            let Some(store) = &self.store else { break };
            let kept = store.events(app, session, n, n).await;
            if !kept.context("the database does not answer")?.is_empty() {
                return Ok(());
            }
        }
        if self.is_new(apps, session, n).await? {
            return Ok(());
        }
        self.report
            .problem(format!("event {n} of session {session}: was acknowledged and is missing"));
        Ok(())
    }

    /// Whether it was written after its partition had been read.
    async fn is_new(
        &mut self,
        apps: &BTreeSet<AppId>,
        session: SessionId,
        n: EventNumber,
    ) -> anyhow::Result<bool> {
        for app in apps {
            let entity = Entity { app: app.clone(), kind: EntityKind::Session(session) };
            let from = self.chains.end_of(&entity);
            let records: Vec<Record> = self.log.read(&entity, Sequence(from.0 + 1), PAGE).await?;
            if records.iter().any(|record| (record.header.first..=record.header.last).contains(&n))
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
