//! Routers and gateways lose their line to the broker, both ways and one way only, and routers die in the
//! moment between the log's answer and everybody else's.

use std::time::Duration;

use serde_json::Value;
use stentor_testkit::{
    NatsTap, PATIENCE, SecondClient, Way,
    cluster::{Cluster, ClusterOptions, topology::Kind},
};
use stentor_types::PARTITIONS;
use tokio::time::Instant;

use crate::{
    load::Load,
    setting::{Setting, is_long},
};

const LOST: [&[Way]; 3] = [&[Way::Up, Way::Down], &[Way::Up], &[Way::Down]];

const OWNED: &str = "stentor_bus_partitions_owned";
const LAPSES: &str = "stentor_bus_lapses_total";
const SENT_AWAY: &str = "stentor_gateway_connections_closed_total{reason=\"cut_off\"}";

/// How long a line is held: longer than a silent router is waited for, and than a line takes to be given up.
fn held_for() -> Duration {
    Duration::from_secs(if is_long() { 30 } else { 9 })
}

pub(crate) fn with_lines(options: ClusterOptions) -> ClusterOptions {
    ClusterOptions { lines: true, ..options.without_database() }
}

async fn owned(cluster: &Cluster, name: &str) -> f64 {
    cluster.metric(name, OWNED).await.unwrap()
}

/// Waits until a metric of a member has reached this.
async fn reaches(cluster: &Cluster, name: &str, metric: &str, wanted: f64) {
    let until = Instant::now() + PATIENCE;
    loop {
        let found = cluster.metric(name, metric).await.unwrap();
        if found >= wanted {
            return;
        }
        assert!(Instant::now() < until, "{metric} of {name} is {found}, not {wanted}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f10_a_router_that_is_cut_off_acknowledges_nothing_and_another_one_takes_its_place() {
    let setting = Setting::new(with_lines).await;
    let cluster = &setting.cluster;
    let mut load = Load::begin(cluster).await;
    for ways in LOST {
        // Whoever is cut off owns something; the last to be cut off may have nothing yet.
        let mut names = cluster.names(Kind::Router);
        if owned(cluster, &names[0]).await < owned(cluster, &names[1]).await {
            names.swap(0, 1);
        }
        let (cut_off, other) = (&names[0], &names[1]);
        let everything = f64::from(PARTITIONS);
        let lapses = cluster.metric(cut_off, LAPSES).await.unwrap();
        let line = cluster.line(cut_off).unwrap();
        let begun = Instant::now();
        for way in ways {
            line.hold(*way);
        }
        // P1 is checked with every history at the end: what was acknowledged is in the log.
        load.goes_on().await;
        reaches(cluster, other, OWNED, everything).await;
        println!("F10: {ways:?}: everything had moved after {:?}", begun.elapsed());
        tokio::time::sleep_until(begun + held_for()).await;
        line.let_go();
        // Whoever was cut off knows.
        reaches(cluster, cut_off, LAPSES, lapses + 1.0).await;
        load.goes_on().await;
    }
    let outcome = load.end(cluster).await;
    assert!(outcome.lost().is_empty(), "P9: {:?}", outcome.lost());
    assert_eq!(outcome.came_back(), 0, "sockets stay open while routers are cut off");
    setting.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f10_a_gateway_that_is_cut_off_acknowledges_nothing_that_the_log_lacks() {
    let setting = Setting::new(with_lines).await;
    let cluster = &setting.cluster;
    let mut load = Load::begin(cluster).await;
    let names = cluster.names(Kind::Gateway);
    // Everybody goes to the other one each time.
    for (ways, name) in LOST.into_iter().zip(names.iter().cycle()) {
        let sent_away = cluster.metric(name, SENT_AWAY).await.unwrap();
        let line = cluster.line(name).unwrap();
        let begun = Instant::now();
        for way in ways {
            line.hold(*way);
        }
        // Everybody gets on, by the other gateway, although the line stays cut.
        load.goes_on().await;
        println!("F10: {ways:?}: everybody got on after {:?}", begun.elapsed());
        let unready = cluster.admin(name, "/readyz").await.unwrap_err().to_string();
        assert!(unready.contains("bus: "), "{unready}");
        // The length of the fault itself: others have taken the gateway for gone.
        tokio::time::sleep_until(begun + held_for() + Duration::from_secs(3)).await;
        line.let_go();
        // Sockets are done with once what they had said is taken.
        reaches(cluster, name, SENT_AWAY, sent_away + 1.0).await;
        load.goes_on().await;
    }
    let renamed = cluster.metric(&names[0], "stentor_gateway_renamed_total").await.unwrap();
    println!("the gateway has taken {renamed} other names");
    assert!(renamed >= 1.0, "nobody noticed");
    let mut outcome = load.end(cluster).await;
    assert!(outcome.came_back() > 0, "nobody was sent away");
    // What widgets had said to the gateway was late, but not lost.
    for widget in &mut outcome.legacy {
        for text in std::mem::take(&mut widget.lost) {
            let echo = format!("echo {text}");
            if !widget.client.transcript().rows().contains(&echo) {
                widget
                    .client
                    .wait_for_text(&echo)
                    .await
                    .unwrap_or_else(|error| panic!("{error:#}"));
            }
        }
    }
    setting.end().await;
}

/// The router that commits what is said in this session.
async fn owner_of(cluster: &Cluster, client: &mut SecondClient) -> String {
    const COMMITS: &str = "stentor_router_commits_total";
    let names = cluster.names(Kind::Router);
    let mut before = Vec::new();
    for name in &names {
        before.push(cluster.metric(name, COMMITS).await.unwrap());
    }
    let mid = client.say("who owns me").await.unwrap();
    client.settled(mid).await.unwrap();
    for (name, before) in names.iter().zip(before) {
        if cluster.metric(name, COMMITS).await.unwrap() > before {
            return name.clone();
        }
    }
    panic!("nobody has committed it");
}

async fn is_in_the_log(tap: &mut NatsTap, text: &str) {
    let until = Instant::now() + PATIENCE;
    let holds = |payload: &[u8]| payload.windows(text.len()).any(|part| part == text.as_bytes());
    loop {
        let seen = tap.seen().await.unwrap();
        if seen.iter().any(|seen| seen.subject.starts_with("log.") && holds(&seen.payload)) {
            return;
        }
        assert!(Instant::now() < until, "it does not come to the log");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f25_what_an_owner_committed_and_could_tell_nobody_is_told_by_the_next_one() {
    let mut setting = Setting::new(with_lines).await;
    let ports = setting.cluster.gateway_ports();
    let mut visitor = SecondClient::visitor("chat", 1).at_page();
    visitor.connect(ports[0]).await.unwrap();
    let (mut beside, mut elsewhere) = (visitor.other_tab(2), visitor.other_tab(3));
    beside.connect(ports[0]).await.unwrap();
    elsewhere.connect(ports[1]).await.unwrap();
    let mut tap = setting.cluster.tap().await.unwrap();
    let rounds = if is_long() { 6 } else { 2 };
    for round in 0..rounds {
        let owner = owner_of(&setting.cluster, &mut visitor).await;
        let line = setting.cluster.line(&owner).unwrap();
        // From the other side of the line it looks as if it had died with the log's answer in its hands.
        line.swallow(&["gw.", "_INBOX_gateway"]);
        let text = format!("said in round {round}");
        let mid = visitor.say(&text).await.unwrap();
        is_in_the_log(&mut tap, &text).await;
        let until = Instant::now() + PATIENCE;
        while line.vanished() == 0 {
            assert!(Instant::now() < until, "the owner tells nobody");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        setting.cluster.kill(&owner).unwrap();
        let begun = Instant::now();
        for tab in [&mut visitor, &mut beside, &mut elsewhere] {
            let is_said = |event: &Value| event["text"] == text.as_str();
            tab.event("the text", is_said).await.unwrap_or_else(|error| panic!("{error:#}"));
        }
        let took = begun.elapsed();
        println!("F25: everybody had it {took:?} after the owner's death");
        let limit = Duration::from_secs(10);
        assert!(took <= if is_long() { limit } else { 3 * limit }, "only after {took:?}");
        visitor.settled(mid).await.unwrap();
        setting.cluster.line(&owner).unwrap().let_go();
        setting.cluster.start_again(&owner).await.unwrap();
    }
    for tab in [&visitor, &beside, &elsewhere] {
        tab.check().unwrap_or_else(|error| panic!("{error:#}"));
        assert_eq!(tab.broken, None);
    }
    setting.end().await;
}
