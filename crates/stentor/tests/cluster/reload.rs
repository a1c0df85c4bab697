//! The file of an app is broken and mended while people talk (F18).

use std::{fs, path::PathBuf, time::Duration};

use http::Method;
use serde_json::Value;
use stentor_testkit::{
    PATIENCE, Web,
    cluster::{Cluster, topology::Kind},
};
use tokio::time::Instant;

use crate::load::Load;

/// How often the file is written anew, half of it first.
const REWRITES: u64 = 150;
/// Half a file is there for this long.
const HALF: Duration = Duration::from_millis(15);

/// A folder with a widget that is nothing but its settings.
pub(crate) fn widget() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("xapp-chat-widget.js"), "\"{{INJECT}}\"").unwrap();
    folder
}

/// The app's file, with which the cluster was started.
struct File {
    path: PathBuf,
    app: Value,
}

impl File {
    fn of(cluster: &Cluster) -> Self {
        let path = cluster.folder().join("apps/demo.yaml");
        let app = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        Self { path, app }
    }

    /// The app by another name, that stands at its beginning and at its end.
    fn named(&self, name: &str) -> String {
        let mut app = self.app.clone();
        app["spec"]["widget"] = serde_json::json!({ "botName": name, "zLast": name });
        app.to_string()
    }

    async fn write_by_halves(&self, text: &str) {
        let half = text.len() / 2;
        fs::write(&self.path, &text[..half]).unwrap();
        tokio::time::sleep(HALF).await;
        fs::write(&self.path, text).unwrap();
        tokio::time::sleep(HALF).await;
    }
}

/// The names that a gateway gives: both at once, or somebody has read half a file.
async fn name(port: u16) -> String {
    let mut web = Web::new(port);
    let (_, script) =
        web.ask(Method::GET, "/widget/xapp-chat-widget.js?app=demo", "").await.unwrap();
    let settings: String = serde_json::from_str(&script).unwrap();
    let settings: Value = serde_json::from_str(&settings).unwrap();
    let name = settings["botName"].as_str().unwrap().to_owned();
    assert!(
        settings.get("zLast").is_none_or(|last| *last == name.as_str()),
        "F18: a torn read: {settings}"
    );
    name
}

async fn problems(cluster: &Cluster) -> Vec<f64> {
    let mut problems = Vec::new();
    for kind in [Kind::Gateway, Kind::Router, Kind::Connector] {
        for name in cluster.names(kind) {
            problems.push(cluster.metric(&name, "stentor_apps_problems").await.unwrap());
        }
    }
    problems
}

async fn until_problems(cluster: &Cluster, wanted: f64) {
    let until = Instant::now() + PATIENCE;
    loop {
        let problems = problems(cluster).await;
        if problems.iter().all(|found| *found == wanted) {
            return;
        }
        assert!(Instant::now() < until, "F18: problems {problems:?}, not {wanted}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn until_named(cluster: &Cluster, wanted: &str) {
    let until = Instant::now() + PATIENCE;
    for port in cluster.gateway_ports() {
        while name(port).await != wanted {
            assert!(Instant::now() < until, "F18: {wanted} is never in force");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

pub(crate) async fn broken_files_change_nothing(cluster: &Cluster, load: &mut Load) {
    let file = File::of(cluster);
    let port = cluster.gateway_ports()[0];
    fs::write(&file.path, file.named("before")).unwrap();
    until_named(cluster, "before").await;
    for broken in
        ["spec: [", "", "{\"apiVersion\": \"stentor.dev/v1alpha1\", \"kind\": \"ChatApp\"}"]
    {
        fs::write(&file.path, broken).unwrap();
        until_problems(cluster, 1.0).await;
        load.goes_on().await;
        assert_eq!(name(port).await, "before", "F18: what was in force stays");
    }
    fs::write(&file.path, file.named("mended")).unwrap();
    until_named(cluster, "mended").await;
    until_problems(cluster, 0.0).await;
    for number in 1..=REWRITES {
        file.write_by_halves(&file.named(&format!("number {}", number % 2))).await;
        name(port).await;
    }
    load.goes_on().await;
    fs::write(&file.path, file.app.to_string()).unwrap();
    until_named(cluster, "Echo").await;
    until_problems(cluster, 0.0).await;
}
