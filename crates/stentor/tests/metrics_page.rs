//! The page of metrics tells the truth.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::{collections::BTreeSet, path::Path};

use stentor_testkit::{LegacyClient, Process};

#[tokio::test(flavor = "multi_thread")]
async fn what_a_process_shows_is_on_the_page() {
    let server = Process::start(Path::new(env!("CARGO_BIN_EXE_stentor")), &[]).await.unwrap();
    let mut client = LegacyClient::new(&LegacyClient::user_id(1), "chat", 0);
    client.connect(server.port(), "/dev?appId=demo", "emitNoWs").await.unwrap();
    client.join().await.unwrap();
    client.say("hello").await.unwrap();
    client.wait_for_text("You said: hello").await.unwrap();
    let scrape = server.admin("/metrics").await.unwrap();
    let shown: BTreeSet<_> = scrape
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .filter_map(|line| line.split(' ').next())
        .filter(|name| name.starts_with("stentor_"))
        .collect();
    let page = include_str!("../../../docs/metrics.md");
    let page = page.split("## Members of a cluster").next().unwrap();
    let listed: BTreeSet<_> = page
        .split('`')
        .filter(|word| word.starts_with("stentor_") && !word.contains(' '))
        .collect();
    let missing: Vec<_> = shown.difference(&listed).collect();
    assert!(missing.is_empty(), "not on the page: {missing:?}");
    // What has not happened yet is not shown.
    let rare = [
        "stentor_apps_problems",
        "stentor_connector_fields_removed_total",
        "stentor_gateway_connections_closed_total",
        "stentor_gateway_refusals_total",
    ];
    let gone: Vec<_> = listed.difference(&shown).filter(|name| !rare.contains(*name)).collect();
    assert!(gone.is_empty(), "not shown any more: {gone:?}");
}
