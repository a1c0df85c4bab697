//! A log over which parts of the router panic, and what goes on all the same.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use stentor_cluster::{
    Append, Appended, Entity, EntityKind, Head, Log, LogError, Record, TrimReport,
    memory::MemoryLog,
};
use stentor_router::Config;
use stentor_types::{Incarnation, Partition, Sequence, SessionId};
use stentor_wire::pb;

use crate::{
    harness::{self, Town},
    parts,
};

#[derive(Debug)]
struct TrappedLog {
    log: Arc<MemoryLog>,
    /// Whoever reads this session panics, as if over one of its records.
    trapped: Mutex<Option<SessionId>>,
    /// Whoever writes panics.
    writing: AtomicBool,
}

impl TrappedLog {
    fn over(log: &Arc<MemoryLog>) -> Arc<Self> {
        let log = Arc::clone(log);
        Arc::new(Self { log, trapped: Mutex::default(), writing: AtomicBool::new(false) })
    }
}

impl Log for TrappedLog {
    async fn append(&self, batch: Vec<Append>) -> Result<Vec<Appended>, LogError> {
        assert!(!self.writing.load(Ordering::SeqCst), "a trap");
        self.log.append(batch).await
    }

    async fn head(&self, entity: &Entity) -> Result<Option<Head>, LogError> {
        self.log.head(entity).await
    }

    async fn read(
        &self,
        entity: &Entity,
        from: Sequence,
        bytes_max: usize,
    ) -> Result<Vec<Record>, LogError> {
        let trapped = *self.trapped.lock().unwrap();
        let is_trapped = trapped.is_some_and(|trapped| entity.kind == EntityKind::Session(trapped));
        assert!(!is_trapped, "a trap");
        self.log.read(entity, from, bytes_max).await
    }

    async fn read_tail(&self, entity: &Entity, events_min: u64) -> Result<Vec<Record>, LogError> {
        self.log.read_tail(entity, events_min).await
    }

    async fn heads(
        &self,
        partition: Partition,
        after: Option<Entity>,
        limit: usize,
    ) -> Result<Vec<(Entity, Head)>, LogError> {
        self.log.heads(partition, after, limit).await
    }

    async fn trim(
        &self,
        entity: &Entity,
        before: Sequence,
        whole: bool,
    ) -> Result<TrimReport, LogError> {
        self.log.trim(entity, before, whole).await
    }

    fn incarnation(&self) -> Incarnation {
        self.log.incarnation()
    }
}

#[tokio::test(start_paused = true)]
async fn cluster_19_a_record_that_panics_when_it_is_folded_closes_its_session_and_no_other() {
    let (log, store) = parts();
    let trapped = TrappedLog::over(&log);
    let town = Town::open(&trapped, &store, harness::apps(), 1, Config::default());
    let mut socket = town.socket(1, "user-a");
    town.attach(&mut socket, Some("claimed")).await;
    town.say(&mut socket, "one").await;
    town.kill().await;
    *trapped.trapped.lock().unwrap() = socket.session;
    let town = Town::open(&trapped, &store, harness::apps(), 1, Config::default());
    let said = town.say_again(&socket, "two").await;
    assert!(matches!(said, pb::input_reply::Kind::Damaged(_)), "{said:?}");
    let mut other = town.socket(2, "user-b");
    town.attach(&mut other, Some("claimed")).await;
    // It is looked at again.
    *trapped.trapped.lock().unwrap() = None;
    tokio::time::sleep(Duration::from_secs(31)).await;
    town.attach(&mut socket, Some("claimed")).await;
    let said = town.say(&mut socket, "two").await;
    assert!(matches!(said, pb::input_reply::Kind::Committed(_)), "{said:?}");
    town.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_router_that_has_lost_a_part_of_itself_ends() {
    let (log, store) = parts();
    let trapped = TrappedLog::over(&log);
    let town = Town::open(&trapped, &store, harness::apps(), 1, Config::default());
    trapped.writing.store(true, Ordering::SeqCst);
    let socket = town.socket(1, "user-a");
    let attach = pb::AttachInput { claimed: Some("claimed".into()), ..Default::default() };
    let answer = town.send(&socket, pb::connection_input::Kind::Attach(attach)).await;
    assert!(matches!(answer, pb::input_reply::Kind::TryAgainMs(_)), "{answer:?}");
    assert!(town.ended().await.is_err());
}
