//! What nobody can say about a message, and what must not follow it.

use std::time::Duration;

use futures_util::StreamExt;
use serde_json::{Value, json};
use stentor_wire::pb::input_reply::Kind;
use tokio::time::Instant;

use crate::{
    client::Client,
    owner::{ORIGIN, Rig, Trouble},
};

/// A client of the second dialect with one open session.
struct Second {
    client: Client,
    sid: String,
}

impl Second {
    async fn open(rig: &Rig) -> Self {
        let headers = [("origin", ORIGIN), ("sec-websocket-protocol", "stentor.v2")];
        let mut client = Client::dial(rig, "/", &headers).await.unwrap();
        client.send(json!({ "t": "hello", "app": "demo" }).to_string()).await;
        let open = json!({
            "t": "open", "ref": 1, "name": "support", "client": format!("{:032x}", 1), "lastMid": 0,
        });
        client.send(open.to_string()).await;
        let mut this = Self { client, sid: String::new() };
        this.sid = this.next("opened").await["sid"].as_str().unwrap().to_owned();
        this
    }

    async fn say(&mut self, mid: u64) {
        let frame =
            json!({ "t": "send", "sid": self.sid, "mid": mid, "text": format!("text {mid}") });
        self.client.send(frame.to_string()).await;
    }

    /// The next frame of this kind.
    async fn next(&mut self, kind: &str) -> Value {
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            let frame = self.client.next().await;
            if frame["t"] == kind {
                return frame;
            }
            assert!(Instant::now() < deadline, "no {kind} comes, only {frame}");
        }
    }
}

fn says(rig: &Rig) -> Vec<String> {
    rig.owner.asked().into_iter().filter(|asked| asked.starts_with("say")).collect()
}

#[tokio::test(start_paused = true)]
async fn cluster_22_nothing_overtakes_a_message_of_which_nobody_knows_what_became_of_it() {
    for trouble in [Trouble::Hangs, Trouble::TryAgain] {
        let rig = Rig::new().await;
        let mut second = Second::open(&rig).await;
        // The owner takes everything again just after the gateway has given up.
        let attempts = if matches!(trouble, Trouble::Hangs) { 3 } else { 60 };
        rig.owner.with(|state| state.troubles.extend(vec![trouble; attempts]));
        let began = Instant::now();
        second.say(1).await;
        rig.owner.until(|state| state.troubles.len() < attempts).await;
        second.say(2).await;
        for mid in 1..=2 {
            let nack = second.next("nack").await;
            assert_eq!((&nack["mid"], &nack["final"]), (&json!(mid), &json!(false)), "{nack}");
        }
        assert!((30..=45).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
        // Signs of life come for ever.
        let closed = tokio::time::timeout(Duration::from_secs(60), second.client.closed());
        let close = closed.await.expect("it is closed").unwrap();
        assert_eq!(u16::from(close.code), 4002, "{trouble:?}");
        drop(second);
        rig.owner.with(|state| state.troubles.clear());
        rig.owner.until(|state| !state.detached.is_empty()).await;
        assert_eq!(says(&rig), [""; 0], "{trouble:?}");
        // It comes back, and sends the same again in order.
        let mut second = Second::open(&rig).await;
        for mid in 1..=2 {
            second.say(mid).await;
            assert_eq!(second.next("ack").await["mid"], mid);
        }
        assert_eq!(says(&rig), ["say 1", "say 2"]);
    }
}

#[tokio::test(start_paused = true)]
async fn cluster_22_what_surely_was_not_done_costs_nobody_the_connection() {
    let rig = Rig::new().await;
    let mut second = Second::open(&rig).await;
    rig.owner.with(|state| state.troubles.extend([Trouble::Unavailable; 7]));
    second.say(1).await;
    rig.owner.until(|state| state.troubles.len() < 7).await;
    second.say(2).await;
    for mid in 1..=2 {
        let nack = second.next("nack").await;
        assert_eq!((&nack["mid"], &nack["final"]), (&json!(mid), &json!(false)), "{nack}");
    }
    rig.owner.with(|state| state.troubles.clear());
    second.client.silence_but_beats(Duration::from_secs(60)).await;
    assert_eq!(says(&rig), [""; 0], "what comes behind it is sent again with it");
    for mid in 1..=2 {
        second.say(mid).await;
        assert_eq!(second.next("ack").await["mid"], mid);
    }
}

#[tokio::test(start_paused = true)]
async fn cluster_22_a_widgets_message_is_asked_for_until_it_is_taken_and_nothing_before_that() {
    let rig = Rig::new().await;
    let mut client = Client::open(&rig).await;
    client.join("s-1").await;
    client.lines(3).await;
    // Several minutes, longer than anybody waits for a socket that is gone.
    rig.owner.with(|state| state.troubles.extend([Trouble::Hangs; 20]));
    for text in ["1", "2", "3"] {
        client.say("s-1", text).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    // Somebody who does not read answers no pings.
    tokio::spawn(async move { while let Some(Ok(_)) = client.ws.next().await {} });
    rig.owner.until_minutes(|state| state.says.len() == 3).await;
    let texts = rig
        .owner
        .with(|state| state.says.iter().map(|say| say.text.clone().unwrap()).collect::<Vec<_>>());
    assert_eq!(texts, ["1", "2", "3"]);
}

#[tokio::test(start_paused = true)]
async fn cluster_21_what_the_gateway_itself_refuses_for_good_uses_up_its_number() {
    let rig = Rig::new().await;
    let mut second = Second::open(&rig).await;
    let empty = json!({ "t": "send", "sid": second.sid, "mid": 1, "text": " " });
    second.client.send(empty.to_string()).await;
    let nack = second.next("nack").await;
    assert_eq!((&nack["code"], &nack["final"]), (&json!("malformed"), &json!(true)), "{nack}");
    second.say(2).await;
    assert_eq!(second.next("ack").await["mid"], 2);
    assert_eq!(rig.owner.asked()[2..], ["refuse 1", "say 2"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_longer_than_the_bus_carries_is_refused_in_words_and_not_tried_again() {
    let rig = Rig::new().await;
    let mut second = Second::open(&rig).await;
    rig.owner.with(|state| state.troubles.push_back(Trouble::TooLarge));
    let began = Instant::now();
    second.say(1).await;
    let nack = second.next("nack").await;
    assert_eq!((&nack["code"], &nack["final"]), (&json!("tooLong"), &json!(true)), "{nack}");
    second.say(2).await;
    assert_eq!(second.next("ack").await["mid"], 2);
    assert_eq!(rig.owner.asked()[2..], ["refuse 1", "say 2"]);

    let rig = Rig::new().await;
    let mut client = Client::open(&rig).await;
    client.join("s-1").await;
    client.lines(3).await;
    rig.owner.with(|state| state.troubles.push_back(Trouble::TooLarge));
    client.say("s-1", "long").await;
    assert!(client.line().await.starts_with("new message: "));
    client.say("s-1", "short").await;
    rig.owner.until(|state| state.says.len() == 1).await;
    assert_eq!(rig.owner.with(|state| state.says[0].counter), 1);
    assert!(began.elapsed() < Duration::from_secs(1), "nothing is tried again");
}

#[tokio::test(start_paused = true)]
async fn cluster_22_only_what_the_session_has_written_down_is_refused_for_good() {
    let refused = stentor_wire::pb::RejectCode::NotInControl.into();
    let answers = [
        (Kind::Rejected(refused), true),
        (Kind::Gap(9), false),
        (Kind::Damaged(true), false),
        (Kind::Nothing(true), false),
        (Kind::NoSession(true), false),
    ];
    for (answer, is_final) in answers {
        let rig = Rig::new().await;
        let mut second = Second::open(&rig).await;
        rig.owner.with(|state| state.answer = Some(answer.clone()));
        second.say(1).await;
        let nack = second.next("nack").await;
        assert_eq!(nack["final"], is_final, "{answer:?}: {nack}");
        assert_eq!(nack["retryAfterMs"].is_null(), is_final, "{answer:?}: {nack}");
    }
}
