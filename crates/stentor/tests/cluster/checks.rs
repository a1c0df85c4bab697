//! What must be true of every conversation after every fault. Texts are unique, so each check is one pass.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;
use stentor_testkit::{PATIENCE, SecondClient, same_event};
use tokio::time::Instant;

use crate::{
    load::Outcome,
    visitors::{Legacy, Second, text},
};

/// Between two tries of somebody who is told to try again.
const AGAIN: Duration = Duration::from_millis(200);
/// Tabs that only read are numbered from here.
const READERS: u64 = 1_000_000;

/// Checks everybody; whoever was cut off comes back once more by each gateway.
pub(crate) async fn always(outcome: &mut Outcome, ports: &[u16]) {
    for visitor in &mut outcome.second {
        second(visitor, ports).await;
    }
    for visitor in &outcome.legacy {
        widget(visitor);
    }
}

async fn second(visitor: &mut Second, ports: &[u16]) {
    let number = visitor.number;
    visitor.client.cut();
    come(&mut visitor.client, ports[0]).await;
    // The bot's last turn may still be under way.
    let last = format!("echo {}", text(number, visitor.said));
    let is_last = |event: &Value| event["kind"] == "reply" && event.to_string().contains(&last);
    let found = visitor.client.event("the last reply", is_last).await;
    found.unwrap_or_else(|error| panic!("visitor {number}: {error:#}"));
    // P1, I5, I6; I8 and I3 were checked with every frame.
    visitor.client.check().unwrap_or_else(|error| panic!("visitor {number}: {error:#}"));
    assert!(visitor.client.refused.is_empty(), "refused: {:?}", visitor.client.refused);
    assert_eq!(visitor.client.broken, None);
    let acked: Vec<_> = visitor.client.acked.keys().copied().collect();
    assert_eq!(acked, (1..=visitor.said).collect::<Vec<_>>(), "I4: what was said is dealt with");
    for (place, port) in ports.iter().enumerate() {
        let instance = READERS + number * 100 + u64::try_from(place).unwrap();
        let history = read(&visitor.client, instance, *port).await;
        history_is_right(visitor, number, &history);
    }
}

/// Connects, and asks again while a partition changes hands.
async fn come(client: &mut SecondClient, port: u16) {
    let until = Instant::now() + PATIENCE;
    while let Err(error) = client.connect(port).await {
        let is_busy = error.to_string().contains("\"busy\"");
        assert!(is_busy && Instant::now() < until, "{error:#}");
        tokio::time::sleep(AGAIN).await;
    }
}

/// The whole session as a new tab sees it.
async fn read(client: &SecondClient, instance: u64, port: u16) -> BTreeMap<u64, Value> {
    let mut reader = client.from_the_first(instance);
    come(&mut reader, port).await;
    while reader.last() < client.last() {
        reader.next().await.unwrap_or_else(|error| panic!("{error:#}"));
    }
    reader.events
}

fn history_is_right(visitor: &Second, number: u64, history: &BTreeMap<u64, Value>) {
    let numbers: Vec<_> = history.keys().copied().collect();
    let whole: Vec<_> = (1..=*numbers.last().unwrap()).collect();
    assert_eq!(numbers, whole, "I2: a hole in the session of visitor {number}");
    for (n, event) in &visitor.client.events {
        // I3, I9: what was seen is in the history, and the same.
        let kept = history.get(n);
        let is_same = kept.is_some_and(|kept| same_event(event, kept));
        assert!(is_same, "I3: event {n} of visitor {number}: {event} and {kept:?}");
    }
    let mut said: BTreeMap<&str, usize> = BTreeMap::new();
    let mut replied: BTreeMap<String, usize> = BTreeMap::new();
    for event in history.values() {
        if let (Some("message"), Some(text)) = (event["kind"].as_str(), event["text"].as_str()) {
            *said.entry(text).or_default() += 1;
        }
        if event["kind"] == "reply" {
            let speech = &event["response"]["outputSpeech"];
            let text = speech["displayText"].as_str().or_else(|| speech.as_str());
            *replied.entry(text.unwrap_or_default().to_owned()).or_default() += 1;
        }
    }
    for count in 1..=visitor.said {
        let text = text(number, count);
        let shown = || shown(history);
        assert_eq!(said.get(text.as_str()), Some(&1), "P1, P2: {text}\n{}", shown());
        let reply = format!("echo {text}");
        assert_eq!(replied.get(&reply), Some(&1), "P6: {reply}\n{}", shown());
    }
}

/// A session, one event per line, for whoever has to find out what went wrong.
fn shown(history: &BTreeMap<u64, Value>) -> String {
    history.values().map(|event| format!("{event}\n")).collect()
}

fn widget(visitor: &Legacy) {
    visitor.client.transcript().check(&["accessToken"]).unwrap();
    let mut rows: BTreeMap<String, usize> = BTreeMap::new();
    for row in visitor.client.transcript().rows() {
        *rows.entry(row).or_default() += 1;
    }
    let twice: Vec<_> =
        rows.iter().filter(|(row, count)| row.starts_with("echo visitor") && **count > 1).collect();
    assert!(twice.is_empty(), "shown twice: {twice:?}");
}
