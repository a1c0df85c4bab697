//! A bus that loses messages and lets go of the gateway.

use std::time::Duration;

use stentor_cluster::GatewayMessage;
use stentor_types::GatewayId;

use crate::{
    peers::{Second, Widget, count_nacks, until},
    town::TownRig,
};

/// Two widgets and a client of the second dialect in one session.
async fn company(rig: &TownRig) -> (Widget, Widget, Second) {
    rig.town.with(|state| state.alias("v2:s-1", "s-1"));
    let one = Widget::join(rig, 1, "s-1").await;
    let other = Widget::join(rig, 2, "s-1").await;
    let second = Second::open(rig, 1, "s-1").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    (one, other, second)
}

fn bot_says(rig: &TownRig, text: &str) -> u64 {
    rig.town.with(|state| {
        let session = state.session("s-1");
        state.bot_says(session, text)
    })
}

fn lose_fanout(rig: &TownRig, percent: u64) {
    rig.town.with(|state| state.fanout_lost = percent);
}

fn asked(rig: &TownRig) -> Vec<String> {
    rig.town.with(|state| std::mem::take(&mut state.asked))
}

#[tokio::test(start_paused = true)]
async fn p4_heads_make_both_dialects_fetch_what_they_lack_and_nobody_else() {
    let rig = TownRig::new(1).await;
    let (one, other, second) = company(&rig).await;
    lose_fanout(&rig, 100);
    let n = bot_says(&rig, "lost");
    asked(&rig);
    rig.town.with(|state| state.tell_heads());
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(one.texts(), ["lost"]);
    assert_eq!(other.texts(), ["lost"]);
    assert_eq!(second.numbers().1.last(), Some(&n));
    assert_eq!(asked(&rig).len(), 3, "each asked once");
    let heard = [&one.heard, &other.heard, &second.heard].map(|heard| heard.lock().unwrap().len());
    rig.town.with(|state| state.tell_heads());
    tokio::time::sleep(Duration::from_secs(1)).await;
    let after = [&one.heard, &other.heard, &second.heard].map(|heard| heard.lock().unwrap().len());
    assert_eq!(heard, after, "whoever has everything is sent nothing");
    assert!(asked(&rig).is_empty());
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn p4_a_hole_full_of_events_that_nobody_is_shown_is_crossed_at_once() {
    let rig = TownRig::new(1).await;
    let (one, _other, _second) = company(&rig).await;
    lose_fanout(&rig, 100);
    rig.town.with(|state| {
        let session = state.session("s-1");
        // More than one answer holds.
        for _ in 0..20 {
            state.happen(session, stentor_types::EventKind::Unknown);
        }
        state.bot_says(session, "after it");
        state.tell_heads();
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(one.texts(), ["after it"]);
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn i16_a_head_of_another_numbering_makes_both_dialects_begin_anew() {
    let rig = TownRig::new(1).await;
    let (one, _other, second) = company(&rig).await;
    rig.town.with(|state| state.tell_heads_of(2));
    until(&one.heard, "the end", |frames| frames.iter().any(|frame| frame["closed"] == 1012)).await;
    until(&second.heard, "a resync", |frames| frames.iter().any(|frame| frame["t"] == "resync"))
        .await;
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn i22_a_head_shows_places_of_sockets_that_are_gone() {
    let rig = TownRig::new(1).await;
    let session = rig.town.with(|state| state.session("s-1"));
    rig.town.with(|state| {
        state.bot_says(session, "for nobody");
        let name = stentor_types::ConnectionId { gateway: GatewayId(1), number: 77 };
        state.sessions.get_mut(&session).unwrap().endpoints.insert(name, Default::default());
        state.tell_heads();
    });
    rig.until("given up", |state| state.asked.contains(&"detach 77".to_owned())).await;
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn f7_after_a_loss_every_socket_looks_but_not_all_at_once() {
    let rig = TownRig::new(1).await;
    let mut widgets = Vec::new();
    for number in 0..400 {
        let session = format!("s-{}", number % 10);
        widgets.push(Widget::join(&rig, number, &session).await);
    }
    rig.town.with(|state| state.alias("v2:s-1", "s-1"));
    let mut seconds = Vec::new();
    for number in 1..=20 {
        seconds.push(Second::open(&rig, number, "s-1").await);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    lose_fanout(&rig, 100);
    rig.town.with(|state| {
        state.takes = Duration::from_millis(10);
        let sessions: Vec<_> = state.sessions.keys().copied().collect();
        for session in sessions {
            // Longer than one answer.
            for number in 0..20 {
                state.bot_says(session, &number.to_string());
            }
        }
        state.tell(GatewayMessage::Missed);
    });
    tokio::time::sleep(Duration::from_secs(5)).await;
    let all: Vec<_> = (0..20).map(|number: u32| number.to_string()).collect();
    for widget in &widgets {
        assert_eq!(widget.texts(), all);
    }
    let session = rig.town.with(|state| state.session("s-1"));
    let head = rig.town.with(|state| state.sessions[&session].events.len() as u64);
    for second in &seconds {
        assert_eq!(second.numbers().1.last(), Some(&head));
    }
    let most = rig.town.with(|state| state.fetching_most);
    assert!((32..=64).contains(&most), "{most} at once");
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn f7_an_owner_that_does_not_answer_holds_up_only_its_own_sockets() {
    let rig = TownRig::new(1).await;
    let mut widgets = Vec::new();
    for number in 0..200 {
        widgets.push(Widget::join(&rig, number, "s-1").await);
    }
    rig.town.with(|state| {
        state.takes = Duration::from_secs(60);
        state.tell(GatewayMessage::Missed);
    });
    // All of them ask, although nobody is answered; before anybody asks a second time.
    let began = tokio::time::Instant::now();
    rig.until("all have asked", |state| state.fetching_most >= 200).await;
    assert!(began.elapsed() < Duration::from_secs(9), "{:?}", began.elapsed());
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn under_a_new_name_every_connection_is_attached_again_from_where_it_was() {
    let rig = TownRig::new(1).await;
    let (one, other, second) = company(&rig).await;
    lose_fanout(&rig, 100);
    let n = bot_says(&rig, "while it was away");
    rig.town.with(|state| state.rename(2));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(second.numbers().1.contains(&n));
    assert_eq!(one.texts(), ["while it was away"]);
    assert_eq!(other.texts(), ["while it was away"]);
    lose_fanout(&rig, 0);
    rig.town.with(|state| state.lose(GatewayId(1)));
    let n = bot_says(&rig, "back");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(one.texts(), ["while it was away", "back"]);
    assert_eq!(other.texts(), ["while it was away", "back"]);
    assert_eq!(second.numbers().1.last(), Some(&n));
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn under_a_new_name_nothing_is_asked_before_the_session_is_attached_to() {
    let rig = TownRig::new(1).await;
    let (mut one, _other, mut second) = company(&rig).await;
    asked(&rig);
    rig.town.with(|state| state.rename(2));
    rig.until("the first has returned", |state| !state.asked.is_empty()).await;
    one.say("hello").await;
    second.say("hello").await.unwrap();
    rig.until("both are taken", |state| {
        state.asked.iter().filter(|asked| asked.starts_with("say")).count() == 2
    })
    .await;
    let asked = asked(&rig);
    assert!(!asked.contains(&"say as 1".to_owned()), "{asked:?}");
    assert_eq!(asked.iter().filter(|asked| *asked == "attach as 2").count(), 3, "{asked:?}");
    rig.end().await;
}

/// A message is taken, its answer is lost, and the gateway gets another name.
async fn in_doubt(owners_know: bool) {
    let rig = TownRig::new(1).await;
    let (mut one, _other, mut second) = company(&rig).await;
    rig.town.with(|state| state.answers_lost = 100);
    one.say("widget 1").await;
    let acked = second.say("second 1");
    rig.until("both are taken", |state| {
        state.asked.iter().filter(|asked| asked.starts_with("say")).count() == 2
    })
    .await;
    one.say("widget 2").await;
    rig.town.with(|state| {
        if owners_know {
            state.lose(GatewayId(1));
        }
        state.rename(2);
    });
    tokio::time::sleep(Duration::from_secs(20)).await;
    rig.town.with(|state| state.answers_lost = 0);
    acked.await.unwrap();
    rig.until("the next is taken", |state| {
        let session = state.session("s-1");
        state.sessions[&session].said.contains(&"widget 2".to_owned())
    })
    .await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    rig.town.with(|state| {
        let session = state.session("s-1");
        let mut said = state.sessions[&session].said.clone();
        said.sort();
        assert_eq!(said, ["second 1", "widget 1", "widget 2"]);
        let under_the_new = state.asked.iter().filter(|asked| *asked == "say as 2").count();
        assert_eq!(under_the_new, 1, "what is not in doubt waits for the new name");
    });
    // And everybody is where they belong.
    bot_says(&rig, "still here");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(one.texts(), ["still here"]);
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn i5_what_was_taken_under_the_old_name_is_not_taken_under_the_new_one() {
    in_doubt(false).await;
}

#[tokio::test(start_paused = true)]
async fn i5_the_same_when_the_session_has_forgotten_the_old_name() {
    in_doubt(true).await;
}

#[tokio::test(start_paused = true)]
async fn p9_while_the_bus_takes_nothing_the_widget_is_covered_and_the_client_told_to_send_again() {
    let rig = TownRig::new(1).await;
    let (mut one, _other, mut second) = company(&rig).await;
    rig.town.with(|state| state.closed = true);
    let began = tokio::time::Instant::now();
    one.say("widget").await;
    let acked = second.say("second");
    until(&second.heard, "a refusal", |frames| count_nacks(frames, 1) > 0).await;
    assert!((30..=45).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    let refusal = |frame: &serde_json::Value| frame["t"] == "nack" && frame["final"] == false;
    assert!(second.heard.lock().unwrap().iter().any(refusal));
    until(&one.heard, "the cover", |frames| {
        frames.iter().any(|frame| frame["event"] == "disconnect")
    })
    .await;
    // Even if the session has to be attached to first.
    rig.town.with(|state| state.rename(2));
    until(&second.heard, "another refusal", |frames| count_nacks(frames, 1) > 1).await;
    rig.town.with(|state| state.closed = false);
    acked.await.unwrap();
    let uncovered = ["reconnect", "account status"];
    for event in uncovered {
        until(&one.heard, event, |frames| frames.iter().any(|frame| frame["event"] == event)).await;
    }
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn i15_no_request_is_longer_than_the_bus_carries() {
    let rig = TownRig::new(1).await;
    let (mut one, _other, mut second) = company(&rig).await;
    rig.town.with(|state| state.closed = true);
    let long = "\n\"".repeat(13_000);
    let mut acks = Vec::new();
    for number in 0..6 {
        one.say(&format!("{long} {number}")).await;
        acks.push(second.say(&format!("{long} {number}")));
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    rig.town.with(|state| state.closed = false);
    for ack in acks {
        ack.await.unwrap();
    }
    rig.until("all are taken", |state| {
        let session = state.session("s-1");
        state.sessions[&session].said.len() == 12
    })
    .await;
    let longest = rig.town.with(|state| state.longest);
    assert!((128 * 1024..=256 * 1024).contains(&longest), "{longest}");
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn i22_whoever_left_before_anything_was_opened_is_not_attached_afterwards() {
    let rig = TownRig::new(1).await;
    rig.town.with(|state| {
        state.alias("v2:s-1", "s-1");
        state.unavailable = 100;
    });
    let client = Second::dial(&rig, 1, "s-1").await;
    until(&client.heard, "that nothing works", |frames| {
        frames.iter().any(|frame| frame["ref"] == 1 && frame["code"] == "busy")
    })
    .await;
    client.leave().await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    asked(&rig);
    rig.town.with(|state| state.unavailable = 0);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(asked(&rig).is_empty(), "it is gone and never was anywhere");
    rig.end().await;
}
