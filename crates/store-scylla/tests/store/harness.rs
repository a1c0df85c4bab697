//! A server for all tests that leave it in peace, and stores on keyspaces of their own.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use prometheus::Registry;
use scylla::client::{session::Session, session_builder::SessionBuilder};
use stentor_store::{Listing, Projection, SessionRow, Store, StoredEvent};
use stentor_store_scylla::{Options, ScyllaStore, State};
use stentor_testkit::Cassandra;
use stentor_types::{AppId, Epoch, EventNumber, Incarnation, PlacementKey, SessionId, Timestamp};

/// Longer than anything takes, also on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A server; the last test that uses it ends it.
#[derive(Clone)]
pub(crate) struct Database(Arc<Cassandra>);

impl Database {
    pub(crate) async fn shared() -> Self {
        static SHARED: tokio::sync::Mutex<Weak<Cassandra>> =
            tokio::sync::Mutex::const_new(Weak::new());
        let mut shared = SHARED.lock().await;
        if let Some(server) = shared.upgrade() {
            return Self(server);
        }
        let server = Arc::new(Cassandra::start().await.unwrap());
        *shared = Arc::downgrade(&server);
        Self(server)
    }

    /// Options for a keyspace that nobody has yet.
    pub(crate) fn options(&self) -> Options {
        options(&self.0)
    }

    /// A store on a keyspace of its own, ready.
    pub(crate) async fn store(&self) -> ScyllaStore {
        ready(open(self.options())).await
    }

    /// What an operator would use to look at the tables.
    pub(crate) async fn cql(&self) -> Session {
        SessionBuilder::new().known_node(self.0.address()).build().await.unwrap()
    }
}

/// Options for a keyspace that nobody has yet.
pub(crate) fn options(server: &Cassandra) -> Options {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let keyspace = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    Options::new(vec![server.address()], &keyspace)
}

pub(crate) fn open(options: Options) -> ScyllaStore {
    ScyllaStore::open(options, &Registry::new()).unwrap()
}

pub(crate) async fn ready(store: ScyllaStore) -> ScyllaStore {
    reached(&store, State::is_ready).await;
    store
}

/// Waits until the database is as it should be.
pub(crate) async fn reached(store: &ScyllaStore, is: impl Fn(State) -> bool) -> State {
    let mut state = store.state();
    let waiting = tokio::time::timeout(PATIENCE, state.wait_for(|state| is(*state)));
    let reached = waiting.await.map(|state| state.map(|state| *state));
    match reached {
        Ok(state) => state.unwrap(),
        Err(_) => panic!("it stays {}", *store.state().borrow()),
    }
}

pub(crate) fn app(name: &str) -> AppId {
    AppId::try_new(name).unwrap()
}

pub(crate) fn session(number: u64) -> SessionId {
    SessionId::new(PlacementKey(number), u128::from(number))
}

pub(crate) fn event(n: u64, at: u64) -> StoredEvent {
    let event = Bytes::from(format!("event {n} of {at}"));
    StoredEvent { n: EventNumber(n), at: Timestamp(at), event }
}

pub(crate) fn row(at: u64) -> SessionRow {
    SessionRow {
        epoch: Epoch(1),
        projected: EventNumber(at),
        first: EventNumber(1),
        at: Timestamp(at),
        log: Incarnation(7),
        state: Bytes::from(format!("state of {at}")),
    }
}

pub(crate) fn projection(
    session: SessionId,
    events: Vec<StoredEvent>,
    row: Option<SessionRow>,
) -> Projection {
    Projection { app: app("demo"), session, events, row }
}

pub(crate) async fn all_events(store: &ScyllaStore, session: SessionId) -> Vec<StoredEvent> {
    let (from, to) = (EventNumber(0), EventNumber(u64::MAX));
    store.events(&app("demo"), session, from, to).await.unwrap()
}

pub(crate) async fn list(store: &ScyllaStore) -> Vec<Listing> {
    store.listings(&app("demo"), None, 100).await.unwrap()
}

pub(crate) fn now() -> Timestamp {
    Timestamp(0).after(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap())
}
