//! Stamps, in session time and in the time of a device.

use stentor_postoffice::Session;
use stentor_types::{ClockSegment, EventKind, Stamp, UserKey};

use crate::script::{Run, START, user_of, visitor};

/// What a device is shown of events when they happen: translated by what was known then.
pub(crate) fn live(run: &Run, user: UserKey) -> Vec<(u64, Stamp)> {
    let mut known = ClockSegment::IDENTITY;
    let mut shown = Vec::new();
    for event in run.events() {
        if Session::replays(user, event) {
            shown.push((event.n.0, known.translate(event.n, event.stamp)));
        }
        if let EventKind::Clock { user: whose, segment } = &event.kind
            && *whose == user
        {
            known = *segment;
        }
    }
    shown
}

/// What it is shown of them in a replay at the end.
pub(crate) fn replayed(run: &Run, user: UserKey) -> Vec<(u64, Stamp)> {
    let segments = run.session.state().devices.get(&user).cloned().unwrap_or_default();
    run.events()
        .filter(|event| Session::replays(user, event))
        .map(|event| {
            (event.n.0, ClockSegment::at(&segments, event.n).translate(event.n, event.stamp))
        })
        .collect()
}

/// Stamp of the last event as the visitor sees it, in ms after the start by our clock.
fn last_shown(run: &Run) -> i64 {
    let start = i64::try_from(START.as_millis()).unwrap();
    replayed(run, visitor()).last().unwrap().1.0 - start
}

#[test]
fn trap_6_a_device_that_is_a_minute_off_sees_its_own_time() {
    for off in [-60, 60, -3_600, 8, -8] {
        let mut run = Run::new();
        run.steps(&format!("attach a clock {off}; say a1; reply"));
        let shown = last_shown(&run);
        // The wish to join is stamped 1 s early, which is all that may be missing.
        assert!((shown - off * 1_000).abs() <= 1_100, "{off} s off: shown at {shown} ms");
    }
}

#[test]
fn trap_6_an_answer_is_stamped_above_the_message_in_the_time_of_the_device() {
    for off in [-60_i64, -5, 0, 1, 5, 60] {
        let mut run = Run::new();
        run.steps(&format!("attach a clock {off}; say a1; reply; say a2; reply"));
        let start = i64::try_from(START.as_millis()).unwrap();
        // The second message was typed 10 ms before the last step.
        let typed = i64::try_from(run.now.as_millis()).unwrap() - start - 10 + off * 1_000;
        assert!(last_shown(&run) > typed, "{off} s off");
    }
}

#[test]
fn trap_2_a_zombie_that_never_wished_to_join_is_measured_by_its_first_message() {
    let mut run = Run::new();
    run.steps("attach a clock -60 bare & say a1; reply");
    assert!((last_shown(&run) + 60_000).abs() < 100, "{}", last_shown(&run));
}

#[test]
fn a_delayed_message_does_not_move_the_clock_and_a_corrected_clock_does() {
    let mut run = Run::new();
    run.steps("attach a; say a1; say a2 delayed 9");
    let clocks = |run: &Run| {
        run.events().filter(|event| matches!(event.kind, EventKind::Clock { .. })).count()
    };
    assert_eq!(clocks(&run), 1);
    run.steps("attach a clock 30; say a3; attach a clock -30; say a4");
    assert_eq!(clocks(&run), 3);
}

#[test]
fn trap_5_replays_carry_the_stamps_of_the_first_time_across_clock_changes() {
    for script in [
        "attach a clock -60; say a1; reply; attach a clock 60; say a2; reply; attach a clock -60; say a3; reply",
        "attach a bare; attach x; attach a clock -60; say a1; reply",
        "attach a bare clock 90; attach x; say a1; reply; attach a clock 0; say a2; reply; detach a; attach b",
    ] {
        let mut run = Run::new();
        run.steps(script);
        assert_eq!(live(&run, visitor()), replayed(&run, visitor()), "{script}");
        let all = replayed(&run, visitor());
        assert!(all.windows(2).all(|pair| pair[0].1 < pair[1].1), "strictly increasing: {all:?}");
        assert!(all.iter().all(|(_, stamp)| stamp.0 % 2 == 0), "even: {all:?}");
    }
}

#[test]
fn a_device_that_comes_late_is_not_held_to_what_it_never_saw() {
    let mut run = Run::new();
    run.steps("attach a; say a1; reply; attach x clock -60; say a2; reply");
    let agent = replayed(&run, user_of('x').0);
    let start = i64::try_from(START.as_millis()).unwrap();
    assert!(agent.last().unwrap().1.0 - start < -59_000);
}

#[test]
fn session_stamps_are_even_and_two_apart_even_when_the_owners_clock_steps_back() {
    let mut run = Run::new();
    run.steps("attach a; say a1; reply");
    run.now = START;
    run.steps("say a2; reply; say a3");
    let stamps: Vec<_> = run.events().map(|event| event.stamp.0).collect();
    assert!(stamps.windows(2).all(|pair| pair[1] >= pair[0] + 2), "{stamps:?}");
    assert!(stamps.iter().all(|stamp| stamp % 2 == 0));
    assert!(run.log.windows(2).all(|pair| pair[0].at < pair[1].at), "commit times increase");
}

#[test]
fn i15_a_client_that_plays_with_its_clock_harms_only_itself() {
    let mut run = Run::new();
    run.steps("attach a");
    for number in 1..=60 {
        let off = if number % 2 == 0 { -1_000_000 } else { 1_000_000 };
        run.steps(&format!("attach a clock {off}; say a{number}"));
    }
    let state = run.session.state();
    assert!(state.devices[&visitor()].len() <= 16);
    let now = i64::try_from(run.now.as_millis()).unwrap();
    assert!((state.last_stamp.0 - now).abs() < 5_000, "session time stays with ours");
    let all = live(&run, visitor());
    assert!(all.windows(2).all(|pair| pair[0].1 < pair[1].1));
}
