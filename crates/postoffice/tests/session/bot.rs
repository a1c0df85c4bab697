//! The bot's turn.

use crate::script::{Run, check};

#[test]
fn a_message_is_answered() {
    check("attach a; say a1; reply", "joined; said; turn 1; replied");
    check("attach a & say a1; handoff", "joined; said; turn 1; replied with handoff");
}

#[test]
fn trap_25_a_bot_may_have_nothing_to_say() {
    check("attach a; say a1; empty; say a2", "joined; said; turn 1; nothing to say; said; turn 2");
}

#[test]
fn trap_26_one_request_at_a_time_in_order() {
    check(
        "attach a; say a1; say a2 & say a3; reply; reply; reply",
        "joined; said; turn 1; said; said; replied; turn 2; replied; turn 3; replied",
    );
}

#[test]
fn three_attempts_then_the_next_message() {
    check(
        "attach a; say a1; say a2; fail; wait 4; wait 1; fail; wait 5; fail; reply",
        "joined; said; turn 1; said; failed 1, again in 5 s; turn 1 again (2); failed 2, again in 5 s; \
         turn 1 again (3); failed 3; turn 2; replied",
    );
}

#[test]
fn a_silent_bot_fails_by_itself() {
    check(
        "attach a; say a1; wait 15; wait 1; due; due; due; due",
        "joined; said; turn 1; failed 1, again in 5 s; turn 1 again (2); failed 2, again in 5 s; \
         turn 1 again (3); failed 3",
    );
}

#[test]
fn i13_the_first_outcome_of_an_attempt_counts() {
    check("attach a; say a1; reply; reply; fail", "joined; said; turn 1; replied");
    check("attach a; say a1; fail; reply", "joined; said; turn 1; failed 1, again in 5 s");
    let mut run = Run::new();
    run.steps("attach a; say a1; fail; due");
    run.effects.pop();
    run.steps("reply");
    assert!(
        run.shown().ends_with("turn 1 again (2)"),
        "a late answer to attempt 1 is not attempt 2's"
    );
}

#[test]
fn p6_an_open_attempt_survives_a_restart_under_its_id() {
    let mut run = Run::new();
    run.steps("attach a; say a1; fail; due");
    let before = run.session.open_effect();
    assert_eq!(before.as_ref().map(|effect| effect.id), run.effects.last().map(|effect| effect.id));
    run.session = run.refolded();
    assert_eq!(run.session.open_effect(), before);
    run.steps("reply");
    assert!(run.shown().ends_with("replied"));
}

#[test]
fn i15_sixteen_messages_wait_and_the_oldest_gets_the_apps_text() {
    let says: String = (2..=17).map(|number| format!("say a{number};")).collect();
    let waiting = format!("attach a; say a1; {says}");
    let mut run = Run::new();
    run.steps(&waiting);
    assert!(!run.shown().contains("notice"), "{}", run.shown());
    run.steps("say a18");
    assert!(run.shown().ends_with("said; overflow; notice"), "{}", run.shown());
    run.steps("reply");
    assert!(run.shown().ends_with("turn 3"), "message 2 was given up: {}", run.shown());
}

#[test]
fn i15_waiting_requests_are_bounded_in_bytes() {
    check(
        "attach a; say a1 big; say a2 big; say a3 big; reply",
        "joined; said; turn 1; said; said; overflow; notice; replied; turn 3",
    );
}

#[test]
fn an_app_without_a_bot_is_legal() {
    check("bot off; attach a; say a1; say a2", "joined; said; said");
}

#[test]
fn what_waits_for_a_bot_that_is_gone_fails_visibly() {
    // While an attempt is out, its answer still counts; what waits behind it fails.
    check(
        "attach a; say a1; say a2; say a3; bot off; reply",
        "joined; said; turn 1; said; said; replied; turn 2; failed 3; turn 3; failed 3",
    );
    check("attach a; say a1; bot off; fail", "joined; said; turn 1; failed 3");
    check("attach a; say a1; bot off; due", "joined; said; turn 1; failed 3");
    check(
        "attach a; say a1; fail; say a2; bot off; due; bot on; say a3",
        "joined; said; turn 1; failed 1, again in 5 s; said; turn 1 again (2); failed 3; turn 2; failed 3; \
         said; turn 3",
    );
    let mut run = Run::new();
    run.steps("attach a; say a1; fail; say a2; bot off; due");
    assert_eq!(run.effects.len(), 1, "nobody is asked");
}
