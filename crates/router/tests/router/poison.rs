//! Inputs that owners may have been lost over.

use std::{
    collections::HashMap,
    error::Error,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use stentor_cluster::{
    Effects, Fanout, Ownership, PublishOutcome, local::LocalBus, memory::MemoryLog,
};
use stentor_router::{Config, FailPoint};
use stentor_store::memory::MemoryStore;
use stentor_types::{AppId, EventKind, GatewayId, InputKind, Partition};
use stentor_wire::pb;

use crate::{
    harness::{self, Socket, Town},
    parts, texts,
};

/// What owners leave for each other; a clone is a handle to the same.
#[derive(Clone, Debug, Default)]
struct Notes {
    by_partition: Arc<Mutex<HashMap<Partition, Bytes>>>,
    /// Most lines that ever stood in all of them together.
    most: Arc<AtomicUsize>,
    /// What is written arrives, and whoever wrote it does not learn that.
    is_deaf: Arc<AtomicBool>,
    /// So many times an owner is not sure that it is one.
    doubts: Arc<AtomicUsize>,
}

/// A bus whose owners leave notes.
#[derive(Debug)]
struct NotedBus {
    inner: LocalBus,
    notes: Notes,
}

impl Notes {
    fn all(&self) -> String {
        let notes = self.by_partition.lock().unwrap();
        notes.values().map(|note| String::from_utf8_lossy(note)).collect()
    }
}

impl Fanout for NotedBus {
    fn publish(&self, gateway: GatewayId, message: Bytes) -> PublishOutcome {
        Fanout::publish(&self.inner, gateway, message)
    }

    fn gateways(&self) -> Vec<GatewayId> {
        self.inner.gateways()
    }

    fn is_gone(&self, gateway: GatewayId) -> bool {
        self.inner.is_gone(gateway)
    }
}

impl Effects for NotedBus {
    fn publish(&self, app: &AppId, effect: Bytes) -> PublishOutcome {
        Effects::publish(&self.inner, app, effect)
    }
}

impl Ownership for NotedBus {
    fn holds(&self, _: Partition) -> bool {
        self.notes.doubts.load(Ordering::SeqCst) == 0
    }

    async fn confirm(&self, _: Partition) -> bool {
        let doubt = |doubts: usize| doubts.checked_sub(1);
        self.notes.doubts.fetch_update(Ordering::SeqCst, Ordering::SeqCst, doubt).is_err()
    }

    async fn trying(
        &self,
        partition: Partition,
    ) -> Result<Option<Bytes>, Box<dyn Error + Send + Sync>> {
        Ok(self.notes.by_partition.lock().unwrap().get(&partition).cloned())
    }

    async fn set_trying(
        &self,
        partition: Partition,
        trying: Bytes,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        self.notes.by_partition.lock().unwrap().insert(partition, trying);
        let lines = self.notes.all().lines().count();
        self.notes.most.fetch_max(lines, Ordering::SeqCst);
        if self.notes.is_deaf.load(Ordering::SeqCst) { Err("deaf".into()) } else { Ok(()) }
    }
}

fn open(
    log: &Arc<MemoryLog>,
    store: &Arc<MemoryStore>,
    notes: &Notes,
    fail_point: Option<FailPoint>,
) -> Town {
    let (inner, ends) = LocalBus::new();
    let bus = Arc::new(NotedBus { inner: inner.clone(), notes: notes.clone() });
    let config = Config { fail_point, ..Config::default() };
    Town::open_on(log, store, harness::apps(), 1, config, bus, (inner, ends))
}

async fn visitor(town: &Town, number: u64) -> Socket {
    let mut socket = town.socket(number, &format!("user-{number}"));
    town.attach(&mut socket, Some("claimed")).await;
    socket
}

#[tokio::test]
async fn f16_what_an_owner_was_lost_over_the_next_one_does_not_try() {
    let ((log, store), notes) = (parts(), Notes::default());
    let mut town = open(&log, &store, &notes, None);
    let mut socket = visitor(&town, 1).await;
    town.say(&mut socket, "before").await;
    // It writes down what it is about to try, and is lost before anything else.
    notes.is_deaf.store(true, Ordering::SeqCst);
    town.deaths = 2;
    let answer = town.say(&mut socket, "poison").await;
    assert!(matches!(answer, pb::input_reply::Kind::TryAgainMs(_)), "{answer:?}");
    town.kill().await;

    notes.is_deaf.store(false, Ordering::SeqCst);
    let mut town = open(&log, &store, &notes, None);
    // However it is asked: another gateway may know nothing.
    for deaths in [3, 0] {
        town.deaths = deaths;
        let answer = town.say_again(&socket, "poison").await;
        let refused = pb::input_reply::Kind::Rejected(pb::RejectCode::Poison.into());
        let is_refused = answer == refused || matches!(answer, pb::input_reply::Kind::Duplicate(_));
        assert!(is_refused, "{answer:?}");
    }
    assert_eq!(town.metric("stentor_router_dead_letters_total"), 1.0, "one copy is kept");
    // Its number is used up, and the session goes on.
    let answer = town.say(&mut socket, "after").await;
    assert!(matches!(answer, pb::input_reply::Kind::Committed(_)), "{answer:?}");
    let events = town.events(socket.session.unwrap()).await;
    assert_eq!(texts(&events), ["before", "after"]);
    let refusals = events.iter().filter(|event| matches!(event.kind, EventKind::Rejected { .. }));
    assert_eq!(refusals.count(), 1, "it is refused in the log");
    town.close().await;
}

#[tokio::test]
async fn f16_what_is_suspicious_is_written_down_before_it_is_decided_about_and_not_for_longer() {
    let ((log, store), notes) = (parts(), Notes::default());
    let (seen, stands) = (Arc::new(AtomicUsize::new(0)), notes.clone());
    let counted = Arc::clone(&seen);
    let fail_point: FailPoint = Arc::new(move |input| {
        if matches!(input.kind, InputKind::Say(_)) && !stands.all().is_empty() {
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    let mut town = open(&log, &store, &notes, Some(fail_point));
    let mut socket = visitor(&town, 1).await;
    town.say(&mut socket, "ordinary").await;
    // A router that is lost leaves many of these behind.
    town.deaths = 1;
    town.say(&mut socket, "left behind").await;
    assert_eq!((seen.load(Ordering::SeqCst), notes.all()), (0, String::new()));
    assert_eq!(notes.most.load(Ordering::SeqCst), 0, "it was written down");
    town.deaths = 2;
    let answer = town.say(&mut socket, "suspicious").await;
    assert!(matches!(answer, pb::input_reply::Kind::Committed(_)), "{answer:?}");
    assert_eq!((seen.load(Ordering::SeqCst), notes.all()), (1, String::new()));
    town.close().await;
}

#[tokio::test]
async fn f16_suspicious_inputs_are_tried_one_at_a_time_in_the_whole_router() {
    let ((log, store), notes) = (parts(), Notes::default());
    let mut town = open(&log, &store, &notes, None);
    let mut sockets = Vec::new();
    for number in 1..=8 {
        sockets.push(visitor(&town, number).await);
    }
    town.deaths = 2;
    let town = &town;
    let saying: Vec<_> = sockets
        .iter_mut()
        .map(|socket| Box::pin(async move { town.say(socket, "suspicious").await }))
        .collect();
    for answer in together(saying).await {
        assert!(matches!(answer, pb::input_reply::Kind::Committed(_)), "{answer:?}");
    }
    assert_eq!(notes.most.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn cluster_22_what_has_no_number_does_not_overtake_what_is_to_be_sent_again() {
    let ((log, store), notes) = (parts(), Notes::default());
    let mut town = open(&log, &store, &notes, None);
    let mut socket = visitor(&town, 1).await;
    let session = stentor_wire::session_to_bytes(socket.session.unwrap());
    // It is sent again, although it was taken: only an owner that is sure of itself may say so.
    town.say(&mut socket, "last words").await;
    let say = pb::SayInput {
        session: session.clone(),
        counter: socket.counter,
        text: Some("last words".into()),
        body: Bytes::from_static(br#"{"rawQuery":"last words"}"#),
        request: Bytes::from_static(br#"{"rawQuery":"last words"}"#),
        ..Default::default()
    };
    let detach = pb::DetachInput { session, delivered: None };
    let kinds = [pb::connection_input::Kind::Say(say), pb::connection_input::Kind::Detach(detach)];
    let inputs = kinds.map(|kind| pb::ConnectionInput { received_at: 1_000_000, kind: Some(kind) });
    let request = pb::ConnectionRequest {
        connection: Some(pb::Connection { gateway: town.gateway.0, number: socket.number }),
        user: stentor_wire::user_to_bytes(socket.visitor.user),
        placement: socket.visitor.placement.0,
        role: pb::Role::Visitor.into(),
        inputs: inputs.into(),
    };
    town.deaths = 2;
    let mut answers = Vec::new();
    for doubts in [1, 0] {
        notes.doubts.store(doubts, Ordering::SeqCst);
        let kind = pb::request::Kind::Connection(request.clone());
        let reply = town.ask(socket.visitor.placement.partition(), kind).await;
        let Some(pb::reply::Kind::Connection(reply)) = reply.kind else { panic!("{reply:?}") };
        let kinds = reply.results.into_iter().map(|result| result.kind.unwrap());
        answers.push(kinds.collect::<Vec<_>>());
    }
    let [doubted, done] = <[Vec<_>; 2]>::try_from(answers).unwrap();
    let again = |kind: &pb::input_reply::Kind| matches!(kind, pb::input_reply::Kind::TryAgainMs(_));
    assert!(doubted.len() == 2 && doubted.iter().all(again), "{doubted:?}");
    let [pb::input_reply::Kind::Duplicate(_), pb::input_reply::Kind::Committed(_)] = &done[..]
    else {
        panic!("{done:?}")
    };
}

/// All of them at once.
async fn together<F: Future + Unpin>(mut futures: Vec<F>) -> Vec<F::Output> {
    let mut done: Vec<_> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, done) in futures.iter_mut().zip(&mut done) {
            if done.is_none()
                && let std::task::Poll::Ready(output) = std::pin::Pin::new(future).poll(context)
            {
                *done = Some(output);
            }
        }
        if done.iter().all(Option::is_some) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    done.into_iter().flatten().collect()
}
