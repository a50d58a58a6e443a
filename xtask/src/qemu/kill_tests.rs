//! Whatever ends the runner, its child ends too. The children here are shells that sleep.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::*;

fn sleeper() -> Command {
    let mut command = Command::new("sleep");
    command.arg("300").stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// True if the process runs. One that is dead and not yet waited for does not.
fn runs(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .ok()
        .and_then(|stat| stat.rsplit_once(") ").map(|(_, rest)| !rest.starts_with(['Z', 'X'])))
        .unwrap_or(false)
}

#[track_caller]
fn ends_soon(pid: u32) {
    let until = Instant::now() + Duration::from_secs(10);
    while runs(pid) {
        assert!(Instant::now() < until, "process {pid} still runs");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn an_error_ends_the_child() {
    let mut leash = Leash::spawn(&mut sleeper(), Vec::new()).unwrap();
    let pid = leash.child().id();
    assert!(runs(pid));
    drop(leash);
    assert!(!runs(pid));
}

#[test]
fn a_command_on_a_leash_gives_its_status() {
    assert!(status(&mut Command::new("true")).unwrap().success());
    assert_eq!(status(Command::new("sh").args(["-c", "exit 3"])).unwrap().code(), Some(3));
}

#[test]
fn the_whole_group_ends() {
    let mut shell = Command::new("sh");
    shell.args(["-c", "sleep 300 & echo $!; wait"]).stdout(Stdio::piped());
    let mut leash = Leash::spawn(&mut shell, Vec::new()).unwrap();
    let mut line = String::new();
    BufReader::new(leash.child().stdout.take().unwrap()).read_line(&mut line).unwrap();
    let grandchild = line.trim().parse().unwrap();
    assert!(runs(grandchild));
    drop(leash);
    ends_soon(grandchild);
}

#[test]
fn a_panic_ends_the_child() {
    let leash = Leash::spawn(&mut sleeper(), Vec::new()).unwrap();
    let pid = leash.group.as_raw_nonzero().get() as u32;
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        let _leash = leash;
        std::panic::resume_unwind(Box::new("on purpose"));
    }));
    assert!(result.is_err());
    ends_soon(pid);
}

/// Not a test: the runner of the tests below, in a process of its own.
#[test]
#[ignore = "started by other tests"]
fn runner() {
    on_interrupt().unwrap();
    let mut leash = Leash::spawn(&mut sleeper(), Vec::new()).unwrap();
    println!("child {}", leash.child().id());
    std::thread::sleep(Duration::from_secs(300));
}

fn runner_is_ended_by(signal: Signal) {
    let mut runner = Command::new(std::env::current_exe().unwrap());
    runner.args(["--exact", "qemu::kill::tests::runner", "--ignored", "--nocapture"]);
    let mut runner = Leash::spawn(runner.stdout(Stdio::piped()).stderr(Stdio::null()), Vec::new()).unwrap();
    let output = BufReader::new(runner.child().stdout.take().unwrap());
    let number = |line: String| line.rsplit_once("child ").and_then(|(_, pid)| pid.trim().parse().ok());
    let child: u32 = output.lines().map_while(Result::ok).find_map(number).unwrap();
    assert!(runs(child));
    kill_process(Pid::from_child(runner.child()), signal).unwrap();
    ends_soon(child);
}

#[test]
fn a_killed_runner_takes_its_child_along() {
    runner_is_ended_by(Signal::KILL);
}

#[test]
fn interrupts_end_the_child() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        runner_is_ended_by(signal);
    }
}
