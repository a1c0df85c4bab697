//! Frames that are not taken.

use std::time::Duration;

use futures_util::SinkExt;
use tokio_tungstenite::tungstenite::Message;

use crate::{
    client::Client,
    owner::{ORIGIN, Rig, USER},
};

#[tokio::test(start_paused = true)]
async fn s1_a_forged_admin_is_refused_and_served_nothing() {
    let rig = Rig::new().await;
    rig.owner.session("s-1");
    let path = format!("/?appId=demo&userId={USER}&isAdmin=true&createWsReason=wakeup");
    let mut client = Client::dial(&rig, &path, &[("origin", ORIGIN)]).await.unwrap();
    let refused = client.next().await;
    assert_eq!(refused["event"], "connection update");
    assert_eq!(refused["data"]["sessionCreated"], false);
    assert!(refused["data"]["errorMessage"].is_string());
    client.join("s-1").await;
    client.say("s-1", "let me in").await;
    let barge = client.frame("barge in", "s-1");
    client.send(barge.to_string()).await;
    client.silence(Duration::from_secs(20)).await;
    assert!(rig.owner.asked().is_empty());
}

#[tokio::test(start_paused = true)]
async fn s1_a_visitor_cannot_barge_in() {
    let rig = Rig::new().await;
    let mut client = Client::open(&rig).await;
    client.join("s-1").await;
    client.lines(3).await;
    let barge = client.frame("barge in", "s-1");
    client.send(barge.to_string()).await;
    assert!(client.line().await.starts_with("new message: I could not take"));
    assert_eq!(rig.owner.asked(), ["attach s-1 after 0"]);
}

#[tokio::test(start_paused = true)]
async fn s8_a_message_that_is_too_long_is_answered_and_one_that_is_far_too_long_closes() {
    let rig = Rig::new().await;
    let mut client = Client::open(&rig).await;
    client.join("s-1").await;
    client.lines(3).await;
    client.say("s-1", &"x".repeat(70_000)).await;
    assert!(client.line().await.starts_with("new message: That message is too long"));
    client.say("s-1", &"x".repeat(60_000)).await;
    rig.owner.until(|state| state.says.len() == 1).await;
    client.send("x".repeat(300_000)).await;
    assert_eq!(u16::from(client.closed().await.unwrap().code), 1009);
}

#[tokio::test(start_paused = true)]
async fn s12_too_many_messages_are_not_taken_and_that_is_said_once_in_ten_seconds() {
    let rig = Rig::new().await;
    let mut client = Client::open(&rig).await;
    client.join("s-1").await;
    client.lines(3).await;
    for _ in 0..50 {
        client.say("s-1", "flood").await;
    }
    assert!(client.line().await.starts_with("new message: That was a little fast"));
    client.silence(Duration::from_secs(9)).await;
    let taken = rig.owner.with(|state| state.says.len());
    // A burst of 20, one of which was the join.
    assert!((19..=21).contains(&taken), "{taken}");
    client.say("s-1", "slower").await;
    rig.owner.until(|state| state.says.len() == taken + 1).await;
}

#[tokio::test(start_paused = true)]
async fn s10_nonsense_is_ignored_and_too_much_of_it_closes() {
    let patient = |mut app: stentor_apps::App| {
        app.limits.burst = 1_000;
        app
    };
    let rig = Rig::with(|config| config, patient).await;
    let mut client = Client::open(&rig).await;
    let deep = format!("{}{}", "[".repeat(40), "]".repeat(40));
    let mut nonsense = vec!["", "null", "42", "{", "{\"event\":\"drop table\"}", "[]"];
    nonsense.push(&deep);
    for text in &nonsense {
        client.send((*text).to_owned()).await;
    }
    client.ws.send(Message::binary(vec![1, 2, 3])).await.unwrap();
    client.say("s-1", "still here").await;
    rig.owner.until(|state| state.says.len() == 1).await;
    for _ in 0..40 {
        if client.ws.send(Message::text("{")).await.is_err() {
            break;
        }
    }
    assert_eq!(u16::from(client.closed().await.unwrap().code), 1008);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_no_request_is_refused_and_takes_no_number() {
    let rig = Rig::new().await;
    let mut client = Client::open(&rig).await;
    let mut bad = client.frame("new message", "s-1");
    bad["data"] = serde_json::json!({ "type": "SESSION_ENDED_REQUEST" });
    client.send(bad.to_string()).await;
    client.say("s-1", "good").await;
    rig.owner.until(|state| state.says.len() == 1).await;
    assert_eq!(rig.owner.with(|state| state.says[0].counter), 1);
    let lines = client.lines(4).await;
    assert!(lines[3].starts_with("new message: I could not take"), "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn s3_another_user_with_the_same_session_id_is_another_visitor() {
    let rig = Rig::new().await;
    let mut client = Client::open(&rig).await;
    client.join("s-1").await;
    let path = "/?appId=demo&userId=2c9d6bcd-bbfd-65d4-9f1a-0c1e5f2a7d34";
    let mut thief = Client::dial(&rig, path, &[("origin", ORIGIN)]).await.unwrap();
    thief.join("s-1").await;
    rig.owner.until(|state| state.users.len() == 2).await;
    let users = rig.owner.with(|state| state.users.clone());
    assert_ne!(users[0], users[1]);
}
