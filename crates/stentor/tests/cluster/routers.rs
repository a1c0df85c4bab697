//! Routers die and freeze.

use std::time::Duration;

use stentor_testkit::{
    Way,
    cluster::{Cluster, ClusterOptions, topology::Kind},
};

use crate::{
    lines::with_lines,
    load::{Load, within},
    setting::{Setting, times},
};

/// Several commits of a busy router.
const UNDER_WAY: Duration = Duration::from_millis(500);
/// Longer than the others wait for somebody who is silent.
const FROZEN: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn f3_a_killed_router_delays_messages_and_loses_none() {
    let mut setting = Setting::new(ClusterOptions::without_database).await;
    let mut load = Load::begin(&setting.cluster).await;
    for _ in 0..times(20) {
        let name = owner(&setting.cluster).await;
        setting.cluster.kill(&name).unwrap();
        load.goes_on().await;
        setting.cluster.start_again(&name).await.unwrap();
        load.goes_on().await;
    }
    let outcome = load.end(&setting.cluster).await;
    assert!(outcome.lost().is_empty(), "P9: {:?}", outcome.lost());
    assert_eq!(outcome.came_back(), 0, "sockets stay open while routers die");
    within(&outcome, Duration::from_secs(5));
    setting.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p8_a_router_that_is_asked_to_stop_is_hardly_noticed() {
    let mut setting = Setting::new(ClusterOptions::without_database).await;
    let mut load = Load::begin(&setting.cluster).await;
    for name in setting.cluster.names(Kind::Router) {
        let status = setting.cluster.stop(&name).await.unwrap();
        assert!(status.success(), "{name}: {status}");
        load.goes_on().await;
        setting.cluster.start_again(&name).await.unwrap();
        load.goes_on().await;
    }
    let outcome = load.end(&setting.cluster).await;
    assert!(outcome.lost().is_empty(), "P9: {:?}", outcome.lost());
    assert_eq!(outcome.came_back(), 0, "sockets stay open while routers go");
    within(&outcome, Duration::from_millis(500));
    setting.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f4_a_frozen_router_that_wakes_up_commits_nothing_that_is_not_its_own() {
    let mut setting = Setting::new(with_lines).await;
    let mut load = Load::begin(&setting.cluster).await;
    let mut tap = setting.cluster.tap().await.unwrap();
    let mut refused = 0;
    for _ in 0..times(4) {
        let name = owner(&setting.cluster).await;
        // What it commits now is still on its way when others have taken its place.
        setting.cluster.line(&name).unwrap().hold(Way::Up);
        tokio::time::sleep(UNDER_WAY).await;
        setting.cluster.pause(&name).unwrap();
        // The length of the fault itself.
        tokio::time::sleep(FROZEN).await;
        load.goes_on().await;
        setting.cluster.line(&name).unwrap().let_go();
        setting.cluster.resume(&name).unwrap();
        load.goes_on().await;
        refused +=
            tap.seen().await.unwrap().iter().filter(|seen| is_refusal(&seen.payload)).count();
    }
    println!("{refused} batches were refused by compare-and-set");
    assert!(refused >= 1, "nothing was refused: was the frozen router noticed at all?");
    let outcome = load.end(&setting.cluster).await;
    assert!(outcome.lost().is_empty(), "P9: {:?}", outcome.lost());
    assert_eq!(outcome.came_back(), 0, "sockets stay open while routers freeze");
    within(&outcome, Duration::from_secs(5));
    setting.end().await;
}

/// The router that owns most partitions just now.
pub(crate) async fn owner(cluster: &Cluster) -> String {
    let mut most = (0.0, None);
    for name in cluster.names(Kind::Router) {
        let owned = cluster.metric(&name, "stentor_bus_partitions_owned").await.unwrap();
        if owned > most.0 {
            most = (owned, Some(name));
        }
    }
    most.1.expect("nobody owns anything")
}

/// Whether it is the log's answer to a batch that expected another end of a session.
fn is_refusal(payload: &[u8]) -> bool {
    let has = |part: &[u8]| payload.windows(part.len()).any(|window| window == part);
    has(br#""err_code":10071"#) || has(br#""err_code":10164"#)
}
