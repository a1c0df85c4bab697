//! Who answers the visitor.

use crate::script::{Run, check};

#[test]
fn i20_a_reply_asked_before_control_passed_on_becomes_a_draft() {
    check(
        "attach a; attach x; say a1; take x; reply; say a2",
        "joined; joined x; said; turn 1; interrupted; x in control; in x; draft; said",
    );
}

#[test]
fn i20_also_when_the_bot_has_control_again_by_then() {
    check(
        "attach a; attach x; say a1; take x; release x; say a2; reply; reply",
        "joined; joined x; said; turn 1; interrupted; x in control; in x; bot answers; out x; said; draft; turn 2; replied",
    );
}

#[test]
fn an_interrupted_attempt_that_brings_nothing_ends_quietly() {
    for end in ["empty", "fail", "due"] {
        check(
            &format!("attach a; attach x; say a1; take x; release x; say a2; {end}"),
            "joined; joined x; said; turn 1; interrupted; x in control; in x; bot answers; out x; said; stale; turn 2",
        );
    }
}

#[test]
fn barge_in_empties_the_queue_for_good() {
    check(
        "attach a; attach x; say a1; say a2; take x; release x; reply; say a3",
        "joined; joined x; said; turn 1; said; interrupted; x in control; in x; bot answers; out x; draft; said; turn 3",
    );
}

#[test]
fn barge_in_between_two_attempts_ends_the_turn() {
    check(
        "attach a; attach x; say a1; fail; take x; wait 100; release x; say a2",
        "joined; joined x; said; turn 1; failed 1, again in 5 s; interrupted; x in control; in x; \
         bot answers; out x; said; turn 2",
    );
}

#[test]
fn an_agent_speaks_only_while_in_control() {
    check(
        "attach a; attach x; attach y; say x1; take x; say x2; say y1; release x; say x3",
        "joined; joined x; joined y; rejected; not in control; x in control; in x; said x; rejected; \
         not in control; bot answers; out x; rejected; not in control",
    );
}

#[test]
fn the_bot_answers_again_when_the_last_agent_leaves() {
    check(
        "attach a; attach x; attach y; take x; take y; take y; release x; release x; release y; say a1",
        "joined; joined x; joined y; x in control; in x; xy in control; in y; y in control; out x; \
         bot answers; out y; said; turn 1",
    );
    check(
        "attach a; attach x; take x; detach x; wait 119; wait 1; say a1",
        "joined; joined x; x in control; in x; bot answers; lapsed x; left x; said; turn 1",
    );
}

#[test]
fn only_an_agent_who_is_here_can_take_control() {
    let mut run = Run::new();
    run.steps("attach a; take x; take a");
    assert_eq!(run.shown(), "joined; not permitted; not permitted");
    assert_eq!(run.session.next_deadline(), None);
}
