//! A few schedules in every test run; thousands of them in `cargo xtask simulate`.

use stentor_simulator::{Options, run};

#[test]
fn p2_p3_p6_p9_i1_to_i23_hold_in_fifty_schedules() {
    for seed in 0..50 {
        let summary = run(seed, Options::default()).unwrap_or_else(|failure| panic!("{failure}"));
        assert!(summary.steps >= 200 && summary.crashes >= 1, "seed {seed}: {summary:?}");
    }
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
