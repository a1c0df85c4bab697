//! The second dialect over real sockets against the whole program.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test"
)]

use std::{
    collections::BTreeMap,
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use serde_json::{Value, json};
use stentor_testkit::{Answer, BotStub, LegacyClient, Process, SecondClient, closed_after};

const PROGRAM: &str = env!("CARGO_BIN_EXE_stentor");

fn echo(request: &Value) -> Answer {
    let text = request["rawQuery"].as_str().unwrap_or("launch");
    Answer::Json(json!({ "outputSpeech": { "displayText": format!("echo {text}") } }).to_string())
}

/// The program with an app whose visitors may say much at once.
async fn start() -> (Process, BotStub) {
    let bot = BotStub::start(echo).await.unwrap();
    (start_with(&format!("bot: {{ url: '{}' }}, ", bot.url())).await, bot)
}

async fn start_with(spec: &str) -> Process {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("apps-{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let apps = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&apps).unwrap();
    let app = format!(
        "apiVersion: stentor.dev/v1alpha1\nkind: ChatApp\nmetadata: {{ name: demo }}\n\
         spec: {{ {spec}limits: {{ messagesPerSecond: 1000, burst: 10000 }} }}\n"
    );
    std::fs::write(apps.join("demo.yaml"), app).unwrap();
    std::fs::write(apps.join("key"), "k".repeat(64)).unwrap();
    Process::start(Path::new(PROGRAM), &["--apps", &apps.display().to_string()]).await.unwrap()
}

fn says(text: &str) -> impl Fn(&Value) -> bool {
    let text = text.to_owned();
    move |event| {
        event["text"] == text.as_str()
            || event["response"]["outputSpeech"]["displayText"] == text.as_str()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p1_a_message_is_acknowledged_as_the_event_that_it_became_and_answered() {
    let (server, _bot) = start().await;
    let mut client = SecondClient::visitor("first", 1);
    client.connect(server.port()).await.unwrap();
    let mid = client.say("hello").await.unwrap();
    client.settled(mid).await.unwrap();
    client.event("the answer", says("echo hello")).await.unwrap();
    client.check().unwrap();
    assert_eq!(client.texts(), ["hello", "echo hello"]);
    let kinds: Vec<_> = client.events.values().map(|event| event["kind"].clone()).collect();
    assert_eq!(
        kinds,
        ["withheld", "joined", "withheld", "message", "asked", "reply"],
        "{:#?}",
        client.events
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn i15_ten_thousand_notes_are_nothing_to_the_visitor_and_none_is_lost() {
    let key = "auth: { keys: [{ kid: k, algorithm: HS256, file: key }] }, ";
    let server = start_with(key).await;
    let mut visitor = SecondClient::visitor("notes", 1);
    visitor.connect(server.port()).await.unwrap();
    let mid = visitor.say("hello").await.unwrap();
    visitor.settled(mid).await.unwrap();
    let mut agent = SecondClient::with_token(&visitor.sid, 9, &agent_token());
    agent.connect(server.port()).await.unwrap();
    for _ in 0..100 {
        let mut last = 0;
        for number in 0..100 {
            let note = json!({ "text": format!("note {number}"), "note": true });
            last = agent.say_frame(note).await.unwrap();
        }
        agent.settled(last).await.unwrap();
    }
    assert_eq!((agent.acked.len(), agent.refused.len()), (10_000, 0));
    let mid = visitor.say("anybody?").await.unwrap();
    visitor.settled(mid).await.unwrap();
    visitor.event("all of it", says("anybody?")).await.unwrap();
    visitor.check().unwrap();
    assert_eq!(visitor.texts(), ["hello", "anybody?"]);
    let notes = |client: &SecondClient, kind: &str| {
        client.events.values().filter(|event| event["kind"] == kind).count()
    };
    assert_eq!(notes(&visitor, "note"), 0);
    assert!(notes(&visitor, "withheld") >= 10_000);
    agent.event("the visitor", says("anybody?")).await.unwrap();
    agent.check().unwrap();
    assert_eq!(notes(&agent, "note"), 10_000);
}

/// A token by the key that `start_with` puts beside the app.
fn agent_token() -> String {
    let key = Path::new(env!("CARGO_TARGET_TMPDIR")).join("agents-key");
    std::fs::write(&key, "k".repeat(64)).unwrap();
    let output = std::process::Command::new(PROGRAM)
        .args(["token", "mint", "--app", "demo", "--kid", "k", "--role", "agent"])
        .args(["--subject", "ada", "--key-file"])
        .arg(&key)
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn p5_whoever_comes_back_gets_all_that_was_missed_and_nothing_twice() {
    let (server, _bot) = start().await;
    let mut client = SecondClient::visitor("p5", 1);
    client.connect(server.port()).await.unwrap();
    let mid = client.say("one").await.unwrap();
    client.settled(mid).await.unwrap();
    let mut other = client.other_tab(2);
    other.connect(server.port()).await.unwrap();
    client.cut();
    let mid = other.say("two").await.unwrap();
    other.settled(mid).await.unwrap();
    other.event("the answer", says("echo two")).await.unwrap();
    // Said while away: it goes out with the next connection.
    client.say("three").await.unwrap_err();
    client.connect(server.port()).await.unwrap();
    client.event("the answer", says("echo three")).await.unwrap();
    other.event("the answer", says("echo three")).await.unwrap();
    client.check().unwrap();
    other.check().unwrap();
    assert_eq!(client.texts(), other.texts());
    assert_eq!(client.events, other.events, "I3: the same bytes for the same audience");
}

/// A linear congruential generator: all that is asked of it is to be the same everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

/// Talks through cuts at any moment.
async fn converse(port: u16, mut client: SecondClient, seed: u64, messages: u64) -> SecondClient {
    let mut dice = Dice(seed);
    let mut said = 0;
    let mut connected = false;
    loop {
        if !connected {
            client.cut();
            connected = client.connect(port).await.is_ok();
            if !connected {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            continue;
        }
        let going = match dice.roll(8) {
            0..=3 if said < messages => {
                said += 1;
                client.say(&format!("{seed}-{said}")).await.map(drop)
            }
            4 => {
                connected = false;
                continue;
            }
            _ if said == messages => client.settled(messages).await,
            _ => client.next().await.map(drop),
        };
        connected = going.is_ok();
        if connected && said == messages && client.acked.len() as u64 == messages {
            return client;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn i8_cut_at_any_moment_and_killed_in_between_every_transcript_is_the_log() {
    let (mut server, bot) = start().await;
    let port = server.port();
    let mut clients = Vec::new();
    for seed in 1..=4 {
        let mut one = SecondClient::visitor(&format!("i8-{seed}"), seed);
        one.connect(port).await.unwrap();
        let other = one.other_tab(100 + seed);
        clients.push(tokio::spawn(converse(port, one, seed, 25)));
        clients.push(tokio::spawn(converse(port, other, 100 + seed, 25)));
    }
    for kills in 1..=3_usize {
        let until = 40 * kills;
        while bot.seen().len() < until && !clients.iter().all(tokio::task::JoinHandle::is_finished)
        {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        server.kill().unwrap();
        server.start_again().await.unwrap();
    }
    let mut sessions: BTreeMap<String, Vec<SecondClient>> = BTreeMap::new();
    for client in clients {
        let client = client.await.unwrap();
        sessions.entry(client.sid.clone()).or_default().push(client);
    }
    assert_eq!(sessions.len(), 4);
    for tabs in sessions.values_mut() {
        for tab in tabs.iter_mut() {
            tab.cut();
            tab.connect(port).await.unwrap();
        }
        let last = tabs.iter().map(|tab| tab.head).max();
        for tab in tabs.iter_mut() {
            tab.event("the last event", |event| event["n"].as_u64() >= last).await.unwrap();
            tab.check().unwrap();
        }
        let both = |n: &u64| tabs.iter().all(|tab| tab.events.contains_key(n));
        let shared: Vec<u64> = tabs[0].events.keys().copied().filter(|n| both(n)).collect();
        assert!(shared.len() > 50);
        for n in shared {
            assert_eq!(tabs[0].events[&n], tabs[1].events[&n], "I3");
        }
        let mut texts = tabs[0].texts();
        texts.retain(|text| !text.starts_with("Please give me a moment"));
        let doubled =
            texts.iter().filter(|text| texts.iter().filter(|other| other == text).count() > 1);
        assert_eq!(doubled.count(), 0, "I5: {texts:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f22_an_outbox_sent_five_times_is_taken_once() {
    let (server, _bot) = start().await;
    let mut client = SecondClient::visitor("f22", 1);
    client.connect(server.port()).await.unwrap();
    for round in 0..5 {
        for mid in 1..=10_u64 {
            let text = format!("text {mid}");
            let sid = client.sid.clone();
            let send = json!({"t": "send", "sid": sid, "mid": mid, "text": text});
            client.send(&send).await.unwrap();
        }
        while client.acked.len() < 10 {
            client.next().await.unwrap();
        }
        println!("round {round} is taken");
    }
    let sync = json!({"t": "send", "sid": client.sid, "mid": 11, "text": "sync"});
    client.send(&sync).await.unwrap();
    client.event("the last answer", says("echo sync")).await.unwrap();
    client.check().unwrap();
    let said = client.texts().iter().filter(|text| text.starts_with("text")).count();
    assert_eq!(said, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_cursors_lead_to_a_view_and_other_peoples_sessions_to_nothing() {
    let (server, _bot) = start().await;
    let mut client = SecondClient::visitor("cursors", 1);
    client.connect(server.port()).await.unwrap();
    let mid = client.say("hello").await.unwrap();
    client.settled(mid).await.unwrap();
    let epoch = client.events.values().next().unwrap()["epoch"].as_u64().unwrap();
    for resume in [json!({"epoch": epoch, "n": 9_999}), json!({"epoch": epoch + 1, "n": 2})] {
        let open = json!({"t": "open", "sid": client.sid, "client": format!("{:032x}", 1),
            "lastMid": 1, "resume": resume});
        let opened = client.ask(open).await.unwrap();
        assert_eq!((&opened["recovered"], &opened["from"]), (&json!(false), &json!(1)), "{opened}");
        assert_eq!(opened["view"]["people"][0]["role"], "visitor");
        assert_eq!(opened["mid"], 1);
    }
    let mut stranger = SecondClient::visitor("stranger", 2);
    stranger.connect(server.port()).await.unwrap();
    let open = |sid: &str| json!({"t": "open", "sid": sid, "client": format!("{:032x}", 2)});
    let refused = stranger.ask(open(&client.sid)).await.unwrap();
    assert_eq!((&refused["t"], &refused["code"]), (&json!("refused"), &json!("noSession")));
    let unknown = format!("{}{}", &client.sid[..client.sid.len() - 4], "0000");
    let refused = stranger.ask(open(&unknown)).await.unwrap();
    assert_eq!((&refused["t"], &refused["code"]), (&json!("refused"), &json!("noSession")));
    let refused = stranger.ask(open("../../etc")).await.unwrap();
    assert_eq!(refused["code"], "malformed");
    let send = json!({"t": "send", "sid": client.sid, "mid": 1, "text": "let me in"});
    stranger.send(&send).await.unwrap();
    while !stranger.others.iter().any(|frame| frame["code"] == "notOpen") {
        stranger.next().await.unwrap();
    }
    for deed in ["take", "release", "end"] {
        let frame = json!({"t": deed, "sid": stranger.sid});
        let refused = stranger.ask(frame).await.unwrap();
        assert_eq!((&refused["code"], &refused["final"]), (&json!("forbidden"), &json!(true)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_opened_again_at_once_is_shown_from_each_cursor() {
    let (server, _bot) = start().await;
    let mut client = SecondClient::visitor("again", 1);
    client.connect(server.port()).await.unwrap();
    for number in 0..30 {
        client.say(&format!("message {number}")).await.unwrap();
    }
    client.settled(30).await.unwrap();
    let epoch = client.events.values().next().unwrap()["epoch"].clone();
    let mut raw = SecondClient::visitor("again", 2).vouched(client.token().unwrap());
    raw.connect(server.port()).await.unwrap();
    let mut answers = Vec::new();
    for (reference, n) in [(101, 0), (102, 40), (103, 0), (104, 7)] {
        let open = json!({"t": "open", "ref": reference, "sid": client.sid,
            "client": format!("{:032x}", 2), "resume": {"epoch": epoch, "n": n}});
        raw.send(&open).await.unwrap();
        answers.push((reference, n + 1));
    }
    let mut seen = Vec::new();
    let mut next = 0;
    while seen.len() < 4 || next <= seen.last().map_or(0, |(_, _, head)| *head) {
        let frame = raw.next_unchecked().await.unwrap();
        if frame["t"] == "opened" {
            assert_eq!(frame["recovered"], true, "{frame}");
            next = frame["from"].as_u64().unwrap();
            seen.push((frame["ref"].as_u64().unwrap(), next, frame["head"].as_u64().unwrap()));
        } else if frame["t"] == "event" && !seen.is_empty() {
            assert_eq!(frame["n"], next, "in order from the cursor");
            next += 1;
        }
    }
    let told: Vec<_> = seen.iter().map(|(reference, from, _)| (*reference, *from)).collect();
    assert_eq!(told, answers);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_cannot_be_taken_is_refused_by_name_and_the_next_one_is_taken() {
    let (server, _bot) = start().await;
    let mut client = SecondClient::visitor("refused", 1);
    client.connect(server.port()).await.unwrap();
    let empty = client.say("  ").await.unwrap();
    let bad = client.say_frame(json!({"request": {"type": "EVENT_REQUEST"}})).await.unwrap();
    let note = client.say_frame(json!({"text": "psst", "note": true})).await.unwrap();
    while client.refused.len() < 3 {
        client.next().await.unwrap();
    }
    assert_eq!(client.refused[&empty], "malformed");
    assert_eq!(client.refused[&bad], "malformed");
    assert_eq!(client.refused[&note], "malformed");
    let chosen = json!({"request": {"type": "OPTION_SELECT", "token": "blue"}});
    let mid = client.say_frame(chosen).await.unwrap();
    client.settled(mid).await.unwrap();
    let event = client.event("the choice", |event| event["request"]["token"] == "blue").await;
    assert!(event.unwrap().get("text").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_does_not_greet_or_speaks_nonsense_is_told_and_closed() {
    let (server, _bot) = start().await;
    for (frames, code) in [
        (vec![json!({"t": "open", "ref": 1, "name": "x", "client": "x"})], 4500),
        (vec![json!({"t": "hello", "app": "nowhere"})], 4404),
        (vec![json!({"t": "hello", "app": "demo", "token": "eyJ.e.e"})], 4401),
        (vec![json!({"t": "hello", "app": "demo"}), json!({"t": "hello", "app": "demo"})], 4500),
    ] {
        let path = if frames[0]["app"] == "nowhere" { "/" } else { "/?appId=demo" };
        let closed = closed_after(server.port(), path, &frames).await.unwrap();
        assert_eq!(closed, code, "{frames:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_tells_when_to_come_back() {
    let (mut server, _bot) = start().await;
    let mut client = SecondClient::visitor("drain", 1);
    client.connect(server.port()).await.unwrap();
    let stopping = tokio::spawn(async move { server.stop().await });
    let closed = loop {
        if let Err(error) = client.next().await {
            break error.to_string();
        }
    };
    assert!(closed.contains("1012") || closed.contains("Restart"), "{closed}");
    let drain = client.others.iter().find(|frame| frame["t"] == "drain").unwrap();
    assert!(drain["reconnectInMs"].as_u64().unwrap() >= 500);
    assert!(stopping.await.unwrap().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn both_dialects_are_served_side_by_side() {
    let (server, _bot) = start().await;
    let mut second = SecondClient::visitor("side", 1);
    second.connect(server.port()).await.unwrap();
    let mut first = LegacyClient::new(&LegacyClient::user_id(7), "side", 0);
    first.connect(server.port(), "/dev?appId=demo", "emitNoWs").await.unwrap();
    first.join().await.unwrap();
    first.say("from the widget").await.unwrap();
    let mid = second.say("from the second").await.unwrap();
    second.settled(mid).await.unwrap();
    first.wait_for_text("echo from the widget").await.unwrap();
    second.event("its answer", says("echo from the second")).await.unwrap();
    assert!(!first.transcript().rows().iter().any(|row| row.contains("second")), "S3");
}

#[tokio::test(flavor = "multi_thread")]
async fn f14_a_client_that_did_not_read_gets_everything_once_it_does() {
    let server = start_with("").await;
    let mut slow = SecondClient::visitor("f14", 1);
    slow.connect(server.port()).await.unwrap();
    let mut quick = slow.other_tab(2);
    quick.connect(server.port()).await.unwrap();
    let text = "x".repeat(20_000);
    for number in 1..=600 {
        let mid = quick.say(&format!("{number} {text}")).await.unwrap();
        if mid.is_multiple_of(10) {
            quick.settled(mid).await.unwrap();
        }
    }
    let mid = quick.say("the last one").await.unwrap();
    quick.settled(mid).await.unwrap();
    quick.event("the last one", says("the last one")).await.unwrap();
    if slow.event("the last one", says("the last one")).await.is_err() {
        // On a slow machine it has taken nothing for ten seconds, and was closed: it comes back where it was.
        assert_eq!(slow.broken, None);
        slow.cut();
        slow.connect(server.port()).await.unwrap();
        slow.event("the last one", says("the last one")).await.unwrap();
    }
    assert!(slow.texts() == quick.texts(), "they differ");
    let page = server.admin("/metrics").await.unwrap();
    let dropped = page.lines().find(|line| line.starts_with("stentor_gateway_outbox_drops_total "));
    assert_ne!(dropped, Some("stentor_gateway_outbox_drops_total 0"), "nothing had to be dropped");
}
