//! The second dialect without WebSockets, and logging in: plain requests against the whole program.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use std::{path::Path, process::Command};

use http::{Method, StatusCode};
use serde_json::{Value, json};
use stentor_testkit::{Answer, BotStub, LegacyClient, PATIENCE, Process, SecondClient, Web};

const PROGRAM: &str = env!("CARGO_BIN_EXE_stentor");
const CLIENT: &str = "0123456789abcdef0123456789abcdef";

async fn start() -> (Process, BotStub) {
    let echo = |request: &Value| {
        let text = request["rawQuery"].as_str().unwrap_or("launch");
        let answer = json!({ "outputSpeech": { "displayText": format!("echo {text}") } });
        Answer::Json(answer.to_string())
    };
    let bot = BotStub::start(echo).await.unwrap();
    let server = Process::start(Path::new(PROGRAM), &["--bot", bot.url()]).await.unwrap();
    (server, bot)
}

fn mint(server: &Process, more: &[&str]) -> String {
    let output = Command::new(PROGRAM)
        .args(["token", "mint", "--app", "demo", "--kid", "demo", "--key-file"])
        .arg(server.data().join("demo.key"))
        .args(more)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A login code for Ada.
fn code(server: &Process) -> String {
    let address = format!("http://127.0.0.1:{}", server.port());
    let link =
        mint(server, &["--role", "agent", "--subject", "ada", "--name", "Ada", "--link", &address]);
    let (page, code) = link.split_once("#login=").unwrap();
    assert_eq!(page, format!("{address}/agents/"));
    code.to_owned()
}

async fn logged_in(server: &Process) -> Web {
    let mut web = Web::new(server.port());
    let body = json!({ "code": code(server) }).to_string();
    let (status, text) = web.ask(Method::POST, "/api/v1/login", &body).await.unwrap();
    assert_eq!((status, text.as_str()), (StatusCode::NO_CONTENT, ""));
    web
}

fn open(resume: Option<(u64, u64)>, last_mid: u64) -> Value {
    let mut open =
        json!({ "t": "open", "ref": 1, "name": "chat", "client": CLIENT, "lastMid": last_mid });
    if let Some((epoch, n)) = resume {
        open["resume"] = json!({ "epoch": epoch, "n": n });
    }
    open
}

#[tokio::test(flavor = "multi_thread")]
async fn p5_streams_and_exchanges_keep_every_promise_of_a_socket_over_cuts_and_kills() {
    let (mut server, bot) = start().await;
    let mut web = Web::new(server.port());
    let mut stream =
        web.stream(&[json!({"t": "hello", "app": "demo"}), open(None, 0)]).await.unwrap();
    let device = stream.until(|frame| frame["t"] == "welcome").await.unwrap()["device"].clone();
    let hello = json!({ "t": "hello", "app": "demo", "token": device });
    let opened = stream.until(|frame| frame["t"] == "opened").await.unwrap();
    let sid = opened["sid"].as_str().unwrap().to_owned();
    let epoch = opened["epoch"].as_u64().unwrap();
    let mut seen: Vec<Value> = Vec::new();
    for mid in 1..=6_u64 {
        let text = format!("message {mid}");
        let frames = [
            hello.clone(),
            open(seen.last().map(|event| (epoch, event["n"].as_u64().unwrap())), mid - 1),
            json!({ "t": "send", "sid": sid, "mid": mid, "text": text }),
        ];
        // Twice: whoever heard no answer sends the same again.
        let first = web.exchange(&frames).await.unwrap();
        let again = web.exchange(&frames).await.unwrap();
        let ack = |answers: &[Value]| {
            let ack = answers.iter().find(|answer| answer["t"] == "ack").cloned();
            ack.unwrap_or_else(|| panic!("{answers:?}"))
        };
        assert_eq!(ack(&first)["n"], ack(&again)["n"]);
        assert!(first.iter().all(|answer| answer["t"] != "event"), "{first:?}");
        if mid == 3 {
            server.kill().unwrap();
            server.start_again().await.unwrap();
        }
        if mid % 2 == 1 {
            drop(stream);
            let resume = seen.last().map(|event| (epoch, event["n"].as_u64().unwrap()));
            stream = web.stream(&[hello.clone(), open(resume, mid)]).await.unwrap();
            let opened = stream.until(|frame| frame["t"] == "opened").await.unwrap();
            assert_eq!(opened["recovered"], resume.is_some());
        }
        let answer = json!(format!("echo {text}"));
        loop {
            let event = stream.until(|frame| frame["t"] == "event").await.unwrap();
            seen.push(event);
            if seen.last().unwrap()["response"]["outputSpeech"]["displayText"] == answer {
                break;
            }
        }
    }
    let numbers: Vec<_> = seen.iter().map(|event| event["n"].as_u64().unwrap()).collect();
    let expected: Vec<_> = (1..=numbers.len() as u64).collect();
    assert_eq!(numbers, expected, "I8");
    let said = seen.iter().filter(|event| event["kind"] == "message").count();
    assert_eq!((said, bot.seen().len()), (6, 6), "I5");
    // The same over a socket: the same events, and who types is told.
    let mut other = SecondClient::visitor("chat", 7).vouched(device.as_str().unwrap());
    other.connect(server.port()).await.unwrap();
    let typing = json!({ "t": "typing", "sid": sid, "on": true });
    web.exchange(&[hello.clone(), open(None, 6), typing]).await.unwrap();
    let typing = async { while other.next().await.unwrap()["t"] != "typing" {} };
    tokio::time::timeout(PATIENCE, typing).await.unwrap();
    other.event("the last", |event| event["n"] == *numbers.last().unwrap()).await.unwrap();
    assert!(seen.iter().all(|event| other.events[&event["n"].as_u64().unwrap()] == *event), "I3");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_exchanges_are_answered_with_a_status_and_a_reason() {
    let (server, _bot) = start().await;
    let mut web = Web::new(server.port());
    let hello = json!({ "t": "hello", "app": "demo" }).to_string();
    let many = format!("{hello}\n").repeat(130);
    let long = "x".repeat(1_100_000);
    for (body, status, part) in [
        ("", StatusCode::BAD_REQUEST, "hello"),
        ("nonsense", StatusCode::BAD_REQUEST, "hello"),
        (r#"{"t":"send","sid":"x","mid":1}"#, StatusCode::BAD_REQUEST, "hello"),
        (r#"{"t":"hello","app":"other"}"#, StatusCode::NOT_FOUND, "no such app"),
        (r#"{"t":"hello","app":"demo","token":"x"}"#, StatusCode::UNAUTHORIZED, "token"),
        (r#"{"t":"hello","app":"demo","login":true}"#, StatusCode::UNAUTHORIZED, "logged in"),
        (&many, StatusCode::BAD_REQUEST, "129"),
        (&long, StatusCode::PAYLOAD_TOO_LARGE, "1048576"),
    ] {
        let (told, text) = web.ask(Method::POST, "/v2/frames", body).await.unwrap();
        assert!(told == status && text.contains(part), "{told}: {text}");
    }
    let mut stream =
        web.stream(&[json!({"t": "hello", "app": "demo", "token": "x"})]).await.unwrap();
    let close = stream.until(|event| event.get("close").is_some()).await.unwrap();
    assert_eq!(close["close"]["code"], 4401);
    assert_eq!(stream.next().await.unwrap(), None, "and it ends");
    web.origin = Some("http://evil.example".into());
    let (status, _) = web.ask(Method::POST, "/v2/stream", &hello).await.unwrap();
    assert_eq!(status, StatusCode::FORBIDDEN, "S2");
    let (status, _) = web.ask(Method::GET, "/v2/stream", "").await.unwrap();
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test(flavor = "multi_thread")]
async fn s1_a_login_link_works_once_and_only_here() {
    let (mut server, _bot) = start().await;
    let code = code(&server);
    let body = json!({ "code": code }).to_string();
    let mut web = Web::new(server.port());
    let mut evil = Web { origin: Some("http://evil.example".into()), ..web.clone() };
    let (status, _) = evil.ask(Method::POST, "/api/v1/login", &body).await.unwrap();
    assert_eq!(status, StatusCode::FORBIDDEN, "nobody else's page logs anybody in");
    let (status, _) = web.ask(Method::GET, "/api/v1/me", "").await.unwrap();
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    let (status, _) = web.ask(Method::POST, "/api/v1/login", &body).await.unwrap();
    assert_eq!(status, StatusCode::NO_CONTENT);
    let (status, me) = web.json(Method::GET, "/api/v1/me", "").await.unwrap();
    assert_eq!(
        (status, &me["name"], &me["role"]),
        (StatusCode::OK, &json!("Ada"), &json!("agent"))
    );
    let (status, told) =
        Web::new(server.port()).json(Method::POST, "/api/v1/login", &body).await.unwrap();
    assert_eq!((status, &told["code"]), (StatusCode::UNAUTHORIZED, &json!("spent")));

    for (code, name) in [
        ("x".to_owned(), "forged"),
        (mint(&server, &["--role", "agent", "--subject", "eve"]), "forged"),
        (format!("{}x", code), "forged"),
    ] {
        let body = json!({ "code": code }).to_string();
        let (status, told) = web.json(Method::POST, "/api/v1/login", &body).await.unwrap();
        assert_eq!((status, &told["code"]), (StatusCode::UNAUTHORIZED, &json!(name)), "{code}");
    }
    let (status, told) = web.json(Method::POST, "/api/v1/login", "{}").await.unwrap();
    assert_eq!((status, &told["code"]), (StatusCode::BAD_REQUEST, &json!("malformed")));
    // A code is no token.
    let refused = web.exchange(&[json!({"t": "hello", "app": "demo", "token": code})]).await;
    assert!(refused.unwrap_err().to_string().contains("401"));

    // The cookie outlives the process; a page of somebody else gets nothing for it.
    server.kill().unwrap();
    server.start_again().await.unwrap();
    let hello = json!({ "t": "hello", "app": "demo", "login": true });
    let answers = web.exchange(&[hello.clone(), json!({"t": "list", "ref": 1})]).await.unwrap();
    assert_eq!((&answers[0]["role"], &answers[1]["t"]), (&json!("agent"), &json!("listed")));
    let mut evil = Web { origin: Some("http://localhost:1".into()), ..web.clone() };
    assert!(
        evil.exchange(std::slice::from_ref(&hello)).await.unwrap_err().to_string().contains("401")
    );
    let (status, _) = web.ask(Method::POST, "/api/v1/logout", "").await.unwrap();
    assert_eq!((status, &web.cookie), (StatusCode::NO_CONTENT, &None));
    assert!(web.exchange(&[hello]).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_published_widget_on_our_page_joins_talks_and_leaves_as_an_agent() {
    let (server, bot) = start().await;
    let mut visitor = SecondClient::visitor("people", 1);
    visitor.connect(server.port()).await.unwrap();
    let mid = visitor.say("hello").await.unwrap();
    visitor.settled(mid).await.unwrap();
    let web = logged_in(&server).await;
    let path = format!("/dev?appId=demo&session={}", visitor.sid);
    let user = LegacyClient::user_id(7);
    let mut agent = LegacyClient::agent(&user, &visitor.sid, web.cookie.as_deref().unwrap());
    agent.connect(server.port(), &path, "emitNoWs").await.unwrap();
    agent.join().await.unwrap();
    agent.wait_for_text("echo hello").await.unwrap();

    // Who has not joined cannot speak.
    agent.say("too early").await.unwrap();
    agent
        .wait_for("a refusal", |frame| {
            frame["event"] == "new message"
                && frame["sender"]["deviceId"] == "Bot"
                && frame["data"]["outputSpeech"]["displayText"] != "echo hello"
        })
        .await
        .unwrap();
    agent.send("barge in", None).await.unwrap();
    visitor.event("her coming", |event| event["kind"] == "stepIn").await.unwrap();
    agent.say("I am here").await.unwrap();
    let said = |event: &Value| event["text"] == "I am here";
    let message = visitor.event("her message", said).await.unwrap();
    assert_eq!((&message["name"], &message["role"]), (&json!("Ada"), &json!("agent")));
    let mid = visitor.say("good").await.unwrap();
    visitor.settled(mid).await.unwrap();
    agent.wait_for("the visitor", |frame| frame["data"]["rawQuery"] == "good").await.unwrap();

    // A mere reconnect keeps her in; the session is known from the address alone.
    agent.cut();
    agent.connect(server.port(), &path, "wakeup").await.unwrap();
    let mid = visitor.say("still there?").await.unwrap();
    visitor.settled(mid).await.unwrap();
    agent
        .wait_for("the visitor", |frame| frame["data"]["rawQuery"] == "still there?")
        .await
        .unwrap();
    // A page that was loaded anew shows nobody as joined, so nobody is.
    agent.join().await.unwrap();
    visitor.event("her going", |event| event["kind"] == "stepOut").await.unwrap();
    let mid = visitor.say("bot again").await.unwrap();
    visitor.settled(mid).await.unwrap();
    let answered =
        |event: &Value| event["response"]["outputSpeech"]["displayText"] == "echo bot again";
    visitor.event("the bot", answered).await.unwrap();
    agent.send("barge in", None).await.unwrap();
    agent.send("barge out", None).await.unwrap();
    let before = *visitor.events.keys().max().unwrap();
    let gone = |event: &Value| event["kind"] == "stepOut" && event["n"].as_u64() > Some(before);
    visitor.event("her going again", gone).await.unwrap();
    let mid = visitor.say("done").await.unwrap();
    visitor.settled(mid).await.unwrap();
    agent.wait_for_text("echo done").await.unwrap();
    let asked: Vec<_> = bot.seen().iter().map(|(_, request)| request["rawQuery"].clone()).collect();
    assert_eq!(asked, ["hello", "bot again", "done"]);
    assert!(!visitor.events.values().any(|event| event["text"] == "too early"));
}

#[tokio::test(flavor = "multi_thread")]
async fn s1_saying_is_admin_grants_nothing() {
    let (server, _bot) = start().await;
    let mut visitor = SecondClient::visitor("people", 1);
    visitor.connect(server.port()).await.unwrap();
    let web = logged_in(&server).await;
    let good = web.cookie.unwrap();
    let path = format!("/dev?appId=demo&session={}", visitor.sid);
    let token = mint(&server, &["--role", "visitor", "--subject", "eve"]);
    for (cookie, more) in [
        ("x=y".to_owned(), String::new()),
        (format!("{good}x"), String::new()),
        (String::from("x=y"), format!("&token={token}")),
        (good.clone(), "&token=nonsense".to_owned()),
    ] {
        let mut eve = LegacyClient::agent(&LegacyClient::user_id(8), &visitor.sid, &cookie);
        eve.connect(server.port(), &format!("{path}{more}"), "emitNoWs").await.unwrap();
        let frame = eve.wait_for("a refusal", |frame| frame["event"] == "connection update").await;
        assert_eq!(frame.unwrap()["data"]["sessionCreated"], false, "{cookie} {more}");
        eve.join().await.unwrap();
        eve.send("barge in", None).await.unwrap();
    }
    let ada = mint(&server, &["--role", "agent", "--subject", "ada"]);
    let mut agent = LegacyClient::agent(&LegacyClient::user_id(9), &visitor.sid, "x=y");
    agent.connect(server.port(), &format!("{path}&token={ada}"), "emitNoWs").await.unwrap();
    agent.join().await.unwrap();
    agent.send("barge in", None).await.unwrap();
    let come = visitor.event("the agent", |event| event["kind"] == "stepIn").await.unwrap();
    assert_eq!(come["name"], "Visitor", "only the one with a token of the operator");
    let stepped = visitor.events.values().filter(|event| event["kind"] == "stepIn").count();
    assert_eq!(stepped, 1);
}
