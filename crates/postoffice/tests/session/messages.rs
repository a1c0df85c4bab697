//! Messages: taken once, in order, from those who may.

use stentor_postoffice::DEPARTED_MAX;
use stentor_types::{EventKind, InputKind, Permissions, RejectCode, Reply};

use crate::script::{Run, attach, check, connection, say, visitor};

#[test]
fn trap_3_a_message_needs_an_attached_connection() {
    check("say a1; attach a; say a1", "attach first; joined; said; turn 1");
}

#[test]
fn p2_a_message_sent_again_is_taken_once() {
    check(
        "attach a; say a1; say a1 & say a1",
        "joined; said; turn 1; duplicate of 1; duplicate of 1",
    );
}

#[test]
fn p2_a_message_sent_again_after_its_connection_was_given_up_is_taken_once() {
    check(
        "attach a; say a1; detach a; attach a; say a1; say a2",
        "joined; said; turn 1; duplicate; said",
    );
    check(
        "attach a; say a1; lost; say a1; attach a; say a1",
        "joined; said; turn 1; attach first; duplicate",
    );
}

#[test]
fn i15_counters_of_gone_connections_are_bounded() {
    let mut run = Run::new();
    run.steps("attach a");
    for number in 1..=300 {
        let mut one = attach('b', 0, None);
        one.connection.number = 1_000 + number;
        let mut message = say('b', 1, None, 1);
        message.connection = one.connection;
        message.mid.client = one.connection.into();
        let connection = one.connection;
        run.decide(&[InputKind::Attach(one), InputKind::Say(message)]);
        run.decide(&[InputKind::Detach { connection, delivered: None }]);
    }
    assert_eq!(run.session.state().departed.len(), DEPARTED_MAX);
}

#[test]
fn i6_a_hole_is_not_jumped_over() {
    check("attach a; say a2; say a1; say a2", "joined; gap, 1 expected; said; turn 1; said");
    check(
        "attach a; refuse a2; refuse a1; say a2",
        "joined; gap, 1 expected; rejected; said; turn 1",
    );
}

#[test]
fn a_connection_that_spoke_elsewhere_before_counts_on() {
    check("attach a 3; say a4; say a3", "joined; said; turn 1; duplicate");
    check("attach a; say a1; attach a 4; say a5", "joined; said; turn 1; said");
}

#[test]
fn a_poisoned_message_is_set_aside_and_its_counter_used_up() {
    check("attach a; refuse a1; say a1; say a2", "joined; rejected; duplicate; said; turn 1");
}

#[test]
fn a_number_counted_by_somebody_else_is_refused() {
    let mut run = Run::new();
    run.steps("attach a; attach b");
    let mut stolen = say('a', 1, None, 1);
    stolen.mid.client = connection('b').into();
    let replies = run.decide(&[InputKind::Say(stolen)]);
    assert_eq!(replies, [Reply::Rejected(RejectCode::NotPermitted)]);
    run.steps("say a1; say b1");
    assert!(run.shown().ends_with("said; turn 1; said"));
}

#[test]
fn a_connection_without_the_permission_to_send_is_refused_once() {
    let mut run = Run::new();
    let mut listener = attach('a', 0, None);
    listener.permissions = Permissions { sends: false, receives: true };
    run.decide(&[InputKind::Attach(listener)]);
    run.steps("say a1; say a1");
    assert_eq!(run.shown(), "joined; rejected; not permitted; duplicate");
}

#[test]
fn s3_a_session_belongs_to_the_visitor_who_opened_it() {
    let mut run = Run::new();
    run.steps("attach a");
    let mut stranger = attach('b', 0, None);
    stranger.user = crate::script::user_of('z').0;
    let mut thief = stranger.clone();
    thief.connection = connection('a');
    let replies = run.decide(&[InputKind::Attach(stranger), InputKind::Attach(thief)]);
    assert_eq!(replies, [Reply::Rejected(RejectCode::NotPermitted); 2]);
    assert_eq!(run.session.state().visitor, Some(visitor()));
}

#[test]
fn the_first_event_opens_the_session() {
    check("attach x; attach a; attach x", "no session; joined; joined x");
    let mut run = Run::new();
    run.steps("attach a & say a1");
    assert!(matches!(run.events().next().unwrap().kind, EventKind::Opened { .. }));
}

#[test]
fn a_batch_is_answered_input_by_input() {
    let mut run = Run::new();
    let at = run.now;
    let replies = run.decide(&[
        InputKind::Tick,
        InputKind::Say(say('a', 1, None, 1)),
        InputKind::Attach(attach('a', 0, None)),
        InputKind::Say(say('a', 1, None, 1)),
        InputKind::Say(say('a', 1, None, 1)),
    ]);
    let ns: Vec<_> = run.events().map(|event| event.n).collect();
    let said = run.events().find(|event| matches!(event.kind, EventKind::Said(_))).unwrap().n;
    assert_eq!(replies[0], Reply::Nothing);
    assert_eq!(replies[1], Reply::AttachFirst);
    assert_eq!(replies[2], Reply::Committed(ns[2]));
    assert_eq!(replies[3..], [Reply::Committed(said), Reply::Duplicate(Some(said))]);
    assert_eq!(run.log.len(), 1);
    assert_eq!(run.log[0].at, at);
}
