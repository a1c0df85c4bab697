//! `stentor verify` finds what is wrong with a cluster's log and database, and nothing else.

use bytes::Bytes;
use stentor_cluster::{Entity, EntityKind, Log as _};
use stentor_cluster_nats::{
    Connection, ConnectionSettings, LogMetrics, LogSettings, Login, NatsLog,
};
use stentor_store::{Projection, Store as _, StoredEvent};
use stentor_store_scylla::{Options, ScyllaStore, State};
use stentor_testkit::{PATIENCE, cluster::Cluster};
use stentor_types::{AppId, EventNumber, Sequence, SessionId, Timestamp};
use tokio::time::Instant;

use crate::{
    operate::{json, visitor},
    setting::Setting,
};

/// What a router may do: more than any operator.
pub(crate) async fn as_router(cluster: &Cluster) -> (Connection, NatsLog) {
    let mut settings = ConnectionSettings::new(&cluster.nats().url(), "vandal");
    let password = std::fs::read_to_string(cluster.password_file("router")).unwrap();
    settings.login = Login::User { user: "router".to_owned(), password };
    settings.inbox_prefix = "_INBOX_router".to_owned();
    let connection = Connection::open(&settings).await.unwrap();
    let metrics = LogMetrics::new(&prometheus::Registry::new()).unwrap();
    let log = NatsLog::open_existing(&connection, LogSettings::new(Vec::new()), metrics).await;
    (connection, log.unwrap())
}

pub(crate) async fn database(cluster: &Cluster) -> ScyllaStore {
    let options = Options::new(vec![cluster.database_address().unwrap()], "stentor");
    let store = ScyllaStore::open(options, &prometheus::Registry::new()).unwrap();
    store.state().wait_for(|state| *state == State::Ready).await.unwrap();
    store
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_names_what_was_done_to_log_and_database_and_what_was_lost() {
    let setting = Setting::new(|options| options).await;
    let cluster = &setting.cluster;
    let client = visitor(cluster).await;
    let listed = json(cluster, &["sessions"]).await;
    let id = listed["sessions"][0]["session"].as_str().unwrap().to_owned();
    let numbers = client.acked.values().flatten();
    let acks: Vec<_> = numbers.map(|n| format!("{id} {n}\n")).collect();
    assert!(!acks.is_empty());
    let file = cluster.folder().join("acks");
    let path = file.display().to_string();
    std::fs::write(&file, acks.concat()).unwrap();

    // Cursors follow, and the more is compared.
    let until = Instant::now() + 2 * PATIENCE;
    loop {
        let report = json(cluster, &["verify", "--acks", &path]).await;
        assert_eq!(report["sound"], true, "{report:#}");
        assert_eq!(report["acks"], acks.len(), "{report:#}");
        if report["compared"] == report["events"] && report["events"].as_u64() > Some(0) {
            break;
        }
        assert!(Instant::now() < until, "the cursor does not follow: {report:#}");
    }

    std::fs::write(&file, format!("{id} 1000\n")).unwrap();
    let report = json(cluster, &["verify", "--acks", &path]).await;
    assert!(report["listed"][0].as_str().unwrap().contains("event 1000"), "{report:#}");

    let session: SessionId = id.parse().unwrap();
    let app = AppId::try_new("demo").unwrap();
    let other = StoredEvent {
        n: EventNumber(2),
        at: Timestamp(u64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_micros()).unwrap()),
        event: Bytes::from_static(b"another past"),
    };
    let projection = Projection { app: app.clone(), session, events: vec![other], row: None };
    database(cluster).await.project(projection).await.unwrap();
    let report = json(cluster, &["verify"]).await;
    assert_eq!(report["problems"], 1, "{report:#}");
    assert!(report["listed"][0].as_str().unwrap().contains("event 2 of"), "{report:#}");

    let (connection, log) = as_router(cluster).await;
    let entity = Entity { app, kind: EntityKind::Session(session) };
    let records = log.read(&entity, Sequence(0), 1 << 20).await.unwrap();
    assert!(records.len() >= 3, "{records:?}");
    let stream = connection.jetstream().get_stream_no_info(log.stream_name()).await.unwrap();
    stream.delete_message(records[1].sequence.0).await.unwrap();
    let report = json(cluster, &["verify"]).await;
    let named = format!("names {} as the record before it", records[1].sequence);
    assert!(report["listed"].to_string().contains(&named), "{report:#}");
    assert!(report["listed"].to_string().contains("begins at event"), "{report:#}");
    setting.end().await;
}
