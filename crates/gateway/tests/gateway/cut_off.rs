//! A gateway that cannot reach the owners of sessions.

use std::time::Duration;

use futures_util::StreamExt;
use serde_json::json;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Error;

use crate::{
    client::Client,
    owner::{ORIGIN, Rig, Trouble, USER},
};

/// Waits until a socket is accepted again.
async fn accepted(rig: &Rig) -> Client {
    let path = format!("/?appId=demo&userId={USER}&isAdmin=false&createWsReason=emitNoWs");
    for _ in 0..1_000 {
        if let Ok(client) = Client::dial(rig, &path, &[("origin", ORIGIN)]).await {
            return client;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("nobody is accepted");
}

/// Waits until a handshake is refused, and tells how.
async fn refused(rig: &Rig) -> http::Response<Option<Vec<u8>>> {
    for _ in 0..1_000 {
        match Client::dial(rig, "/?appId=demo", &[("origin", ORIGIN)]).await {
            Err(Error::Http(answer)) => return *answer,
            Err(error) => panic!("{error}"),
            Ok(_) => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
    panic!("everybody is accepted");
}

#[tokio::test(start_paused = true)]
async fn cluster_17_a_gateway_that_is_cut_off_sends_its_sockets_away_at_a_pace_and_takes_no_others()
{
    let rig = Rig::new().await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(Client::open(&rig).await);
    }
    let began = Instant::now();
    rig.line.send_replace(true);
    let closed = clients.into_iter().map(|mut client| async move {
        let close = client.closed().await.unwrap();
        assert_eq!(u16::from(close.code), 1012);
        let at = Instant::now();
        while let Some(Ok(_)) = client.ws.next().await {}
        at.duration_since(began)
    });
    let (times, answer) = tokio::join!(futures_util::future::join_all(closed), refused(&rig));
    let last = times.iter().max().unwrap();
    let early = times.iter().filter(|at| at.as_secs() < 5).count();
    assert!((8..=10).contains(&last.as_secs()), "{last:?}");
    assert!((8..=12).contains(&early), "{early}");
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers()["retry-after"], "5");
    assert!(rig.metric("stentor_gateway_connections_closed_total") >= 20.0);
}

#[tokio::test(start_paused = true)]
async fn cluster_17_a_client_of_the_second_dialect_is_told_to_come_back_elsewhere() {
    let rig = Rig::new().await;
    let headers = [("origin", ORIGIN), ("sec-websocket-protocol", "stentor.v2")];
    let mut client = Client::dial(&rig, "/", &headers).await.unwrap();
    client.send(json!({ "t": "hello", "app": "demo" }).to_string()).await;
    assert_eq!(client.next().await["t"], "welcome");
    rig.line.send_replace(true);
    let drain = client.next().await;
    assert_eq!(drain["t"], "drain", "{drain}");
    assert!((500..3_500).contains(&drain["reconnectInMs"].as_u64().unwrap()), "{drain}");
    assert_eq!(u16::from(client.closed().await.unwrap().code), 1012);
}

#[tokio::test(start_paused = true)]
async fn cluster_17_whoever_is_still_there_when_the_line_is_back_stays_and_is_served_as_before() {
    let rig = Rig::new().await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(Client::open(&rig).await);
    }
    rig.line.send_replace(true);
    // In the middle of the ten seconds.
    tokio::time::sleep(Duration::from_secs(5)).await;
    rig.line.send_replace(false);
    let mut newcomer = accepted(&rig).await;
    // Longer than another round would have taken.
    tokio::time::sleep(Duration::from_secs(30)).await;
    let closed = rig.metric("stentor_gateway_connections_closed_total");
    assert!((8.0..=12.0).contains(&closed), "{closed}");
    newcomer.join("s-1").await;
    newcomer.lines(3).await;
    newcomer.say("s-1", "as before").await;
    rig.owner.until(|state| state.says.len() == 1).await;
}

#[tokio::test(start_paused = true)]
async fn cluster_17_what_a_socket_had_said_before_it_was_sent_away_is_taken_all_the_same() {
    let rig = Rig::new().await;
    let mut client = Client::open(&rig).await;
    client.join("s-1").await;
    client.lines(3).await;
    rig.owner.with(|state| state.troubles.extend([Trouble::Unavailable; 4]));
    client.say("s-1", "1").await;
    client.say("s-1", "2").await;
    rig.owner.until(|state| state.troubles.len() < 4).await;
    rig.line.send_replace(true);
    assert_eq!(u16::from(client.closed().await.unwrap().code), 1012);
    drop(client);
    rig.owner.until(|state| !state.detached.is_empty()).await;
    let asked = rig.owner.asked();
    assert_eq!(asked[asked.len() - 3..], ["say 1", "say 2", "detach"]);
}
