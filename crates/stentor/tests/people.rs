//! People at work over real sockets: they listen, step in, deal with drafts, hand back.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Output, Stdio},
    sync::Arc,
};

use serde_json::{Value, json};
use stentor_testkit::{Answer, BotStub, LegacyClient, Process, SecondClient, closed_after};
use tokio::sync::Notify;

const PROGRAM: &str = env!("CARGO_BIN_EXE_stentor");

fn answers(request: &Value) -> Answer {
    let text = request["rawQuery"].as_str().unwrap_or("launch");
    let mut response = json!({ "outputSpeech": { "displayText": format!("echo {text}") } });
    if text == "a person, please" {
        response["system"] = "HANDOFF".into();
    }
    Answer::Json(response.to_string())
}

async fn start() -> (Process, BotStub) {
    let bot = BotStub::start(answers).await.unwrap();
    let server = Process::start(Path::new(PROGRAM), &["--bot", bot.url()]).await.unwrap();
    (server, bot)
}

fn token(server: &Process, role: &str, subject: &str, more: &[&str]) -> String {
    let output = mint(&server.data().join("demo.key"), role, subject, more);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn mint(key: &Path, role: &str, subject: &str, more: &[&str]) -> Output {
    Command::new(PROGRAM)
        .args(["token", "mint", "--app", "demo", "--kid", "demo", "--role", role])
        .args(["--subject", subject, "--key-file"])
        .arg(key)
        .args(more)
        .output()
        .unwrap()
}

fn inspect(server: &Process, token: &str) -> (bool, String) {
    let mut child = Command::new(PROGRAM)
        .args(["token", "inspect", "--app", "demo", "--kid", "demo", "--key-file"])
        .arg(server.data().join("demo.key"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(token.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.success(), String::from_utf8(output.stdout).unwrap())
}

fn kind(kind: &str) -> impl Fn(&Value) -> bool {
    let kind = kind.to_owned();
    move |event| event["kind"] == kind.as_str()
}

fn says(text: &str) -> impl Fn(&Value) -> bool {
    let text = text.to_owned();
    move |event| {
        event["text"] == text.as_str()
            || event["response"]["outputSpeech"]["displayText"] == text.as_str()
    }
}

async fn settled(client: &mut SecondClient, text: &str) {
    let mid = client.say(text).await.unwrap();
    client.settled(mid).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_listens_steps_in_talks_and_hands_back_and_the_bot_is_told() {
    let (server, bot) = start().await;
    let port = server.port();
    let mut visitor = SecondClient::visitor("people", 1);
    visitor.connect(port).await.unwrap();
    settled(&mut visitor, "hello").await;
    visitor.event("the bot", says("echo hello")).await.unwrap();

    let ada = token(&server, "agent", "ada", &["--name", "Ada"]);
    let mut agent = SecondClient::with_token(&visitor.sid, 9, &ada);
    agent.connect(port).await.unwrap();
    agent.event("the past", says("echo hello")).await.unwrap();
    settled(&mut agent, "too early").await;
    assert_eq!(agent.refused[&1], "notInControl");
    let note = agent.say_frame(json!({"text": "looks lost", "note": true})).await.unwrap();
    agent.settled(note).await.unwrap();
    let took = agent.ask(json!({"t": "take", "sid": agent.sid})).await.unwrap();
    assert_eq!(took["t"], "done", "{took}");
    settled(&mut agent, "I am Ada").await;
    settled(&mut visitor, "a person!").await;
    agent.event("the visitor", says("a person!")).await.unwrap();
    let left = agent.ask(json!({"t": "release", "sid": agent.sid})).await.unwrap();
    assert_eq!(left["t"], "done", "{left}");
    settled(&mut visitor, "and now?").await;
    visitor.event("the bot again", says("echo and now?")).await.unwrap();

    let stepped = visitor.event("her coming", kind("stepIn")).await.unwrap();
    assert_eq!(stepped["name"], "Ada");
    visitor.event("her going", kind("stepOut")).await.unwrap();
    let message = visitor.event("her message", says("I am Ada")).await.unwrap();
    assert_eq!((&message["name"], &message["role"]), (&json!("Ada"), &json!("agent")));
    assert!(!visitor.events.values().any(|event| says("looks lost")(event)), "I18: a note");
    let joined = |event: &&Value| event["kind"] == "joined" && event["role"] == "agent";
    assert_eq!(visitor.events.values().filter(joined).count(), 0, "she listened without a trace");
    assert!(agent.events.values().any(|event| kind("note")(event)));
    agent.check().unwrap();
    visitor.check().unwrap();

    let asked = bot.seen();
    let asked: Vec<_> = asked.iter().map(|(_, request)| request["rawQuery"].clone()).collect();
    assert_eq!(asked, ["hello", "and now?"], "the bot was silent meanwhile");
    let told = &bot.seen()[1].1["attributes"]["handBack"]["transcript"];
    let texts: Vec<_> = told.as_array().unwrap().iter().map(|line| line["text"].clone()).collect();
    assert_eq!(texts, ["I am Ada", "a person!"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn i20_a_late_answer_is_a_draft_that_an_agent_sends_or_drops() {
    let now = Arc::new(Notify::new());
    let told = Arc::clone(&now);
    let bot = BotStub::start(move |request| {
        let text = request["rawQuery"].as_str().unwrap_or_default();
        let body = json!({ "outputSpeech": { "displayText": format!("echo {text}") } });
        Answer::When(Arc::clone(&told), body.to_string())
    })
    .await
    .unwrap();
    let server = Process::start(Path::new(PROGRAM), &["--bot", bot.url()]).await.unwrap();
    let mut visitor = SecondClient::visitor("draft", 1);
    visitor.connect(server.port()).await.unwrap();
    let ada = token(&server, "agent", "ada", &[]);
    settled(&mut visitor, "slow").await;
    let mut agent = SecondClient::with_token(&visitor.sid, 9, &ada);
    agent.connect(server.port()).await.unwrap();
    agent.ask(json!({"t": "take", "sid": agent.sid, "displayName": "Ada"})).await.unwrap();
    now.notify_one();
    let draft = agent.event("the draft", kind("draft")).await.unwrap();
    let send = json!({"t": "draft", "sid": agent.sid, "turn": draft["turn"], "do": "send"});
    assert!(!visitor.events.values().any(|event| says("echo slow")(event)), "I20");
    let sent = agent.ask(send.clone()).await.unwrap();
    assert!(sent["n"].is_u64(), "{sent}");
    assert_eq!(agent.ask(send).await.unwrap()["n"], Value::Null, "it is dealt with");
    let shown = visitor.event("what she passed on", kind("draftSent")).await.unwrap();
    assert_eq!(shown["response"]["outputSpeech"]["displayText"], "echo slow");
    let ended = agent.ask(json!({"t": "end", "sid": agent.sid})).await.unwrap();
    assert_eq!(ended["t"], "done");
    visitor.event("the end", kind("ended")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn s1_roles_may_do_what_they_may_and_forged_or_late_tokens_nothing() {
    let (server, _bot) = start().await;
    let port = server.port();
    let mut visitor = SecondClient::visitor("roles", 1);
    visitor.connect(port).await.unwrap();
    settled(&mut visitor, "hello").await;
    let observer = token(&server, "observer", "bob", &[]);
    let mut listener = SecondClient::with_token(&visitor.sid, 8, &observer);
    listener.connect(port).await.unwrap();
    listener.event("the past", says("hello")).await.unwrap();
    for deed in ["take", "release", "end"] {
        let refused = listener.ask(json!({"t": deed, "sid": listener.sid})).await.unwrap();
        assert_eq!(refused["code"], "forbidden", "{deed}");
    }
    settled(&mut listener, "I may not").await;
    assert_eq!(listener.refused[&1], "forbidden");

    // A visitor for whom the operator vouches is the same one everywhere, and not whoever claims the name.
    let vouched = token(&server, "visitor", "customer-7", &[]);
    let mut one = SecondClient::visitor("mine", 21).vouched(&vouched);
    let mut two = SecondClient::visitor("mine", 22).vouched(&vouched);
    one.connect(port).await.unwrap();
    two.connect(port).await.unwrap();
    assert_eq!(one.sid, two.sid);

    let other = tempfile::tempdir().unwrap();
    let forger = other.path().join("key");
    std::fs::write(&forger, "f".repeat(64)).unwrap();
    let forged = mint(&forger, "agent", "eve", &[]);
    let forged = String::from_utf8(forged.stdout).unwrap();
    let expired = token(&server, "agent", "ada", &["--minutes", "0"]);
    let (good, told) = inspect(&server, &observer);
    assert!(good && told.contains("role  Observer") && told.ends_with("good\n"), "{told}");
    let (good, told) = inspect(&server, forged.trim());
    assert!(!good && told.contains("signature is wrong"), "{told}");
    let changed = format!("{}x", &observer[..observer.len() - 2]);
    for token in [forged.trim(), &changed, "not.a.token"] {
        let hello = json!({"t": "hello", "app": "demo", "token": token});
        assert_eq!(closed_after(port, "/", &[hello]).await.unwrap(), 4401, "{token}");
    }
    // S16: the clock's tolerance is a minute, and then the socket is closed at once.
    let hello = json!({"t": "hello", "app": "demo", "token": expired});
    assert_eq!(closed_after(port, "/", &[hello]).await.unwrap(), 4401);
    let too_long = mint(&server.data().join("demo.key"), "agent", "ada", &["--minutes", "721"]);
    assert!(!too_long.status.success());
    assert!(String::from_utf8_lossy(&too_long.stderr).contains("12 hours"));
}

#[tokio::test(flavor = "multi_thread")]
async fn s16_who_is_revoked_is_closed_and_stays_out() {
    let apps = tempfile::tempdir().unwrap();
    let app = |auth: &str| {
        let app = format!(
            "apiVersion: stentor.dev/v1alpha1\nkind: ChatApp\nmetadata: {{ name: demo }}\nspec: \
             {{ auth: {{ {auth}keys: [{{ kid: demo, algorithm: HS256, file: key }}] }} }}\n"
        );
        std::fs::write(apps.path().join("demo.yaml"), app).unwrap();
    };
    std::fs::write(apps.path().join("key"), "k".repeat(64)).unwrap();
    app("");
    let folder = apps.path().display().to_string();
    let server = Process::start(Path::new(PROGRAM), &["--apps", &folder]).await.unwrap();
    let token = |subject: &str| {
        let output = mint(&apps.path().join("key"), "agent", subject, &[]);
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let mut visitor = SecondClient::visitor("people", 1);
    visitor.connect(server.port()).await.unwrap();
    settled(&mut visitor, "hello").await;
    let (ada, bob) = (token("ada"), token("bob"));
    let mut gone = SecondClient::with_token(&visitor.sid, 8, &ada);
    let mut stays = SecondClient::with_token(&visitor.sid, 9, &bob);
    gone.connect(server.port()).await.unwrap();
    stays.connect(server.port()).await.unwrap();
    app("revoked: [ada], ");
    // Whatever comes makes the socket look at who it serves; without anything it is the next ping.
    let closed = async { while gone.ask(json!({"t": "list"})).await.is_ok() {} };
    tokio::time::timeout(stentor_testkit::PATIENCE, closed).await.unwrap();
    let hello = |token: &str| json!({"t": "hello", "app": "demo", "token": token});
    assert_eq!(closed_after(server.port(), "/", &[hello(&ada)]).await.unwrap(), 4401);
    settled(&mut visitor, "still here").await;
    stays.event("the visitor", says("still here")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_widgets_visitor_is_seen_and_answered_by_an_agent() {
    let (server, bot) = start().await;
    let port = server.port();
    let mut widget = LegacyClient::new(&LegacyClient::user_id(3), "widget", 0);
    widget.connect(port, "/dev?appId=demo", "emitNoWs").await.unwrap();
    widget.join().await.unwrap();
    widget.say("a person, please").await.unwrap();
    widget.wait_for_text("echo a person, please").await.unwrap();
    let sid = bot.seen()[0].1["sessionId"].as_str().unwrap().to_owned();
    let ada = token(&server, "agent", "ada", &["--name", "Ada"]);
    let mut agent = SecondClient::with_token(&sid, 9, &ada);
    agent.connect(port).await.unwrap();
    let wanted = agent.event("the handoff", |event| event["handoff"] == true).await;
    wanted.unwrap();
    agent.ask(json!({"t": "take", "sid": sid})).await.unwrap();
    settled(&mut agent, "how can I help?").await;
    widget
        .wait_for("her coming", |frame| {
            frame["event"] == "user joined" && frame["sender"]["displayName"] == "Ada"
        })
        .await
        .unwrap();
    widget
        .wait_for("her message", |frame| {
            frame["event"] == "new message"
                && frame["data"]["rawQuery"] == "how can I help?"
                && frame["sender"]["displayName"] == "Ada"
        })
        .await
        .unwrap();
    widget.say("thank you").await.unwrap();
    agent.event("the visitor", says("thank you")).await.unwrap();
    agent.ask(json!({"t": "release", "sid": sid})).await.unwrap();
    widget
        .wait_for("her going", |frame| {
            frame["event"] == "user left" && frame["sender"]["displayName"] == "Ada"
        })
        .await
        .unwrap();
}
