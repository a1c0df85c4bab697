//! Rule 20 of the cluster: where many take part, the comings and goings of agents are counted.

use proptest::prelude::*;
use stentor_postoffice::{CROWD_EVERY, CROWD_MIN};
use stentor_types::{Audience, Event, EventKind, EventNumber, InputKind, Role, Timestamp, UserKey};

use crate::{
    generate::{actions, run},
    script::{Run, app, attach, check, connection},
};

#[test]
fn cluster_20_agents_beyond_the_limit_are_counted_once_a_second() {
    check(
        "crowd 1; attach a; attach x; attach y; attach z; wait 1; detach x; detach y; wait 121; wait 1; wait 1",
        "joined; came; came; came; +3 -0 = 4; went; went; +0 -2 = 2",
    );
}

#[test]
fn cluster_20_below_the_limit_each_is_told_of_and_what_waits_is_told_too() {
    check(
        "crowd 2; attach a; attach x; attach y; detach y; wait 120; wait 1; detach x; wait 121",
        "joined; joined x; came; went; +1 -1 = 2; left x",
    );
}

#[test]
fn cluster_20_a_count_is_due_a_second_after_the_first_who_came() {
    let mut run = Run::new();
    run.steps("crowd 1; attach a; attach x");
    let came = run.log[1].at;
    run.steps("attach y; attach z");
    assert_eq!(run.session.next_deadline(), Some(came.after(CROWD_EVERY)));
}

#[test]
fn cluster_20_a_visitor_is_never_one_of_many() {
    check(
        "crowd 0; attach a; attach x; detach a; wait 601; attach a",
        "joined; came; left; +1 -0 = 1; joined",
    );
}

#[test]
fn cluster_20_the_fifty_first_is_the_first_who_is_counted() {
    let mut run = Run::new();
    run.steps("attach a");
    for number in 1..CROWD_MIN as u64 + 10 {
        let mut wants = attach('x', 0, None);
        wants.user = UserKey::of(&app(), &format!("agent {number}"));
        wants.connection.number = connection('x').number + number;
        run.decide(&[InputKind::Attach(wants)]);
    }
    let counted = |event: &Event| match event.kind {
        EventKind::Joined { counted, .. } => Some(counted),
        _ => None,
    };
    let told: Vec<_> = run.events().filter_map(counted).collect();
    assert_eq!(told.iter().position(|counted| *counted), Some(CROWD_MIN));
    assert!(told[CROWD_MIN..].iter().all(|counted| *counted), "{told:?}");
    run.steps("due");
    assert!(run.shown().ends_with("; +10 -0 = 60"), "{}", run.shown());
}

#[test]
fn cluster_20_a_reader_of_the_version_before_never_meets_a_count() {
    let mut run = Run::new();
    run.crowd_min = usize::MAX;
    run.steps("attach a; attach x; attach y; detach x; wait 121");
    assert_eq!(run.shown(), "joined; joined x; joined y; left x");
}

/// Comings and goings that wait to be told: how many, and since when.
type Untold = Option<(u32, u32, Timestamp)>;

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn cluster_20_counts_are_true_and_a_second_apart(actions in actions()) {
        let run = run(&actions, |_, _, _| {});
        let (mut there, mut untold, mut last) = (0_u32, Untold::None, None);
        for commit in &run.log {
            for event in &commit.events {
                let fresh = || untold.unwrap_or((0, 0, commit.at));
                match &event.kind {
                    EventKind::Joined { counted, role, .. } => {
                        there += 1;
                        prop_assert!(!counted || *role == Role::Agent);
                        let (came, went, since) = fresh();
                        untold = if *counted { Some((came + 1, went, since)) } else { untold };
                    }
                    EventKind::Left { counted, .. } => {
                        there -= 1;
                        let (came, went, since) = fresh();
                        untold = if *counted { Some((came, went + 1, since)) } else { untold };
                    }
                    EventKind::Crowd { total, joined, left } => {
                        prop_assert_eq!(event.audience, Audience::Staff);
                        let (came, went, since) = untold.take().expect("somebody came or went");
                        prop_assert_eq!((*total, *joined, *left), (there, came, went));
                        let before = last.replace(commit.at).max(Some(since));
                        prop_assert!(before.is_none_or(|before| commit.at >= before.after(CROWD_EVERY)));
                    }
                    _ => {}
                }
            }
        }
        prop_assert_eq!(run.session.state().crowd.is_some(), untold.is_some());
        let shown = run.session.state().last_shown;
        let hidden = run.events().any(|event| event.n == shown && is_counted(event));
        prop_assert!(shown == EventNumber::NONE || !hidden, "{shown} is shown to nobody");
    }
}

const fn is_counted(event: &Event) -> bool {
    matches!(
        event.kind,
        EventKind::Joined { counted: true, .. }
            | EventKind::Left { counted: true, .. }
            | EventKind::Crowd { .. }
    )
}
