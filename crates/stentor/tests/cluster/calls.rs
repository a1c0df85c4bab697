//! Connectors die while a bot thinks.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use stentor_testkit::{Answer, PATIENCE, SecondClient, cluster::ClusterOptions};
use tokio::time::Instant;

use crate::setting::{Setting, echo};

#[tokio::test(flavor = "multi_thread")]
async fn f5_a_call_whose_connector_was_killed_is_made_again_under_the_same_key() {
    let calls: Arc<AtomicUsize> = Arc::default();
    let counted = Arc::clone(&calls);
    // The first call never ends.
    let answer = move |request: &serde_json::Value| match request["rawQuery"].as_str() {
        Some("think") if counted.fetch_add(1, Ordering::SeqCst) == 0 => Answer::Hang,
        _ => echo(request),
    };
    let mut setting = Setting::with_bot(ClusterOptions::without_database, answer).await;
    let mut client = SecondClient::visitor("chat", 1).at_page();
    client.connect(setting.cluster.gateway_ports()[0]).await.unwrap();
    client.say("think").await.unwrap();
    let until = Instant::now() + PATIENCE;
    while calls.load(Ordering::SeqCst) == 0 {
        assert!(Instant::now() < until, "the bot is not called");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    setting.cluster.kill("connector-1").unwrap();
    setting.cluster.start_again("connector-1").await.unwrap();
    let replied = |event: &serde_json::Value| event.to_string().contains("echo think");
    client.event("the reply", replied).await.unwrap_or_else(|error| panic!("{error:#}"));
    let keys: Vec<_> = setting.bot.seen().into_iter().map(|(key, _)| key).collect();
    assert!(keys.len() >= 2, "called {} times", keys.len());
    assert!(keys.iter().all(|key| *key == keys[0] && !key.is_empty()), "P6: {keys:?}");
    // What comes next is not the same reply once more.
    client.say("on").await.unwrap();
    let next = |event: &serde_json::Value| event.to_string().contains("echo on");
    client.event("the next reply", next).await.unwrap_or_else(|error| panic!("{error:#}"));
    let replies = client.events.values().filter(|event| replied(event)).count();
    assert_eq!(replies, 1, "P6: applied {replies} times");
    setting.end().await;
}
