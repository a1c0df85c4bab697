//! Nodes of NATS die, are sent away, and all die at once.

use std::time::{Duration, Instant};

use stentor_testkit::cluster::{Cluster, ClusterOptions, topology::Kind};
use stentor_types::PARTITIONS;

use crate::{
    load::{Load, Outcome, within},
    setting::{Setting, times},
};

const STREAM: &str = "STENTOR_log_0";

async fn kill_leaders(setting: &mut Setting, load: &mut Load, times: usize) {
    for _ in 0..times {
        let leader = setting.cluster.leader_of(STREAM).await.unwrap();
        setting.cluster.kill(&leader).unwrap();
        load.goes_on().await;
        setting.cluster.start_again(&leader).await.unwrap();
        setting.cluster.ready().await.unwrap();
        load.goes_on().await;
    }
}

fn nobody_left(outcome: &Outcome) {
    for visitor in &outcome.second {
        let left = visitor.client.events.values().find(|event| event["kind"] == "left");
        assert!(left.is_none(), "F24: taken for gone: {left:?}");
    }
}

/// How many partitions routers took, from whom as `label` says.
async fn taken(cluster: &Cluster, label: &str) -> f64 {
    let mut taken = 0.0;
    for name in cluster.names(Kind::Router) {
        let metric = format!("stentor_bus_partitions_taken_total{label}");
        taken += cluster.metric(&name, &metric).await.unwrap();
    }
    taken
}

#[tokio::test(flavor = "multi_thread")]
async fn f7_a_killed_leader_of_the_log_loses_nothing_of_sockets_that_stay_open() {
    let mut setting = Setting::new(ClusterOptions::without_database).await;
    let mut load = Load::begin(&setting.cluster).await;
    kill_leaders(&mut setting, &mut load, times(6)).await;
    let outcome = load.end(&setting.cluster).await;
    assert!(outcome.lost().is_empty(), "P9: {:?}", outcome.lost());
    within(&outcome, Duration::from_secs(12));
    setting.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f24_a_killed_leader_moves_no_partition_and_drives_nobody_out() {
    let mut setting = Setting::new(ClusterOptions::without_database).await;
    let mut load = Load::begin(&setting.cluster).await;
    let all = taken(&setting.cluster, "").await;
    assert!(all > 0.0, "partitions were taken, but nobody counted it");
    let cluster = &setting.cluster;
    let before = taken(cluster, "{from=\"dead\"}").await;
    kill_leaders(&mut setting, &mut load, times(6)).await;
    let cluster = &setting.cluster;
    let after = taken(cluster, "{from=\"dead\"}").await;
    assert!(after <= before, "owners were taken for dead: of {before} before, of {after} after");
    // Whoever began second is given its share meanwhile, each partition once.
    let handed = taken(cluster, "{from=\"owner\"}").await;
    assert!(handed <= f64::from(PARTITIONS), "partitions went to and fro: {handed} handed over");
    nobody_left(&load.end(&setting.cluster).await);
    setting.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f8_nodes_that_leave_one_after_the_other_are_hardly_noticed() {
    let mut setting = Setting::new(ClusterOptions::without_database).await;
    let mut load = Load::begin(&setting.cluster).await;
    for _ in 0..times(2) {
        for name in setting.cluster.names(Kind::Nats) {
            setting.cluster.roll_nats(&name).await.unwrap();
            load.goes_on().await;
        }
    }
    let outcome = load.end(&setting.cluster).await;
    assert!(outcome.lost().is_empty(), "P9: {:?}", outcome.lost());
    nobody_left(&outcome);
    within(&outcome, Duration::from_secs(1));
    setting.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f9_all_nodes_killed_at_once_lose_nothing_that_was_acknowledged() {
    let mut setting = Setting::new(ClusterOptions::without_database).await;
    let mut load = Load::begin(&setting.cluster).await;
    for _ in 0..times(3) {
        let names = setting.cluster.names(Kind::Nats);
        for name in &names {
            setting.cluster.kill(name).unwrap();
        }
        let begun = Instant::now();
        for name in &names {
            setting.cluster.start_again(name).await.unwrap();
        }
        setting.cluster.ready().await.unwrap();
        let took = begun.elapsed();
        println!("ready after {took:?}");
        assert!(took <= 3 * Duration::from_secs(20), "ready only after {took:?}");
        load.goes_on().await;
    }
    load.end(&setting.cluster).await;
    setting.end().await;
}
