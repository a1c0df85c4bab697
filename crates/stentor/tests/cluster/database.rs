//! The database is away, and a router dies meanwhile; or it is slow, or does what it does not answer to.

use std::time::Duration;

use stentor_testkit::{
    Cassandra, Line, PATIENCE, Way,
    cluster::{Cluster, ClusterOptions, GivenDatabase, topology::Kind},
};
use tokio::time::Instant;

use crate::{
    load::{Load, within},
    operate::json,
    routers::owner,
    setting::{Setting, is_long, times},
};

/// How long the database is away: ten minutes in full.
const AWAY: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn f11_conversations_go_on_without_a_database_also_with_a_new_owner() {
    let mut setting = Setting::new(|options| options).await;
    let mut load = Load::begin(&setting.cluster).await;
    setting.cluster.kill("database").unwrap();
    load.goes_on().await;
    let owner = owner(&setting.cluster).await;
    setting.cluster.kill(&owner).unwrap();
    load.goes_on().await;
    setting.cluster.start_again(&owner).await.unwrap();
    // The length of the fault itself.
    tokio::time::sleep(AWAY * u32::try_from(times(60)).unwrap()).await;
    load.goes_on().await;
    setting.cluster.start_again("database").await.unwrap();
    let outcome = load.end(&setting.cluster).await;
    assert!(outcome.lost().is_empty(), "P9: {:?}", outcome.lost());
    within(&outcome, Duration::from_secs(5));
    // What waited is written now.
    all_is_written(&setting.cluster).await;
    setting.end().await;
}

/// Waits until nothing has to be copied any more: neither from memory nor from the log.
async fn all_is_written(cluster: &Cluster) {
    let until = Instant::now() + 2 * PATIENCE;
    for name in cluster.names(Kind::Router) {
        loop {
            let mut behind = 0.0;
            for what in ["partitions_behind", "waiting"] {
                let metric = format!("stentor_router_projector_{what}");
                behind += cluster.metric(&name, &metric).await.unwrap();
            }
            if behind < 1.0 {
                break;
            }
            assert!(Instant::now() < until, "{name} is behind with {behind} partitions or records");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Writes that the database was asked for, and those of them that it answered to as done.
async fn written(cluster: &Cluster) -> (f64, f64) {
    let (mut asked, mut done) = (0.0, 0.0);
    for name in cluster.names(Kind::Router) {
        let page = cluster.admin(&name, "/metrics").await.unwrap();
        for line in page.lines().filter(|line| line.starts_with("stentor_store_requests_total{")) {
            // What found no room was never asked.
            if line.contains("\"write_") && !line.contains("\"busy\"") {
                let count: f64 = line.rsplit(' ').next().unwrap().parse().unwrap();
                asked += count;
                done += if line.contains("outcome=\"done\"") { count } else { 0.0 };
            }
        }
    }
    (asked, done)
}

/// The largest number of records that wait for the database, and of resident bytes of a router.
async fn kept(cluster: &Cluster) -> (f64, u64) {
    let (mut most, mut resident) = (0.0_f64, 0);
    for name in cluster.names(Kind::Router) {
        let waiting = cluster.metric(&name, "stentor_router_projector_waiting").await.unwrap();
        most = most.max(waiting);
        let file = format!("/proc/{}/statm", cluster.process_id(&name).unwrap());
        let pages = std::fs::read_to_string(file).unwrap();
        let pages: u64 = pages.split_whitespace().nth(1).unwrap().parse().unwrap();
        resident = resident.max(pages * 4096);
    }
    (most, resident)
}

#[tokio::test(flavor = "multi_thread")]
async fn f12_a_database_that_is_slow_or_does_what_it_does_not_answer_to_has_the_same_in_the_end() {
    let database = Cassandra::start().await.unwrap_or_else(|error| panic!("{error:#}"));
    let line = Line::to(&database.address()).await.unwrap();
    let (address, keyspace) = (line.addresses()[0].clone(), "stentor".to_owned());
    let given = Some(GivenDatabase { address, keyspace });
    let change = |options| ClusterOptions { given_database: given, ..options };
    let setting = Setting::new(change).await;
    let cluster = &setting.cluster;
    let mut load = Load::begin(cluster).await;
    // Tables take longer to make than routers to be ready.
    let until = Instant::now() + 2 * PATIENCE;
    while written(cluster).await.1 < 100.0 {
        assert!(Instant::now() < until, "nothing is written");
        load.goes_on().await;
    }
    load.waits();
    load.goes_on().await;
    let before = load.waits().percentile(99);
    let (_, resident) = kept(cluster).await;

    let (mut most, mut longest) = (0.0_f64, Duration::ZERO);
    for _ in 0..times(4) {
        line.delay(Way::Down, Duration::from_secs(2));
        let until = Instant::now() + Duration::from_secs(if is_long() { 60 } else { 8 });
        while Instant::now() < until {
            load.goes_on().await;
            most = most.max(kept(cluster).await.0);
        }
        longest = longest.max(load.waits().percentile(99));
        // Everything is done, and nothing answered: longer than a request may take.
        line.hold(Way::Down);
        let until = Instant::now() + Duration::from_secs(if is_long() { 60 } else { 8 });
        while Instant::now() < until {
            load.goes_on().await;
            most = most.max(kept(cluster).await.0);
        }
        longest = longest.max(load.waits().percentile(99));
        line.let_go();
        load.goes_on().await;
    }
    let grown = kept(cluster).await.1.saturating_sub(resident);
    let outcome = load.end(cluster).await;
    all_is_written(cluster).await;
    let (asked, done) = written(cluster).await;
    println!(
        "F12: {asked} writes for {done} that were done; at most {most} records waited, {} KiB more memory; p99 {before:?} before, {longest:?} meanwhile",
        grown / 1024
    );
    assert!(done > 0.0 && asked > done, "nothing was ever in doubt");
    assert!(asked <= 2.0 * done, "F12: writes have more than doubled");
    assert!(most <= 10_000.0, "F12: {most} records waited");
    assert!(grown <= 64 << 20, "F12: {grown} bytes more");
    assert!(outcome.lost().is_empty(), "P9: {:?}", outcome.lost());
    within(&outcome, Duration::from_secs(5));
    // I10: what the database has is what the log has.
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
