//! The whole program as a process: killed, stopped and started again under conversations.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test"
)]

use std::{
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};

use http::{Method, StatusCode};
use serde_json::Value;
use stentor_testkit::{Answer, BotStub, LegacyClient, PATIENCE, Process, SecondClient, Web};

const PROGRAM: &str = env!("CARGO_BIN_EXE_stentor");
const APP: &str = "/dev?appId=demo";

fn echo(request: &Value) -> Answer {
    let text = request["rawQuery"].as_str().unwrap_or("launch");
    Answer::Json(
        serde_json::json!({ "outputSpeech": { "displayText": format!("echo {text}") } })
            .to_string(),
    )
}

fn sound(data: &Path) {
    let output = Command::new(PROGRAM).args(["verify", "--data"]).arg(data).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// One visitor who says things through kills: reconnects, and finds out what was taken.
async fn converse(port: u16, number: u64, messages: u64) -> (LegacyClient, Vec<String>) {
    let mut client =
        LegacyClient::new(&LegacyClient::user_id(number), &format!("chat-{number}"), 0);
    let mut answered = Vec::new();
    reconnect(&mut client, port).await;
    for message in 1..=messages {
        let text = format!("c{number}-m{message}");
        loop {
            let said = client.say(&text).await.is_ok();
            if said && client.wait_for_text(&format!("echo {text}")).await.is_ok() {
                break;
            }
            // Cut off in the middle. A replay, or the answer still to come, says whether it was taken.
            reconnect(&mut client, port).await;
            let sync = format!("c{number}-sync{message}");
            let answered = client.say(&sync).await.is_ok()
                && client.wait_for_text(&format!("echo {sync}")).await.is_ok();
            if answered && client.transcript().rows().contains(&format!("echo {text}")) {
                break;
            }
        }
        answered.push(format!("echo {text}"));
    }
    (client, answered)
}

async fn reconnect(client: &mut LegacyClient, port: u16) {
    client.cut();
    loop {
        let connected = client.connect(port, APP, "emitNoWs").await.is_ok();
        if connected && client.join().await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p10_kill_9_loses_nothing_that_was_answered_and_doubles_nothing() {
    let bot = BotStub::start(echo).await.unwrap();
    let mut server = Process::start(Path::new(PROGRAM), &["--bot", bot.url()]).await.unwrap();
    let port = server.port();
    let visitors: Vec<_> = (1..=8).map(|number| tokio::spawn(converse(port, number, 30))).collect();
    for kills in 1..=4_usize {
        // Not by the clock: after so many questions more.
        let until = bot.seen().len() + 30 * kills;
        while bot.seen().len() < until && !visitors.iter().all(tokio::task::JoinHandle::is_finished)
        {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        server.kill().unwrap();
        server.start_again().await.unwrap();
    }
    let mut clients = Vec::new();
    for visitor in visitors {
        clients.push(visitor.await.unwrap());
    }
    for (client, answered) in &clients {
        client.transcript().check(&["accessToken"]).unwrap();
        let rows = client.transcript().rows();
        for answer in answered {
            let times = rows.iter().filter(|row| *row == answer).count();
            // A message that was cut off and repeated by its author is two messages; each has one answer.
            let said = client.transcript().entries.iter().filter(|entry| {
                entry.frame["data"]["rawQuery"]
                    .as_str()
                    .is_some_and(|said| format!("echo {said}") == *answer)
            });
            assert!(times >= 1, "{answer} is missing: {rows:?}");
            assert!(times <= said.count(), "{answer} is there {times} times: {rows:?}");
        }
    }
    assert!(server.stop().await.unwrap().success());
    sound(server.data());
}

/// What a visitor was told to be taken: its text, and mostly which event it is.
type Acked = Arc<Mutex<Vec<(String, Option<u64>)>>>;

/// One visitor who notes what is acknowledged, through kills.
async fn note_acks(port: u16, mut client: SecondClient, messages: u64, acked: Acked) {
    for message in 1..=messages {
        let text = format!("message {message} of {}", client.sid);
        let mut sent = client.say(&text).await.is_ok();
        while !sent || client.settled(message).await.is_err() {
            client.cut();
            sent = client.connect(port).await.is_ok();
        }
        assert!(client.refused.is_empty(), "{:?}", client.refused);
        acked.lock().unwrap().push((text, client.acked[&message]));
    }
}

/// Somebody who joins again and again, and must find what was acknowledged before. Returns how often.
async fn join_again(port: u16, sid: String, token: String, all: usize, acked: Acked) -> usize {
    let mut web = Web { origin: None, bearer: Some(token.clone()), ..Web::new(port) };
    let events = format!("/api/v1/sessions/{sid}/events");
    for joins in 1.. {
        // A snapshot of the promises first, then the join.
        let promised = acked.lock().unwrap().clone();
        let highest = promised.iter().filter_map(|(_, n)| *n).max().unwrap_or(0);
        let (joined, read) = loop {
            let mut joined = SecondClient::with_token(&sid, 1_000, &token);
            let came = joined.connect(port).await.is_ok();
            assert_eq!(joined.broken, None);
            if !came {
                continue;
            }
            assert!(joined.head >= highest, "I9: joined at {}, {highest} was acked", joined.head);
            let all = async { while joined.last() < joined.head && joined.next().await.is_ok() {} };
            let shown = tokio::time::timeout(PATIENCE, all).await;
            assert!(shown.is_ok(), "I9: {} of {} events are shown", joined.last(), joined.head);
            let read = web.json(Method::GET, &events, "").await;
            let Ok((StatusCode::OK, read)) = read else { continue };
            if joined.last() >= joined.head {
                break (joined, read);
            }
        };
        let read = read["events"].as_array().unwrap();
        for (text, n) in &promised {
            let is_it =
                |event: &Value| event["text"] == text.as_str() && n.is_none_or(|n| event["n"] == n);
            assert!(joined.events.values().any(is_it), "I9: {text:?}, acked as {n:?}, not shown");
            assert!(read.iter().any(is_it), "I9: {text:?}, acked as {n:?}, is not read");
        }
        if promised.len() == all {
            return joins;
        }
    }
    0
}

#[tokio::test(flavor = "multi_thread")]
async fn i9_who_joins_reads_all_that_was_acknowledged_before_also_over_kills() {
    const MESSAGES: u64 = 15;
    let mut server = Process::start(Path::new(PROGRAM), &[]).await.unwrap();
    let port = server.port();
    let minted = Command::new(PROGRAM)
        .args(["token", "mint", "--app", "demo", "--kid", "demo", "--role", "observer"])
        .args(["--subject", "ada", "--key-file"])
        .arg(server.data().join("demo.key"))
        .output()
        .unwrap();
    let token = String::from_utf8(minted.stdout).unwrap().trim().to_owned();
    let (mut visitors, mut joiners, mut notes) = (Vec::new(), Vec::new(), Vec::new());
    for number in 1..=3 {
        let mut client = SecondClient::visitor(&format!("i9-{number}"), number);
        client.connect(port).await.unwrap();
        let (sid, acked) = (client.sid.clone(), Acked::default());
        let all = usize::try_from(MESSAGES).unwrap();
        visitors.push(tokio::spawn(note_acks(port, client, MESSAGES, Arc::clone(&acked))));
        joiners.push(tokio::spawn(join_again(port, sid, token.clone(), all, Arc::clone(&acked))));
        notes.push(acked);
    }
    for kills in 1..=2_usize {
        // Not by the clock: after so many acknowledgements more.
        let acked = || notes.iter().map(|acked| acked.lock().unwrap().len()).sum::<usize>();
        while acked() < 12 * kills && !visitors.iter().all(tokio::task::JoinHandle::is_finished) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        server.kill().unwrap();
        server.start_again().await.unwrap();
    }
    for visitor in visitors {
        visitor.await.unwrap();
    }
    for joiner in joiners {
        assert!(joiner.await.unwrap() >= 2, "only one join: nothing was shown of those before");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p6_a_question_that_was_out_when_the_process_died_is_answered_once_under_the_same_key() {
    let slow = |request: &Value| match request["rawQuery"].as_str() {
        Some("wait") => Answer::Hang,
        _ => echo(request),
    };
    let hanging = BotStub::start(slow).await.unwrap();
    let mut server = Process::start(Path::new(PROGRAM), &["--bot", hanging.url()]).await.unwrap();
    let mut client = LegacyClient::new(&LegacyClient::user_id(7), "chat", 0);
    reconnect(&mut client, server.port()).await;
    client.say("wait").await.unwrap();
    while hanging.seen().is_empty() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    server.kill().unwrap();
    server.start_again().await.unwrap();
    while hanging.seen().len() < 2 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let seen = hanging.seen();
    assert_eq!(seen[0], seen[1], "the same question under the same key");
    assert!(seen[0].1["sessionId"] != "chat", "bots are told our session id");
    // Only the user's own id proves who they are: without a word the socket is back in its chat.
    client.cut();
    client.connect(server.port(), APP, "wakeup").await.unwrap();
    client.wait_for("typing", |frame| frame["event"] == "typing").await.unwrap();
    drop(server);
}

#[tokio::test(flavor = "multi_thread")]
async fn p9_a_stop_in_order_loses_nothing() {
    let bot = BotStub::start(echo).await.unwrap();
    let mut server = Process::start(Path::new(PROGRAM), &["--bot", bot.url()]).await.unwrap();
    let mut client = LegacyClient::new(&LegacyClient::user_id(1), "chat", 0);
    reconnect(&mut client, server.port()).await;
    client.say("first").await.unwrap();
    client.wait_for_text("echo first").await.unwrap();
    for number in 0..10 {
        client.say(&format!("burst{number}")).await.unwrap();
    }
    assert!(server.stop().await.unwrap().success());
    sound(server.data());
    server.start_again().await.unwrap();
    reconnect(&mut client, server.port()).await;
    client.wait_for_text("echo burst9").await.unwrap();
    let rows = client.transcript().rows();
    let burst: Vec<_> = rows.iter().filter(|row| row.starts_with("echo burst")).collect();
    let expected: Vec<_> = (0..10).map(|number| format!("echo burst{number}")).collect();
    assert_eq!(burst, expected.iter().collect::<Vec<_>>());
    assert_eq!(bot.most_at_once(), 1, "I13: one question of a session at a time");
    client.transcript().check(&[]).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn f6_a_bot_that_fails_is_counted_down_and_others_go_on() {
    let bot = BotStub::start(|request| match request["rawQuery"].as_str() {
        Some("fail") => Answer::Http(500, "text/plain", "no".into()),
        _ => echo(request),
    });
    let bot = bot.await.unwrap();
    let server = Process::start(Path::new(PROGRAM), &["--bot", bot.url()]).await.unwrap();
    let mut failing = LegacyClient::new(&LegacyClient::user_id(1), "chat", 0);
    let mut well = LegacyClient::new(&LegacyClient::user_id(2), "chat", 60_000);
    reconnect(&mut failing, server.port()).await;
    reconnect(&mut well, server.port()).await;
    failing.say("fail").await.unwrap();
    let mut failures = Vec::new();
    for number in 0..3 {
        let failure =
            failing.wait_for("failure", |frame| frame["event"] == "failure").await.unwrap();
        failures.push((failure["data"]["tries"].clone(), failure["data"]["delay"].clone()));
        well.say(&format!("hello{number}")).await.unwrap();
        well.wait_for_text(&format!("echo hello{number}")).await.unwrap();
    }
    let expected =
        [(1, 5), (2, 5), (3, 0)].map(|(tries, delay)| (Value::from(tries), Value::from(delay)));
    assert_eq!(failures, expected);
    failing.say("again").await.unwrap();
    failing.wait_for_text("echo again").await.unwrap();
    failing.transcript().check(&[&LegacyClient::user_id(2)]).unwrap();
    well.transcript().check(&[&LegacyClient::user_id(1)]).unwrap();
    // A clock a minute fast: what it is told is stamped in its own time, above what it said.
    let said = well.transcript().entries.iter().filter_map(|entry| entry.frame["timeMs"].as_i64());
    let said: Vec<_> = said.collect();
    assert!(said.windows(2).skip(3).all(|pair| pair[0] <= pair[1] + 1_000), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn s2_a_page_of_somebody_else_gets_no_socket() {
    let server = Process::start(Path::new(PROGRAM), &[]).await.unwrap();
    let mut client = LegacyClient::new(&LegacyClient::user_id(1), "chat", 0);
    for origin in [
        "http://evil.example",
        "https://127.0.0.1.evil.example",
        "null",
        "http://localhost.evil.example",
        "file://",
    ] {
        let refused = client.connect_from(server.port(), APP, "emitNoWs", Some(origin)).await;
        assert!(refused.unwrap_err().to_string().contains("403"), "{origin}");
    }
    let own = format!("http://127.0.0.1:{}", server.port());
    client.connect_from(server.port(), APP, "emitNoWs", Some(&own)).await.unwrap();
    let metrics = server.admin("/metrics").await.unwrap();
    assert!(metrics.contains("stentor_build_info{version="));
}

#[tokio::test(flavor = "multi_thread")]
async fn both_forms_of_the_url_lead_to_the_app() {
    let server = Process::start(Path::new(PROGRAM), &[]).await.unwrap();
    for path in ["/a/b/c?appId=demo&key=x", "/dev", "/"] {
        let mut client = LegacyClient::new(&LegacyClient::user_id(1), path, 0);
        client.connect(server.port(), path, "emitNoWs").await.unwrap();
        let urls = serde_json::json!({ "path": ["dev", "demo"] });
        let sender = serde_json::json!({ "deviceId": "Widget", "userId": LegacyClient::user_id(1),
            "isAdmin": false, "urlAttributes": urls });
        client.send_as("user joined", None, sender).await.unwrap();
        client.say("hello").await.unwrap();
        client.wait_for_text("You said: hello").await.unwrap();
    }
}
