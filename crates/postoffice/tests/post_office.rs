//! The facade, driven by the frames of widgets.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test may fail"
)]

use std::time::Duration;

use serde_json::{Value, json};
use stentor_postoffice::{
    Agent, AskBot, BotProfile, Options, Outgoing, PostOffice, Refusal, Socket,
};
use stentor_types::{AppId, BotResult, FailureReason, RejectCode, Timestamp};

const USER: &str = "canary-user-1";

/// A post office and a clock that each step moves on by 10 ms.
struct Office {
    office: PostOffice,
    now: Timestamp,
    asked: Vec<AskBot>,
}

fn office() -> Office {
    office_with(|_| {})
}

fn office_with(change: impl FnOnce(&mut Options)) -> Office {
    let mut options = Options::new(AppId::try_new("demo").unwrap(), 7);
    options.bot =
        BotProfile { user_id: "bot".into(), display_name: Some("Bea".into()), avatar_path: None };
    change(&mut options);
    let now = Timestamp::from_millis(1_800_000_000_000);
    Office { office: PostOffice::new(options), now, asked: Vec::new() }
}

fn frame(event: &str, session: &str, text: Option<&str>, time: Timestamp) -> String {
    let data = text.map(|text| {
        json!({"type":"INTENT_REQUEST","intentId":"NLU_RESULT_PLACEHOLDER","rawQuery":text,"userId":USER,
            "sessionId":session,"accessToken":"canary-token"})
    });
    json!({"event":event,"sessionId":session,"timeMs":time.as_millis(),"data":data,
        "sender":{"deviceId":"Widget","userId":USER,"displayName":"Visitor","isAdmin":false}})
    .to_string()
}

impl Office {
    fn step(&mut self) -> Timestamp {
        self.now = self.now.after(Duration::from_millis(10));
        self.now
    }

    fn connect(&mut self, socket: u64) -> Vec<String> {
        let now = self.step();
        let url = format!("/?appId=demo&userId={USER}&isAdmin=true&createWsReason=emitNoWs");
        let out = self.office.connect(Socket(socket), &url, now).unwrap();
        self.show(out)
    }

    fn join(&mut self, socket: u64, session: &str) -> Vec<String> {
        let now = self.step();
        let out =
            self.office.message(Socket(socket), &frame("user joined", session, None, now), now);
        self.show(out.unwrap())
    }

    fn say(&mut self, socket: u64, session: &str, text: &str) -> Vec<String> {
        let now = self.step();
        let frame = frame("new message", session, Some(text), now);
        let out = self.office.message(Socket(socket), &frame, now).unwrap();
        self.show(out)
    }

    fn reply(&mut self, text: &str) -> Vec<String> {
        let now = self.step();
        let ask = self.asked.last().expect("somebody asked").clone();
        let body = json!({"outputSpeech":{"displayText":text}}).to_string();
        let out = self.office.answer_with_body(&ask, None, body.as_bytes(), now);
        self.show(out)
    }

    fn agent(&mut self, socket: u64) -> Vec<String> {
        let now = self.step();
        let session = self.office.session_of(Socket(1)).unwrap();
        let agent = Agent { user_id: "ann".into(), display_name: Some("Ann".into()) };
        let out = self.office.connect_agent(Socket(socket), session, agent, now).unwrap();
        self.show(out)
    }

    /// One line per thing to do: `1< typing Bea`.
    fn show(&mut self, out: Vec<Outgoing>) -> Vec<String> {
        let mut lines = Vec::new();
        for one in out {
            lines.push(match one {
                Outgoing::Frame { socket, text } => {
                    assert!(
                        !String::from_utf8_lossy(&text).contains("canary"),
                        "a secret in a frame"
                    );
                    let frame: Value = serde_json::from_slice(&text).unwrap();
                    assert!(frame["timeMs"].is_i64());
                    let words = frame["data"]["outputSpeech"]["displayText"].as_str();
                    let words = words.or(frame["data"]["rawQuery"].as_str());
                    let sender = frame["sender"]["displayName"].as_str();
                    let event = frame["event"].as_str().unwrap();
                    let parts = [Some(event), sender, words].into_iter().flatten();
                    format!("{}< {}", socket.0, parts.collect::<Vec<_>>().join(" "))
                }
                Outgoing::AskBot(ask) => {
                    assert!(!format!("{ask:?}").contains("canary"));
                    let request: Value = serde_json::from_slice(&ask.request).unwrap();
                    assert_eq!(
                        (&request["userId"], &request["accessToken"]),
                        (&json!(USER), &json!("canary-token"))
                    );
                    let line = format!("bot< {}", request["rawQuery"].as_str().unwrap());
                    self.asked.push(ask);
                    line
                }
                Outgoing::Refused { socket, code } => format!("{}: {code:?}", socket.0),
            });
        }
        lines
    }
}

#[test]
fn a_first_chat() {
    let mut office = office();
    assert_eq!(office.connect(1), ["1< connection update"]);
    assert_eq!(office.join(1, "S"), ["1< connection update", "1< user joined Bea"]);
    assert_eq!(office.say(1, "S", "hello"), ["1< typing Bea", "bot< hello"]);
    assert_eq!(office.reply("hi"), ["1< stop typing Bea", "1< new message Bea hi"]);
    assert_eq!(office.reply("again"), [""; 0], "the first answer counts");
}

#[test]
fn trap_2_a_zombie_that_never_asks_to_join_can_talk() {
    let mut office = office();
    office.connect(1);
    let out = office.say(1, "S", "hello");
    assert_eq!(out, ["1< connection update", "1< user joined Bea", "1< typing Bea", "bot< hello"]);
}

#[test]
fn trap_1_a_bare_reconnect_is_shown_what_it_missed_with_the_same_stamps() {
    let mut office = office();
    office.connect(1);
    office.join(1, "S");
    office.say(1, "S", "hello");
    let now = office.step();
    let ask = office.asked.last().unwrap().clone();
    let body = br#"{"outputSpeech":{"displayText":"hi"}}"#;
    let live = office.office.answer_with_body(&ask, None, body, now);
    let Some(Outgoing::Frame { text: first, .. }) = live.last() else { panic!("{live:?}") };
    office.office.disconnect(Socket(1), now);
    let url = format!("/?userId={USER}&createWsReason=wakeup");
    let out = office.office.connect(Socket(2), &url, now).unwrap();
    assert!(out.iter().any(|one| matches!(one, Outgoing::Frame { text, .. } if text == first)));
    let lines = office.show(out);
    assert_eq!(lines, ["2< connection update", "2< user joined Bea", "2< new message Bea hi"]);
    assert_eq!(
        office.join(2, "S"),
        ["2< connection update", "2< user joined Bea"],
        "not twice on one socket"
    );
}

#[test]
fn trap_14_a_reconnect_while_the_bot_is_asked_shows_it_typing() {
    let mut office = office();
    office.connect(1);
    office.say(1, "S", "hello");
    let now = office.step();
    office.office.disconnect(Socket(1), now);
    assert_eq!(office.connect(2), ["2< connection update", "2< user joined Bea", "2< typing Bea"]);
    assert_eq!(office.reply("hi"), ["2< stop typing Bea", "2< new message Bea hi"]);
}

#[test]
fn trap_8_two_tabs_share_answers_but_no_echo() {
    let mut office = office();
    office.connect(1);
    office.join(1, "S");
    office.connect(2);
    assert_eq!(office.say(1, "S", "hello"), ["1< typing Bea", "2< typing Bea", "bot< hello"]);
    assert_eq!(office.reply("hi").len(), 4);
}

#[test]
fn trap_30_a_late_answer_is_not_shown_in_the_next_session() {
    let mut office = office();
    office.connect(1);
    office.say(1, "S", "hello");
    let out = office.join(1, "T");
    assert_eq!(out, ["1< connection update", "1< user joined Bea"]);
    assert_eq!(office.reply("too late"), [""; 0]);
    assert_eq!(office.say(1, "T", "new"), ["1< typing Bea", "bot< new"]);
}

#[test]
fn trap_13_three_failures_with_countdown() {
    let mut office = office();
    office.connect(1);
    office.say(1, "S", "hello");
    let mut lines = Vec::new();
    for _ in 0..3 {
        let now = office.step();
        let ask = office.asked.last().unwrap().clone();
        let out = office.office.answer(&ask, BotResult::Failed(FailureReason::Status), now);
        lines.extend(office.show(out));
        office.now = office.office.next_deadline().unwrap_or(office.now);
        let out = office.office.tick(office.now);
        lines.extend(office.show(out));
    }
    let attempt = ["1< stop typing Bea", "1< failure Bea"];
    let again = ["1< typing Bea", "bot< hello"];
    assert_eq!(lines, [&attempt[..], &again[..], &attempt[..], &again[..], &attempt[..]].concat());
    assert_eq!(office.office.next_deadline(), None);
}

#[test]
fn i20_an_agent_takes_over_and_gives_back() {
    let mut office = office();
    office.connect(1);
    office.say(1, "S", "hello");
    assert_eq!(
        office.agent(9),
        [
            "9< connection update",
            "9< user joined Bea",
            "9< user joined Visitor",
            "9< new message hello",
            "9< typing Bea"
        ]
    );
    let now = office.step();
    let out = office.office.take_control(Socket(9), now).unwrap();
    assert_eq!(
        office.show(out),
        ["1< stop typing Bea", "1< user joined Ann", "9< stop typing Bea"]
    );
    assert_eq!(office.reply("late"), [""; 0], "a draft");
    assert_eq!(office.say(9, "ignored", "I am Ann"), ["1< new message Ann I am Ann"]);
    assert_eq!(office.say(1, "S", "hello Ann"), ["9< new message hello Ann"]);
    let out = office.office.message(Socket(9), &frame("barge out", "S", None, now), now).unwrap();
    assert_eq!(office.show(out), ["1< user left Ann"]);
    assert_eq!(office.say(9, "S", "one more"), [format!("9: {:?}", RejectCode::NotInControl)]);
    assert_eq!(
        office.say(1, "S", "bot?"),
        ["1< typing Bea", "9< new message bot?", "9< typing Bea", "bot< bot?"]
    );
}

#[test]
fn trap_16_is_admin_in_the_address_grants_nothing() {
    let mut office = office();
    office.connect(1);
    office.join(1, "S");
    let now = office.step();
    assert_eq!(office.office.take_control(Socket(1), now), Err(Refusal::NoUser));
    let barge = frame("barge in", "S", None, now);
    assert_eq!(office.office.message(Socket(1), &barge, now), Ok(Vec::new()));
}

#[test]
fn what_cannot_be_read_changes_nothing() {
    let mut office = office();
    office.connect(1);
    office.join(1, "S");
    let now = office.step();
    assert!(matches!(office.office.message(Socket(1), "{", now), Err(Refusal::Frame(_))));
    let bad = r#"{"event":"new message","sessionId":"T","data":{"type":"EVENT_REQUEST"}}"#;
    assert!(matches!(office.office.message(Socket(1), bad, now), Err(Refusal::Request(_))));
    assert_eq!(
        office.office.message(Socket(2), &frame("user joined", "S", None, now), now),
        Err(Refusal::NotConnected)
    );
    assert_eq!(
        office.say(1, "S", "hello"),
        ["1< typing Bea", "bot< hello"],
        "still in its session"
    );
    assert_eq!(office.office.connect(Socket(3), "/?appId=other", now), Err(Refusal::OtherApp));
    let agent = Agent { user_id: "ann".into(), display_name: None };
    let nowhere = stentor_types::SessionId::new(stentor_types::PlacementKey(1), 1);
    assert_eq!(
        office.office.connect_agent(Socket(3), nowhere, agent, now),
        Err(Refusal::NoSession)
    );
}

#[test]
fn a_user_named_by_the_first_frame_only() {
    let mut office = office();
    let now = office.step();
    office.office.connect(Socket(1), "/", now).unwrap();
    assert_eq!(office.join(1, "S"), ["1< connection update", "1< user joined Bea"]);
    office.office.connect(Socket(2), "/", now).unwrap();
    let nobody = r#"{"event":"user joined","sessionId":"S"}"#;
    assert_eq!(office.office.message(Socket(2), nobody, now), Err(Refusal::NoUser));
}

#[test]
fn a_socket_number_may_come_again() {
    let mut office = office();
    for round in 0..3 {
        office.connect(1);
        let out = office.say(1, "S", "hello");
        assert!(out.contains(&"bot< hello".into()) || round > 0, "{out:?}");
        office.reply("hi");
        if round == 1 {
            let now = office.step();
            office.office.disconnect(Socket(1), now);
        }
    }
    assert_eq!(office.asked.len(), 3, "no message is taken for an old one");
}

#[test]
fn i15_sessions_are_bounded_and_idle_ones_make_room() {
    let mut office = office_with(|options| options.sessions_max = 2);
    office.connect(1);
    office.join(1, "A");
    office.join(1, "B");
    office.join(1, "C");
    office.connect(2);
    let now = office.step();
    let third = frame("user joined", "D", None, now);
    assert_eq!(office.office.message(Socket(2), &third, now).map(|_| ()), Ok(()), "B was idle");
    let url = "/?userId=somebody-else";
    office.office.connect(Socket(3), url, now).unwrap();
    let refused = office.office.message(Socket(3), &frame("user joined", "E", None, now), now);
    assert_eq!(refused, Err(Refusal::Full), "both are in use");
    assert_eq!(office.say(1, "C", "still here"), ["1< typing Bea", "bot< still here"]);
}

#[test]
fn i18_ids_are_not_guessed_and_differ_by_seed() {
    let ids: Vec<_> = [1, 2]
        .into_iter()
        .map(|seed| {
            let mut office = office_with(|options| options.seed = seed);
            office.connect(1);
            office.join(1, "S");
            office.office.session_of(Socket(1)).unwrap()
        })
        .collect();
    assert_ne!(ids[0], ids[1]);
}
