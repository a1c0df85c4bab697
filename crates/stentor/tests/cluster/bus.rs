//! What goes over the bus for one text: its payload once to the owner, once to the log, once to every gateway
//! that holds the session, and nowhere else.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;
use stentor_testkit::{Answer, NatsTap, SecondClient, cluster::ClusterOptions};
use tokio::time::Instant;

use crate::setting::Setting;

/// Sooner than anybody asks a second time.
const PROMPT: Duration = Duration::from_secs(2);
/// Texts said until one is answered promptly.
const TRIES: u64 = 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_text_crosses_the_bus_once_to_its_owner_once_to_the_log_and_once_per_gateway_that_holds_it()
 {
    let one_node = |mut options: ClusterOptions| {
        options.topology.nats = 1;
        options.without_database().gateways(3)
    };
    // The reply does not hold what was said.
    let answer = |_: &Value| {
        let speech = serde_json::json!({ "outputSpeech": { "displayText": "a reply of the bot" } });
        Answer::Json(speech.to_string())
    };
    let setting = Setting::with_bot(one_node, answer).await;
    let mut tap = setting.cluster.tap().await.unwrap();
    let ports = setting.cluster.gateway_ports();
    // Three tabs: two at the first gateway, one at the second, none at the third.
    let mut visitor = SecondClient::visitor("chat", 1).at_page();
    connect(&mut visitor, ports[0]).await;
    let mut beside = visitor.other_tab(2);
    connect(&mut beside, ports[0]).await;
    let mut elsewhere = visitor.other_tab(3);
    connect(&mut elsewhere, ports[1]).await;
    // Somebody else, who is told none of it.
    let mut other = SecondClient::visitor("chat", 4).at_page();
    connect(&mut other, ports[2]).await;

    for number in 1..=TRIES {
        let begun = Instant::now();
        let text = format!("counted text {number}");
        let replies = replies(&visitor);
        visitor.say(&text).await.unwrap();
        for tab in [&mut visitor, &mut beside, &mut elsewhere] {
            let is_said = |event: &Value| event["text"] == text.as_str();
            tab.event("the text", is_said).await.unwrap_or_else(|error| panic!("{error:#}"));
        }
        while self::replies(&visitor) == replies {
            visitor.next().await.unwrap_or_else(|error| panic!("{error:#}"));
        }
        let found = carriers(&mut tap, &text).await;
        if begun.elapsed() >= PROMPT {
            // It may have been asked again.
            continue;
        }
        let mut by_kind: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (subject, count) in &found {
            let kind = subject.split('.').next().unwrap_or_default();
            by_kind.entry(kind).or_default().push(*count);
        }
        // What the bot is to be asked is an effect, written with the commit and taken by a connector.
        let effects = by_kind.remove("fx");
        assert_eq!(effects, Some(vec![2]), "effect: {found:?}");
        let wanted = [("gw", vec![1, 1]), ("in", vec![1]), ("log", vec![1])];
        assert_eq!(by_kind, BTreeMap::from(wanted), "{found:?}");
        setting.end().await;
        return;
    }
    panic!("no text of {TRIES} was answered promptly");
}

async fn connect(client: &mut SecondClient, port: u16) {
    client.connect(port).await.unwrap_or_else(|error| panic!("{error:#}"));
}

fn replies(client: &SecondClient) -> usize {
    client.events.values().filter(|event| event["kind"] == "reply").count()
}

/// How many messages held the text, by subject.
async fn carriers(tap: &mut NatsTap, text: &str) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for seen in tap.seen().await.unwrap() {
        if seen.payload.windows(text.len()).any(|part| part == text.as_bytes()) {
            *found.entry(seen.subject).or_default() += 1;
        }
    }
    found
}
