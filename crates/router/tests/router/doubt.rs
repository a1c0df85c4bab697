//! A log whose answers get lost or come from a replica that lags behind, and what is made of it.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use stentor_cluster::{
    Append, Appended, Entity, Head, Log, LogError, Record, TrimReport, memory::MemoryLog,
};
use stentor_router::Config;
use stentor_types::{Incarnation, Partition, Sequence};
use stentor_wire::{decode_commit, pb};

use crate::{
    epochs::{clock, copy_of, entity},
    harness::{self, Town},
    parts, texts,
};

#[derive(Debug)]
struct DoubtfulLog {
    log: Mutex<Arc<MemoryLog>>,
    /// So many writes take place, and their answers are lost.
    unanswered: AtomicUsize,
    /// So many readings do not reach the newest record.
    short: AtomicUsize,
}

impl DoubtfulLog {
    fn over(log: &Arc<MemoryLog>) -> Arc<Self> {
        let log = Mutex::new(Arc::clone(log));
        Arc::new(Self { log, unanswered: AtomicUsize::new(0), short: AtomicUsize::new(0) })
    }

    fn log(&self) -> Arc<MemoryLog> {
        Arc::clone(&self.log.lock().unwrap())
    }
}

/// Counts down to zero; true if it was not there yet.
fn counts(left: &AtomicUsize) -> bool {
    left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

impl Log for DoubtfulLog {
    async fn append(&self, batch: Vec<Append>) -> Result<Vec<Appended>, LogError> {
        let appended = self.log().append(batch).await;
        if counts(&self.unanswered) {
            return Err(LogError::Unavailable("a test".into()));
        }
        appended
    }

    async fn head(&self, entity: &Entity) -> Result<Option<Head>, LogError> {
        self.log().head(entity).await
    }

    async fn read(
        &self,
        entity: &Entity,
        from: Sequence,
        bytes_max: usize,
    ) -> Result<Vec<Record>, LogError> {
        let mut records = self.log().read(entity, from, bytes_max).await?;
        if self.short.load(Ordering::SeqCst) > 0 {
            let head = self.log().head(entity).await?.map(|head| head.sequence);
            records.retain(|record| Some(record.sequence) != head);
            if records.is_empty() {
                counts(&self.short);
            }
        }
        Ok(records)
    }

    async fn read_tail(&self, entity: &Entity, events_min: u64) -> Result<Vec<Record>, LogError> {
        self.log().read_tail(entity, events_min).await
    }

    async fn heads(
        &self,
        partition: Partition,
        after: Option<Entity>,
        limit: usize,
    ) -> Result<Vec<(Entity, Head)>, LogError> {
        self.log().heads(partition, after, limit).await
    }

    async fn trim(
        &self,
        entity: &Entity,
        before: Sequence,
        whole: bool,
    ) -> Result<TrimReport, LogError> {
        self.log().trim(entity, before, whole).await
    }

    fn incarnation(&self) -> Incarnation {
        self.log().incarnation()
    }
}

#[tokio::test(start_paused = true)]
async fn cluster_5_a_commit_whose_answer_was_lost_is_found_and_made_once() {
    let (log, store) = parts();
    let doubtful = DoubtfulLog::over(&log);
    let town = Town::open(&doubtful, &store, harness::apps(), 1, Config::default());
    let mut socket = town.socket(1, "user-a");
    town.attach(&mut socket, Some("claimed")).await;
    for (text, lost) in [("one", 1), ("two", 3)] {
        doubtful.unanswered.store(lost, Ordering::SeqCst);
        // Decided again, it would be a duplicate of itself.
        let said = town.say(&mut socket, text).await;
        assert!(matches!(said, pb::input_reply::Kind::Committed(_)), "{said:?}");
    }
    assert_eq!(texts(&town.events(socket.session.unwrap()).await), ["one", "two"]);
    town.close().await;
}

#[tokio::test(start_paused = true)]
async fn cluster_10_a_session_is_loaded_only_when_what_was_read_reaches_its_head() {
    let (log, store) = parts();
    let town = Town::open(&log, &store, harness::apps(), 1, Config::default());
    let mut socket = town.socket(1, "user-a");
    town.attach(&mut socket, Some("claimed")).await;
    town.say(&mut socket, "one").await;
    town.say(&mut socket, "two").await;
    town.kill().await;
    let doubtful = DoubtfulLog::over(&log);
    doubtful.short.store(2, Ordering::SeqCst);
    let town = Town::open(&doubtful, &store, harness::apps(), 1, Config::default());
    let said = town.say(&mut socket, "three").await;
    assert!(matches!(said, pb::input_reply::Kind::Committed(_)), "{said:?}");
    let events = town.events(socket.session.unwrap()).await;
    assert_eq!(texts(&events), ["one", "two", "three"]);
    assert!(events.iter().zip(1..).all(|(event, n)| event.n.0 == n), "dense");
    town.close().await;
}

#[tokio::test(start_paused = true)]
async fn cluster_10_the_first_commit_after_a_load_holds_the_state() {
    let (log, store) = parts();
    let town = Town::open(&log, &store, harness::apps(), 1, Config::default());
    let mut socket = town.socket(1, "user-a");
    town.attach(&mut socket, Some("claimed")).await;
    town.say(&mut socket, "one").await;
    let entity = entity(&town, socket.session.unwrap());
    assert_eq!(log.head(&entity).await.unwrap().unwrap().snapshot, None);
    town.kill().await;
    let town = Town::open(&log, &store, harness::apps(), 1, Config::default());
    town.say(&mut socket, "two").await;
    let head = log.head(&entity).await.unwrap().unwrap();
    assert_eq!(head.snapshot, Some(head.sequence));
    town.close().await;
}

#[tokio::test(start_paused = true)]
async fn cluster_10_every_64th_commit_holds_the_state() {
    let (log, store) = parts();
    let town = Town::open(&log, &store, harness::apps(), 1, Config::default());
    let mut socket = town.socket(1, "user-a");
    town.attach(&mut socket, Some("claimed")).await;
    let entity = entity(&town, socket.session.unwrap());
    for _ in 0..62 {
        town.say(&mut socket, "again").await;
    }
    assert_eq!(log.head(&entity).await.unwrap().unwrap().snapshot, None);
    for _ in 0..4 {
        town.say(&mut socket, "again").await;
    }
    let first = log.head(&entity).await.unwrap().unwrap().snapshot.unwrap();
    town.say(&mut socket, "again").await;
    assert_eq!(log.head(&entity).await.unwrap().unwrap().snapshot, Some(first));
    town.close().await;
}

#[tokio::test(start_paused = true)]
async fn i16_a_log_that_is_put_back_under_a_running_owner_begins_a_new_numbering() {
    let ((log, store), (_, config)) = (parts(), clock());
    let doubtful = DoubtfulLog::over(&log);
    let town = Town::open(&doubtful, &store, harness::apps(), 1, config);
    let mut socket = town.socket(1, "user-a");
    let epoch = town.attach(&mut socket, Some("claimed")).await.epoch;
    town.say(&mut socket, "one").await;
    let entity = entity(&town, socket.session.unwrap());
    let one = log.head(&entity).await.unwrap().unwrap().sequence;
    town.say(&mut socket, "two").await;
    // The same log, as far as its name tells, without the second message.
    let older = copy_of(&log, std::slice::from_ref(&entity), one, log.incarnation().0).await;
    *doubtful.log.lock().unwrap() = Arc::clone(&older);
    town.say(&mut socket, "three").await;
    let expected = match town.say_again(&socket, "three").await {
        pb::input_reply::Kind::Gap(expected) => expected,
        other => panic!("{other:?}"),
    };
    socket.counter = expected;
    let said = town.say_again(&socket, "two again").await;
    assert!(matches!(said, pb::input_reply::Kind::Committed(_)), "{said:?}");
    let head = older.head(&entity).await.unwrap().unwrap().sequence;
    let record = older.read(&entity, head, 1).await.unwrap().remove(0);
    let now = decode_commit(&record.record).unwrap().commit.epoch.0;
    assert!(now > epoch, "n would name another event in the old numbering");
    town.close().await;
}
