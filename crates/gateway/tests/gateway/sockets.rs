//! Pings, stalls, violations and limits of sockets.

use std::{net::IpAddr, time::Duration};

use futures_util::{SinkExt, StreamExt};
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::tungstenite::{
    Message,
    protocol::frame::{
        Frame,
        coding::{Data, OpCode},
    },
};

use crate::{
    client::Client,
    owner::{ORIGIN, Rig, USER},
};

#[tokio::test(start_paused = true)]
async fn s11_a_peer_that_answers_no_ping_is_gone_after_two() {
    let rig = Rig::new().await;
    let mut client = Client::open(&rig).await;
    client.join("s-1").await;
    client.lines(3).await;
    let began = tokio::time::Instant::now();
    // Nobody reads, so nobody answers.
    rig.owner.until(|state| !state.detached.is_empty()).await;
    let took = began.elapsed().as_secs();
    assert!((50..=76).contains(&took), "{took}");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_answers_pings_stays_for_ever() {
    let rig = Rig::new().await;
    let mut client = Client::open(&rig).await;
    client.join("s-1").await;
    client.lines(3).await;
    client.silence(Duration::from_secs(3_600)).await;
    client.say("s-1", "still here").await;
    rig.owner.until(|state| state.says.len() == 1).await;
}

#[tokio::test(start_paused = true)]
async fn s8_a_message_in_too_many_pieces_closes_with_1009() {
    let rig = Rig::new().await;
    let mut client = Client::open(&rig).await;
    let piece = |code, last| Message::Frame(Frame::message("x", OpCode::Data(code), last));
    client.ws.send(piece(Data::Text, false)).await.unwrap();
    for _ in 0..62 {
        client.ws.send(piece(Data::Continue, false)).await.unwrap();
    }
    client.ws.send(piece(Data::Continue, true)).await.unwrap();
    assert_eq!(client.line().await, "connection update", "64 pieces of nonsense are just that");
    client.ws.send(piece(Data::Text, false)).await.unwrap();
    for _ in 0..70 {
        if client.ws.send(piece(Data::Continue, false)).await.is_err() {
            break;
        }
    }
    assert_eq!(u16::from(client.closed().await.unwrap().code), 1009);
}

#[tokio::test(start_paused = true)]
async fn s8_violations_are_answered_with_their_codes() {
    for (bytes, code) in [
        // Text that is not UTF-8, masked with zeros.
        (&[0x81, 0x82, 0, 0, 0, 0, 0xff, 0xff][..], 1007),
        // Not masked.
        (&[0x81, 0x01, b'x'][..], 1002),
        // A reserved opcode.
        (&[0x83, 0x80, 0, 0, 0, 0][..], 1002),
        // A continuation of nothing.
        (&[0x80, 0x80, 0, 0, 0, 0][..], 1002),
    ] {
        let rig = Rig::new().await;
        let mut client = Client::open(&rig).await;
        client.line().await;
        client.ws.get_mut().write_all(bytes).await.unwrap();
        assert_eq!(u16::from(client.closed().await.unwrap().code), code, "{bytes:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn s12_one_user_has_so_many_sockets_and_no_more() {
    let rig = Rig::with(
        |config| config,
        |mut app| {
            app.limits.connections_per_user = 2;
            app
        },
    )
    .await;
    let mut one = Client::open(&rig).await;
    let _two = Client::open(&rig).await;
    let mut three = Client::open(&rig).await;
    assert_eq!(u16::from(three.closed().await.unwrap().code), 1013, "come back later");
    one.ws.close(None).await.unwrap();
    while let Some(Ok(_)) = one.ws.next().await {}
    let mut four = Client::open(&rig).await;
    assert_eq!(four.next().await["data"]["sessionCreated"], true);
}

#[tokio::test(start_paused = true)]
async fn s12_one_address_has_so_many_sockets_and_no_more() {
    let rig = Rig::with(
        |mut config| {
            config.limits.connections_per_address = 1;
            config
        },
        |app| app,
    )
    .await;
    let far: IpAddr = "192.0.2.9".parse().unwrap();
    let path = format!("/?appId=demo&userId={USER}");
    let dial = || Client::dial_from(&rig, far, &path, &[("origin", ORIGIN)], 65_536);
    let first = dial().await;
    assert!(first.is_ok());
    let Err(tokio_tungstenite::tungstenite::Error::Http(refused)) = dial().await else {
        panic!("let in");
    };
    assert_eq!(refused.status(), 429);
    assert!(refused.headers().contains_key("retry-after"));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_comes_in_halves_around_a_ping_is_whole() {
    let rig = Rig::new().await;
    let mut client = Client::open(&rig).await;
    client.join("s-1").await;
    client.lines(3).await;
    // Buffers are given back at a ping; what is in them must not be.
    for text in ["one", "two"] {
        let mut frame = client.frame("new message", "s-1");
        frame["data"] = crate::client::request(text);
        let payload = frame.to_string().into_bytes();
        let mut bytes = vec![0x81, 0x80 | 126];
        bytes.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
        bytes.extend([0; 4]);
        bytes.extend(payload);
        for part in [&bytes[..1], &bytes[1..3], &bytes[3..100], &bytes[100..]] {
            client.ws.get_mut().write_all(part).await.unwrap();
            // Not read meanwhile: an answer to a ping must not get into the middle.
            tokio::time::sleep(Duration::from_secs(26)).await;
        }
        client.silence(Duration::from_secs(60)).await;
    }
    let said = rig.owner.with(|state| std::mem::take(&mut state.says));
    let texts: Vec<_> = said.iter().map(|say| say.text.as_deref().unwrap()).collect();
    assert_eq!(texts, ["one", "two"]);
}
