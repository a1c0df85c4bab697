//! Which sockets are let in.

use std::time::Duration;

use stentor_apps::AppSet;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Error;

use crate::{
    client::Client,
    owner::{LOCAL, ORIGIN, Rig, USER, app},
};

async fn status(rig: &Rig, path: &str, headers: &[(&'static str, &str)]) -> u16 {
    match Client::dial(rig, path, headers).await {
        Ok(_) => 101,
        Err(Error::Http(refused)) => refused.status().as_u16(),
        Err(other) => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn s2_foreign_pages_get_403_and_unknown_apps_404_with_a_reason() {
    let rig = Rig::new().await;
    let path = format!("/any/path?appId=demo&userId={USER}");
    assert_eq!(status(&rig, &path, &[("origin", ORIGIN)]).await, 101);
    assert_eq!(status(&rig, &path, &[("origin", "https://evil.example")]).await, 403);
    assert_eq!(status(&rig, &path, &[("origin", "null")]).await, 403);
    assert_eq!(status(&rig, &path, &[]).await, 403);
    assert_eq!(status(&rig, "/?appId=none", &[("origin", ORIGIN)]).await, 404);
    assert_eq!(status(&rig, "/dev", &[("origin", ORIGIN)]).await, 101);
    assert_eq!(status(&rig, "/dev", &[("origin", "https://evil.example")]).await, 403);
}

#[tokio::test(start_paused = true)]
async fn s21_in_dev_this_machine_may_omit_the_origin() {
    let dev = Rig::with(|config| stentor_gateway::Config { dev: true, ..config }, |app| app).await;
    assert_eq!(status(&dev, "/?appId=demo", &[]).await, 101);
    assert_eq!(status(&dev, "/?appId=demo", &[("origin", "http://localhost:8080")]).await, 101);
    assert_eq!(status(&dev, "/?appId=demo", &[("origin", "https://evil.example")]).await, 403);
    let far = "192.0.2.9".parse().unwrap();
    assert!(Client::dial_from(&dev, far, "/?appId=demo", &[], 4_096).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn trap_28_an_old_url_leaves_the_app_to_the_first_frame() {
    let rig = Rig::new().await;
    rig.apps.send(std::sync::Arc::new(AppSet::new([app("demo"), app("other")]))).unwrap();
    let path = format!("/dev?userId={USER}");
    for (named, served) in [("other", true), ("none", false)] {
        let mut client = Client::dial(&rig, &path, &[("origin", ORIGIN)]).await.unwrap();
        assert_eq!(client.line().await, "connection update");
        client.silence(Duration::from_secs(5)).await;
        let before = rig.owner.asked().len();
        let mut frame = client.frame("user joined", "s-1");
        frame["sender"]["urlAttributes"]["path"] = serde_json::json!(["dev", named]);
        client.send(frame.to_string()).await;
        assert_eq!(client.next().await["data"]["sessionCreated"], served);
        assert_eq!(rig.owner.asked().len() - before, usize::from(served));
    }
}

#[tokio::test(start_paused = true)]
async fn s4_an_id_that_is_not_random_counts_with_the_cookie_of_the_101() {
    let rig = Rig::new().await;
    let path = "/?appId=demo&userId=customer-42";
    let (near, far) = tokio::io::duplex(65_536);
    let acceptor = rig.acceptor.clone();
    tokio::spawn(async move { acceptor.serve(far, LOCAL).await });
    let mut request =
        tokio_tungstenite::tungstenite::client::IntoClientRequest::into_client_request(format!(
            "ws://gateway{path}"
        ))
        .unwrap();
    request.headers_mut().append("origin", ORIGIN.parse().unwrap());
    let (_ws, response) = tokio_tungstenite::client_async(request, near).await.unwrap();
    let cookie = response.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(cookie.contains("HttpOnly"));
    let pair = cookie.split(';').next().unwrap();
    let with_cookie = [("origin", ORIGIN), ("cookie", pair)];
    for headers in [&with_cookie[..], &with_cookie[..], &with_cookie[..1]] {
        let mut client = Client::dial(&rig, path, headers).await.unwrap();
        client.join("s-1").await;
        client.lines(3).await;
    }
    let users = rig.owner.with(|state| state.users.clone());
    assert_eq!(users[0], users[1]);
    assert_ne!(users[0], users[2], "whoever only knows the number is somebody else");
}

#[tokio::test(start_paused = true)]
async fn s11_a_head_that_does_not_come_in_five_seconds_ends_the_connection() {
    let rig = Rig::new().await;
    let (mut near, far) = tokio::io::duplex(65_536);
    let acceptor = rig.acceptor.clone();
    tokio::spawn(async move { acceptor.serve(far, LOCAL).await });
    near.write_all(b"GET / HTTP/1.1\r\nhost: ").await.unwrap();
    let began = tokio::time::Instant::now();
    let mut answer = Vec::new();
    near.read_to_end(&mut answer).await.unwrap();
    assert_eq!(began.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn s9_compression_that_is_offered_is_not_taken() {
    let rig = Rig::new().await;
    let (mut near, far) = tokio::io::duplex(65_536);
    let acceptor = rig.acceptor.clone();
    tokio::spawn(async move { acceptor.serve(far, LOCAL).await });
    let request = format!(
        "GET /dev?appId=demo&userId={USER}&isAdmin=false HTTP/1.1\r\nhost: localhost\r\n\
         origin: {ORIGIN}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         sec-websocket-extensions: permessage-deflate; client_max_window_bits\r\n\r\n"
    );
    near.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(near.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    assert!(head.starts_with("http/1.1 101"), "{head}");
    assert!(!head.contains("sec-websocket-extensions"), "{head}");
}

/// The status line of what comes back for these bytes, sent so many at a time.
async fn answered(rig: &Rig, request: &[u8], at_a_time: usize) -> String {
    let (near, far) = tokio::io::duplex(1024);
    let acceptor = rig.acceptor.clone();
    tokio::spawn(async move { acceptor.serve(far, LOCAL).await });
    let (mut reading, mut writing) = tokio::io::split(near);
    let request = request.to_vec();
    let sent = tokio::spawn(async move {
        for piece in request.chunks(at_a_time) {
            // The rest of what was refused in the middle is not taken.
            if writing.write_all(piece).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        writing
    });
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        line.push(reading.read_u8().await.unwrap());
    }
    sent.abort();
    String::from_utf8(line).unwrap().trim_end().to_owned()
}

/// A request with a head of exactly so many bytes.
fn with_head(first: &str, bytes: usize) -> Vec<u8> {
    let begin = format!("{first}\r\nhost: localhost\r\norigin: {ORIGIN}\r\nx-long: ");
    let long = "x".repeat(bytes - begin.len() - 4);
    format!("{begin}{long}\r\n\r\n").into_bytes()
}

#[tokio::test(start_paused = true)]
async fn s11_a_head_of_8_kib_is_served_and_one_byte_more_is_refused() {
    let rig = Rig::new().await;
    let upgrade = format!(
        "GET /dev?appId=demo&userId={USER} HTTP/1.1\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ=="
    );
    let plain = "GET /api/v1/openapi.json HTTP/1.1";
    for at_a_time in [1, 1_000, 100_000] {
        for (first, served) in
            [(plain, "HTTP/1.1 200 OK"), (&upgrade, "HTTP/1.1 101 Switching Protocols")]
        {
            let fits = answered(&rig, &with_head(first, 8_192), at_a_time).await;
            assert_eq!(fits, served, "{at_a_time} at a time");
            for bytes in [8_193, 9_000, 100_000] {
                let refused = answered(&rig, &with_head(first, bytes), at_a_time).await;
                assert_eq!(
                    refused, "HTTP/1.1 431 Request Header Fields Too Large",
                    "{bytes} bytes"
                );
            }
        }
        // The body is no part of the head.
        let body =
            format!("{{\"t\":\"hello\",\"app\":\"demo\",\"x\":\"{}\"}}", "x".repeat(200_000));
        let first = format!("POST /v2/frames HTTP/1.1\r\ncontent-length: {}", body.len());
        let request = [with_head(&first, 8_192), body.into_bytes()].concat();
        let taken = answered(&rig, &request, at_a_time.max(100)).await;
        assert!(!taken.contains("431") && !taken.contains("413"), "{taken}");
    }
}
