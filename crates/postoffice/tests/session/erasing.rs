//! A session is erased.

use proptest::prelude::*;
use stentor_postoffice::State;
use stentor_types::{Audience, EventKind, InputKind, RejectCode, Reply};

use crate::{
    generate::{actions, run},
    script::{Run, attach, say, user_of},
};

fn after(script: &str) -> String {
    let mut run = Run::new();
    run.steps(script);
    run.shown()
}

#[test]
fn cluster_26_an_erased_session_takes_nothing_more() {
    assert_eq!(after("erase"), "no session");
    let refused = "refused: erased";
    assert_eq!(
        after("attach a; say a1; erase; say a2; attach b; attach x; take x; end x; note x1"),
        format!("joined; said; turn 1; erased; {}", [refused; 6].join("; "))
    );
    // What comes late from outside finds nothing; saying it again changes nothing.
    assert_eq!(
        after("attach a; say a1; erase; reply; detach a; lost; tick; erase"),
        "joined; said; turn 1; erased; duplicate"
    );
}

#[test]
fn cluster_26_who_knows_the_id_may_see_how_many_events_there_were() {
    let mut run = Run::new();
    run.steps("attach a; say a1; erase");
    let n = run.session.state().n;
    let existing =
        |name| InputKind::Attach(stentor_types::Attach { existing: true, ..attach(name, 0, None) });
    assert_eq!(run.decide(&[existing('a'), existing('x')]), [Reply::Committed(n); 2]);
    assert_eq!(run.session.state().n, n, "it leaves no trace");
    assert!(run.session.state().endpoints.is_empty());
}

#[test]
fn cluster_26_what_is_decided_with_an_erasure_is_written_without_words() {
    let mut run = Run::new();
    run.steps("attach a");
    let before = run.session.state().n;
    let replies = run.decide(&[InputKind::Say(say('a', 1, None, 10)), InputKind::Erase]);
    assert!(
        matches!(replies[..], [Reply::Committed(said), Reply::Committed(erased)] if said < erased)
    );
    let commit = run.log.last().unwrap();
    assert!(commit.events.iter().all(|event| event.kind == EventKind::Erased), "{commit:?}");
    assert!(commit.events.len() > 1 && commit.first == before.next());
    assert_eq!(
        (&commit.requests[..], &commit.effects[..], commit.next_deadline),
        (&[][..], &[][..], None)
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn cluster_26_whatever_happened_only_the_numbers_are_left(actions in actions()) {
        let mut run = run(&actions, |_, _, _| {});
        prop_assume!(run.session.state().visitor.is_some());
        let before = run.session.state().clone();
        let replies = run.decide(&[InputKind::Erase]);
        let state = run.session.state();
        prop_assert_eq!(&replies[..], &[Reply::Committed(before.n.next())]);
        let left = State {
            n: before.n.next(),
            last_stamp: state.last_stamp,
            last_at: state.last_at,
            ended: true,
            erased: true,
            ..State::new(before.epoch)
        };
        prop_assert_eq!(state, &left);
        prop_assert!(state.last_stamp > before.last_stamp && state.last_at > before.last_at);
        prop_assert_eq!(&run.refolded(), &run.session);
        let event = run.events().last().unwrap();
        prop_assert_eq!((event.audience, &event.kind), (Audience::All, &EventKind::Erased));
        // And so it stays.
        let (user, _) = user_of('x');
        let late = [InputKind::Tick, InputKind::End { user }, InputKind::Erase];
        let replies = run.decide(&late);
        let refused = Reply::Rejected(RejectCode::Erased);
        prop_assert_eq!(&replies[..], &[Reply::Nothing, refused, Reply::Duplicate(Some(left.n))]);
        prop_assert_eq!(run.session.state(), &left);
    }
}
