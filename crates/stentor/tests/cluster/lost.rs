//! The stream of the log is deleted under everybody's feet.

use std::collections::BTreeMap;

use stentor_cluster::{Entity, EntityKind, Log as _};
use stentor_cluster_nats::{Connection, ConnectionSettings, Login};
use stentor_testkit::{PATIENCE, cluster::Cluster};
use stentor_types::Partition;
use stentor_wire::decode_commit;
use tokio::time::Instant;

use crate::{load::Load, operate::json, setting::Setting, verifying::as_router};

/// Somebody who may delete what nobody should.
async fn vandal(cluster: &Cluster) -> Connection {
    let mut settings = ConnectionSettings::new(&cluster.nats().url(), "vandal");
    settings.login = Login::User { user: "vandal".to_owned(), password: "vandal".to_owned() };
    Connection::open(&settings).await.unwrap()
}

/// The epoch of each session in the log.
async fn epochs(cluster: &Cluster) -> BTreeMap<Entity, u64> {
    let (_connection, log) = as_router(cluster).await;
    let mut epochs = BTreeMap::new();
    for partition in Partition::all() {
        for (entity, head) in log.heads(partition, None, 1_000).await.unwrap() {
            if matches!(entity.kind, EntityKind::Session(_)) {
                let records = log.read(&entity, head.sequence, 1).await.unwrap();
                epochs.insert(entity, decode_commit(&records[0].record).unwrap().commit.epoch.0);
            }
        }
    }
    epochs
}

#[tokio::test(flavor = "multi_thread")]
async fn f20_a_log_that_is_deleted_under_load_is_made_anew_and_the_history_is_whole() {
    let setting = Setting::new(|options| options).await;
    let cluster = &setting.cluster;
    let mut load = Load::begin(cluster).await;
    let before = epochs(cluster).await;
    assert!(!before.is_empty());
    vandal(cluster).await.jetstream().delete_stream("STENTOR_log_0").await.unwrap();
    load.goes_on().await;
    let outcome = load.end(cluster).await;
    let renewed: Vec<_> = outcome.second.iter().map(|visitor| visitor.client.renewed).collect();
    assert!(renewed.iter().all(|renewed| *renewed >= 1), "somebody was told nothing: {renewed:?}");
    let after = epochs(cluster).await;
    for (session, epoch) in &before {
        let now = after.get(session);
        assert!(now.is_some_and(|now| now > epoch), "I16: {session} in epoch {epoch}, now {now:?}");
    }
    let until = Instant::now() + 2 * PATIENCE;
    loop {
        let report = json(cluster, &["verify"]).await;
        assert_eq!(report["sound"], true, "{report:#}");
        if report["compared"] == report["events"] && report["events"].as_u64() > Some(0) {
            break;
        }
        assert!(Instant::now() < until, "the cursor does not follow: {report:#}");
    }
    setting.end().await;
}
