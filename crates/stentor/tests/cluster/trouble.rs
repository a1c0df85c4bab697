//! Troubles of one that must not become troubles of others, all on one cluster: somebody repeats themselves,
//! the settings are broken, somebody else writes to a session, somebody hardly reads, a gateway freezes.

use std::time::Duration;

use serde_json::json;
use stentor_testkit::{
    Line, PATIENCE, SecondClient,
    cluster::{Cluster, ClusterOptions, topology::Kind},
};
use tokio::time::Instant;

use crate::{
    contested,
    load::Load,
    reload,
    setting::{Setting, is_long},
};

/// Messages of somebody who repeats them.
const REPEATED: u64 = 20;
/// How often they are sent.
const TIMES: usize = 5;
/// Bytes per second that somebody reads who hardly reads.
const SLOW: u32 = 1_024;
/// What may wait for one socket.
const SOCKET_BYTES_MAX: f64 = 256.0 * 1024.0;
/// The most that is said to somebody who hardly reads until it is too much, 20 KB each.
const SAID_MAX: u64 = 1_500;

#[tokio::test(flavor = "multi_thread")]
async fn f14_f18_f22_f26_the_trouble_of_one_is_not_the_trouble_of_others() {
    let widget = reload::widget();
    let shown = format!("widget_dir = {:?}\n", widget.path());
    let change =
        |options: ClusterOptions| ClusterOptions { extra: shown, ..options.without_database() };
    let mut setting = Setting::new(change).await;
    let mut load = Load::begin(&setting.cluster).await;
    repeats(&setting.cluster).await;
    load.goes_on().await;
    reload::broken_files_change_nothing(&setting.cluster, &mut load).await;
    contested::holds_nobody_up(&setting.cluster, &mut load).await;
    hardly_reads(&setting.cluster, &mut load).await;
    freezes(&mut setting.cluster, &mut load).await;
    load.end(&setting.cluster).await;
    setting.end().await;
}

/// F22.
async fn repeats(cluster: &Cluster) {
    let ports = cluster.gateway_ports();
    let mut client = SecondClient::visitor("repeated", 5_001).at_page();
    client.connect(ports[0]).await.unwrap();
    for number in 1..=REPEATED {
        client.say(&format!("repeated {number}")).await.unwrap();
    }
    for time in 1..TIMES {
        if time == 2 {
            // What is not answered yet is sent again by the client itself.
            client.cut();
            client.connect(ports[1]).await.unwrap();
        }
        for mid in 1..=REPEATED {
            let text = format!("repeated {mid}");
            let frame = json!({"t": "send", "sid": client.sid, "mid": mid, "text": text});
            client.send(&frame).await.unwrap();
        }
    }
    client.settled(REPEATED).await.unwrap();
    let mid = client.say("the end").await.unwrap();
    client.settled(mid).await.unwrap_or_else(|error| panic!("{error:#}"));
    client.event("the end", |event| event["text"] == "the end").await.unwrap();
    client.check().unwrap_or_else(|error| panic!("F22: {error:#}"));
    assert!(client.refused.is_empty(), "{:?}", client.refused);
    let said = client.texts().into_iter().filter(|text| text.starts_with("repeated "));
    let wanted = (1..=REPEATED).map(|number| format!("repeated {number}"));
    assert_eq!(said.collect::<Vec<_>>(), wanted.collect::<Vec<_>>(), "F22, I5, I6");
}

/// F14: a client that reads a kilobyte per second.
async fn hardly_reads(cluster: &Cluster, load: &mut Load) {
    const DROPS: &str = "stentor_gateway_outbox_drops_total";
    let ports = cluster.gateway_ports();
    let name = &cluster.names(Kind::Gateway)[0];
    let line = Line::narrow(&format!("127.0.0.1:{}", ports[0]), SLOW).await.unwrap();
    let narrow = line.addresses()[0].rsplit_once(':').unwrap().1.parse().unwrap();
    let mut talker = SecondClient::visitor("narrow", 5_002).at_page();
    talker.connect(ports[1]).await.unwrap();
    let mut slow = talker.other_tab(5_003).at_page_of(ports[0]);
    slow.connect(narrow).await.unwrap();
    load.waits();
    load.goes_on().await;
    let calm = load.waits().percentile(99);
    let before = cluster.metric(name, DROPS).await.unwrap();
    let (text, mut most, mut said) = ("x".repeat(20_000), 0.0_f64, 0);
    while cluster.metric(name, DROPS).await.unwrap() <= before {
        assert!(said < SAID_MAX, "F14: nothing was ever too much for it");
        for _ in 0..10 {
            said += 1;
            talker.say(&format!("{said} {text}")).await.unwrap();
            most = most.max(cluster.metric(name, "stentor_gateway_outbox_bytes").await.unwrap());
        }
        talker.settled(said).await.unwrap_or_else(|error| panic!("{error:#}"));
    }
    load.goes_on().await;
    let beside = load.waits().percentile(99);
    println!(
        "F14: {said} texts until too much, {most} bytes waited at most; others' p99 {calm:?} before, {beside:?} beside it"
    );
    // Those of the others wait for a moment as well.
    assert!(most <= 2.0 * SOCKET_BYTES_MAX, "F14: {most} bytes waited");
    line.let_go();
    let mid = talker.say("the last one").await.unwrap();
    talker.settled(mid).await.unwrap();
    for tab in [&mut talker, &mut slow] {
        let last = tab.event("the last one", |event| event["text"] == "the last one").await;
        last.unwrap_or_else(|error| panic!("F14: {error:#}"));
        assert_eq!(tab.broken, None);
    }
    assert!(talker.texts() == slow.texts(), "F14, I3: they have seen different things");
}

/// F14: a gateway that is frozen for longer than others wait for it.
async fn freezes(cluster: &mut Cluster, load: &mut Load) {
    let name = cluster.names(Kind::Gateway).remove(0);
    let before = cluster.metric(&name, "stentor_gateway_renamed_total").await.unwrap();
    cluster.pause(&name).unwrap();
    // The length of the fault itself.
    tokio::time::sleep(Duration::from_secs(if is_long() { 20 } else { 12 })).await;
    cluster.resume(&name).unwrap();
    let woken = Instant::now();
    load.goes_on().await;
    println!("F14: everybody had gone on {:?} after the gateway woke up", woken.elapsed());
    let until = Instant::now() + PATIENCE;
    while cluster.metric(&name, "stentor_gateway_renamed_total").await.unwrap() <= before {
        assert!(Instant::now() < until, "F14: nobody noticed that it was frozen");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
