//! When the owner of a session does not answer, not now, or not well.

use std::time::Duration;

use crate::{
    client::Client,
    owner::{Rig, Trouble},
};

async fn joined(rig: &Rig) -> Client {
    let mut client = Client::open(rig).await;
    client.join("s-1").await;
    client.lines(3).await;
    client
}

fn troubles(rig: &Rig, troubles: impl IntoIterator<Item = Trouble>) {
    rig.owner.with(|state| state.troubles.extend(troubles));
}

#[tokio::test(start_paused = true)]
async fn p9_a_message_is_sent_again_until_it_is_taken_and_is_taken_once() {
    let rig = Rig::new().await;
    let mut client = joined(&rig).await;
    troubles(&rig, [Trouble::NoAnswer, Trouble::Unavailable, Trouble::Hangs, Trouble::TryAgain]);
    client.say("s-1", "1").await;
    client.say("s-1", "2").await;
    rig.owner.until(|state| state.says.len() == 2).await;
    let texts = rig
        .owner
        .with(|state| state.says.iter().map(|say| say.text.clone().unwrap()).collect::<Vec<_>>());
    assert_eq!(texts, ["1", "2"]);
    assert_eq!(rig.owner.asked()[1..], ["say 1", "say 1", "say 2"]);
}

#[tokio::test(start_paused = true)]
async fn after_thirty_seconds_the_widget_is_told_and_told_again_when_it_works() {
    let rig = Rig::new().await;
    let mut client = joined(&rig).await;
    troubles(&rig, [Trouble::Unavailable; 7]);
    let began = tokio::time::Instant::now();
    client.say("s-1", "hello").await;
    assert_eq!(client.line().await, "disconnect");
    let told = began.elapsed().as_secs();
    assert!((30..=45).contains(&told), "{told}");
    assert_eq!(client.lines(2).await, ["reconnect", "account status"]);
    rig.owner.until(|state| state.says.len() == 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_session_that_forgot_the_connection_is_attached_to_again_with_the_same_message() {
    let rig = Rig::new().await;
    let mut client = joined(&rig).await;
    client.say("s-1", "1").await;
    rig.owner.until(|state| state.says.len() == 1).await;
    troubles(&rig, [Trouble::AttachFirst]);
    client.say("s-1", "2").await;
    rig.owner.until(|state| state.says.len() == 2).await;
    client.silence(Duration::from_secs(5)).await;
    // What happened meanwhile was fanned out to others only.
    assert_eq!(rig.owner.asked()[2..], ["attach s-1 after 1", "say 2", "fetch 2 to 3"]);
}

#[tokio::test(start_paused = true)]
async fn i15_when_nothing_is_taken_the_socket_is_not_read() {
    let rig = Rig::new().await;
    let mut client = joined(&rig).await;
    troubles(&rig, [Trouble::Hangs; 1_000]);
    let long = "x".repeat(1_000);
    let mut sent = 0;
    let flood = async {
        loop {
            client.say("s-1", &long).await;
            sent += 1;
            // At the rate that is allowed.
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(120), flood).await;
    // 64 wait in the gateway, the rest fills the network's 64 KiB.
    assert!((64..=120).contains(&sent), "{sent}");
}

#[tokio::test(start_paused = true)]
async fn a_message_that_the_session_refuses_is_answered_in_the_bots_voice() {
    let rig = Rig::new().await;
    let mut client = joined(&rig).await;
    troubles(&rig, [Trouble::Refused]);
    client.say("s-1", "1").await;
    let refused = client.next().await;
    assert_eq!(refused["sender"]["deviceId"], "Bot");
    assert_eq!(refused["timeMs"].as_i64().unwrap() % 2, 1, "no event has an odd stamp");
    client.say("s-1", "2").await;
    rig.owner.until(|state| state.says.len() == 1).await;
    assert_eq!(rig.owner.with(|state| state.says[0].counter), 2);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_forgets_the_connection_for_ever_ends_in_a_new_one() {
    let rig = Rig::new().await;
    let mut client = joined(&rig).await;
    rig.owner.with(|state| state.forgets = true);
    client.say("s-1", "1").await;
    assert_eq!(u16::from(client.closed().await.unwrap().code), 1012);
}
