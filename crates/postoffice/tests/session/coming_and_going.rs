//! Joining, leaving and what is shown again.

use stentor_postoffice::Session;
use stentor_types::EventKind;

use crate::script::{Run, check, user_of, visitor};

#[test]
fn trap_21_two_tabs_join_once_and_the_visitor_leaves_with_the_last() {
    check("attach a; attach b; detach a; wait 700; detach b; due", "joined; left");
}

#[test]
fn trap_21_a_late_close_does_not_remove_the_newer_connection() {
    check("attach a; attach b; detach a; wait 700; say b1", "joined; said; turn 1");
}

#[test]
fn a_reconnect_within_the_grace_is_no_leave() {
    check("attach a; detach a; wait 599; attach b bare; wait 700", "joined");
    check("attach a; lost; wait 599; attach b bare; wait 700", "joined");
}

#[test]
fn the_grace_ends_in_a_leave_and_the_next_attach_in_a_join() {
    check("attach a; detach a; wait 599; wait 1; attach b", "joined; left; joined");
    check("attach a; attach x; lost; due", "joined; joined x; left; left x");
}

#[test]
fn attaching_again_is_no_second_join_even_during_a_turn() {
    check("attach a; say a1; attach a; attach b; reply", "joined; said; turn 1; replied");
    check("attach a; say a1; detach a; attach b; reply", "joined; said; turn 1; replied");
}

#[test]
fn detaching_twice_changes_nothing() {
    let mut run = Run::new();
    run.steps("attach a; detach a");
    let n = run.session.state().n;
    run.steps("detach a; lost; tick");
    assert_eq!(run.session.state().n, n);
}

#[test]
fn trap_8_nobody_is_shown_what_is_their_own_again() {
    let mut run = Run::new();
    run.steps("attach a; attach x; say a1; fail; due; reply; take x; say x1");
    let shown = |user| {
        let replayed = run.events().filter(|event| Session::replays(user, event));
        replayed
            .map(|event| match &event.kind {
                EventKind::Joined { .. } => "joined",
                EventKind::SteppedIn { .. } => "in",
                EventKind::Said(_) => "said",
                EventKind::Replied { .. } => "replied",
                _ => "other",
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(shown(visitor()), ["replied", "in", "said"]);
    assert_eq!(shown(user_of('x').0), ["joined", "said", "replied"]);
}

#[test]
fn p9_a_replay_reaches_back_beyond_what_another_tab_was_written() {
    let mut run = Run::new();
    run.steps("attach a; attach b; say a1; reply; detach a 5");
    for number in 1..=40 {
        run.steps(&format!("say b{number}; reply"));
    }
    run.steps("detach b 100");
    assert_eq!(run.session.replay_from().0, 1, "the tab that comes may be the first one");
    run.steps("attach b");
    for number in 1..=100 {
        run.steps(&format!("say b{number}; reply"));
    }
    assert_eq!(run.session.replay_from().0 + 300, run.session.state().n.0);
}
