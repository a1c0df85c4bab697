//! With which version a cluster begins.

use std::time::Duration;

use async_nats::jetstream::stream;
use stentor_cluster::Ownership as _;
use stentor_cluster_nats::{RouterBusSettings, finalized};
use stentor_testkit::Nats;
use stentor_wire::LOGIC;

use crate::{
    effects::make_stream,
    harness::{TestRouter, connect, hurried, settings, stays, until},
};

const LOG: &str = "STENTOR_log_0";

#[tokio::test(flavor = "multi_thread")]
async fn cluster_25_a_new_cluster_begins_at_the_version_of_one_of_its_first_routers() {
    for nodes in [1, 3] {
        let nats = Nats::cluster(nodes).await.unwrap();
        let url = nats.url();
        make_stream(&url).await;
        let later = RouterBusSettings { version: LOGIC + 1, ..settings("router-b", hurried()) };
        let (a, b) = tokio::join!(
            TestRouter::start(&url, "router-a", hurried()),
            TestRouter::of(&url, later)
        );
        until("all partitions have an owner", || a.owned().len() + b.owned().len() == 64).await;
        let line = connect(&url, "operator").await;
        let begun = finalized(&line).await.unwrap();
        assert!([LOGIC, LOGIC + 1].contains(&begun), "{begun}");
        let last = RouterBusSettings { version: LOGIC + 2, ..settings("router-c", hurried()) };
        let last = TestRouter::of(&url, last).await;
        until("it is given something", || !last.owned().is_empty()).await;
        assert_eq!(finalized(&line).await.unwrap(), begun, "who comes later raises nothing");
        until("it knows", || last.bus.finalized() == begun).await;
        // A router below it owns nothing, however the two came at once.
        if begun > LOGIC {
            until("the older one gives all up", || a.owned().is_empty()).await;
            let within = Duration::from_secs(1);
            stays("it takes nothing", within, || a.owned().is_empty()).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cluster_25_a_cluster_that_is_not_new_goes_on_with_version_1() {
    for before in ["a record", "a record that was purged", "lost records", "owners", "no log"] {
        let nats = Nats::start().await.unwrap();
        let url = nats.url();
        let line = connect(&url, "operator").await;
        let jetstream = line.jetstream();
        match before {
            "owners" => {
                // As a version did that wrote none: it had the bucket, and no log that could be looked at.
                let mut old = TestRouter::start(&url, "router-old", hurried()).await;
                old.owns(64).await;
                old.drain().await;
                make_stream(&url).await;
            }
            "lost records" => {
                let config = stream::Config {
                    name: LOG.to_owned(),
                    subjects: vec!["log.0.>".to_owned(), "fx.0.>".to_owned()],
                    first_sequence: Some(1_000),
                    ..stream::Config::default()
                };
                jetstream.create_stream(config).await.unwrap();
            }
            "no log" => {}
            _ => {
                make_stream(&url).await;
                let sent = jetstream.publish("log.0.7.demo.s.x", "x".into()).await.unwrap();
                sent.await.unwrap();
                if before.ends_with("purged") {
                    jetstream.get_stream(LOG).await.unwrap().purge().await.unwrap();
                }
            }
        }
        let router = TestRouter::start(&url, "router-a", hurried()).await;
        router.owns(64).await;
        assert_eq!(finalized(&line).await.unwrap(), 1, "{before}");
        assert_eq!(router.bus.finalized(), 1, "{before}");
    }
}
