//! Sessions that a client of the second dialect knows by a name of its own.

use serde_json::{Value, json};

use crate::{
    peers::{Second, until},
    town::TownRig,
};

/// The session that an `open` with this reference was answered with.
async fn opened(client: &Second, reference: u64) -> String {
    let answer = |frame: &Value| frame["t"] == "opened" && frame["ref"] == reference;
    until(&client.heard, "opened", |frames| frames.iter().any(answer)).await;
    let frames = client.heard.lock().unwrap();
    frames.iter().find(|frame| answer(frame)).unwrap()["sid"].as_str().unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn cluster_26_a_name_that_is_open_leads_to_what_it_names_now() {
    let rig = TownRig::new(1).await;
    let client = Second::open(&rig, 1, "chat").await;
    // As when the session that it named has been erased.
    rig.town.with(|state| state.alias("v2:chat", "another"));
    let open = |reference: u64, key: &str, value: &str| {
        let client = format!("{:032x}", 1);
        json!({ "t": "open", "ref": reference, key: value, "client": client, "lastMid": 0 })
    };
    client.send(&open(2, "name", "chat")).await;
    let other = opened(&client, 2).await;
    assert_ne!(other, client.sid);
    // Whoever names the session itself is led to that.
    client.send(&open(3, "sid", &other)).await;
    assert_eq!(opened(&client, 3).await, other);
    client.send(&open(4, "sid", &client.sid)).await;
    assert_eq!(opened(&client, 4).await, client.sid);
    rig.end().await;
}
