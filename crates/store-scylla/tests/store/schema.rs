//! How the tables come to be.

use prometheus::Registry;
use stentor_store::{Store, StoreError};
use stentor_store_scylla::{Options, Replication, SCHEMA_VERSION, ScyllaStore, State};

use crate::harness::{Database, app, event, open, projection, reached, ready, session};

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_start_at_once_make_one_schema() {
    let database = Database::shared().await;
    let options = database.options();
    let stores: Vec<_> = (0..4).map(|_| open(options.clone())).collect();
    for store in &stores {
        reached(store, State::is_ready).await;
    }
    stores[0].project(projection(session(1), vec![event(1, 1)], None)).await.unwrap();
    assert_eq!(crate::harness::all_events(&stores[3], session(1)).await, [event(1, 1)]);
    let select = format!("SELECT version FROM {}.schema_versions", options.keyspace);
    let found = database.cql().await.query_unpaged(select, ()).await.unwrap();
    assert_eq!(
        found.into_rows_result().unwrap().rows_num(),
        usize::try_from(SCHEMA_VERSION).unwrap()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_of_a_newer_version_is_refused_and_says_so() {
    let database = Database::shared().await;
    let options = database.options();
    drop(ready(open(options.clone())).await);
    let cql = database.cql().await;
    let versions = format!("{}.schema_versions", options.keyspace);
    let newer = format!("INSERT INTO {versions} (version) VALUES (99)");
    cql.query_unpaged(newer, ()).await.unwrap();
    let registry = Registry::new();
    let store = ScyllaStore::open(options, &registry).unwrap();
    let state = reached(&store, |state| matches!(state, State::SchemaNewer { .. })).await;
    assert_eq!(state, State::SchemaNewer { found: 99, known: SCHEMA_VERSION });
    assert!(state.to_string().contains("newer than this version"), "{state}");
    let refused = store.session(&app("demo"), session(1)).await;
    let Err(StoreError::Unavailable(cause)) = refused else { panic!("{refused:?}") };
    assert!(cause.to_string().contains("newer than this version"), "{cause}");
    assert_eq!(gauge(&registry, "stentor_store_connected"), 0.0);
    // Somebody restores the older schema: nobody has to restart anything.
    cql.query_unpaged(format!("DELETE FROM {versions} WHERE version = 99"), ()).await.unwrap();
    reached(&store, State::is_ready).await;
    assert_eq!(store.session(&app("demo"), session(1)).await.unwrap(), None);
    assert_eq!(gauge(&registry, "stentor_store_connected"), 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keyspace_is_replicated_as_asked() {
    let database = Database::shared().await;
    // The name that the test server gives its only data centre.
    let replication = Replication::PerDatacenter(vec![("datacenter1".to_owned(), 1)]);
    let datacenter = Some("datacenter1".to_owned());
    let options = Options { replication, datacenter, ..database.options() };
    let keyspace = options.keyspace.clone();
    let store = ready(open(options)).await;
    store.project(projection(session(1), vec![event(1, 1)], None)).await.unwrap();
    let select =
        "SELECT CAST(replication AS text) FROM system_schema.keyspaces WHERE keyspace_name = ?";
    let select = select.replace("CAST(replication AS text)", "replication");
    let found = database.cql().await.query_unpaged(select, (keyspace,)).await.unwrap();
    let found = found.into_rows_result().unwrap();
    let (found,) = found.single_row::<(std::collections::HashMap<String, String>,)>().unwrap();
    assert!(found["class"].ends_with("NetworkTopologyStrategy"), "{found:?}");
    assert_eq!(found["datacenter1"], "1");
}

fn gauge(registry: &Registry, name: &str) -> f64 {
    let families = registry.gather();
    let family = families.iter().find(|family| family.name() == name).unwrap();
    family.get_metric()[0].get_gauge().get_value()
}
