//! A session is erased: nobody finds a word of it any more, wherever they look.

use std::{process::Command, time::Duration};

use http::{Method, StatusCode};
use prost::Message as _;
use stentor_cluster::Log as _;
use stentor_cluster_nats::NatsLog;
use stentor_store::Store as _;
use stentor_testkit::{
    PATIENCE, Web,
    cluster::{Cluster, topology::Kind},
};
use stentor_types::{AppId, EventNumber, SessionId};
use stentor_wire::{LOGIC, pb, session_to_bytes};
use tokio::time::Instant;

use crate::{
    operate::{json, stentor, visitor},
    setting::Setting,
    verifying::{as_router, database},
};

/// What was said, and is in what the bot answered.
const TEXT: &str = "hush now";

fn holds_text(bytes: &[u8]) -> bool {
    bytes.windows(TEXT.len()).any(|part| part == TEXT.as_bytes())
}

/// Where it stands in the stream of the log and in that of dead letters.
async fn streams_hold_text(cluster: &Cluster) -> Vec<String> {
    let (connection, _) = as_router(cluster).await;
    let jetstream = connection.jetstream();
    let mut found = Vec::new();
    for name in ["STENTOR_log_0", "STENTOR_dead"] {
        let mut stream = jetstream.get_stream(name).await.unwrap();
        let state = stream.info().await.unwrap().state.clone();
        for sequence in state.first_sequence..=state.last_sequence {
            let Ok(message) = stream.get_raw_message(sequence).await else { continue };
            if holds_text(&message.payload) {
                found.push(format!("{name} {sequence}: {}", message.subject));
            }
        }
    }
    found
}

async fn database_holds_text(cluster: &Cluster, app: &AppId, session: SessionId) -> bool {
    let store = database(cluster).await;
    let all = (EventNumber(1), EventNumber(u64::MAX));
    let events = store.events(app, session, all.0, all.1).await.unwrap();
    let row = store.session(app, session).await.unwrap();
    let listings = store.listings(app, None, 100).await.unwrap();
    events.iter().any(|event| holds_text(&event.event))
        || row.is_some_and(|row| holds_text(&row.state))
        || store.listing(app, session).await.unwrap().is_some()
        || listings.iter().any(|listing| holds_text(&listing.listing))
}

async fn bury(log: &NatsLog, cluster: &Cluster, session: SessionId) {
    let letter = pb::DeadLetter {
        app: "demo".to_owned(),
        session: Some(session_to_bytes(session)),
        body: TEXT.into(),
        ..Default::default()
    };
    log.bury(letter.encode_to_vec().into());
    let until = Instant::now() + PATIENCE;
    while !streams_hold_text(cluster).await.iter().any(|found| found.contains("dead")) {
        assert!(Instant::now() < until, "the letter is not kept");
    }
}

/// A program of the app, at a gateway.
fn program(cluster: &Cluster) -> Web {
    let output = Command::new(env!("CARGO_BIN_EXE_stentor"))
        .args(["token", "mint", "--app", "demo", "--kid", "demo", "--role", "integration"])
        .args(["--subject", "crm", "--key-file"])
        .arg(cluster.folder().join("apps/demo.key"))
        .output()
        .unwrap();
    let bearer = Some(String::from_utf8(output.stdout).unwrap().trim().to_owned());
    Web { origin: None, bearer, ..Web::new(cluster.gateway_ports()[1]) }
}

/// Waits until the owner of a session has seen that the cluster has an older version. It says so of a session that is
/// not there, too.
async fn refused_below_the_version(cluster: &Cluster, id: &str) {
    let session: SessionId = id.parse().unwrap();
    let unknown = SessionId::new(session.key(), 1).to_string();
    let until = Instant::now() + 2 * PATIENCE;
    loop {
        let output = stentor(cluster, &["erase", &unknown, "--app", "demo"]).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{said}");
        if said.contains("upgrade finalize") {
            return;
        }
        assert!(said.contains("no such session") && Instant::now() < until, "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cluster_26_an_erased_session_is_nowhere_to_be_found() {
    let mut setting = Setting::new(|options| options).await;
    let cluster = &setting.cluster;
    let mut client = visitor(cluster).await;
    let id =
        json(cluster, &["sessions"]).await["sessions"][0]["session"].as_str().unwrap().to_owned();
    let (app, session): (_, SessionId) = (AppId::try_new("demo").unwrap(), id.parse().unwrap());
    let (connection, log) = as_router(cluster).await;
    bury(&log, cluster, session).await;
    let until = Instant::now() + 2 * PATIENCE;
    while !database_holds_text(cluster, &app, session).await {
        assert!(Instant::now() < until, "the database does not follow");
    }
    let found = streams_hold_text(cluster).await;
    for subject in [".s.", "fx.", "dead."] {
        assert!(found.iter().any(|found| found.contains(subject)), "{subject}: {found:?}");
    }

    // A new cluster can do it from the beginning; one that began with the version before has to be finalized, since
    // its members would not know what it is.
    assert_eq!(json(cluster, &["upgrade", "status"]).await["cluster"], LOGIC);
    let began = connection.jetstream().publish("$KV.STENTOR_owner.cluster", "1".into()).await;
    began.unwrap().await.unwrap();
    // In the eyes of routers that run it never falls.
    for name in setting.cluster.names(Kind::Router) {
        setting.cluster.kill(&name).unwrap();
        setting.cluster.start_again(&name).await.unwrap();
    }
    let cluster = &setting.cluster;
    refused_below_the_version(cluster, &id).await;
    let mut web = program(cluster);
    let path = format!("/api/v1/sessions/{id}");
    let (status, told) = web.json(Method::DELETE, &path, "").await.unwrap();
    let says_how = told["text"].as_str().unwrap().contains("upgrade finalize");
    assert!(status == StatusCode::CONFLICT && says_how, "{status} {told}");
    let finalized = json(cluster, &["upgrade", "finalize"]).await;
    assert_eq!(finalized["finalized"], true, "{finalized:#}");
    let until = Instant::now() + 2 * PATIENCE;
    let certificate = loop {
        match web.json(Method::DELETE, &path, "").await.unwrap() {
            (StatusCode::OK, certificate) => break certificate,
            // A router looks at the version of its cluster only now and then.
            (StatusCode::CONFLICT, _) if Instant::now() < until => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(json(cluster, &["erase", &id]).await, certificate, "the same for an operator");
    assert_eq!(
        (&certificate["app"], &certificate["session"]),
        (&"demo".into(), &id.as_str().into())
    );
    assert!(certificate["hidden"].is_string(), "{certificate:#}");

    let n = certificate["events"].as_u64().unwrap();
    let is_erased = |event: &serde_json::Value| event["kind"] == "erased";
    let last = client.event("that it is erased", is_erased).await.unwrap();
    assert_eq!(last["n"], n);
    assert_eq!(streams_hold_text(cluster).await, Vec::<String>::new());
    assert!(!database_holds_text(cluster, &app, session).await);

    // Whoever is there is told why nothing is taken; whoever comes for all of it sees numbers.
    let mid = client.say("still there?").await.unwrap();
    client.settled(mid).await.unwrap();
    assert_eq!(client.refused.values().collect::<Vec<_>>(), ["erased"]);
    let mut again = client.from_the_first(2);
    again.connect(cluster.gateway_ports()[1]).await.unwrap();
    again.event("the last one", |event| event["n"] == n).await.unwrap();
    assert_eq!(again.events.len() as u64, n);
    assert!(again.events.values().all(is_erased), "{:?}", again.events);
    let mut anew = client.other_tab(3);
    anew.connect(cluster.gateway_ports()[0]).await.unwrap();
    assert_ne!(anew.sid, id, "the same name leads to another session");

    // Nor does it come back with another owner, and there is nothing to be found wrong.
    for name in setting.cluster.names(Kind::Router) {
        setting.cluster.kill(&name).unwrap();
        setting.cluster.start_again(&name).await.unwrap();
    }
    let cluster = &setting.cluster;
    let repeated = json(cluster, &["erase", &id, "--app", "demo"]).await;
    assert_eq!(repeated, certificate);
    assert_eq!(streams_hold_text(cluster).await, Vec::<String>::new());
    assert!(!database_holds_text(cluster, &app, session).await);
    let report = json(cluster, &["verify"]).await;
    assert_eq!(report["sound"], true, "{report:#}");
    setting.end().await;
}
