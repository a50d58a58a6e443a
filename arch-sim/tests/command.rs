//! The program `simulate`: what it refuses.

use std::io::Write;
use std::process::{Command, Output, Stdio};

fn simulate(arguments: &[&str]) -> Output {
    told(arguments, "")
}

fn told(arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_simulate"));
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
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

#[test]
fn scenarios_are_answered_in_their_order() {
    let lines = "2 panic.final=halt panic.kexec=off\n1 test.store=1\n2 panic.kexec=post\n";
    let output = told(&["--staged", "--schedules", "4", "--jobs", "2"], lines);
    assert!(output.status.success());
    let text = String::from_utf8_lossy(&output.stdout);
    let said = |word: &str| -> Vec<_> {
        text.lines().filter(|line| line.split(' ').next() == Some(word)).map(str::to_owned).collect()
    };
    assert_eq!(said("scenario"), ["scenario 0", "scenario 1", "scenario 2"]);
    assert_eq!(said("unstaged").len(), 1);
    assert_eq!(said("schedules"), ["schedules 4", "schedules 4"]);
    let mut ends = said("end");
    ends.dedup();
    assert_eq!(ends, ["end halt", "end capture"]);
    // The same again, and one of them with what happened in it.
    assert_eq!(output.stdout, told(&["--staged", "--schedules", "4", "--jobs", "1"], lines).stdout);
    let schedule = said("schedule").last().unwrap().split_once(' ').unwrap().1.to_owned();
    let again = told(&["--staged", "--replay", &schedule], "2 panic.kexec=post\n");
    let again = String::from_utf8_lossy(&again.stdout).into_owned();
    assert!(again.contains("timeline ") && again.contains("end capture"), "{again}");
}

#[test]
fn what_is_no_scenario_is_refused() {
    let code = |arguments: &[&str], input: &str| told(arguments, input).status.code();
    assert_eq!(code(&["--staged"], "many panic.kexec=off\n"), Some(2));
    assert_eq!(code(&["--staged", "--replay", "3r1"], ""), Some(2));
    assert_eq!(code(&["--staged", "--replay", "3r1"], "1 test.store=1\n"), Some(2));
    assert_eq!(code(&["--staged", "--replay", "9999999r1"], "2 panic.kexec=off\n"), Some(2));
}
