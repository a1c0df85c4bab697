//! What was fanned out and did not come, came twice, or came too soon.

use std::time::Duration;

use prost::Message as _;
use stentor_cluster::GatewayMessage;
use stentor_wire::pb;

use crate::{
    client::Client,
    owner::{Rig, Trouble, bot_says},
};

async fn joined(rig: &Rig) -> Client {
    let mut client = Client::open(rig).await;
    client.join("s-1").await;
    client.lines(3).await;
    client
}

#[tokio::test(start_paused = true)]
async fn p9_what_was_missed_is_fetched_and_shown_once_in_order() {
    let rig = Rig::new().await;
    let mut client = joined(&rig).await;
    let session = rig.owner.session("s-1");
    let events: Vec<_> = ["2", "3", "4", "5"]
        .into_iter()
        .map(|text| rig.owner.add(session, bot_says(text)))
        .collect();
    rig.fan_out(session, &events[3..], &[1]).await;
    for text in ["2", "3", "4", "5"] {
        let said = format!("new message: {text}");
        assert_eq!(client.lines(2).await, ["stop typing", &said]);
    }
    assert_eq!(rig.owner.asked()[1..], ["fetch 2 to 4"]);
    // Late and again: nothing.
    rig.fan_out(session, &events, &[1]).await;
    client.silence(Duration::from_secs(5)).await;
    assert_eq!(rig.metric("stentor_gateway_fetches_total"), 1.0);
}

#[tokio::test(start_paused = true)]
async fn p4_a_lost_last_message_is_noticed_by_the_head() {
    let rig = Rig::new().await;
    let mut client = joined(&rig).await;
    let session = rig.owner.session("s-1");
    rig.owner.add(session, bot_says("lost"));
    rig.owner.with(|state| state.troubles.push_back(Trouble::NoAnswer));
    rig.fan_out(session, &[], &[1]).await;
    assert_eq!(client.lines(2).await, ["stop typing", "new message: lost"]);
}

#[tokio::test(start_paused = true)]
async fn i15_a_router_that_cannot_name_all_that_was_missed_makes_every_socket_look() {
    let rig = Rig::new().await;
    let mut client = joined(&rig).await;
    let session = rig.owner.session("s-1");
    rig.owner.add(session, bot_says("lost"));
    let message = pb::Fanout { missed: true, ..Default::default() };
    rig.fanout.send(GatewayMessage::Fanout(message.encode_to_vec().into())).await.unwrap();
    assert_eq!(client.lines(2).await, ["stop typing", "new message: lost"]);
}

#[tokio::test(start_paused = true)]
async fn a_fan_out_that_comes_before_the_answer_waits_for_it() {
    let rig = Rig::new().await;
    let mut client = joined(&rig).await;
    let session = rig.owner.session("s-1");
    // The next attachment is out while something is said in the session it will bring.
    rig.owner.with(|state| state.troubles.push_back(Trouble::TryAgain));
    client.join("s-1").await;
    rig.owner.until(|state| state.troubles.is_empty()).await;
    rig.bot_says(session, "early", &[1]).await;
    let lines = client.lines(4).await;
    assert_eq!(lines, ["connection update", "user joined", "stop typing", "new message: early"]);
    client.silence(Duration::from_secs(5)).await;
}

#[tokio::test(start_paused = true)]
async fn events_that_cannot_be_fetched_end_in_a_new_attachment() {
    let rig = Rig::new().await;
    let mut client = joined(&rig).await;
    let session = rig.owner.session("s-1");
    let last = rig.owner.add(session, bot_says("2"));
    let last = {
        drop(last);
        rig.owner.add(session, bot_says("3"))
    };
    rig.owner.with(|state| state.events.get_mut(&session).unwrap().clear());
    rig.owner.with(|state| state.events.get_mut(&session).unwrap().resize(3, last.clone()));
    rig.fan_out(session, &[last], &[1]).await;
    assert_eq!(u16::from(client.closed().await.unwrap().code), 1012);
}

#[tokio::test(start_paused = true)]
async fn f14_a_widget_that_takes_nothing_is_closed_within_its_budget_and_others_go_on() {
    let rig = Rig::new().await;
    let path = format!("/?appId=demo&userId={}", crate::owner::USER);
    let origin = [("origin", crate::owner::ORIGIN)];
    let mut slow =
        Client::dial_from(&rig, crate::owner::LOCAL, &path, &origin, 4 * 1024).await.unwrap();
    slow.join("s-1").await;
    slow.lines(3).await;
    let mut other = joined(&rig).await;
    let session = rig.owner.session("s-1");
    let text = "x".repeat(10_000);
    for _ in 0..100 {
        let event = rig.owner.add(session, bot_says(&text));
        let events = [rig.owner.with(|state| state.events[&session][1].clone()), event];
        rig.fan_out(session, &events, &[1, 2]).await;
        assert_eq!(other.lines(2).await.len(), 2);
    }
    // It was behind by more than may wait for it: it has to come back and is shown what it missed.
    let mut read = 0;
    while let Some(Ok(message)) = futures_util::StreamExt::next(&mut slow.ws).await {
        read += message.len();
    }
    assert!(read < 600_000, "{read}");
    assert_eq!(rig.metric("stentor_gateway_outbox_drops_total"), 1.0);
    other.silence(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn i22_a_place_in_a_session_that_the_socket_does_not_know_of_is_given_up() {
    let rig = Rig::new().await;
    let mut client = joined(&rig).await;
    // "The latest session" was this one when the first attempt was committed, and another one when it was
    // sent again.
    let other = rig.owner.session("s-2");
    rig.bot_says(other, "for nobody", &[1]).await;
    rig.owner.until(|state| !state.detached.is_empty()).await;
    let left = rig.owner.with(|state| state.detached[0].session.clone());
    assert_eq!(stentor_wire::session_id(&left).unwrap(), other);
    client.silence(Duration::from_secs(5)).await;
}

#[tokio::test(start_paused = true)]
async fn i22_a_place_of_a_socket_that_is_gone_is_given_up() {
    let rig = Rig::new().await;
    let session = rig.owner.session("s-1");
    rig.bot_says(session, "for nobody", &[77]).await;
    rig.owner.until(|state| !state.detached.is_empty()).await;
    let left = rig.owner.with(|state| state.detached[0].session.clone());
    assert_eq!(stentor_wire::session_id(&left).unwrap(), session);
}
