//! Who may have a session erased over HTTP, and what they are told.

use stentor_apps::App;
use stentor_tokens::{Algorithm, Claims, Key, Keys, Role};
use stentor_types::{PlacementKey, SessionId};
use stentor_wire::{pb, pb::erase_reply::Kind, pb::reply, session_to_bytes};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::owner::{LOCAL, Rig};

fn key() -> Key {
    Key::try_new("k", Algorithm::Hs256, &[b'k'; 40]).unwrap()
}

fn token(role: Role) -> String {
    let exp = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() + 600;
    let claims = Claims {
        sub: "crm".into(),
        aud: "demo".into(),
        role,
        exp,
        name: None,
        purpose: None,
        jti: None,
        iat: None,
        by: None,
    };
    stentor_tokens::mint(&claims, &key()).unwrap()
}

async fn rig() -> Rig {
    let change = |app: App| App { keys: Keys::new(vec![key()]), ..app };
    Rig::with(|config| config, change).await
}

fn session() -> SessionId {
    SessionId::new(PlacementKey(7), 1)
}

/// What comes back, head and body.
async fn delete(rig: &Rig, authorisation: &str) -> String {
    let (mut near, far) = tokio::io::duplex(65_536);
    let acceptor = rig.acceptor.clone();
    tokio::spawn(async move { acceptor.serve(far, LOCAL).await });
    let request = format!(
        "DELETE /api/v1/sessions/{} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{authorisation}\r\n",
        session()
    );
    near.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    near.read_to_string(&mut answer).await.unwrap();
    answer
}

fn erased(kind: Kind) -> reply::Kind {
    reply::Kind::Erase(pb::EraseReply { kind: Some(kind) })
}

#[tokio::test(start_paused = true)]
async fn what_came_of_an_erasure_is_told_with_what_to_do() {
    let rig = rig().await;
    let program = format!("authorization: Bearer {}\r\n", token(Role::Integration));
    let certificate = pb::Certificate {
        app: "demo".into(),
        session: session_to_bytes(session()),
        epoch: 5,
        events: 6,
        hidden_at: 1_772_323_200_000_007,
        gone_at: None,
    };
    let malformed = || reply::Kind::Malformed("kind".into());
    for (kind, status, part) in [
        (erased(Kind::Certificate(certificate)), 200, "2026-03-01T00:00:00.000007Z"),
        (erased(Kind::NoSession(true)), 404, "noSession"),
        (erased(Kind::NeedsVersion(2)), 409, "stentor upgrade finalize"),
        (erased(Kind::Forbidden(true)), 403, "does not believe the token"),
        (erased(Kind::Damaged(true)), 500, "damaged"),
        (malformed(), 501, "stentor erase"),
        // Asked again and again, and then not for ever.
        (erased(Kind::TryAgainMs(500)), 503, "does its database answer"),
    ] {
        rig.owner.with(|state| state.erasing = Some(kind));
        let told = delete(&rig, &program).await;
        assert!(told.starts_with(&format!("HTTP/1.1 {status} ")) && told.contains(part), "{told}");
        assert_eq!(told.contains("retry-after"), status == 503, "{told}");
    }
    let asked = rig.owner.asked();
    assert!(asked.len() > 10, "{asked:?}");
    // The router looks at the token itself.
    assert_eq!(asked[0], format!("erase by {}", token(Role::Integration)));
}

#[tokio::test(start_paused = true)]
async fn s1_nobody_but_a_program_of_the_operator_has_anything_erased() {
    let rig = rig().await;
    let bearer = |token: &str| format!("authorization: Bearer {token}\r\n");
    let by = |role| bearer(&token(role));
    let forged = bearer(&format!("{}x", token(Role::Integration)));
    for (authorisation, status) in [
        (String::new(), 401),
        ("cookie: stentor_device=sd_00000000000000000000000000000007\r\n".into(), 401),
        (bearer("sd_00000000000000000000000000000007"), 401),
        (forged, 401),
        (by(Role::Visitor), 403),
        (by(Role::Observer), 403),
        (by(Role::Agent), 403),
    ] {
        let told = delete(&rig, &authorisation).await;
        assert!(told.starts_with(&format!("HTTP/1.1 {status} ")), "{authorisation}: {told}");
    }
    assert!(rig.owner.asked().is_empty());
}
