//! What people do besides answering: listen, write notes, deal with drafts, wait, hand back, end.

use bytes::Bytes;
use serde_json::{Value, json};
use stentor_postoffice::{CLAIM_WAIT, CLIENTS_MAX, DRAFTS_MAX, QUEUE_MAX};
use stentor_types::{
    Audience, ClientClaim, ClientInstance, ControlChange, EventKind, InputKind, Permissions,
    RejectCode, Reply, Say,
};

use crate::script::{Run, attach, check, say, user_of};

#[test]
fn agents_listen_without_a_trace_for_visitors() {
    let mut run = Run::new();
    run.steps("attach a; attach x; say a1; detach x; wait 200; attach x; take x; release x");
    assert_eq!(
        run.shown(),
        "joined; joined x; said; turn 1; left x; failed 1, again in 5 s; joined x; interrupted; \
         x in control; in x; bot answers; out x"
            .replace("left x; failed 1, again in 5 s", "failed 1, again in 5 s; left x")
    );
    let seen = run.events().filter(|event| event.audience == Audience::All);
    let of_agents = seen.filter(|event| match &event.kind {
        EventKind::Joined { user, .. } | EventKind::Left { user, .. } => *user == user_of('x').0,
        _ => false,
    });
    assert_eq!(of_agents.count(), 0);
}

#[test]
fn a_note_is_for_colleagues_and_needs_no_control() {
    let mut run = Run::new();
    run.steps("attach a; attach x; note x1; note a1; say a2");
    assert_eq!(
        run.shown(),
        "joined; joined x; note x; rejected; not permitted; said; turn 2",
        "a visitor's note is refused, and uses its number up"
    );
    let note = run.events().find(|event| matches!(event.kind, EventKind::Said(_))).unwrap();
    assert_eq!(note.audience, Audience::Staff);
}

#[test]
fn a_listener_can_only_listen() {
    let mut run = Run::new();
    run.steps("attach a");
    let mut observer = attach('x', 0, None);
    observer.permissions = Permissions::LISTEN;
    run.decide(&[InputKind::Attach(observer)]);
    run.steps("take x; note x1; end x");
    assert_eq!(
        run.shown(),
        "joined; joined x; not permitted; rejected; not permitted; not permitted"
    );
}

#[test]
fn i20_a_draft_goes_to_the_visitor_only_when_an_agent_in_control_sends_it() {
    check(
        "attach a; attach x; attach y; say a1; take x; reply; send y 1; send x 1; send x 1; say x1",
        "joined; joined x; joined y; said; turn 1; interrupted; x in control; in x; draft; not in control; \
         draft for 1 sent x; said x",
    );
    check(
        "attach a; attach x; say a1; take x; reply; dismiss x 1; send x 1",
        "joined; joined x; said; turn 1; interrupted; x in control; in x; draft; draft dismissed",
    );
    check(
        "attach a; attach x; say a1; take x; reply; edited x 1; say x1",
        "joined; joined x; said; turn 1; interrupted; x in control; in x; draft; draft edited; said x",
    );
}

#[test]
fn i15_the_oldest_of_too_many_drafts_is_forgotten() {
    let mut run = Run::new();
    run.steps("attach a; attach x");
    for number in 1..=DRAFTS_MAX + 1 {
        run.steps(&format!("say a{number}; take x; release x; reply"));
    }
    assert_eq!(run.session.state().drafts.len(), DRAFTS_MAX);
    run.steps("take x; send x 1; send x 2");
    assert!(run.shown().ends_with("x in control; in x; draft for 2 sent x"), "{}", run.shown());
}

#[test]
fn a_handoff_waits_for_a_person_and_the_bot_goes_on() {
    let mut run = Run::new();
    run.steps("attach a; say a1; handoff; say a2; reply");
    let waiting = run.session.state().waiting.unwrap();
    assert_eq!(run.session.next_deadline(), waiting.tell_at);
    assert_eq!(waiting.tell_at, Some(waiting.since.after(CLAIM_WAIT)));
    run.steps("due");
    assert_eq!(
        run.shown(),
        "joined; said; turn 1; replied with handoff; said; turn 2; replied; nobody free"
    );
    assert!(run.session.state().waiting.is_some(), "the mark stays");
    assert_eq!(run.session.next_deadline(), None, "the visitor is told once");
    run.steps("attach x; take x");
    assert_eq!(run.session.state().waiting, None, "somebody came");
}

#[test]
fn the_bot_is_told_what_people_covered_with_its_next_request_and_once() {
    let mut run = Run::new();
    run.steps("attach a; attach x");
    let user = user_of('x').0;
    run.decide(&[InputKind::Control(ControlChange::Take {
        user,
        display_name: Some("Ada".into()),
    })]);
    let body = |text: &str| Bytes::from(json!({"rawQuery": text}).to_string());
    let to_people = Say { request: body("lost?"), ..say('a', 1, None, 1) };
    run.decide(&[InputKind::Say(to_people), InputKind::Say(say('x', 1, None, 1))]);
    run.steps("note x2; release x");
    let to_bot = |counter| Say { request: body("and now?"), ..say('a', counter, None, 1) };
    run.decide(&[InputKind::Say(to_bot(2))]);
    let asked: Value = serde_json::from_slice(&run.effects.last().unwrap().request).unwrap();
    let hand_back = &asked["attributes"]["handBack"];
    assert_eq!(asked["rawQuery"], "and now?");
    let alias = run.session.state().participants.values().next().unwrap().alias.clone();
    let visitor = run.session.state().participants.values().find(|one| one.alias != alias);
    let names = [alias.as_str(), visitor.unwrap().alias.as_str()];
    let lines = hand_back["transcript"].as_array().unwrap();
    assert_eq!(lines.len(), 2, "the note is not for the bot: {lines:?}");
    assert!(names.contains(&lines[0]["name"].as_str().unwrap()));
    assert_eq!(lines[0]["role"], "visitor");
    assert_eq!(lines[1], json!({"role": "agent", "name": "Ada", "text": "x1"}));
    assert!(hand_back["from"].as_u64().unwrap() < hand_back["to"].as_u64().unwrap());
    run.steps("reply");
    run.decide(&[InputKind::Say(to_bot(3))]);
    let asked: Value = serde_json::from_slice(&run.effects.last().unwrap().request).unwrap();
    assert_eq!(asked.get("attributes"), None, "it has been told");
}

/// What the Request sent out last tells the bot of the time in which people answered: what they said.
fn told(run: &Run) -> Vec<String> {
    let asked: Value = serde_json::from_slice(&run.effects.last().unwrap().request).unwrap();
    let lines = asked.pointer("/attributes/handBack/transcript").and_then(Value::as_array);
    let texts = lines.into_iter().flatten().map(|line| line["text"].as_str().unwrap().to_owned());
    texts.collect()
}

fn ask(run: &mut Run, counter: u64) {
    let request = Bytes::from_static(b"{}");
    run.decide(&[InputKind::Say(Say { request, ..say('a', counter, None, 1) })]);
}

#[test]
fn the_bot_is_told_what_people_covered_even_if_the_next_request_never_reaches_it() {
    let mut run = Run::new();
    run.steps("attach a; attach x; say a1; take x; say x1; release x");
    // The interrupted attempt is still out, so this one waits, and people take over again before it is asked.
    ask(&mut run, 2);
    run.steps("take x; reply; say x2; release x");
    ask(&mut run, 3);
    assert_eq!(told(&run), ["x1", "x2"]);

    let mut run = Run::new();
    run.steps("attach a; attach x; say a1; take x; say x1; release x");
    // So many wait that the first of them is given up.
    for counter in 2..=QUEUE_MAX as u64 + 2 {
        ask(&mut run, counter);
    }
    run.steps("reply");
    assert!(run.shown().contains("overflow; notice; draft; turn 4"), "{}", run.shown());
    assert_eq!(told(&run), ["x1"]);
}

#[test]
fn trap_16_a_legacy_agent_who_timed_out_enters_again_by_speaking() {
    check(
        "attach a; attach x; take x; detach x; wait 121; attach x; say x1; release x; say x2",
        "joined; joined x; x in control; in x; bot answers; lapsed x; left x; joined x; x in control; in x; \
         said x; bot answers; out x; rejected; not in control",
    );
    check(
        "attach a; attach z; take z; detach z; wait 121; attach z; say z1",
        "joined; joined z; z in control; in z; bot answers; lapsed z; left z; joined z; rejected; not in control",
    );
}

#[test]
fn an_ended_session_begins_again_with_the_next_message() {
    let mut run = Run::new();
    run.steps("attach a; attach x; say a1; handoff; take x; end x; end x");
    assert!(run.session.state().ended);
    assert_eq!(run.session.state().waiting, None);
    run.steps("note x1");
    assert!(run.session.state().ended, "a note is no conversation");
    run.steps("say a2");
    assert_eq!(
        run.shown(),
        "joined; joined x; said; turn 1; replied with handoff; x in control; in x; bot answers; out x; ended; \
         note x; said; turn 3"
    );
    assert!(!run.session.state().ended);
}

#[test]
fn nobody_waits_for_a_person_in_a_session_that_has_ended() {
    let mut run = Run::new();
    run.steps("attach a; attach x; say a1; end x; handoff");
    assert_eq!(run.shown(), "joined; joined x; said; turn 1; ended; replied with handoff");
    assert_eq!(run.session.state().waiting, None);
    assert_eq!(run.session.next_deadline(), None, "and nobody is told that nobody came");
}

#[test]
fn p2_a_client_numbers_its_messages_across_connections() {
    let mut run = Run::new();
    run.steps("attach p; say p1; say p2; detach p; attach q; say q2; say q3; say q5; attach p; say p4; say q4");
    assert_eq!(
        run.shown(),
        "joined; said; turn 1; said; duplicate of 2; said; gap, 4 expected; said; duplicate of 4"
    );
}

#[test]
fn p2_a_client_that_was_forgotten_is_told_so() {
    let mut run = Run::new();
    run.steps("attach p; say p1");
    for number in 0..CLIENTS_MAX {
        let mut other = attach('q', 0, None);
        let instance = ClientInstance(u128::MAX - number as u128);
        other.client = Some(ClientClaim { instance, last: 0 });
        run.decide(&[InputKind::Attach(other)]);
    }
    let replies = run.decide(&[InputKind::Say(say('p', 2, None, 1))]);
    assert_eq!(replies, [Reply::Rejected(RejectCode::Expired)]);
    let mut again = attach('p', 0, None);
    again.client = again.client.map(|claim| ClientClaim { last: 2, ..claim });
    let replies = run.decide(&[InputKind::Attach(again)]);
    assert_eq!(replies, [Reply::Rejected(RejectCode::Expired)]);
    assert_eq!(run.session.state().clients.len(), CLIENTS_MAX);
}

#[test]
fn p2_an_attachment_that_comes_late_does_not_refuse_the_messages_of_the_next_instance() {
    let mut run = Run::new();
    run.steps("attach p");
    let instance = ClientInstance(77);
    let mut anew = attach('p', 0, None);
    anew.client = Some(ClientClaim { instance, last: 0 });
    let mut message = say('p', 1, None, 1);
    message.mid.client = instance;
    run.decide(&[InputKind::Attach(anew.clone())]);
    run.steps("attach p");
    let replies = run.decide(&[InputKind::Say(message.clone())]);
    assert_eq!(replies, [Reply::AttachFirst]);
    anew.client = Some(ClientClaim { instance, last: 1 });
    let replies = run.decide(&[InputKind::Attach(anew), InputKind::Say(message)]);
    assert!(matches!(replies[..], [Reply::Committed(_), Reply::Committed(_)]), "{replies:?}");
}

#[test]
fn s3_nobody_counts_under_the_client_of_another_user() {
    let mut run = Run::new();
    run.steps("attach p; say p1; attach x");
    let mut thief = attach('z', 0, None);
    thief.client = attach('p', 0, None).client;
    let replies = run.decide(&[InputKind::Attach(thief)]);
    assert_eq!(replies, [Reply::Rejected(RejectCode::NotPermitted)]);
}

#[test]
fn s3_a_session_that_must_exist_is_not_made() {
    let mut run = Run::new();
    let mut guess = attach('a', 0, None);
    guess.existing = true;
    let replies = run.decide(&[InputKind::Attach(guess)]);
    assert_eq!(replies, [Reply::Rejected(RejectCode::NoSession)]);
    assert_eq!(run.events().count(), 0);
}
