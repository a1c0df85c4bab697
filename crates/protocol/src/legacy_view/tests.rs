use std::sync::Arc;

use serde_json::{Value, json};
use stentor_types::{
    ClientInstance, Control, ControlEpoch, Mid, Notice, RejectCode, Said, Timestamp,
};

use super::*;

const VISITOR: UserKey = UserKey([1; 16]);
const AGENT: UserKey = UserKey([2; 16]);
const BOT: OutSender<'static> =
    OutSender { device: Device::Bot, user_id: "bot", display_name: Some("Bea"), avatar_path: None };

fn view(user: UserKey, clock: &[ClockSegment]) -> LegacyView<'_> {
    let role = if user == VISITOR { Role::Visitor } else { Role::Agent };
    LegacyView { user, role, clock, bot: BOT }
}

fn event(kind: EventKind) -> Event {
    let staff = matches!(kind, EventKind::Draft { .. } | EventKind::ControlChanged { .. });
    let audience = if staff { Audience::Staff } else { Audience::All };
    Event { n: EventNumber(7), stamp: Stamp(100_000), audience, kind }
}

fn shown(user: UserKey, kind: EventKind) -> Vec<String> {
    let frames = view(user, &[]).frames(&event(kind));
    let line = |frame: Bytes| {
        let frame: Value = serde_json::from_slice(&frame).unwrap();
        assert!(frame["timeMs"].is_i64());
        format!(
            "{} from {}",
            frame["event"].as_str().unwrap(),
            frame["sender"]["userId"].as_str().unwrap()
        )
    };
    frames.map(line).collect()
}

fn said(user: UserKey, greeting: bool) -> EventKind {
    EventKind::Said(Said {
        user,
        role: Role::Visitor,
        alias: Alias(Arc::from("v-1")),
        display_name: None,
        mid: Mid { client: ClientInstance(1), counter: 1 },
        text: None,
        greeting,
        body: Bytes::from_static(br#"{"type":"LAUNCH_REQUEST"}"#),
    })
}

fn joined(user: UserKey) -> EventKind {
    let alias = Alias(Arc::from("v-1"));
    EventKind::Joined {
        user,
        role: Role::Agent,
        alias,
        display_name: Some("Ann".into()),
        counted: false,
    }
}

const TURN: EventNumber = EventNumber(5);

#[test]
fn trap_8_nobody_is_shown_what_is_their_own() {
    let left = |user| EventKind::Left { user, alias: Alias(Arc::from("v-1")), counted: false };
    for kind in [said(VISITOR, false), joined(VISITOR), left(VISITOR)] {
        assert_eq!(shown(VISITOR, kind), [""; 0]);
    }
    assert_eq!(shown(AGENT, said(VISITOR, false)), ["new message from v-1"]);
    assert_eq!(shown(AGENT, said(VISITOR, true)), [""; 0], "a greeting is nobody's words");
    assert_eq!(shown(VISITOR, joined(AGENT)), ["user joined from v-1"]);
    assert_eq!(shown(VISITOR, left(AGENT)), ["user left from v-1"]);
}

#[test]
fn trap_14_every_end_of_a_turn_stops_typing() {
    let body = Bytes::from_static(b"{}");
    let failed = |attempt| EventKind::TurnFailed {
        turn: TURN,
        attempt,
        delay_s: 5,
        reason: FailureReason::TimedOut,
    };
    let ended = |how| EventKind::TurnEnded { turn: TURN, how };
    let deadline = Timestamp(9);
    for (kind, expected) in [
        (EventKind::TurnStarted { turn: TURN, attempt: 1, deadline }, vec!["typing from bot"]),
        (
            EventKind::Replied { turn: TURN, body: body.clone(), handoff: false },
            vec!["stop typing from bot", "new message from bot"],
        ),
        (failed(1), vec!["stop typing from bot", "failure from bot"]),
        (failed(3), vec!["stop typing from bot", "failure from bot"]),
        (ended(TurnEnd::Empty), vec!["stop typing from bot"]),
        (ended(TurnEnd::Interrupted), vec!["stop typing from bot"]),
    ] {
        assert_eq!(shown(VISITOR, kind.clone()), expected);
        assert_eq!(shown(AGENT, kind), expected);
    }
}

#[test]
fn i20_drafts_and_what_is_internal_reach_no_widget() {
    let mid = Mid { client: ClientInstance(1), counter: 1 };
    for kind in [
        EventKind::Draft { turn: TURN, body: Bytes::from_static(b"{}") },
        EventKind::ControlChanged { control: Control::Bot, epoch: ControlEpoch(1) },
        EventKind::TurnEnded { turn: TURN, how: TurnEnd::Stale },
        EventKind::TurnEnded { turn: TURN, how: TurnEnd::Overflow },
        EventKind::Rejected { mid, code: RejectCode::Poison, body: Bytes::new() },
        EventKind::Opened { visitor: VISITOR, claimed: None },
        EventKind::Clock { user: VISITOR, segment: ClockSegment::IDENTITY },
        EventKind::Unknown,
    ] {
        assert_eq!(shown(VISITOR, kind.clone()), [""; 0], "{kind:?}");
        assert_eq!(shown(AGENT, kind.clone()), [""; 0], "{kind:?}");
    }
    let mut hidden = event(joined(AGENT));
    hidden.audience = Audience::Staff;
    assert_eq!(view(VISITOR, &[]).frames(&hidden).count(), 0);
}

#[test]
fn trap_11_the_app_speaks_in_the_voice_of_the_bot() {
    let notice = event(EventKind::Notice { notice: Notice::QueueFull, text: "wait".into() });
    let frame = view(VISITOR, &[]).frames(&notice).next().unwrap();
    let frame: Value = serde_json::from_slice(&frame).unwrap();
    assert_eq!(frame["sender"], json!({"deviceId":"Bot","userId":"bot","displayName":"Bea"}));
    assert_eq!(frame["data"], json!({"outputSpeech":{"displayText":"wait"}}));
}

#[test]
fn trap_19_a_launch_without_words_is_no_blank_row() {
    let frame = view(AGENT, &[]).frames(&event(said(VISITOR, false))).next().unwrap();
    let frame: Value = serde_json::from_slice(&frame).unwrap();
    assert_eq!(frame["data"]["rawQuery"], "Launch");
}

#[test]
fn trap_5_a_replay_has_the_stamps_of_the_first_time_and_no_failures() {
    let clock = [ClockSegment { from: EventNumber(2), offset_ms: -60_000, floor: Stamp(0) }];
    let view = view(VISITOR, &clock);
    let reply =
        event(EventKind::Replied { turn: TURN, body: Bytes::from_static(b"{}"), handoff: false });
    let live = view.frames(&reply).last().unwrap();
    assert_eq!(view.replay(&reply), Some(live.clone()));
    let frame: Value = serde_json::from_slice(&live).unwrap();
    assert_eq!(frame["timeMs"], 40_000);
    let reason = FailureReason::Status;
    let failed = EventKind::TurnFailed { turn: TURN, attempt: 1, delay_s: 5, reason };
    assert_eq!(view.replay(&event(failed)), None);
    let started = EventKind::TurnStarted { turn: TURN, attempt: 1, deadline: Timestamp(1) };
    assert_eq!(view.replay(&event(started)), None);
}

#[test]
fn trap_7_the_bots_line_is_newer_than_what_is_replayed_and_shares_no_stamp() {
    let frames = view(VISITOR, &[]).attached(EventNumber(8), Stamp(1_002));
    let frames = frames.map(|frame| serde_json::from_slice::<Value>(&frame).unwrap());
    assert_eq!(frames[0]["data"], json!({"sessionCreated": true}));
    assert_eq!((&frames[1]["event"], &frames[1]["timeMs"]), (&json!("user joined"), &json!(1_003)));
}
