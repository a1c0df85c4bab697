//! A cluster of two versions: this one, and one that writes an event and a field that nobody knows so far.

use std::time::Duration;

use serde_json::Value;
use stentor_cluster::PartitionLog as _;
use stentor_testkit::{
    PATIENCE,
    cluster::{Cluster, topology::Kind},
};
use stentor_types::{Partition, Sequence};
use stentor_wire::LOGIC;
use tokio::time::Instant;

use crate::{load::Load, operate::json, setting::Setting, verifying::as_router};

/// Makes a role one of the next version.
const SWITCH: &str = "PLAY_TOMORROW";
/// Stands in everything that only the next version writes.
const MARK: &[u8] = b"tomorrow";

fn is_marked(bytes: &[u8]) -> bool {
    bytes.windows(MARK.len()).any(|part| part == MARK)
}

/// How many records of the log only the next version can have written.
async fn marked(cluster: &Cluster) -> usize {
    let (_connection, log) = as_router(cluster).await;
    let mut count = 0;
    for partition in Partition::all() {
        let mut from = Sequence(0);
        loop {
            let scan = log.scan(partition, from, 1 << 20).await.unwrap();
            count += scan.records.iter().filter(|(_, record)| is_marked(&record.record)).count();
            from = scan.next;
            if scan.end {
                break;
            }
        }
    }
    count
}

/// Waits until it holds.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let until = Instant::now() + 2 * PATIENCE;
    while !holds().await {
        assert!(Instant::now() < until, "it never came true: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn owns_all(cluster: &Cluster, name: &str) {
    let owned = async || cluster.metric(name, "stentor_bus_partitions_owned").await.unwrap();
    until("it owns everything", async || owned().await >= 64.0).await;
}

fn version_of(status: &Value, name: &str) -> u64 {
    let mut members = status["members"].as_array().unwrap().iter();
    let member = members.find(|member| member["name"].as_str().unwrap().contains(name));
    member.unwrap_or_else(|| panic!("no {name} in {status:#}"))["version"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn f17_a_fleet_goes_forth_and_back_between_versions_until_it_is_finalized() {
    let mut setting = Setting::new(|options| {
        let options = options.with_environment(Kind::Gateway, SWITCH, "1");
        options.with_environment(Kind::Connector, SWITCH, "1")
    })
    .await;
    let cluster = &mut setting.cluster;
    let mut load = Load::begin(cluster).await;
    let (one, two) = ("router-1", "router-2");

    // The cluster has what everybody has.
    let begun = json(cluster, &["upgrade", "finalize"]).await;
    assert_eq!(begun["cluster"], LOGIC, "{begun:#}");

    // One is of the next version; everything goes there, and back again.
    cluster.stop(one).await.unwrap();
    cluster.set_environment(one, SWITCH, Some("1")).unwrap();
    cluster.start_again(one).await.unwrap();
    let refused = json(cluster, &["upgrade", "finalize"]).await;
    assert_eq!(
        (&refused["cluster"], &refused["program"]),
        (&LOGIC.into(), &LOGIC.into()),
        "{refused:#}"
    );
    let admin = |name: &str| cluster.admin_port(name).unwrap().to_string();
    let members = [one, two, "gateway-1"];
    let versions = members.map(|name| version_of(&refused, &admin(name)));
    let (today, tomorrow) = (u64::from(LOGIC), u64::from(LOGIC) + 1);
    assert_eq!(versions, [tomorrow, today, tomorrow], "{refused:#}");
    let older = refused["older"].to_string();
    assert_eq!(refused["finalized"], false, "{refused:#}");
    assert!(older.contains(&admin(two)) && !older.contains(&admin(one)), "{refused:#}");
    cluster.stop(two).await.unwrap();
    load.goes_on().await;
    owns_all(cluster, one).await;
    cluster.start_again(two).await.unwrap();
    cluster.stop(one).await.unwrap();
    load.goes_on().await;
    owns_all(cluster, two).await;
    cluster.start_again(one).await.unwrap();
    assert_eq!(marked(cluster).await, 0, "nothing new is written while there is a way back");

    // The old one is frozen while everybody else is finalized.
    cluster.pause(two).unwrap();
    owns_all(cluster, one).await;
    let done = json(cluster, &["upgrade", "finalize"]).await;
    assert_eq!((&done["finalized"], &done["before"]), (&true.into(), &LOGIC.into()), "{done:#}");
    assert_eq!(done["cluster"], tomorrow, "{done:#}");
    cluster.resume(two).unwrap();
    load.goes_on().await;
    until("the old one says why it does nothing", async || {
        cluster.log(two).unwrap().contains(&format!("the cluster needs version {tomorrow}"))
    })
    .await;
    assert!(cluster.metric(two, "stentor_bus_partitions_owned").await.unwrap() < 1.0);
    assert!(marked(cluster).await > 0, "what is new is written now");

    // Nor does it start again.
    cluster.kill(two).unwrap();
    let error = format!("{:#}", cluster.start_again(two).await.unwrap_err());
    assert!(error.contains(&format!("finalized at version {tomorrow}")), "{error}");
    cluster.kill(two).unwrap();
    cluster.set_environment(two, SWITCH, Some("1")).unwrap();
    cluster.start_again(two).await.unwrap();

    // What nobody knows goes with its session to another owner, to gateways, and into the history.
    cluster.kill(one).unwrap();
    load.goes_on().await;
    cluster.start_again(one).await.unwrap();
    let mut tap = cluster.tap().await.unwrap();
    load.goes_on().await;
    let seen = tap.seen().await.unwrap();
    let told = |message: &&stentor_testkit::Seen| message.subject.starts_with("gw.");
    assert!(seen.iter().filter(told).any(|message| is_marked(&message.payload)));
    drop(tap);
    load.end(cluster).await;
    until("log and database have the same bytes of everything", async || {
        let report = json(cluster, &["verify"]).await;
        assert_eq!(report["sound"], true, "{report:#}");
        report["compared"] == report["events"]
    })
    .await;
    setting.end().await;
}
