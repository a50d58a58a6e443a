//! The program `simulate`: what it refuses.

use std::process::{Command, Output};

fn simulate(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_simulate")).args(arguments).output().unwrap()
}

#[test]
fn what_would_prove_nothing_is_refused() {
    let cases: [&[&str]; 6] = [
        &["--schedules", "0"],
        &["--expect", "P1", "--median", "0"],
        &["--survey", "0"],
        &["--replay", "3r1"],
        &["--row", "no-such"],
        // A schedule, and none of this scenario: nothing was kept or broken.
        &["--seed", "7", "--replay", "9999999r1"],
    ];
    for arguments in cases {
        let output = simulate(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(!output.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_few_schedules_are_run_by_as_many_threads_at_most() {
    let output = simulate(&["--schedules", "3", "--jobs", "1000"]);
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout).contains("seed 1: 3 schedules"));
}
