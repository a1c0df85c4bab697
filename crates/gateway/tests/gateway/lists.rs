//! What routers tell of lists, and what of it is missing.

use std::time::Duration;

use prost::Message as _;
use serde_json::{Value, json};
use stentor_cluster::GatewayMessage;
use stentor_tokens::{Algorithm, Claims, Key, Keys, Role, mint};
use stentor_types::{PlacementKey, SessionId};
use stentor_wire::{pb, session_to_bytes};

use crate::{
    client::Client,
    owner::{ORIGIN, Rig},
};

/// A gateway, and one of the staff who watches the lists of the app.
async fn watched() -> (Rig, Client) {
    let key = Key::try_new("k", Algorithm::Hs256, &[7; 40]).unwrap();
    let exp = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() + 3_600;
    let (sub, aud) = ("ada".to_owned(), "demo".to_owned());
    let claims = Claims { sub, aud, role: Role::Agent, exp, ..Claims::default() };
    let token = mint(&claims, &key).unwrap();
    let rig =
        Rig::with(|config| config, |app| stentor_apps::App { keys: Keys::new(vec![key]), ..app });
    let rig = rig.await;
    let headers = [("origin", ORIGIN), ("sec-websocket-protocol", "stentor.v2")];
    let mut client = Client::dial(&rig, "/", &headers).await.unwrap();
    client.send(json!({ "t": "hello", "app": "demo", "token": token }).to_string()).await;
    assert_eq!(client.next().await["t"], "welcome");
    client.send(json!({ "t": "watch", "ref": 1, "on": true }).to_string()).await;
    assert_eq!(client.next().await["t"], "done");
    (rig, client)
}

/// A router says how much it has told of lists, and the last of it if that is of an app.
async fn tell(rig: &Rig, (router, number): (u64, u64), app: Option<&str>) {
    let listed = app.map(|_| pb::Listed {
        session: session_to_bytes(SessionId::new(PlacementKey(1), u128::from(number))),
        n: number,
        ..Default::default()
    });
    let fanout = pb::Fanout {
        app: app.unwrap_or_default().to_owned(),
        listed: listed.into_iter().collect(),
        listed_by: router,
        listed_number: number,
        ..Default::default()
    };
    let message = GatewayMessage::Fanout(fanout.encode_to_vec().into());
    rig.fanout.send(message).await.unwrap();
}

/// The next word of lists: which changes, and whether some were missed.
async fn heard(client: &mut Client) -> (Vec<u64>, bool) {
    loop {
        let frame = client.next().await;
        if frame["t"] != "listChanged" {
            continue;
        }
        let items = frame["items"].as_array().unwrap().iter();
        let numbers = items.map(|item| item["n"].as_u64().unwrap()).collect();
        return (numbers, frame.get("missed") == Some(&Value::Bool(true)));
    }
}

const HERE: Option<&str> = Some("demo");
const ELSEWHERE: Option<&str> = Some("other");
const MISSED: (Vec<u64>, bool) = (Vec::new(), true);

#[tokio::test(start_paused = true)]
async fn cluster_16_a_change_in_lists_that_did_not_come_is_missed_by_all_who_watch() {
    let (rig, mut client) = watched().await;
    tell(&rig, (1, 1), HERE).await;
    assert_eq!(heard(&mut client).await, (vec![1], false));
    // The last one is lost, and nothing more happens: the router repeats how far it is.
    tell(&rig, (1, 2), None).await;
    assert_eq!(heard(&mut client).await, MISSED);
    // One is lost, and another app's comes: nobody knows whose it was.
    tell(&rig, (1, 4), ELSEWHERE).await;
    assert_eq!(heard(&mut client).await, MISSED);
    // A router of whom nothing was heard before it was at its third.
    tell(&rig, (2, 3), HERE).await;
    assert_eq!(heard(&mut client).await, MISSED);
    assert_eq!(heard(&mut client).await, (vec![3], false));
}

#[tokio::test(start_paused = true)]
async fn what_a_router_repeats_of_lists_is_no_loss() {
    let (rig, mut client) = watched().await;
    tell(&rig, (1, 1), ELSEWHERE).await;
    for _ in 0..5 {
        tell(&rig, (1, 1), None).await;
    }
    tell(&rig, (2, 1), HERE).await;
    tell(&rig, (2, 1), None).await;
    tell(&rig, (1, 2), HERE).await;
    assert_eq!(heard(&mut client).await, (vec![1], false));
    assert_eq!(heard(&mut client).await, (vec![2], false));
    let more = tokio::time::timeout(Duration::from_secs(5), heard(&mut client)).await;
    assert!(more.is_err(), "{more:?}");
}
