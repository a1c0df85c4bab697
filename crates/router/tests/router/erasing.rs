//! A session is erased: what is left of it, and that nothing brings it back.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use prost::Message as _;
use stentor_cluster::{
    Entity, EntityKind, GatewayMessage, Ingress as _, Log, PartitionLog as _, memory::MemoryLog,
};
use stentor_router::Config;
use stentor_store::{Erasure, Store, memory::MemoryStore};
use stentor_tokens::{Algorithm, Key, Keys};
use stentor_types::{EventKind, EventNumber, Incarnation, SessionId, Timestamp};
use stentor_wire::{ERASING, decode_event, pb, session_to_bytes};

use crate::{
    harness::{self, PATIENCE, Socket, Town},
    moody_store::MoodyStore,
};

/// Stands in all that is to be erased.
const TEXT: &str = "my deepest secret";

async fn erase(town: &Town, session: SessionId) -> pb::erase_reply::Kind {
    let request = pb::EraseRequest { session: session_to_bytes(session), ..Default::default() };
    let kind = Some(pb::request::Kind::Erase(request));
    let request = pb::Request { app: "demo".into(), kind, deaths: 0 };
    let asked = town.bus.operate(session.partition(), request.encode_to_vec().into());
    let answer = tokio::time::timeout(PATIENCE, asked).await.unwrap().unwrap();
    match pb::Reply::decode(answer).unwrap().kind {
        Some(pb::reply::Kind::Erase(reply)) => reply.kind.unwrap(),
        other => panic!("{other:?}"),
    }
}

async fn erased(town: &Town, session: SessionId) -> pb::Certificate {
    match erase(town, session).await {
        pb::erase_reply::Kind::Certificate(certificate) => certificate,
        other => panic!("{other:?}"),
    }
}

/// Somebody who has said something and been answered.
async fn visitor(town: &mut Town) -> Socket {
    let mut socket = town.socket(1, "user-a");
    town.attach(&mut socket, Some("claimed")).await;
    town.say(&mut socket, TEXT).await;
    let effect = town.effect().await;
    town.answer(&effect, &format!("you said {TEXT}")).await;
    socket
}

fn holds_text(bytes: &[u8]) -> bool {
    bytes.windows(TEXT.len()).any(|part| part == TEXT.as_bytes())
}

async fn log_holds_text(log: &MemoryLog, town: &Town, session: SessionId) -> bool {
    let entity = Entity { app: town.app.clone(), kind: EntityKind::Session(session) };
    let records = log.read_tail(&entity, u64::MAX).await.unwrap();
    assert!(!records.is_empty());
    records.iter().any(|record| holds_text(&record.record))
}

async fn store_holds_text(store: &MemoryStore, town: &Town, session: SessionId) -> bool {
    let (app, all) = (&town.app, EventNumber(u64::MAX));
    let events = store.events(app, session, EventNumber(1), all).await.unwrap();
    let row = store.session(app, session).await.unwrap();
    let listing = store.listing(app, session).await.unwrap();
    let listed = store.listings(app, None, 100).await.unwrap();
    events.iter().any(|event| holds_text(&event.event))
        || row.is_some_and(|row| holds_text(&row.state))
        || listing.into_iter().chain(listed).any(|listing| holds_text(&listing.listing))
}

async fn only_numbers_are_left(town: &Town, session: SessionId, n: u64) {
    let events = town.events(session).await;
    assert_eq!(
        events.iter().map(|event| event.n.0).collect::<Vec<_>>(),
        (1..=n).collect::<Vec<_>>()
    );
    assert!(events.iter().all(|event| event.kind == EventKind::Erased), "{events:?}");
    assert!(events.is_sorted_by(|one, next| one.stamp < next.stamp), "{events:?}");
}

async fn attach_to(town: &Town, socket: &Socket, session: SessionId) -> pb::input_reply::Kind {
    let attach = pb::AttachInput {
        session: Some(session_to_bytes(session)),
        client: Some(pb::ClientClaim { instance: vec![7; 16].into(), last: 3 }),
        ..Default::default()
    };
    town.send(socket, pb::connection_input::Kind::Attach(attach)).await
}

#[tokio::test]
async fn cluster_26_of_an_erased_session_the_numbers_are_left_and_a_new_visit_finds_another() {
    for shared in [false, true] {
        let log = Arc::new(MemoryLog::new(Incarnation(1)));
        let store = Arc::new(MemoryStore::new());
        let mut town = if shared {
            Town::open_shared(&log, &store, 1, Config::default())
        } else {
            Town::open(&log, &store, harness::apps(), 1, Config::default())
        };
        let mut socket = visitor(&mut town).await;
        let session = socket.session.unwrap();
        let before = town.events(session).await;
        assert!(log_holds_text(&log, &town, session).await, "it is there before");

        let certificate = erased(&town, session).await;
        let n = before.len() as u64 + 1;
        assert_eq!((certificate.app.as_str(), certificate.events), ("demo", n));
        assert!(certificate.gone_at >= Some(certificate.hidden_at), "{certificate:?}");
        assert!(!holds_text(&certificate.encode_to_vec()));
        assert!(!log_holds_text(&log, &town, session).await);
        assert!(!store_holds_text(&store, &town, session).await);
        only_numbers_are_left(&town, session, n).await;
        assert_eq!(erased(&town, session).await, certificate, "asking again changes nothing");

        // Whoever was there is told, and told what happens to what they say.
        let told = async {
            loop {
                let Some(GatewayMessage::Fanout(bytes)) = town.fanout.recv().await else {
                    continue;
                };
                let fanout = pb::Fanout::decode(bytes).unwrap();
                if fanout.events.iter().any(|event| decode_event(event).unwrap().n.0 == n) {
                    return fanout;
                }
            }
        };
        let fanout = tokio::time::timeout(PATIENCE, told).await.unwrap();
        assert_eq!((fanout.head, &fanout.connections[..]), (n, &[1][..]));
        let refused = pb::input_reply::Kind::Rejected(pb::RejectCode::Erased.into());
        assert_eq!(town.say(&mut socket, "still there?").await, refused);
        match attach_to(&town, &socket, session).await {
            pb::input_reply::Kind::Attached(attached) => {
                assert_eq!((attached.n, attached.replay.len()), (n, 0));
                let view = attached.view.unwrap();
                assert!(view.ended && view.people.is_empty(), "{view:?}");
            }
            other => panic!("{other:?}"),
        }
        only_numbers_are_left(&town, session, n).await;

        let mut again = town.socket(2, "user-a");
        town.attach(&mut again, Some("claimed")).await;
        assert_ne!(again.session, Some(session), "the directory no longer leads to it");
        town.close().await;

        // Nor does any of it come back with another router.
        let town = if shared {
            Town::open_shared(&log, &store, 2, Config::default())
        } else {
            Town::open(&log, &store, harness::apps(), 2, Config::default())
        };
        only_numbers_are_left(&town, session, n).await;
        assert!(!store_holds_text(&store, &town, session).await);
        town.close().await;
    }
}

#[tokio::test]
async fn cluster_26_only_operators_erase_and_only_what_all_versions_understand() {
    let log = Arc::new(MemoryLog::new(Incarnation(1)));
    let store = Arc::new(MemoryStore::new());
    let config = Config { logic: ERASING - 1, ..Config::default() };
    let mut town = Town::open(&log, &store, harness::apps(), 1, config);
    let socket = visitor(&mut town).await;
    let session = socket.session.unwrap();
    let before = town.events(session).await;
    let needed = pb::erase_reply::Kind::NeedsVersion(ERASING);
    assert_eq!(erase(&town, session).await, needed);
    assert_eq!(store.erasure(&town.app, session).await.unwrap(), None);
    assert_eq!(town.events(session).await, before);
    town.close().await;

    let town = Town::open(&log, &store, harness::apps(), 1, Config::default());
    let request = pb::EraseRequest { session: session_to_bytes(session), ..Default::default() };
    let kind = pb::request::Kind::Erase(request);
    let reply = town.ask(session.partition(), kind).await;
    assert!(matches!(reply.kind, Some(pb::reply::Kind::Malformed(_))), "{reply:?}");
    assert!(log_holds_text(&log, &town, session).await);
    let unknown = SessionId::new(session.key(), 1);
    assert_eq!(erase(&town, unknown).await, pb::erase_reply::Kind::NoSession(true));
    town.close().await;
}

#[tokio::test]
async fn s17_a_gateway_erases_only_with_the_token_of_a_program_of_that_app() {
    let log = Arc::new(MemoryLog::new(Incarnation(1)));
    let store = Arc::new(MemoryStore::new());
    let key = |secret: u8| Key::try_new("k", Algorithm::Hs256, &[secret; 40]).unwrap();
    let exp = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() + 600;
    let token = |app: &str, role, sub: &str, secret| {
        let claims = serde_json::json!({ "sub": sub, "aud": app, "role": role, "exp": exp });
        stentor_tokens::mint(&serde_json::from_value(claims).unwrap(), &key(secret)).unwrap()
    };
    let known = harness::apps();
    let app = |name: &str| stentor_apps::App {
        id: stentor_types::AppId::try_new(name).unwrap(),
        keys: Keys::new(vec![key(1)]),
        revoked: ["gone".to_owned()].into(),
        ..(**known.get("demo").unwrap()).clone()
    };
    let apps = stentor_apps::AppSet::new([app("demo"), app("other")]);
    let mut town = Town::open(&log, &store, apps, 1, Config::default());
    let socket = visitor(&mut town).await;
    let session = socket.session.unwrap();
    let before = town.events(session).await;
    let ask = async |app: &str, token: &str| {
        let request =
            pb::EraseRequest { session: session_to_bytes(session), token: token.to_owned() };
        let kind = Some(pb::request::Kind::Erase(request));
        let request = pb::Request { app: app.into(), kind, deaths: 0 };
        let asked = town.bus.request(session.partition(), request.encode_to_vec().into());
        let answer = tokio::time::timeout(PATIENCE, asked).await.unwrap().unwrap();
        match pb::Reply::decode(answer).unwrap().kind {
            Some(pb::reply::Kind::Erase(reply)) => reply.kind.unwrap(),
            other => panic!("{other:?}"),
        }
    };
    for (why, token) in [
        ("no token", "x".to_owned()),
        ("a person's", token("demo", "agent", "ann", 1)),
        ("a visitor's", token("demo", "visitor", "ann", 1)),
        ("of another key", token("demo", "integration", "crm", 2)),
        ("of another app", token("other", "integration", "crm", 1)),
        ("taken back", token("demo", "integration", "gone", 1)),
    ] {
        assert_eq!(ask("demo", &token).await, pb::erase_reply::Kind::Forbidden(true), "{why}");
    }
    // S6: in its own app there is no such session.
    let other = token("other", "integration", "crm", 1);
    assert_eq!(ask("other", &other).await, pb::erase_reply::Kind::NoSession(true));
    assert_eq!(town.events(session).await, before);
    let certificate = ask("demo", &token("demo", "integration", "crm", 1)).await;
    assert!(matches!(certificate, pb::erase_reply::Kind::Certificate(_)), "{certificate:?}");
    assert!(!log_holds_text(&log, &town, session).await);
    town.close().await;
}

#[tokio::test]
async fn cluster_26_what_was_begun_is_finished_by_whoever_loads_the_session_next() {
    let log = Arc::new(MemoryLog::new(Incarnation(1)));
    let inner = Arc::new(MemoryStore::new());
    let mut town = Town::open_shared(&log, &inner, 1, Config::default());
    let socket = visitor(&mut town).await;
    let session = socket.session.unwrap();
    let n = town.events(session).await.len() as u64;
    let app = town.app.clone();
    town.close().await;

    // Its router was gone when only the store had been told.
    let begun = Erasure { at: Timestamp(1), certificate: bytes::Bytes::new() };
    inner.erase(&app, session, begun).await.unwrap();
    // The next one comes as far as the commit.
    let store = MoodyStore::over(&inner);
    store.remembers.store(true, Ordering::SeqCst);
    let town = Town::open_shared(&log, &store, 2, Config::default());
    assert!(matches!(erase(&town, session).await, pb::erase_reply::Kind::TryAgainMs(_)));
    assert!(!log_holds_text(&log, &town, session).await, "the log comes first");
    assert!(inner.erasure(&app, session).await.unwrap().unwrap().certificate.is_empty());
    town.kill().await;

    store.remembers.store(false, Ordering::SeqCst);
    let town = Town::open_shared(&log, &store, 3, Config::default());
    let events = async {
        loop {
            let events = town.events(session).await;
            if events.iter().any(|event| event.kind == EventKind::Erased) {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, events).await.unwrap();
    only_numbers_are_left(&town, session, town.events(session).await.len() as u64).await;
    assert!(!store_holds_text(&inner, &town, session).await);
    let kept = inner.erasure(&app, session).await.unwrap().unwrap();
    let kept = pb::Certificate::decode(kept.certificate).unwrap();
    assert!(kept.events > n, "{kept:?}");
    assert_eq!(erased(&town, session).await, kept);
    town.close().await;
}

#[tokio::test]
async fn cluster_26_a_projector_that_comes_late_brings_nothing_back() {
    let log = Arc::new(MemoryLog::new(Incarnation(1)));
    let inner = Arc::new(MemoryStore::new());
    let store = MoodyStore::over(&inner);
    // Nothing of it was written while it was said.
    store.set_down(true);
    let mut town = Town::open_shared(&log, &store, 1, Config::default());
    let socket = visitor(&mut town).await;
    let session = socket.session.unwrap();
    store.set_down(false);
    let certificate = loop {
        match erase(&town, session).await {
            pb::erase_reply::Kind::Certificate(certificate) => break certificate,
            pb::erase_reply::Kind::TryAgainMs(_) => {
                tokio::time::sleep(Duration::from_millis(50)).await
            }
            other => panic!("{other:?}"),
        }
    };
    let entity = Entity { app: town.app.clone(), kind: EntityKind::Session(session) };
    let head = log.head(&entity).await.unwrap().unwrap().sequence;
    let written = async {
        while log.cursor(session.partition()).await.unwrap().is_none_or(|cursor| cursor <= head) {
            assert!(!store_holds_text(&inner, &town, session).await);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE * 3, written).await.unwrap();
    assert!(!store_holds_text(&inner, &town, session).await);
    let row = inner.session(&town.app, session).await.unwrap().unwrap();
    assert_eq!(row.projected.0, certificate.events);
    town.close().await;
}

#[tokio::test]
async fn cluster_26_nothing_begins_under_the_name_of_an_erased_session_that_is_forgotten() {
    let log = Arc::new(MemoryLog::new(Incarnation(1)));
    let store = Arc::new(MemoryStore::new());
    let mut town = Town::open(&log, &store, harness::apps(), 1, Config::default());
    let socket = visitor(&mut town).await;
    let session = socket.session.unwrap();
    town.close().await;
    // Log and history know nothing more of it; a directory of a backup still leads to it.
    let entity = Entity {
        app: stentor_types::AppId::try_new("demo").unwrap(),
        kind: EntityKind::Session(session),
    };
    log.trim(&entity, stentor_types::Sequence(u64::MAX), true).await.unwrap();
    let known = Erasure { at: Timestamp(1), certificate: bytes::Bytes::from_static(b"x") };
    store.erase(&entity.app, session, known).await.unwrap();
    let town = Town::open(&log, &store, harness::apps(), 1, Config::default());
    let attach = pb::AttachInput { claimed: Some("claimed".into()), ..Default::default() };
    let kind = pb::connection_input::Kind::Attach(attach);
    let first = town.send(&socket, kind.clone()).await;
    assert!(matches!(first, pb::input_reply::Kind::TryAgainMs(_)), "{first:?}");
    match town.send(&socket, kind).await {
        pb::input_reply::Kind::Attached(attached) => {
            assert_ne!(attached.session, session_to_bytes(session));
        }
        other => panic!("{other:?}"),
    }
    town.close().await;
}
