//! The end of a gateway.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use stentor_cluster::GatewayMessage;
use tokio_tungstenite::tungstenite::Message;

use crate::{
    client::Client,
    owner::{Rig, Trouble},
};

#[tokio::test(start_paused = true)]
async fn p9_a_drain_finishes_what_is_out_and_takes_what_still_comes() {
    let rig = Rig::new().await;
    let mut client = Client::open(&rig).await;
    client.join("s-1").await;
    client.lines(3).await;
    rig.owner.with(|state| state.troubles.push_back(Trouble::TryAgain));
    client.say("s-1", "out").await;
    rig.owner.until(|state| state.troubles.is_empty()).await;
    rig.drain.cancel();
    // The widget has not seen our Close yet and says something more.
    client.say("s-1", "still coming").await;
    assert_eq!(u16::from(client.closed().await.unwrap().code), 1012);
    while let Some(Ok(_)) = client.ws.next().await {}
    rig.running.await.unwrap().unwrap();
    let texts = rig
        .owner
        .with(|state| state.says.iter().map(|say| say.text.clone().unwrap()).collect::<Vec<_>>());
    assert_eq!(texts, ["out", "still coming"]);
    assert_eq!(rig.owner.asked().last().unwrap(), "detach");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_answers_the_close_is_waited_for_five_seconds() {
    let rig = Rig::new().await;
    let mut client = Client::open(&rig).await;
    client.join("s-1").await;
    client.lines(3).await;
    rig.drain.cancel();
    let began = tokio::time::Instant::now();
    rig.running.await.unwrap().unwrap();
    assert!((4..=6).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    assert_eq!(rig.owner.asked().last().unwrap(), "detach");
}

#[tokio::test(start_paused = true)]
async fn closings_are_spread_over_half_of_the_drain() {
    let rig = Rig::new().await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(Client::open(&rig).await);
    }
    rig.drain.cancel();
    let began = tokio::time::Instant::now();
    let closed = clients.into_iter().map(|mut client| async move {
        client.closed().await.unwrap();
        let at = tokio::time::Instant::now();
        while let Some(Ok(_)) = client.ws.next().await {}
        at
    });
    let times = futures_util::future::join_all(closed).await;
    let last = times.iter().max().unwrap().duration_since(began);
    let early = times.iter().filter(|at| at.duration_since(began) < Duration::from_secs(5)).count();
    assert!((8..=10).contains(&last.as_secs()), "{last:?}");
    assert!((8..=12).contains(&early), "{early}");
    rig.running.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn p9_what_was_read_before_the_socket_broke_is_committed_before_the_session_is_told() {
    let rig = Rig::new().await;
    let mut client = Client::open(&rig).await;
    client.join("s-1").await;
    client.lines(3).await;
    rig.owner.with(|state| state.troubles.push_back(Trouble::Unavailable));
    client.say("s-1", "1").await;
    client.say("s-1", "2").await;
    client.ws.send(Message::Close(None)).await.unwrap();
    drop(client);
    rig.owner.until(|state| !state.detached.is_empty()).await;
    let asked = rig.owner.asked();
    assert_eq!(asked[asked.len() - 3..], ["say 1", "say 2", "detach"]);
    assert_eq!(rig.owner.with(|state| state.detached[0].delivered), Some(1));
}

/// Panics when it is thrown away.
struct Bomb;

impl AsRef<[u8]> for Bomb {
    fn as_ref(&self) -> &[u8] {
        &[]
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("on purpose");
    }
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_loses_its_fan_out_to_a_panic_closes_its_sockets_and_ends() {
    let rig = Rig::new().await;
    let mut client = Client::open(&rig).await;
    client.join("s-1").await;
    client.lines(3).await;
    let message = GatewayMessage::Fanout(bytes::Bytes::from_owner(Bomb));
    rig.fanout.send(message).await.unwrap();
    assert_eq!(u16::from(client.closed().await.unwrap().code), 1012);
    let ended = tokio::time::timeout(Duration::from_secs(600), rig.running).await;
    assert!(ended.expect("it ends").unwrap().is_err());
}
