//! A session is erased by the whole program: over HTTP while it runs, and in its folder while it does not.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use std::{
    path::Path,
    process::{Command, Output},
};

use http::{Method, StatusCode};
use serde_json::{Value, json};
use stentor_testkit::{Answer, BotStub, LegacyClient, PATIENCE, Process, SecondClient, Web};

const PROGRAM: &str = env!("CARGO_BIN_EXE_stentor");
/// Stands in all that is to be erased, and in nothing else.
const TEXT: &str = "my deepest secret";
const SESSIONS: &str = "/api/v1/sessions";

fn echo(request: &Value) -> Answer {
    let text = request["rawQuery"].as_str().unwrap_or("launch");
    Answer::Json(json!({ "outputSpeech": { "displayText": format!("echo {text}") } }).to_string())
}

/// Apps `demo` and `other`, with the same bot and the same key.
fn write_apps(folder: &Path, bot: &str, origin: &str) {
    std::fs::write(folder.join("demo.key"), [b'k'; 64]).unwrap();
    for name in ["demo", "other"] {
        let app = json!({
            "apiVersion": "stentor.dev/v1alpha1",
            "kind": "ChatApp",
            "metadata": { "name": name },
            "spec": {
                "bot": { "url": bot },
                "origins": [origin],
                "auth": { "keys": [{ "kid": "demo", "algorithm": "HS256", "file": "demo.key" }] },
                "limits": { "messagesPerSecond": 1000, "burst": 10000 },
            },
        });
        std::fs::write(folder.join(format!("{name}.yaml")), app.to_string()).unwrap();
    }
}

/// A running server with a folder of apps.
struct Setting {
    server: Process,
    apps: tempfile::TempDir,
    _bot: BotStub,
}

// === impl Setting ===

impl Setting {
    async fn start(command: &'static str) -> Self {
        let bot = BotStub::start(echo).await.unwrap();
        let apps = tempfile::tempdir().unwrap();
        write_apps(apps.path(), bot.url(), "http://127.0.0.1:1");
        let flags = ["--apps", &apps.path().display().to_string()];
        let mut server = Process::start_as(command, Path::new(PROGRAM), &flags).await.unwrap();
        // Which page may connect is known only now.
        server.stop().await.unwrap();
        let origin = format!("http://127.0.0.1:{}", server.port());
        write_apps(apps.path(), bot.url(), &origin);
        server.start_again().await.unwrap();
        Self { server, apps, _bot: bot }
    }

    /// A program that shows a token of this role in an app.
    fn program(&self, app: &str, role: &str) -> Web {
        let output = Command::new(PROGRAM)
            .args(["token", "mint", "--app", app, "--kid", "demo", "--role", role, "--subject"])
            .args(["crm", "--key-file"])
            .arg(self.apps.path().join("demo.key"))
            .output()
            .unwrap();
        let token = String::from_utf8(output.stdout).unwrap().trim().to_owned();
        Web { origin: None, bearer: Some(token), ..Web::new(self.server.port()) }
    }
}

/// Somebody who has said it and been answered.
async fn visitor(server: &Process, name: &str) -> SecondClient {
    let mut visitor = SecondClient::visitor(name, 1).at_page();
    visitor.connect(server.port()).await.unwrap();
    let mid = visitor.say(TEXT).await.unwrap();
    visitor.settled(mid).await.unwrap();
    visitor.event("the bot", |event| event["kind"] == "reply").await.unwrap();
    visitor
}

/// The same at the published widget.
async fn widget(server: &Process) -> LegacyClient {
    let mut widget = LegacyClient::new(&LegacyClient::user_id(7), "chat", 0);
    come(&mut widget, server).await;
    widget.say(TEXT).await.unwrap();
    widget.wait_for_text(&format!("echo {TEXT}")).await.unwrap();
    widget
}

async fn come(widget: &mut LegacyClient, server: &Process) {
    widget.connect(server.port(), "/?appId=demo", "emitNoWs").await.unwrap();
    widget.join().await.unwrap();
    let joined = |frame: &Value| frame["event"] == "connection update";
    widget.wait_for("that it is there", joined).await.unwrap();
}

/// The ids of the sessions that lists find for these words, however late they follow.
async fn found(web: &mut Web, count: usize) -> Vec<String> {
    let until = tokio::time::Instant::now() + PATIENCE;
    loop {
        let path = format!("{SESSIONS}?search={}", TEXT.replace(' ', "+"));
        let (status, list) = web.json(Method::GET, &path, "").await.unwrap();
        assert_eq!(status, StatusCode::OK, "{list}");
        let sids = list["items"].as_array().unwrap().iter();
        let sids: Vec<_> = sids.map(|item| item["sid"].as_str().unwrap().to_owned()).collect();
        if sids.len() == count {
            return sids;
        }
        assert!(tokio::time::Instant::now() < until, "{list:#}");
    }
}

/// No answer that anybody can have says a word of it.
async fn nobody_reads_it(web: &mut Web, sids: &[&str]) {
    found(web, 0).await;
    for filter in ["all", "waiting", "mine", "open", "ended"] {
        let path = format!("{SESSIONS}?filter={filter}");
        let (status, list) = web.ask(Method::GET, &path, "").await.unwrap();
        assert!(status == StatusCode::OK && !list.contains(TEXT), "{list}");
    }
    for sid in sids {
        for tail in ["/transcript", "/transcript?format=text"] {
            let (status, text) =
                web.ask(Method::GET, &format!("{SESSIONS}/{sid}{tail}"), "").await.unwrap();
            assert!(status == StatusCode::OK && !text.contains(TEXT), "{text}");
        }
        let (_, events) =
            web.json(Method::GET, &format!("{SESSIONS}/{sid}/events"), "").await.unwrap();
        let events = events["events"].as_array().unwrap();
        assert!(!events.is_empty() && events.iter().all(is_erased), "{events:?}");
    }
}

fn is_erased(event: &Value) -> bool {
    event["kind"] == "erased"
}

/// A client that asks for everything is shown numbers.
async fn numbers_are_left(before: &SecondClient, server: &Process, n: u64) {
    let mut again = before.from_the_first(2);
    again.connect(server.port()).await.unwrap();
    again.event("the last one", |event| event["n"] == n).await.unwrap();
    assert_eq!(again.events.len() as u64, n);
    assert!(again.events.values().all(is_erased), "{:?}", again.events);
}

#[tokio::test(flavor = "multi_thread")]
async fn cluster_26_a_program_has_sessions_erased_that_people_are_in() {
    for command in ["dev", "standalone"] {
        let mut setting = Setting::start(command).await;
        let port = setting.server.port();
        let mut web = setting.program("demo", "integration");
        let mut visitor = visitor(&setting.server, "chat").await;
        let sid = visitor.sid.clone();
        let mut widget = widget(&setting.server).await;
        let both = found(&mut web, 2).await;
        let widgets = both.iter().find(|known| **known != sid).unwrap().clone();
        let path = format!("{SESSIONS}/{sid}");

        // Whoever may not changes nothing, and another app's program does not learn that it is there.
        for (app, role, status) in [
            ("demo", "agent", StatusCode::FORBIDDEN),
            ("demo", "observer", StatusCode::FORBIDDEN),
            ("demo", "visitor", StatusCode::FORBIDDEN),
            ("other", "integration", StatusCode::NOT_FOUND),
        ] {
            let mut who = setting.program(app, role);
            let (told, text) = who.ask(Method::DELETE, &path, "").await.unwrap();
            assert_eq!(told, status, "{app} {role}: {text}");
        }
        let mut nobody = Web { bearer: None, ..web.clone() };
        let (told, _) = nobody.ask(Method::DELETE, &path, "").await.unwrap();
        assert_eq!(told, StatusCode::UNAUTHORIZED);
        assert_eq!(found(&mut web, 2).await.len(), 2);

        let (status, certificate) = web.json(Method::DELETE, &path, "").await.unwrap();
        assert_eq!(status, StatusCode::OK, "{certificate}");
        let named = (&certificate["app"], &certificate["session"]);
        assert_eq!(named, (&json!("demo"), &json!(sid)));
        assert!(certificate["hidden"].is_string() && certificate.get("gone").is_some());
        let n = certificate["events"].as_u64().unwrap();
        assert_eq!(visitor.event("that it is erased", is_erased).await.unwrap()["n"], n);
        let (status, again) = web.json(Method::DELETE, &path, "").await.unwrap();
        assert_eq!((status, &again), (StatusCode::OK, &certificate));

        // The widget knows nothing of it: it is closed, and comes back to another session.
        let theirs = format!("{SESSIONS}/{widgets}");
        let (status, told) = web.json(Method::DELETE, &theirs, "").await.unwrap();
        assert_eq!(status, StatusCode::OK, "{told}");
        let closed = widget.wait_for("its end", |_| false).await.unwrap_err().to_string();
        assert!(closed.contains("this conversation was erased"), "{closed}");
        widget.cut();
        let shown = widget.transcript().entries.len();
        come(&mut widget, &setting.server).await;
        widget.say("anybody there?").await.unwrap();
        widget.wait_for_text("echo anybody there?").await.unwrap();
        for entry in &widget.transcript().entries[shown..] {
            assert!(!entry.frame.to_string().contains(TEXT), "{}", entry.frame);
        }

        // What is still said is refused, over every way.
        let mid = visitor.say("still there?").await.unwrap();
        visitor.settled(mid).await.unwrap();
        assert_eq!(visitor.refused.values().collect::<Vec<_>>(), ["erased"]);
        let note = r#"{"text":"a note","note":true}"#;
        let (status, told) =
            web.json(Method::POST, &format!("{path}/messages"), note).await.unwrap();
        assert_eq!((status, &told["code"]), (StatusCode::GONE, &json!("erased")), "{told}");
        let mut anew = visitor.other_tab(3);
        anew.connect(port).await.unwrap();
        assert_ne!(anew.sid, sid, "the same name leads to another session");

        nobody_reads_it(&mut web, &[&sid, &widgets]).await;
        numbers_are_left(&visitor, &setting.server, n).await;
        setting.server.kill().unwrap();
        setting.server.start_again().await.unwrap();
        nobody_reads_it(&mut web, &[&sid, &widgets]).await;
        numbers_are_left(&visitor, &setting.server, n).await;
        let (status, again) = web.json(Method::DELETE, &path, "").await.unwrap();
        assert_eq!((status, again), (StatusCode::OK, certificate));
    }
}

async fn erase(sid: &str, data: &Path) -> Output {
    let mut command = Command::new(PROGRAM);
    command.args(["erase", sid, "--app", "demo", "--json", "--data"]).arg(data);
    tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap()
}

fn certificate(output: &Output) -> Value {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn cluster_26_a_session_is_erased_in_the_folder_of_a_standalone_that_is_stopped() {
    let setting = Setting::start("standalone").await;
    let mut web = setting.program("demo", "integration");
    let Setting { mut server, apps: _apps, _bot } = setting;
    let visitor = visitor(&server, "chat").await;
    let sid = visitor.sid.clone();
    found(&mut web, 1).await;

    // Nobody reaches into the folder of a process that runs.
    let refused = erase(&sid, server.data()).await;
    assert!(!refused.status.success(), "{refused:?}");
    found(&mut web, 1).await;
    assert!(server.stop().await.unwrap().success());

    let first = certificate(&erase(&sid, server.data()).await);
    assert_eq!((&first["app"], &first["session"]), (&json!("demo"), &json!(sid)));
    assert_eq!(
        certificate(&erase(&sid, server.data()).await),
        first,
        "saying it again changes nothing"
    );
    let unknown = erase("0000000000000001-00000000000000000000000000000001", server.data()).await;
    let said = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(!unknown.status.success() && said.contains("no such session"), "{said}");
    let verified = Command::new(PROGRAM).args(["verify", "--data"]).arg(server.data()).output();
    assert!(verified.unwrap().status.success());

    server.start_again().await.unwrap();
    let n = first["events"].as_u64().unwrap();
    nobody_reads_it(&mut web, &[&sid]).await;
    numbers_are_left(&visitor, &server, n).await;
    let mut anew = visitor.other_tab(3);
    anew.connect(server.port()).await.unwrap();
    assert_ne!(anew.sid, sid, "the same name leads to another session");
    let (status, again) = web.json(Method::DELETE, &format!("{SESSIONS}/{sid}"), "").await.unwrap();
    assert_eq!((status, again), (StatusCode::OK, first));
}
