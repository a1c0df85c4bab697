//! A few schedules in every test run; thousands of them in `cargo xtask simulate`.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use stentor_simulator::{Options, Summary, run};

#[test]
fn p1_p2_p3_p6_p9_i1_to_i23_hold_in_a_hundred_schedules_that_have_seen_everything() {
    let mut all = Summary::default();
    for seed in 0..100 {
        let summary = run(seed, Options::default()).unwrap_or_else(|failure| panic!("{failure}"));
        assert!(summary.steps >= 200 && summary.crashes >= 1, "seed {seed}: {summary:?}");
        all += summary;
    }
    // A rule proves nothing in schedules in which it never matters.
    for what in [
        "crowds",
        "drafts",
        "drafts dealt with otherwise",
        "drafts sent",
        "duplicates",
        "ends",
        "expired",
        "hand-backs",
        "handoffs",
        "messages of agents",
        "messages refused",
        "notes",
        "people back after they lapsed",
        "people in control",
        "people lapsed",
        "resumed",
        "resyncs",
        "sent again",
        "visitors told that nobody is free",
    ] {
        assert!(all.seen.contains_key(what), "{what} never happen: {all:?}");
    }
}

#[test]
fn i9_who_joins_is_shown_all_that_was_acknowledged_before_in_fifty_schedules() {
    let mut joins = 0;
    for seed in 100..150 {
        let summary = run(seed, Options::default()).unwrap_or_else(|failure| panic!("{failure}"));
        joins += summary.seen.get("joined after what was acknowledged").copied().unwrap_or(0);
    }
    assert!(joins >= 1_000, "{joins} joins prove little");
}

#[test]
fn i21_a_seed_is_always_the_same_schedule() {
    let once = run(7, Options::default()).map_err(|failure| failure.to_string());
    assert_eq!(once, run(7, Options::default()).map_err(|failure| failure.to_string()));
}

#[test]
fn long_schedules_hold_too() {
    for seed in 0..3 {
        let options = Options { steps: 2_000, verbose: false };
        run(seed, options).unwrap_or_else(|failure| panic!("{failure}"));
    }
}
