//! A session is erased: nobody finds a word of it any more, wherever they look.

use prost::Message as _;
use stentor_cluster::Log as _;
use stentor_cluster_nats::NatsLog;
use stentor_store::Store as _;
use stentor_testkit::{
    PATIENCE,
    cluster::{Cluster, topology::Kind},
};
use stentor_types::{AppId, EventNumber, SessionId};
use stentor_wire::{pb, session_to_bytes};
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

#[tokio::test(flavor = "multi_thread")]
async fn cluster_26_an_erased_session_is_nowhere_to_be_found() {
    let mut setting = Setting::new(|options| options).await;
    let cluster = &setting.cluster;
    let mut client = visitor(cluster).await;
    let id =
        json(cluster, &["sessions"]).await["sessions"][0]["session"].as_str().unwrap().to_owned();
    let (app, session): (_, SessionId) = (AppId::try_new("demo").unwrap(), id.parse().unwrap());
    let (_connection, log) = as_router(cluster).await;
    bury(&log, cluster, session).await;
    let until = Instant::now() + 2 * PATIENCE;
    while !database_holds_text(cluster, &app, session).await {
        assert!(Instant::now() < until, "the database does not follow");
    }
    let found = streams_hold_text(cluster).await;
    for subject in [".s.", "fx.", "dead."] {
        assert!(found.iter().any(|found| found.contains(subject)), "{subject}: {found:?}");
    }

    // Members of the version before would not know what it is.
    let output = stentor(cluster, &["erase", &id]).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("upgrade finalize"), "{said}");
    let finalized = json(cluster, &["upgrade", "finalize"]).await;
    assert_eq!(finalized["finalized"], true, "{finalized:#}");
    let until = Instant::now() + 2 * PATIENCE;
    let certificate = loop {
        let output = stentor(cluster, &["erase", &id, "--json"]).await;
        if output.status.success() {
            break serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap();
        }
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        // A router looks at the version of its cluster only now and then.
        assert!(said.contains("upgrade finalize") && Instant::now() < until, "{said}");
    };
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
