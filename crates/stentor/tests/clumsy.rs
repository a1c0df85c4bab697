//! Clients that are clumsy, curious or hostile: each is told what is wrong, learns nothing, and loses nothing.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use std::{path::Path, process::Command};

use http::{Method, StatusCode};
use serde_json::{Value, json};
use stentor_testkit::{PATIENCE, Process, SecondClient, Web, closed_after};

const PROGRAM: &str = env!("CARGO_BIN_EXE_stentor");
const NOWHERE: &str = "0000000000000000-00000000000000000000000000000000";

/// Two apps with one key between them, so that a token of one is well signed for the other.
struct Two {
    server: Process,
    apps: tempfile::TempDir,
}

impl Two {
    async fn start() -> Self {
        let apps = tempfile::tempdir().unwrap();
        std::fs::write(apps.path().join("key"), "k".repeat(64)).unwrap();
        for name in ["demo", "shop"] {
            let app = format!(
                "apiVersion: stentor.dev/v1alpha1\nkind: ChatApp\nmetadata: {{ name: {name} }}\nspec: {{ auth: {{ \
                 keys: [{{ kid: k, algorithm: HS256, file: key }}] }}, limits: {{ messagesPerSecond: 1000, burst: 1000 }} }}\n"
            );
            std::fs::write(apps.path().join(format!("{name}.yaml")), app).unwrap();
        }
        let folder = apps.path().display().to_string();
        let server = Process::start(Path::new(PROGRAM), &["--apps", &folder]).await.unwrap();
        Self { server, apps }
    }

    fn token(&self, app: &str, role: &str) -> String {
        let output = Command::new(PROGRAM)
            .args(["token", "mint", "--app", app, "--role", role, "--subject", "sam"])
            .args(["--kid", "k", "--key-file"])
            .arg(self.apps.path().join("key"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// A visitor of `demo` who has said something.
    async fn visitor(&self) -> SecondClient {
        let mut visitor = SecondClient::visitor("clumsy", 1);
        visitor.connect(self.server.port()).await.unwrap();
        let mid = visitor.say("a canary sings").await.unwrap();
        visitor.settled(mid).await.unwrap();
        visitor
    }
}

/// Beats come for ever: an answer that is missing must not be waited for as long.
async fn settled(client: &mut SecondClient, mid: u64) {
    let answered = tokio::time::timeout(PATIENCE, client.settled(mid)).await;
    answered.unwrap_or_else(|_| panic!("no answer to {mid}")).unwrap();
}

fn open(sid: &str) -> Value {
    json!({ "t": "open", "ref": 1, "sid": sid, "client": "9".repeat(32), "lastMid": 0 })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_too_long_or_misshapen_is_refused_under_its_number_and_the_next_one_is_taken() {
    let two = Two::start().await;
    let mut visitor = two.visitor().await;
    let long = |bytes: usize| json!({ "text": "x".repeat(bytes) });
    let cases = [
        // More than a frame may have, less than what closes the socket.
        (long(200_000), "tooLong"),
        (long(65_537), "tooLong"),
        (json!({ "text": 5 }), "malformed"),
        (json!({ "text": "hi", "note": "yes" }), "malformed"),
        (json!({ "request": { "type": "LAUNCH_REQUEST", "x": nested(40) } }), "malformed"),
    ];
    // Often: an app whose users paste too much is no client that speaks nonsense.
    for _ in 0..8 {
        for (frame, code) in &cases {
            let mid = visitor.say_frame(frame.clone()).await.unwrap();
            settled(&mut visitor, mid).await;
            assert_eq!(visitor.refused.get(&mid).map(String::as_str), Some(*code), "{mid}");
        }
    }
    let mid = visitor.say("and on").await.unwrap();
    settled(&mut visitor, mid).await;
    assert!(visitor.acked.contains_key(&mid), "{:?}", visitor.refused);
    visitor.event("it", |event| event["text"] == "and on").await.unwrap();
    visitor.check().unwrap();
}

fn nested(levels: usize) -> Value {
    (0..levels).fold(json!(1), |inner, _| json!([inner]))
}

#[tokio::test(flavor = "multi_thread")]
async fn p1_a_message_with_the_number_zero_is_refused_and_not_acknowledged() {
    let two = Two::start().await;
    let mut visitor = two.visitor().await;
    let zero = json!({ "t": "send", "sid": visitor.sid, "mid": 0, "text": "lost?" });
    visitor.send(&zero).await.unwrap();
    let mid = visitor.say("the next").await.unwrap();
    visitor.settled(mid).await.unwrap();
    assert_eq!(visitor.acked.get(&0), None, "it was never taken");
    assert_eq!(visitor.refused.get(&0).map(String::as_str), Some("malformed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_a_stranger_cannot_tell_a_session_from_none() {
    let two = Two::start().await;
    let visitor = two.visitor().await;
    let mut stranger = SecondClient::visitor("stranger", 2);
    stranger.connect(two.server.port()).await.unwrap();
    let mut answers = Vec::new();
    for sid in [visitor.sid.as_str(), NOWHERE] {
        let mut refused = stranger.ask(open(sid)).await.unwrap();
        for field in ["sid", "ref"] {
            refused[field].take();
        }
        answers.push(refused);
    }
    assert_eq!(answers[0]["code"], "noSession");
    assert_eq!(answers[0], answers[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn s6_an_agent_of_one_app_sees_and_does_nothing_in_another() {
    let two = Two::start().await;
    let port = two.server.port();
    let mut visitor = two.visitor().await;
    let token = two.token("shop", "agent");
    // Wrong audience: a fresh token of the same kind would not help.
    let hello = json!({ "t": "hello", "app": "demo", "token": token });
    assert_eq!(closed_after(port, "/", &[hello]).await.unwrap(), 4403);
    let mut web = Web::new(port);
    let hello = json!({ "t": "hello", "app": "shop", "token": token }).to_string();
    let mut frames = format!("{hello}\n{}\n", open(&visitor.sid));
    for deed in ["take", "release", "end", "draft"] {
        let frame =
            json!({ "t": deed, "ref": 2, "sid": visitor.sid, "turn": 1, "do": "send" }).to_string();
        frames.push_str(&format!("{frame}\n"));
    }
    let send = json!({ "t": "send", "sid": visitor.sid, "mid": 1, "text": "psst", "note": true });
    let list = json!({ "t": "list", "ref": 3, "search": "canary" });
    frames.push_str(&format!("{send}\n{list}\n"));
    let (status, text) = web.ask(Method::POST, "/v2/frames", &frames).await.unwrap();
    assert_eq!(status, StatusCode::OK, "{text}");
    let answers: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let refused = |answer: &&Value| answer["t"] == "refused" || answer["t"] == "nack";
    assert_eq!(answers.iter().filter(refused).count(), 6, "{text}");
    assert!(text.contains(r#""items":[]"#) && !text.contains("canary"), "{text}");
    web.bearer = Some(token);
    for (method, tail) in [
        (Method::GET, "events"),
        (Method::GET, "transcript"),
        (Method::POST, "take"),
        (Method::POST, "messages"),
        (Method::POST, "release"),
        (Method::POST, "end"),
    ] {
        let body = if tail == "messages" { r#"{"text":"psst"}"# } else { "" };
        let mut told = Vec::new();
        for sid in [visitor.sid.as_str(), NOWHERE] {
            let path = format!("/api/v1/sessions/{sid}/{tail}");
            told.push(web.ask(method.clone(), &path, body).await.unwrap());
        }
        assert_eq!(told[0], told[1], "{tail}: as if there were none");
        assert_eq!(told[0].0, StatusCode::NOT_FOUND);
    }
    let mid = visitor.say("all is quiet").await.unwrap();
    visitor.settled(mid).await.unwrap();
    visitor.event("it", |event| event["text"] == "all is quiet").await.unwrap();
    let said: Vec<_> = visitor.events.values().filter(|event| event["kind"] == "message").collect();
    let numbers: Vec<_> = said.iter().map(|event| event["n"].as_u64().unwrap()).collect();
    assert_eq!(
        numbers,
        [numbers[0], numbers[0] + 1],
        "nothing happened in between: {:?}",
        visitor.events
    );
}
