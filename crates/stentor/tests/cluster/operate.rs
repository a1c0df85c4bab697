//! What an operator sees of a cluster, and what they may do to it.

use std::process::{Command, Output};

use serde_json::Value;
use stentor_testkit::{
    PATIENCE, SecondClient,
    cluster::{Cluster, ClusterOptions, topology::Kind},
};
use tokio::time::Instant;

use crate::setting::{Setting, is_long};

/// Longer than any sub-command may take, whatever is down, in seconds.
const COMMAND_FOR: &str = "60";
/// The same where many conversations are looked through.
const COMMAND_FOR_LONG: &str = "900";

/// Runs `stentor` with these words and the operator's settings.
pub(crate) async fn stentor(cluster: &Cluster, words: &[&str]) -> Output {
    let file = cluster.operator_settings().unwrap();
    run(words, &file.display().to_string()).await
}

async fn run(words: &[&str], file: &str) -> Output {
    // So that nothing hangs, whatever a sub-command waits for.
    let mut command = Command::new("timeout");
    let time = if is_long() { COMMAND_FOR_LONG } else { COMMAND_FOR };
    command.args([time, env!("CARGO_BIN_EXE_stentor")]).args(words).args(["--config", file]);
    tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap()
}

/// The JSON that it prints.
pub(crate) async fn json(cluster: &Cluster, words: &[&str]) -> Value {
    let output = stentor(cluster, &[words, &["--json"]].concat()).await;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    serde_json::from_str(&text).unwrap_or_else(|_| panic!("{words:?}: {text}{error}"))
}

fn words_of(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&text).into_owned()
}

/// Somebody who has said `hush now` and has heard the bot.
pub(crate) async fn visitor(cluster: &Cluster) -> SecondClient {
    let mut client = SecondClient::visitor("chat", 1).at_page();
    client.connect(cluster.gateway_ports()[0]).await.unwrap();
    client.say("hush now").await.unwrap();
    let replied = |event: &Value| event.to_string().contains("echo hush now");
    client.event("the reply", replied).await.unwrap_or_else(|error| panic!("{error:#}"));
    client
}

fn hop<'a>(explained: &'a Value, name: &str) -> &'a Value {
    let mut steps = explained["steps"].as_array().unwrap().iter();
    steps.find(|step| step["hop"] == name).unwrap_or_else(|| panic!("no {name} in {explained:#}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sees_where_a_message_went_and_no_secrets() {
    let mut setting = Setting::new(|options| options).await;
    let client = visitor(&setting.cluster).await;
    let cluster = &setting.cluster;
    let listed = json(cluster, &["sessions", "--app", "demo"]).await;
    assert_eq!(listed["total"], 1, "{listed:#}");
    let first = &listed["sessions"][0];
    assert_eq!((&first["app"], &first["connected"]), (&"demo".into(), &true.into()), "{first:#}");
    let id = first["session"].as_str().unwrap().to_owned();
    assert_eq!(json(cluster, &["sessions", "--app", "other"]).await["total"], 0);

    let until = Instant::now() + 2 * PATIENCE;
    let shown = loop {
        let shown = json(cluster, &["show", &id]).await;
        if shown["database"]["projected"] == shown["n"] {
            break shown;
        }
        assert!(Instant::now() < until, "the database does not follow: {shown:#}");
    };
    assert_eq!(shown["control"], "bot");
    assert_eq!(shown["endpoints"], 1);
    assert!(shown["owner"].as_str().unwrap().contains('.'), "{shown:#}");
    assert!(shown["participants"][0]["alias"].as_str().is_some(), "{shown:#}");

    let explained = json(cluster, &["explain", &id]).await;
    let at = |name: &str| {
        hop(&explained, name)["at"].as_str().unwrap_or_else(|| panic!("{name}: {explained:#}"))
    };
    let way = ["accepted", "decided", "committed", "fanned out"].map(at);
    assert!(way.is_sorted(), "{way:?}");
    assert!(at("committed") <= at("bot answered") && at("bot asked") <= at("bot answered"));
    assert_eq!(hop(&explained, "database")["what"], "the same bytes as in the log");

    // Neither what was said, nor by whom, nor with which token.
    for words in [&["show", id.as_str()][..], &["explain", &id], &["sessions"]] {
        let said = words_of(&stentor(cluster, words).await);
        assert!(!said.contains("hush now"), "{said}");
        assert!(client.token().is_none_or(|token| !said.contains(token)), "{said}");
    }

    // Everything that only the owner knew is gone with it.
    for name in setting.cluster.names(Kind::Router) {
        setting.cluster.kill(&name).unwrap();
        setting.cluster.start_again(&name).await.unwrap();
    }
    let until = Instant::now() + 2 * PATIENCE;
    loop {
        let explained = json(&setting.cluster, &["explain", &id]).await;
        assert!(hop(&explained, "bot answered")["at"].is_string(), "{explained:#}");
        if hop(&explained, "accepted")["what"].as_str().unwrap().contains("not remembered") {
            break;
        }
        assert!(Instant::now() < until, "{explained:#}");
    }
    setting.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mistake_of_an_operator_is_answered_with_what_to_do() {
    let setting = Setting::new(ClusterOptions::without_database).await;
    let cluster = &setting.cluster;
    let unknown = "0000000000000001-00000000000000000000000000000001";
    for (words, help) in [
        (&["show", "nonsense"][..], "stentor sessions"),
        (&["show", unknown], "--app"),
        (&["show", unknown, "--app", "demo"], "no session"),
        (&["explain", unknown], "--app"),
    ] {
        let output = stentor(cluster, words).await;
        let said = words_of(&output);
        assert!(!output.status.success() && said.contains(help), "{words:?}: {said}");
    }
    let file = cluster.folder().join("nowhere.toml");
    std::fs::write(&file, "nats.urls = [\"nats://127.0.0.1:1\"]\n").unwrap();
    let output = run(&["sessions"], &file.display().to_string()).await;
    let said = words_of(&output);
    assert!(!output.status.success() && said.contains("nats.urls: no connection"), "{said}");
    setting.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fence_waits_for_routers_to_stop_and_begins_new_epochs() {
    let mut setting = Setting::new(ClusterOptions::without_database).await;
    let mut client = visitor(&setting.cluster).await;
    let listed = json(&setting.cluster, &["sessions"]).await;
    let id = listed["sessions"][0]["session"].as_str().unwrap().to_owned();
    let before = json(&setting.cluster, &["show", &id]).await;

    let output = stentor(&setting.cluster, &["log", "fence", "--yes"]).await;
    let said = words_of(&output);
    assert!(!output.status.success() && said.contains("stop all routers"), "{said}");
    for name in setting.cluster.names(Kind::Router) {
        setting.cluster.stop(&name).await.unwrap();
    }
    let output = stentor(&setting.cluster, &["log", "fence"]).await;
    let said = words_of(&output);
    assert!(
        !output.status.success() && said.contains("new epoch") && said.contains("--yes"),
        "{said}"
    );
    let fenced = json(&setting.cluster, &["log", "fence", "--yes"]).await;
    assert_eq!(fenced["fenced"], true, "{fenced:#}");
    assert_ne!(fenced["incarnation"], fenced["before"]);

    for name in setting.cluster.names(Kind::Router) {
        setting.cluster.start_again(&name).await.unwrap();
    }
    // The socket has stayed; who says something is told of the new numbering.
    client.cut();
    let mut other = client.other_tab(2);
    other.connect(setting.cluster.gateway_ports()[1]).await.unwrap();
    other.say("and now").await.unwrap();
    let after = json(&setting.cluster, &["show", &id]).await;
    let epoch = |shown: &Value| shown["epoch"].as_u64().unwrap();
    assert!(epoch(&after) > epoch(&before), "{before:#} {after:#}");
    assert!(after["n"].as_u64() > before["n"].as_u64(), "numbers stay dense");
    setting.end().await;
}
