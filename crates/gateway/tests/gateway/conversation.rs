//! Joining, saying, being shown.

use std::time::Duration;

use bytes::Bytes;
use stentor_types::{Alias, EventKind, FailureReason, Role, Said, TurnEnd, UserKey, Visitor};
use stentor_types::{AppId, ClientInstance, EventNumber, Mid, Timestamp};
use stentor_wire::{pb, user_to_bytes};

use crate::{
    client::Client,
    owner::{BEGAN_MS, ORIGIN, Rig, USER, bot_says},
};

#[tokio::test(start_paused = true)]
async fn a_widget_joins_says_something_and_is_answered() {
    let rig = Rig::new().await;
    let mut client = Client::open(&rig).await;
    assert_eq!(client.line().await, "connection update", "volunteered");
    client.join("s-1").await;
    assert_eq!(client.lines(2).await, ["connection update", "user joined"]);
    client.say("s-1", "hello").await;
    rig.owner.until(|state| state.says.len() == 1).await;
    assert_eq!(rig.owner.asked(), ["attach s-1 after 0", "say 1"]);
    rig.bot_says(rig.owner.session("s-1"), "hi", &[1]).await;
    assert_eq!(client.lines(2).await, ["stop typing", "new message: hi"]);
    client.silence(Duration::from_secs(60)).await;
}

#[tokio::test(start_paused = true)]
async fn i6_messages_go_in_order_together_while_one_request_is_out() {
    let rig = Rig::new().await;
    let mut client = Client::open(&rig).await;
    rig.owner.with(|state| state.troubles.push_back(crate::owner::Trouble::TryAgain));
    for text in ["1", "2", "3", "4"] {
        client.say("s-1", text).await;
    }
    rig.owner.until(|state| state.says.len() == 4).await;
    let says = rig.owner.with(|state| std::mem::take(&mut state.says));
    let texts: Vec<_> = says.iter().map(|say| say.text.clone().unwrap()).collect();
    assert_eq!(texts, ["1", "2", "3", "4"]);
    let counters: Vec<_> = says.iter().map(|say| say.counter).collect();
    assert_eq!(counters, [1, 2, 3, 4]);
    assert_eq!(rig.owner.asked()[0], "attach s-1 after 0", "a message may come before its join");
}

#[tokio::test(start_paused = true)]
async fn i18_what_a_frame_says_of_its_sender_counts_for_nothing() {
    let rig = Rig::new().await;
    let mut client = Client::open(&rig).await;
    let mut frame = client.frame("new message", "s-1");
    frame["sender"]["userId"] = "someone-else".into();
    frame["sender"]["deviceId"] = "Bot".into();
    frame["data"] = crate::client::request("x");
    frame["data"]["userId"] = "someone-else".into();
    frame["data"]["accessToken"] = "canary-token".into();
    frame["data"]["overrideKey"] = "bot-only".into();
    client.send(frame.to_string()).await;
    rig.owner.until(|state| state.says.len() == 1).await;
    let (user, say) = rig.owner.with(|state| (state.users[0].clone(), state.says[0].clone()));
    let visitor = Visitor::of(&AppId::try_new("demo").unwrap(), USER);
    assert_eq!(user, user_to_bytes(visitor.user));
    let for_bot: serde_json::Value = serde_json::from_slice(&say.request).unwrap();
    assert_eq!(for_bot["userId"], USER);
    assert_eq!(for_bot["sessionId"], rig.owner.session("s-1").to_string());
    assert_eq!(for_bot["accessToken"], "canary-token");
    assert!(for_bot.get("overrideKey").is_none());
    let kept = String::from_utf8(say.body.to_vec()).unwrap();
    for secret in ["canary", USER, "someone-else", "bot-only"] {
        assert!(!kept.contains(secret), "{kept}");
    }
}

#[tokio::test(start_paused = true)]
async fn trap_1_a_bare_reconnect_gets_its_session_back_with_the_replay_and_the_typing_mark() {
    let rig = Rig::new().await;
    let session = rig.owner.session("s-1");
    let missed = rig.owner.add(session, bot_says("you missed this"));
    let failed = rig.owner.add(
        session,
        EventKind::TurnFailed {
            turn: EventNumber(1),
            attempt: 1,
            delay_s: 5,
            reason: FailureReason::TimedOut,
        },
    );
    rig.owner.with(|state| {
        state.replay = vec![missed, failed];
        state.typing = true;
    });
    let path = format!("/?appId=demo&userId={USER}&isAdmin=false&createWsReason=wakeup");
    let mut client = Client::dial(&rig, &path, &[("origin", ORIGIN)]).await.unwrap();
    assert_eq!(client.line().await, "connection update", "volunteered");
    assert_eq!(client.line().await, "connection update");
    let joined = client.next().await;
    let replayed = client.next().await;
    assert_eq!(replayed["data"]["outputSpeech"]["displayText"], "you missed this");
    assert_eq!(replayed["timeMs"], BEGAN_MS, "the stamp of the first time");
    assert!(joined["timeMs"].as_i64() > replayed["timeMs"].as_i64());
    assert_eq!(client.line().await, "typing");
    assert_eq!(rig.owner.asked(), ["attach after 0"]);
}

#[tokio::test(start_paused = true)]
async fn trap_30_a_page_that_names_another_session_is_shown_nothing_of_the_old_one() {
    let rig = Rig::new().await;
    rig.owner.session("old");
    let old = rig.owner.session("old");
    let missed = rig.owner.add(old, bot_says("old"));
    rig.owner.with(|state| state.replay = vec![missed]);
    let mut client = Client::open(&rig).await;
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    rig.owner.with(|state| state.replay.clear());
    client.join("new").await;
    assert_eq!(client.lines(3).await, ["connection update", "connection update", "user joined"]);
    client.silence(Duration::from_secs(5)).await;
    assert_eq!(rig.owner.asked(), ["attach new after 0"]);
}

#[tokio::test(start_paused = true)]
async fn a_silent_page_is_shown_its_latest_session_after_a_second_and_a_half() {
    let rig = Rig::new().await;
    rig.owner.session("s-1");
    let mut client = Client::open(&rig).await;
    assert_eq!(client.line().await, "connection update");
    client.silence(Duration::from_millis(1_400)).await;
    assert_eq!(client.lines(2).await, ["connection update", "user joined"]);
    let nobody = Rig::new().await;
    let mut client = Client::open(&nobody).await;
    assert_eq!(client.line().await, "connection update");
    client.silence(Duration::from_secs(20)).await;
    assert_eq!(nobody.owner.asked(), ["attach after 0"], "and there was none");
}

#[tokio::test(start_paused = true)]
async fn trap_20_another_session_id_leaves_the_old_session_and_its_late_messages_behind() {
    let rig = Rig::new().await;
    let mut client = Client::open(&rig).await;
    client.join("s-1").await;
    assert_eq!(client.lines(3).await.len(), 3);
    client.join("s-2").await;
    assert_eq!(client.lines(2).await, ["connection update", "user joined"]);
    rig.owner.until(|state| !state.detached.is_empty()).await;
    assert_eq!(rig.owner.asked(), ["attach s-1 after 0", "attach s-2 after 0", "detach"]);
    let left = rig.owner.with(|state| state.detached[0].clone());
    assert_eq!(left.session, stentor_wire::session_to_bytes(rig.owner.session("s-1")));
    rig.bot_says(rig.owner.session("s-1"), "late", &[1]).await;
    rig.bot_says(rig.owner.session("s-2"), "new", &[1]).await;
    assert_eq!(client.lines(2).await, ["stop typing", "new message: new"]);
}

#[tokio::test(start_paused = true)]
async fn a_message_after_a_bare_reconnect_names_the_session_without_a_second_replay() {
    let rig = Rig::new().await;
    let session = rig.owner.session("s-1");
    let missed = rig.owner.add(session, bot_says("missed"));
    rig.owner.with(|state| state.replay = vec![missed.clone()]);
    let mut client = Client::open(&rig).await;
    assert_eq!(client.lines(4).await.last().unwrap(), "new message: missed");
    rig.owner.with(|state| state.replay = vec![missed]);
    client.say("s-1", "on we go").await;
    rig.owner.until(|state| state.says.len() == 1).await;
    assert_eq!(rig.owner.asked(), ["attach after 0", "attach s-1 after 0", "say 1"]);
    client.silence(Duration::from_secs(5)).await;
}

#[tokio::test(start_paused = true)]
async fn trap_8_what_happens_is_shown_to_each_as_it_concerns_them() {
    let rig = Rig::new().await;
    let mut client = Client::open(&rig).await;
    client.join("s-1").await;
    client.lines(3).await;
    let session = rig.owner.session("s-1");
    let me = Visitor::of(&AppId::try_new("demo").unwrap(), USER).user;
    let said = |user: UserKey, text: &str| {
        EventKind::Said(Said {
            user,
            role: Role::Visitor,
            alias: Alias("v-1".into()),
            display_name: None,
            mid: Mid { client: ClientInstance(1), counter: 1 },
            text: Some(text.to_owned()),
            greeting: false,
            body: Bytes::from(
                serde_json::json!({"type":"INTENT_REQUEST","rawQuery":text}).to_string(),
            ),
        })
    };
    let turn = EventNumber(2);
    let kinds = [
        said(me, "my own"),
        EventKind::Joined {
            user: UserKey([9; 16]),
            role: Role::Agent,
            alias: Alias("a-1".into()),
            display_name: Some("Ann".into()),
            counted: false,
        },
        said(UserKey([9; 16]), "an agent's"),
        EventKind::TurnStarted { turn, attempt: 1, deadline: Timestamp(0) },
        EventKind::TurnFailed { turn, attempt: 1, delay_s: 5, reason: FailureReason::Status },
        EventKind::TurnStarted { turn, attempt: 2, deadline: Timestamp(0) },
        EventKind::TurnEnded { turn, how: TurnEnd::Empty },
        EventKind::Left { user: UserKey([9; 16]), alias: Alias("a-1".into()), counted: false },
    ];
    let events: Vec<_> = kinds.into_iter().map(|kind| rig.owner.add(session, kind)).collect();
    rig.fan_out(session, &events, &[1]).await;
    let mut shown = Vec::new();
    let mut stamps = Vec::new();
    for _ in 0..8 {
        let frame = client.next().await;
        stamps.push(frame["timeMs"].as_i64().unwrap());
        shown.push(frame["event"].as_str().unwrap().to_owned());
    }
    assert_eq!(
        shown,
        [
            "user joined",
            "new message",
            "typing",
            "stop typing",
            "failure",
            "typing",
            "stop typing",
            "user left",
        ]
    );
    assert!(stamps.is_sorted());
}

#[tokio::test(start_paused = true)]
async fn trap_6_stamps_are_in_the_recipients_clock() {
    let rig = Rig::new().await;
    let segment = pb::Clock { user: Bytes::new(), from: 0, offset_ms: -60_000, floor: 0 };
    rig.owner.with(|state| state.segments = vec![segment]);
    let mut client = Client::open(&rig).await;
    client.join("s-1").await;
    client.lines(3).await;
    rig.bot_says(rig.owner.session("s-1"), "hi", &[1]).await;
    client.next().await;
    let hi = client.next().await;
    assert_eq!(hi["timeMs"], BEGAN_MS + 2 - 60_000, "event 2");
    // Their clock is set, and said so by an event: from then on the new offset holds.
    let session = rig.owner.session("s-1");
    let user = Visitor::of(&AppId::try_new("demo").unwrap(), USER).user;
    let segment = stentor_types::ClockSegment {
        from: EventNumber(3),
        offset_ms: 10_000,
        floor: stentor_types::Stamp(0),
    };
    let clock = rig.owner.add(session, EventKind::Clock { user, segment });
    let said = rig.owner.add(session, bot_says("later"));
    rig.fan_out(session, &[clock, said], &[1]).await;
    client.next().await;
    assert_eq!(client.next().await["timeMs"], BEGAN_MS + 6 + 10_000, "event 4");
}

#[tokio::test(start_paused = true)]
async fn trap_30_nothing_of_the_old_session_is_shown_if_the_frame_comes_at_the_last_moment() {
    let rig = Rig::new().await;
    let old = rig.owner.session("old");
    let missed = rig.owner.add(old, bot_says("old"));
    rig.owner.with(|state| {
        state.replay = vec![missed];
        state.troubles.push_back(crate::owner::Trouble::TryAgain);
    });
    let mut client = Client::open(&rig).await;
    rig.owner.until(|state| state.troubles.is_empty()).await;
    client.join("new").await;
    assert_eq!(client.lines(3).await, ["connection update", "connection update", "user joined"]);
    client.silence(Duration::from_secs(5)).await;
    assert_eq!(rig.owner.asked(), ["attach after 0", "detach", "attach new after 0"]);
}
