//! The HTTP API for integrators, against the whole program.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use std::{path::Path, process::Command};

use http::{Method, StatusCode};
use serde_json::{Value, json};
use stentor_testkit::{Answer, BotStub, Process, SecondClient, Web};

const PROGRAM: &str = env!("CARGO_BIN_EXE_stentor");

async fn start() -> (Process, BotStub) {
    let echo = |request: &Value| {
        let text = request["rawQuery"].as_str().unwrap_or("launch");
        let answer = json!({ "outputSpeech": { "displayText": format!("echo\n{text}") } });
        Answer::Json(answer.to_string())
    };
    let bot = BotStub::start(echo).await.unwrap();
    let server = Process::start(Path::new(PROGRAM), &["--bot", bot.url()]).await.unwrap();
    (server, bot)
}

fn program(server: &Process, role: &str, more: &[&str]) -> Web {
    let output = Command::new(PROGRAM)
        .args(["token", "mint", "--app", "demo", "--kid", "demo", "--role", role, "--subject"])
        .args(["crm", "--name", "CRM", "--key-file"])
        .arg(server.data().join("demo.key"))
        .args(more)
        .output()
        .unwrap();
    let token = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    Web { origin: None, bearer: Some(token), ..Web::new(server.port()) }
}

async fn visitor(server: &Process) -> SecondClient {
    let mut visitor = SecondClient::visitor("api", 1);
    visitor.connect(server.port()).await.unwrap();
    let mid = visitor.say("hello").await.unwrap();
    visitor.settled(mid).await.unwrap();
    visitor.event("the bot", |event| event["kind"] == "reply").await.unwrap();
    visitor
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_lists_reads_takes_over_posts_exports_and_ends() {
    let (server, _bot) = start().await;
    let mut visitor = visitor(&server).await;
    let mut web = program(&server, "integration", &[]);
    // Routers write what lists show a moment after it has happened.
    let until = tokio::time::Instant::now() + stentor_testkit::PATIENCE;
    loop {
        let (status, list) =
            web.json(Method::GET, "/api/v1/sessions?search=hello&limit=10", "").await.unwrap();
        assert_eq!(status, StatusCode::OK, "{list}");
        if list["items"][0]["sid"] == visitor.sid {
            break;
        }
        assert!(tokio::time::Instant::now() < until, "{list}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let sid = visitor.sid.clone();
    let path = |tail: &str| format!("/api/v1/sessions/{sid}{tail}");

    let (status, told) =
        web.json(Method::POST, &path("/messages"), r#"{"text":"too early"}"#).await.unwrap();
    assert_eq!((status, &told["code"]), (StatusCode::CONFLICT, &json!("notInControl")));
    let (status, _) = web.json(Method::POST, &path("/take"), "").await.unwrap();
    assert_eq!(status, StatusCode::OK);
    let come = visitor.event("its coming", |event| event["kind"] == "stepIn").await.unwrap();
    assert_eq!(come["name"], "CRM");

    // I4, I5: under one key once, however often it is sent, also at the same time.
    web.key = Some("order 7 has shipped".into());
    let body = r#"{"text":"Your order has shipped."}"#;
    let mut twin = web.clone();
    let messages = path("/messages");
    let (one, two) = tokio::join!(
        web.json(Method::POST, &messages, body),
        twin.json(Method::POST, &messages, body)
    );
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!((one.0, one.1["n"].as_u64().is_some()), (StatusCode::OK, true), "{one:?}");
    assert_eq!(one.1["n"], two.1["n"]);
    web.key = None;
    let note = r#"{"text":"told them\nabout it","note":true}"#;
    let (status, _) = web.json(Method::POST, &path("/messages"), note).await.unwrap();
    assert_eq!(status, StatusCode::OK);
    visitor.event("the message", |event| event["text"] == "Your order has shipped.").await.unwrap();

    let (_, events) = web.json(Method::GET, &path("/events?from=2&limit=3"), "").await.unwrap();
    let numbers: Vec<_> = events["events"].as_array().unwrap().iter().map(|e| &e["n"]).collect();
    assert_eq!(numbers, [2, 3, 4]);
    let (_, all) = web.json(Method::GET, &path("/transcript"), "").await.unwrap();
    let all = all.as_array().unwrap();
    assert_eq!(all.len() as u64, events["head"].as_u64().unwrap());
    let said = all.iter().filter(|event| event["text"] == "Your order has shipped.").count();
    assert_eq!(said, 1);
    // I3: what both see is the same.
    for (n, event) in visitor.events.iter().filter(|(_, event)| event["kind"] != "withheld") {
        assert_eq!(all[usize::try_from(*n).unwrap() - 1], *event);
    }
    let (_, text) = web.ask(Method::GET, &path("/transcript?format=text"), "").await.unwrap();
    assert!(text.contains("  Visitor: hello\n"), "{text}");
    assert!(text.contains(": echo\n    hello\n"), "{text}");
    assert!(text.contains("  CRM: Your order has shipped.\n"), "{text}");
    assert!(text.contains("  CRM: told them\n    about it\n"), "{text}");

    let (status, _) = web.json(Method::POST, &path("/release"), "").await.unwrap();
    assert_eq!(status, StatusCode::OK);
    visitor.event("its going", |event| event["kind"] == "stepOut").await.unwrap();
    let (status, _) = web.json(Method::POST, &path("/end"), "").await.unwrap();
    assert_eq!(status, StatusCode::OK);
    visitor.event("the end", |event| event["kind"] == "ended").await.unwrap();
    visitor.check().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_not_gets_nothing_and_every_mistake_has_a_name() {
    let (server, _bot) = start().await;
    let visitor = visitor(&server).await;
    let sid = visitor.sid.clone();
    let path = |tail: &str| format!("/api/v1/sessions/{sid}{tail}");
    let mut agent = program(&server, "agent", &[]);
    let mut nobody = Web { bearer: None, ..agent.clone() };
    let mut forged =
        Web { bearer: agent.bearer.as_ref().map(|t| format!("{t}x")), ..agent.clone() };
    let mut customer = program(&server, "visitor", &[]);
    let mut observer = program(&server, "observer", &[]);
    for tail in ["/events", "/transcript"] {
        for (web, status) in [
            (&mut nobody, StatusCode::UNAUTHORIZED),
            (&mut forged, StatusCode::UNAUTHORIZED),
            (&mut customer, StatusCode::FORBIDDEN),
            (&mut observer, StatusCode::OK),
        ] {
            let (told, text) = web.ask(Method::GET, &path(tail), "").await.unwrap();
            assert_eq!(told, status, "{text}");
            assert!(status == StatusCode::OK || !text.contains("hello"), "{text}");
        }
    }
    let (status, _) = observer.ask(Method::POST, &path("/end"), "").await.unwrap();
    assert_eq!(status, StatusCode::FORBIDDEN);
    let other = "/api/v1/sessions/0000000000000000-00000000000000000000000000000000";
    for (method, path, body, status, part) in [
        (Method::GET, format!("{other}/events"), "", StatusCode::NOT_FOUND, "noSession"),
        (Method::POST, format!("{other}/end"), "", StatusCode::NOT_FOUND, "noSession"),
        (Method::GET, "/api/v1/sessions/x/events".into(), "", StatusCode::NOT_FOUND, "noSession"),
        (Method::GET, "/api/v1/sessions/".into(), "", StatusCode::NOT_FOUND, "noRoute"),
        (Method::GET, path(""), "", StatusCode::METHOD_NOT_ALLOWED, "send DELETE"),
        (Method::GET, "/api/v1/nothing".into(), "", StatusCode::NOT_FOUND, "openapi.json"),
        (Method::POST, "/api/v1".to_owned() + "/", "{}", StatusCode::NOT_FOUND, "noRoute"),
        (Method::GET, "/v2/nothing".into(), "", StatusCode::NOT_FOUND, "noRoute"),
        (Method::DELETE, path("/end"), "", StatusCode::METHOD_NOT_ALLOWED, "send POST"),
        (Method::POST, "/api/v1/me".into(), "", StatusCode::METHOD_NOT_ALLOWED, "send GET"),
        (Method::PUT, "/api/v1/login".into(), "", StatusCode::METHOD_NOT_ALLOWED, "send POST"),
        (Method::GET, "/v2/frames".into(), "", StatusCode::METHOD_NOT_ALLOWED, "send POST"),
        (Method::GET, format!("{other}/events?appId=no"), "", StatusCode::NOT_FOUND, "noApp"),
        (Method::POST, path("/messages"), "", StatusCode::BAD_REQUEST, "body"),
        (Method::POST, path("/messages"), "{}", StatusCode::BAD_REQUEST, "`text`"),
        (Method::POST, path("/messages"), r#"{"text":""}"#, StatusCode::BAD_REQUEST, "text"),
        (Method::POST, path("/take"), r#"{"name":1}"#, StatusCode::BAD_REQUEST, "displayName"),
        (Method::GET, path("/events?from=0"), "", StatusCode::BAD_REQUEST, "from"),
        (Method::GET, path("/events?limit=x"), "", StatusCode::BAD_REQUEST, "limit"),
        (Method::GET, path("/transcript?format=pdf"), "", StatusCode::BAD_REQUEST, "format"),
        (Method::GET, "/api/v1/sessions?filter=x".into(), "", StatusCode::BAD_REQUEST, "filter"),
        (Method::GET, "/api/v1/sessions?after=x".into(), "", StatusCode::BAD_REQUEST, "after"),
    ] {
        let (told, text) = agent.ask(method, &path, body).await.unwrap();
        assert!(told == status && text.contains(part), "{path}: {told} {text}");
        // One type for all mistakes: a code for programs, and what to do about it.
        let problem: Value =
            serde_json::from_str(&text).unwrap_or_else(|_| panic!("{path}: {text}"));
        assert!(problem["code"].is_string() && problem["text"].is_string(), "{path}: {text}");
    }
    agent.key = Some("x".repeat(200));
    let (status, text) = agent.ask(Method::POST, &path("/end"), "").await.unwrap();
    assert!(status == StatusCode::BAD_REQUEST && text.contains("Idempotency-Key"), "{text}");
}
