//! Pages and the widget's files over HTTP.

use stentor_apps::AppSet;
use stentor_gateway::Site;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::owner::{LOCAL, Rig, app};

const SITE: Site = Site {
    agents_page: "<p>agents</p>",
    agents_widget_page: "<p>one chat</p>",
    widget_page: "<p>widget</p>",
    chat_page: "<p>chat</p>",
    files: &[("/assets/a.css", "text/css; charset=utf-8", "a{}")],
};

async fn ask(rig: &Rig, request: &str) -> String {
    let (mut near, far) = tokio::io::duplex(1 << 20);
    let acceptor = rig.acceptor.clone();
    tokio::spawn(async move { acceptor.serve(far, LOCAL).await });
    let request = format!("{request}\r\nconnection: close\r\n\r\n");
    near.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    near.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn get(rig: &Rig, path: &str) -> String {
    ask(rig, &format!("GET {path} HTTP/1.1\r\nhost: chat.example:8080")).await
}

async fn rig(folder: Option<&std::path::Path>) -> Rig {
    let widget_dir = folder.map(std::path::Path::to_owned);
    let widget = |mut app: stentor_apps::App| {
        app.widget.insert("botName".to_owned(), "Be \"a\" </script>\u{2028}".into());
        app
    };
    Rig::with(|config| stentor_gateway::Config { widget_dir, site: SITE, ..config }, widget).await
}

fn widget() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("xapp-chat-widget.js"), "let a = \"{{INJECT}}\";").unwrap();
    std::fs::write(folder.path().join("xapp-chat-widget.css"), "b{}").unwrap();
    std::fs::write(folder.path().join(".secret.js"), "hidden").unwrap();
    folder
}

#[tokio::test]
async fn the_first_page_has_the_widget_if_there_is_one() {
    let folder = widget();
    assert!(get(&rig(Some(folder.path())).await, "/").await.ends_with("<p>widget</p>"));
    let without = rig(None).await;
    let page = get(&without, "/").await;
    assert!(page.ends_with("<p>chat</p>"));
    for field in [
        "content-security-policy: default-src 'self'",
        "x-content-type-options: nosniff",
        "x-frame-options: DENY",
        "content-type: text/html; charset=utf-8",
    ] {
        assert!(page.contains(field), "{page}");
    }
    assert!(get(&without, "/assets/a.css").await.ends_with("a{}"));
    assert!(get(&without, "/nothing").await.starts_with("HTTP/1.1 404"));
    assert!(get(&without, "/widget/xapp-chat-widget.js").await.starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn the_widget_gets_the_apps_settings_as_a_string_of_javascript() {
    let folder = widget();
    let rig = rig(Some(folder.path())).await;
    let answer = get(&rig, "/widget/xapp-chat-widget.js").await;
    assert!(answer.contains("access-control-allow-origin: *"), "{answer}");
    let script = answer.split("\r\n\r\n").nth(1).unwrap();
    let literal = script.strip_prefix("let a = ").unwrap().strip_suffix(';').unwrap();
    assert!(!literal.contains("</script>") && !literal.contains('\u{2028}'), "{literal}");
    // What is between the quotes is JSON for a string as well as JavaScript.
    let text: String = serde_json::from_str(literal).unwrap();
    let settings: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(settings["botName"], "Be \"a\" </script>\u{2028}");
    assert_eq!(
        settings["connection"],
        serde_json::json!({
            "type": "websocketraw", "serverUrl": "ws://chat.example:8080/?appId=demo",
        })
    );
    rig.apps.send(std::sync::Arc::new(AppSet::new([app("one"), app("two")]))).unwrap();
    assert!(get(&rig, "/widget/xapp-chat-widget.js").await.contains("{{INJECT}}"), "which app?");
    assert!(get(&rig, "/widget/xapp-chat-widget.js?app=two").await.contains("appId=two"));
}

#[tokio::test]
async fn s6_no_other_file_can_be_had_by_any_way_of_writing_its_name() {
    let folder = widget();
    let rig = rig(Some(folder.path())).await;
    assert!(get(&rig, "/widget/xapp-chat-widget.css").await.ends_with("b{}"));
    for path in [
        "/widget/../Cargo.toml",
        "/widget/.secret.js",
        "/widget/",
        "/widget/..%2fx.js",
        "/widget//etc/passwd",
        "/widget/a/../xapp-chat-widget.css",
        "/widget/xapp-chat-widget.js/",
        "/widget/%2e%2e/x.css",
        "/widget/...css",
        "/widget/x\\..\\y.css",
        "/widget/xapp-chat-widget",
    ] {
        let answer = get(&rig, path).await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{path}: {answer}");
    }
}

#[tokio::test]
async fn files_are_not_sent_again_and_only_get_and_head_are_understood() {
    let folder = widget();
    let rig = rig(Some(folder.path())).await;
    let first = get(&rig, "/widget/xapp-chat-widget.css").await;
    let tag = first.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap();
    let request = "GET /widget/xapp-chat-widget.css HTTP/1.1\r\nhost: a";
    let again = ask(&rig, &format!("{request}\r\nif-none-match: {tag}")).await;
    assert!(again.starts_with("HTTP/1.1 304") && !again.contains("b{}"), "{again}");
    let head = ask(&rig, "HEAD /widget/xapp-chat-widget.css HTTP/1.1\r\nhost: a").await;
    assert!(head.contains("content-length: 3") && head.ends_with("\r\n\r\n"), "{head}");
    let post = ask(&rig, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0").await;
    assert!(post.starts_with("HTTP/1.1 405") && post.contains("allow: GET, HEAD"), "{post}");
}
