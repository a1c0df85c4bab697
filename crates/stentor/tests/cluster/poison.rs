//! Inputs that harm whoever takes them.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;
use stentor_testkit::{
    PATIENCE, SecondClient,
    cluster::{Cluster, ClusterOptions, topology::Kind},
};
use tokio::time::Instant;

use crate::{
    load::{Load, within},
    operate::{json, stentor},
    setting::Setting,
};

/// Owners that may be gone over one input.
const DEATHS_MAX: usize = 3;

/// Starts routers again that have ended, until there have been enough or `until` says so. How many there were.
async fn nurse(cluster: &mut Cluster, done: impl Fn() -> bool) -> usize {
    let (mut deaths, until) = (0, Instant::now() + 3 * PATIENCE);
    while !done() {
        for name in cluster.names(Kind::Router) {
            if cluster.has_fallen(&name).unwrap() {
                deaths += 1;
                cluster.start_again(&name).await.unwrap();
            }
        }
        assert!(Instant::now() < until, "the input is neither taken nor refused; {deaths} deaths");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    deaths
}

async fn letters(cluster: &Cluster) -> Vec<Value> {
    json(cluster, &["dead-letters"]).await["letters"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn f16_an_input_that_ends_its_router_ends_at_most_three_and_is_refused() {
    let three = |options: ClusterOptions| {
        let mut options = options.without_database();
        options.topology.routers = 3;
        options
    };
    let mut setting = Setting::new(three).await;
    let load = Load::begin(&setting.cluster).await;
    let port = setting.cluster.gateway_ports()[0];
    let mut client = SecondClient::visitor("poison", 99);
    client.connect(port).await.unwrap();
    let fine = client.say("before").await.unwrap();
    client.settled(fine).await.unwrap();
    let poison = client.say("fail-point: abort, hush").await.unwrap();
    let speaking = tokio::spawn(async move {
        let until = Instant::now() + 3 * PATIENCE;
        while !client.refused.contains_key(&poison) && !client.acked.contains_key(&poison) {
            // A time-out of the client's own; the socket stays.
            let came = client.next().await;
            assert!(came.is_ok() || Instant::now() < until, "{came:?}");
        }
        client
    });
    let deaths = nurse(&mut setting.cluster, || speaking.is_finished()).await;
    println!("{deaths} routers were gone over it");
    assert!((1..=DEATHS_MAX).contains(&deaths), "{deaths}");
    let mut client = speaking.await.unwrap();
    assert_eq!(client.refused, BTreeMap::from([(poison, "poison".to_owned())]));

    // The session and everybody else go on.
    let after = client.say("after").await.unwrap();
    client.settled(after).await.unwrap();
    client.event("the reply", |event| event.to_string().contains("echo after")).await.unwrap();
    client.check().unwrap();
    let outcome = load.end(&setting.cluster).await;
    assert!(outcome.lost().is_empty(), "P9: {:?}", outcome.lost());
    assert_eq!(outcome.came_back(), 0, "sockets stay open while routers die");
    within(&outcome, Duration::from_secs(5) * u32::try_from(deaths).unwrap());

    // Whoever looks after it finds a copy, which says nothing unless asked to.
    let until = Instant::now() + PATIENCE;
    let letters = loop {
        let letters = letters(&setting.cluster).await;
        if !letters.is_empty() {
            break letters;
        }
        assert!(Instant::now() < until, "no dead letter");
    };
    let letter = &letters[0];
    assert_eq!((&letter["reason"], &letter["what"]), (&"router gone".into(), &"message".into()));
    assert_eq!(letter["session"], client.sid);
    let said = |output: std::process::Output| String::from_utf8_lossy(&output.stdout).into_owned();
    let silent = said(stentor(&setting.cluster, &["dead-letters"]).await);
    assert!(silent.contains("router gone") && !silent.contains("hush"), "{silent}");
    let loud = said(stentor(&setting.cluster, &["dead-letters", "--texts"]).await);
    assert!(loud.contains("hush"), "{loud}");
    setting.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f16_an_input_that_panics_is_refused_and_its_session_goes_on() {
    let mut setting = Setting::new(ClusterOptions::without_database).await;
    let mut client = SecondClient::visitor("poison", 99);
    client.connect(setting.cluster.gateway_ports()[0]).await.unwrap();
    let poison = client.say("fail-point: panic").await.unwrap();
    client.settled(poison).await.unwrap();
    assert_eq!(client.refused, BTreeMap::from([(poison, "poison".to_owned())]));
    let after = client.say("after").await.unwrap();
    client.settled(after).await.unwrap();
    // An acknowledgement may come before the event.
    client.event("it", |event| event["text"] == "after").await.unwrap();
    client.check().unwrap();
    assert_eq!(setting.cluster.fallen(), Vec::<String>::new());
    let until = Instant::now() + PATIENCE;
    while letters(&setting.cluster).await.first().is_none_or(|letter| letter["reason"] != "panic") {
        assert!(Instant::now() < until, "no dead letter");
    }
    setting.end().await;
}
