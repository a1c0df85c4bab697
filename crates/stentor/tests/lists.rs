//! Lists of sessions, as staff see them, from real processes.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use std::{path::Path, process::Command};

use serde_json::{Value, json};
use stentor_testkit::{Answer, BotStub, Process, SecondClient};

const PROGRAM: &str = env!("CARGO_BIN_EXE_stentor");

fn answers(request: &Value) -> Answer {
    let text = request["rawQuery"].as_str().unwrap_or("launch");
    let mut response = json!({ "outputSpeech": { "displayText": format!("echo {text}") } });
    if text.starts_with("a person") {
        response["system"] = "HANDOFF".into();
    }
    Answer::Json(response.to_string())
}

async fn start() -> (Process, BotStub) {
    let bot = BotStub::start(answers).await.unwrap();
    let server = Process::start(Path::new(PROGRAM), &["--bot", bot.url()]).await.unwrap();
    (server, bot)
}

fn token(server: &Process, role: &str, subject: &str) -> String {
    mint(server, role, subject, &["--name", subject])
}

fn mint(server: &Process, role: &str, subject: &str, more: &[&str]) -> String {
    let output = Command::new(PROGRAM)
        .args(["token", "mint", "--app", "demo", "--kid", "demo", "--role", role])
        .args(["--subject", subject, "--key-file"])
        .arg(server.data().join("demo.key"))
        .args(more)
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

async fn visitor(server: &Process, number: u64, text: &str) -> SecondClient {
    let mut visitor = SecondClient::visitor("lists", number);
    visitor.connect(server.port()).await.unwrap();
    let mid = visitor.say(text).await.unwrap();
    visitor.settled(mid).await.unwrap();
    let echo = json!(format!("echo {text}"));
    let answered = |event: &Value| event["response"]["outputSpeech"]["displayText"] == echo;
    visitor.event("the bot", answered).await.unwrap();
    visitor
}

/// Asks until the list is as it is to be: routers write what lists show a moment after it has happened.
async fn list_until(
    agent: &mut SecondClient,
    request: Value,
    fits: impl Fn(&[Value]) -> bool,
) -> Vec<Value> {
    let until = tokio::time::Instant::now() + stentor_testkit::PATIENCE;
    loop {
        let listed = list(agent, request.clone()).await;
        if fits(&listed) {
            return listed;
        }
        assert!(tokio::time::Instant::now() < until, "{request}: {listed:?}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

async fn list(agent: &mut SecondClient, request: Value) -> Vec<Value> {
    let mut items = Vec::new();
    let mut request = request;
    request["t"] = "list".into();
    loop {
        let reply = agent.ask(request.clone()).await.unwrap();
        assert_eq!(reply["t"], "listed", "{reply}");
        items.extend(reply["items"].as_array().unwrap().iter().cloned());
        let Some(next) = reply.get("next") else { return items };
        request["after"] = next.clone();
    }
}

fn sids(items: &[Value]) -> Vec<&str> {
    items.iter().map(|item| item["sid"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_show_who_waits_who_answers_and_what_was_said_and_survive_a_kill() {
    let (mut server, _bot) = start().await;
    let mut one = visitor(&server, 1, "hello").await;
    let two = visitor(&server, 2, "a person please").await;
    let three = visitor(&server, 3, "Parcel lost").await;
    let ada = token(&server, "agent", "ada");
    let mut agent = SecondClient::with_token(&one.sid, 9, &ada);
    agent.connect(server.port()).await.unwrap();

    let is_all = |all: &[Value]| all.len() == 3 && all.iter().all(|item| item["lastFrom"] == "bot");
    let all = list_until(&mut agent, json!({}), is_all).await;
    assert_eq!((&all[0]["sid"], &all[0]["text"]), (&json!(three.sid), &json!("echo Parcel lost")));
    assert_eq!((&all[0]["lastFrom"], &all[0]["state"]), (&json!("bot"), &json!("bot")));
    assert_eq!(
        (&all[0]["present"], &all[0]["n"]),
        (&json!(true), &json!(three.events.keys().max()))
    );
    let waiting =
        list_until(&mut agent, json!({"filter": "waiting"}), |waiting| !waiting.is_empty()).await;
    assert_eq!(sids(&waiting), [&two.sid]);
    assert!(waiting[0]["since"].as_u64().unwrap() > 1_700_000_000_000, "{}", waiting[0]);
    let found = list(&mut agent, json!({"search": "parcel", "limit": 1})).await;
    assert_eq!(sids(&found), [&three.sid]);

    let done = agent.ask(json!({"t": "watch", "on": true})).await.unwrap();
    assert_eq!(done["t"], "done", "{done}");
    let took = agent.ask(json!({"t": "take", "sid": agent.sid})).await.unwrap();
    assert_eq!(took["t"], "done", "{took}");
    let mine = loop {
        let frame = agent.next().await.unwrap();
        let items = frame["items"].as_array().cloned().unwrap_or_default();
        let mine = items.into_iter().find(|item| item["state"] == "people");
        if let Some(mine) = mine.filter(|_| frame["t"] == "listChanged") {
            break mine;
        }
    };
    assert_eq!((&mine["sid"], &mine["mine"]), (&json!(one.sid), &json!(true)));
    assert_eq!(mine["people"][0]["name"], "ada");
    let mid = one.say("thanks").await.unwrap();
    one.settled(mid).await.unwrap();
    let ended = agent.ask(json!({"t": "end", "sid": one.sid})).await.unwrap();
    assert_eq!(ended["t"], "done", "{ended}");

    // Whatever was committed before the end shows after it.
    server.kill().unwrap();
    server.start_again().await.unwrap();
    agent.cut();
    agent.connect(server.port()).await.unwrap();
    let ended = list_until(&mut agent, json!({"filter": "ended"}), |ended| !ended.is_empty()).await;
    assert_eq!(sids(&ended), [&one.sid]);
    assert_eq!((&ended[0]["text"], &ended[0]["lastFrom"]), (&json!("thanks"), &json!("visitor")));
    assert_eq!(list(&mut agent, json!({"filter": "open"})).await.len(), 2);
    assert_eq!(list(&mut agent, json!({"limit": 1})).await.len(), 3, "page by page");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_finds_a_session_by_what_was_said_lately_by_its_id_and_by_its_user() {
    let (server, _bot) = start().await;
    let mut one = visitor(&server, 1, "My zebra is hungry").await;
    let two = visitor(&server, 2, "Parcel lost").await;
    let customer = mint(&server, "visitor", "customer-42", &[]);
    let mut three = SecondClient::visitor("lists", 3).vouched(&customer);
    three.connect(server.port()).await.unwrap();
    for (client, text) in [(&mut one, "something else"), (&mut three, "nothing")] {
        let mid = client.say(text).await.unwrap();
        client.settled(mid).await.unwrap();
    }
    let mut agent = SecondClient::with_token(&one.sid, 9, &token(&server, "observer", "ada"));
    agent.connect(server.port()).await.unwrap();
    let begin: String = two.sid.chars().take(12).collect();
    for (search, sid) in [
        // Neither in the last message, nor in any name.
        ("zebra", &one.sid),
        ("ZEBRA else", &one.sid),
        ("parcel", &two.sid),
        (two.sid.as_str(), &two.sid),
        (begin.as_str(), &two.sid),
        (three.you.as_str(), &three.sid),
        ("customer-42", &three.sid),
    ] {
        list_until(&mut agent, json!({"search": search}), |found| sids(found) == [sid]).await;
    }
    for search in ["zebra parcel", "customer-4", "Customer-42", "giraffe"] {
        assert_eq!(list(&mut agent, json!({"search": search})).await, Vec::<Value>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_for_staff_and_bad_requests_are_refused_by_name() {
    let (server, _bot) = start().await;
    let mut stranger = visitor(&server, 1, "hello").await;
    for request in [json!({"t": "list"}), json!({"t": "watch", "on": true})] {
        let refused = stranger.ask(request).await.unwrap();
        assert_eq!((&refused["t"], &refused["code"]), (&json!("refused"), &json!("forbidden")));
    }
    let eve = token(&server, "observer", "eve");
    let mut observer = SecondClient::with_token(&stranger.sid, 9, &eve);
    observer.connect(server.port()).await.unwrap();
    list_until(&mut observer, json!({}), |all| all.len() == 1).await;
    for after in ["", "zz", "abc", &"+f".repeat(32), &"ff".repeat(32)] {
        let reply = observer.ask(json!({"t": "list", "after": after})).await.unwrap();
        if after.len() == 64 && !after.contains('+') {
            // The end of time: everything comes after it.
            assert_eq!(reply["t"], "listed", "{reply}");
        } else {
            assert_eq!((&reply["t"], &reply["code"]), (&json!("refused"), &json!("malformed")));
            assert!(reply["text"].as_str().unwrap().starts_with("after"), "{reply}");
        }
    }
    let reply = observer.ask(json!({"t": "list", "filter": "secret"})).await.unwrap();
    assert!(reply["text"].as_str().unwrap().starts_with("filter: must be"), "{reply}");
}
