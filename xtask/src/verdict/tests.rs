//! Every check on a made-up run: green on a good one, and red, alone, on one that is bad in its way.
//! A check that cannot fail is a defect.

mod contract;
pub mod fixture;
mod parked;
mod roles;
mod stored;

use std::time::Duration;

use crash_record::event::Stream;
use crash_record::layout::{self, header, slot};
use crash_record::names::{CpuState, EntryKind, Outcome as StepOutcome, Ruling, Rung, Step};

use super::*;
use crate::qemu::Fate;
use crate::qemu::inspect::FirmwareState;
use fixture::{Record, Run, WORK};

/// Spoils a good run and requires exactly these checks to go red.
#[track_caller]
fn red(spoil: impl FnOnce(&mut Run), expected: &[&str]) -> Verdict {
    let mut run = Run::good();
    spoil(&mut run);
    only(&run, expected)
}

#[track_caller]
fn only(run: &Run, expected: &[&str]) -> Verdict {
    let verdict = run.judge();
    let red: Vec<_> = verdict.red().map(|check| check.name).collect();
    assert_eq!(red, expected, "{:#?}", verdict.red().collect::<Vec<_>>());
    verdict
}

#[test]
fn a_good_run_is_green_and_every_check_is_there() {
    let verdict = red(|_| {}, &[]);
    let names: Vec<_> = verdict.checks.iter().map(|check| check.name).collect();
    assert_eq!(names, NAMES);
    let open: Vec<_> =
        verdict.checks.iter().filter(|check| check.outcome == Outcome::NotApplicable).collect();
    // The other kind of run has a check of its own.
    let open: Vec<_> = open.iter().map(|check| check.name).collect();
    assert_eq!(open, ["contract"]);
}

#[test]
fn a_good_run_without_capture_is_green() {
    only(&Run::good().without_capture(), &[]);
}

#[test]
fn events() {
    // The second `stopped` line is lost.
    red(|run| run.lost.push(4), &["events", "cpu-states"]);
}

#[test]
fn rulings() {
    red(|run| run.say("firmware", "ruling", "dirty"), &["rulings"]);
    red(|run| run.say("firmware", "name", "b"), &["rulings"]);
    red(|run| run.say("firmware", "who", "1"), &["rulings"]);
    red(|run| run.forget("firmware"), &["rulings"]);
    red(|run| run.spoil(|record| record.ruling(4, "a beside b", Ruling::Dirty, 2)), &["rulings"]);
    red(|run| run.spoil(|record| record.ruling(4, "a", Ruling::Inside, 1)), &["rulings"]);
    red(|run| run.say("pass", "rulings", "0"), &["record-vs-capture"]);
}

#[test]
fn inputs() {
    red(|run| run.inputs[0].fate = Fate::Waits, &["inputs"]);
    red(|run| run.inputs[0].fate = Fate::Refused("no such command".into()), &["inputs"]);
    let mut run = Run::good().without_capture();
    run.inputs[1].fate = Fate::Waits;
    only(&run, &[]);
    run.inputs[0].fate = Fate::Waits;
    only(&run, &["inputs"]);
}

#[test]
fn stray() {
    red(|run| run.say("stray", "count", "1"), &["stray"]);
    red(|run| run.say("stray", "heard", "false"), &["stray"]);
    red(|run| run.forget("stray"), &["stray"]);
}

#[test]
fn firmware() {
    let set = |at: usize, value: u64| move |run: &mut Run| run.firmware.as_mut().unwrap().0[at] = value;
    for (at, value) in [
        (FirmwareState::ARMED, 0),
        (FirmwareState::VIOLATIONS, 1),
        (FirmwareState::DISTURBED, 1),
        (FirmwareState::INSIDE, 1),
        (FirmwareState::INSIDE + 2, 0),
    ] {
        red(set(at, value), &["firmware"]);
    }
    red(|run| run.firmware = None, &["firmware"]);
}

#[test]
fn ending() {
    red(|run| run.ended = Ended::Exit(35), &["ending"]);
    red(|run| run.ended = Ended::Signal(9), &["ending"]);
    red(|run| run.ended = Ended::Stopped("stopped by the emulator".into()), &["ending"]);
    red(|run| run.shutdowns.push("guest-reset".into()), &["ending"]);
    red(|run| run.ended = Ended::Exit(0), &["ending"]);
    let mut run = Run::good().without_capture();
    run.shutdowns = vec!["guest-reset".into()];
    only(&run, &["ending"]);
}

#[test]
fn a_run_that_was_given_up_is_red_by_its_ending_alone() {
    for ended in [Ended::Idle(Duration::from_secs(20)), Ended::Deadline(Duration::from_secs(60))] {
        red(
            |run| {
                run.ended = ended.clone();
                run.held = false;
                run.said.truncate(7);
            },
            &["ending"],
        );
    }
    // What was wrong before that is still seen.
    red(
        |run| {
            run.ended = Ended::Idle(Duration::from_secs(20));
            run.held = false;
            run.said.truncate(7);
            run.say("end", "outcome", "failed");
        },
        &["ending", "steps"],
    );
}

#[test]
fn a_guest_that_has_to_stay() {
    let stay = |run: &mut Run| run.scenario = run.scenario.replace("ending = \"off\"", "ending = \"stay\"");
    let mut run = Run::good().without_capture();
    stay(&mut run);
    (run.ended, run.shutdowns) = (Ended::Stayed, Vec::new());
    only(&run, &[]);
    run.ended = Ended::Exit(0);
    only(&run, &["ending"]);
}

#[test]
fn config() {
    red(
        |run| {
            let fields = vec![("key", "panic.x".to_owned()), ("problem", "no such key".to_owned())];
            run.said.insert(1, (Stream::Boot, 0, 1, "config", fields));
        },
        &["config"],
    );
    red(
        |run| run.scenario = run.scenario.replace("owner = 0", "owner = 0\nconfig_problems = [\"x\"]"),
        &["config"],
    );
}

#[test]
fn nonce() {
    red(|run| run.say("boot", "nonce", "0000000000000001"), &["nonce"]);
    red(|run| run.say("found", "nonce", "0000000000000001"), &["nonce"]);
    // The capture kernel then also claims something that the record does not say.
    red(|run| run.say("pass", "nonce", "0000000000000001"), &["nonce", "record-vs-capture"]);
}

#[test]
fn claim() {
    red(|run| run.say("claim", "reason", "null"), &["claim"]);
    red(|run| run.said.iter_mut().for_each(|event| event.1 = usize::from(event.3 == "claim")), &["claim"]);
    red(|run| run.spoil(|record| record.0[header::OWNER] = 9), &["claim", "cpu-states"]);
    red(
        |run| {
            let again = run.said[2].clone();
            run.said.insert(3, again);
        },
        &["claim"],
    );
    // Handed over (to the CPU that has it) before the stop, and after it was begun.
    let owner = |run: &mut Run| {
        let fields = vec![("from", "0".to_owned()), ("why", "redirect".to_owned())];
        run.said.insert(4, (Stream::Panic, 0, 1_150_000, "owner", fields));
    };
    red(owner, &[]);
    red(
        |run| {
            owner(run);
            let fields = vec![("step", "stop".to_owned())];
            run.said.insert(4, (Stream::Panic, 0, 1_140_000, "begin", fields));
        },
        &["claim"],
    );
}

#[test]
fn panic_stack() {
    red(|run| run.panic_stacks[0].used += 8, &["panic-stack"]);
    red(|run| run.panic_stacks.clear(), &["panic-stack"]);
}

#[test]
fn what_a_cpu_says_of_itself_in_the_end() {
    let expect = |run: &mut Run, state: &str| {
        let line = format!("owner = 0\nown_state = {{ 1 = \"{state}\" }}");
        run.scenario = run.scenario.replace("owner = 0", &line);
    };
    red(|run| expect(run, "parked"), &[]);
    red(|run| expect(run, "online"), &["cpu-states"]);
}

#[test]
fn steps() {
    let verdict = red(|run| run.say("end", "outcome", "skipped"), &["steps"]);
    let found = &verdict.red().next().unwrap().found;
    assert!(found.ends_with("(number 1 is `announce:skipped`, not `announce:done`)"), "{found}");
    // The events are fine, the record says something else.
    red(
        |run| {
            run.spoil(|record| record.entry(2, EntryKind::Step, Step::Stop, StepOutcome::Failed));
            run.say("pass", "steps", "claim:done,announce:done,stop:failed,kexec-post:leaving");
        },
        &["steps"],
    );
}

#[test]
fn notifiers() {
    red(|run| run.say("notifier", "outcome", "failed"), &["notifiers"]);
    red(|run| run.forget("notifier"), &["notifiers"]);
    red(|run| run.scenario = run.scenario.replace("[\"inform/log:done\"]", "[]"), &["notifiers"]);
}

#[test]
fn reentries() {
    red(|run| run.said.insert(4, (Stream::Panic, 0, 1_150_000, "reentry", Vec::new())), &["reentries"]);
    red(|run| run.scenario = run.scenario.replace("owner = 0", "owner = 0\nreentries = 1"), &["reentries"]);
}

#[test]
fn lock_price() {
    red(|run| run.say("bench", "crash", "9000"), &["lock-price"]);
    red(|run| run.say("bench", "crash", "0"), &["lock-price"]);
    red(|run| run.say("bench", "rounds", "0"), &["lock-price"]);
    red(|run| run.forget("bench"), &["lock-price"]);
}

#[test]
fn what_is_gone_with_its_last_action_cannot_be_read() {
    let record = |exit: i32, end: &str, shutdown: &str, held: bool| {
        let mut run = Run::good().without_capture();
        run.machine += &format!("[ending.poweroff]\nexit = 0\n{end}\n");
        (run.held, run.ended) = (held, Ended::Exit(exit));
        run.shutdowns = Some(shutdown.to_owned()).filter(|reason| !reason.is_empty()).into_iter().collect();
        let checks = run.judged_by(chaos::judge).checks;
        checks.into_iter().find(|check| check.name == "record-intact").unwrap().outcome
    };
    let says = "shutdown = \"guest-shutdown\"";
    assert_eq!(record(0, "", "", true), Outcome::Ok);
    assert_eq!(record(0, "", "", false), Outcome::NotApplicable);
    assert_eq!(record(1, "", "", false), Outcome::Fail, "another end than that of its action");
    assert_eq!(
        record(0, says, "guest-shutdown", false),
        Outcome::Fail,
        "it could have been read when it was off"
    );
    assert_eq!(record(0, says, "", false), Outcome::Fail);
}

#[test]
fn the_last_action_is_what_console_and_record_know_together() {
    // The record, read before the second link, has the first one; or it has one that nobody could say any more.
    let ends = |said: &[&str], written: &[&str], exit: i32| {
        let mut run = Run::good().without_capture();
        run.machine += "[ending.poweroff]\nexit = 0\n[ending.reboot]\nexit = 7\n";
        run.forget("final");
        for action in said {
            run.said.push((Stream::Panic, 0, 2_000_000, "final", vec![("action", (*action).to_owned())]));
        }
        for (number, action) in written.iter().enumerate() {
            for record in [&mut run.record, &mut run.later] {
                record.text(4 + number, action);
                record.entry(4 + number, EntryKind::Step, Step::Final, StepOutcome::Failed);
            }
        }
        (run.ended, run.shutdowns) = (Ended::Exit(exit), Vec::new());
        let checks = run.judged_by(chaos::judge).checks;
        checks.into_iter().find(|check| check.name == "ending").unwrap().outcome
    };
    assert_eq!(ends(&["reboot", "poweroff"], &["reboot"], 0), Outcome::Ok);
    assert_eq!(ends(&["reboot", "poweroff"], &["reboot"], 7), Outcome::Fail);
    assert_eq!(ends(&["reboot"], &["reboot", "poweroff"], 0), Outcome::Ok);
    assert_eq!(ends(&["reboot"], &["reboot", "poweroff"], 7), Outcome::Fail);
}

#[test]
fn last_action() {
    let final_event = || (Stream::Panic, 0, 1_700_000, "final", vec![("action", "reboot".to_owned())]);
    red(|run| run.said.insert(9, final_event()), &["final"]);
    let mut run = Run::good().without_capture();
    run.say("final", "action", "halt");
    only(&run, &["final"]);
    run.forget("final");
    only(&run, &["final"]);
}

#[test]
fn bound() {
    // What is explained for a jump; a re-entry has its own share.
    let late = |run: &mut Run, ns| {
        for event in run.said.iter_mut().filter(|event| event.0 == Stream::Panic && event.2 > 1_550_000) {
            event.2 = ns;
        }
    };
    red(|run| late(run, 10_001_000_000), &[]);
    red(|run| late(run, 10_001_002_000), &["bound"]);
    let again = |run: &mut Run, ns| {
        late(run, ns);
        let fields = vec![("depth", "1".to_owned()), ("step", "inform".to_owned())];
        run.said.insert(4, (Stream::Panic, 0, 1_150_000, "reentry", fields));
    };
    red(|run| again(run, 16_001_000_000), &["reentries"]);
    red(|run| again(run, 16_001_002_000), &["reentries", "bound"]);
    red(|run| run.scenario = run.scenario.replace("owner = 0", "owner = 0\nbound_ms = 0"), &["bound"]);
}

#[test]
fn capture() {
    red(|run| run.forget("pass"), &["capture"]);
    red(
        |run| {
            let fail = vec![("check", "record".to_owned()), ("detail", "none".to_owned())];
            run.said.insert(11, (Stream::Capture, 0, 2, "fail", fail));
        },
        &["capture"],
    );
    red(
        |run| {
            let again = run.said[11].clone();
            run.said.insert(12, again);
        },
        &["capture"],
    );
    let mut run = Run::good().without_capture();
    run.said.push((Stream::Capture, 0, 1, "capture", Vec::new()));
    only(&run, &["capture"]);
}

#[test]
fn record_intact() {
    red(|run| run.held = false, &["record-intact"]);
    red(|run| run.problems.push("QMP stop: no answer".into()), &["record-intact"]);
    red(|run| run.record.0[header::MAGIC] = 0, &["record-intact"]);
    red(|run| run.later.0[layout::ENTRIES_AT + 5] ^= 1, &["record-intact"]);
    // A slot whose checksum does not hold: the registers in it are no good either.
    red(|run| run.spoil(|record| record.set(1, slot::PC, WORK + 8)), &["record-intact", "registers"]);
    red(
        |run| {
            run.spoil(|record| {
                record.0[header::NONCE] = 5;
                record.seal_header();
            });
        },
        &["record-intact", "record-vs-capture"],
    );
}

#[test]
fn record_vs_capture() {
    for (key, value) in [("crc", "00000000"), ("cpus", "4"), ("parked", "3"), ("steps", "claim:done")] {
        let verdict = red(|run| run.say("pass", key, value), &["record-vs-capture"]);
        assert!(verdict.red().next().unwrap().found.starts_with(&format!("{key}: claimed {value}, read ")));
    }
}

#[test]
fn success_text_alone_is_not_believed() {
    // Everything a capture kernel would say, and then the right exit status, without ever holding.
    red(
        |run| {
            run.held = false;
            run.forget("hold");
        },
        &["record-intact"],
    );
}

#[test]
fn cpu_count() {
    red(|run| run.say("boot", "cpus", "2"), &["cpu-count"]);
    red(|run| run.say("ready", "cpus", "2"), &["cpu-count"]);
    red(|run| run.say("found", "cpus", "2"), &["cpu-count"]);
    red(
        |run| {
            run.spoil(|record| {
                record.0[header::CPUS] = 2;
                record.seal_header();
            });
            run.say("pass", "cpus", "2");
            run.say("pass", "parked", "1");
        },
        &["cpu-count"],
    );
}

#[test]
fn cpu_states() {
    let missing = |record: &mut Record| record.set(2, slot::OWNER_STATE, CpuState::Missing.number().into());
    red(
        |run| {
            run.spoil(missing);
            run.say("pass", "parked", "1");
        },
        &["cpu-states"],
    );
    red(
        |run| run.spoil(|record| record.set(1, slot::STATE, CpuState::Online.number().into())),
        &["cpu-states"],
    );
    red(|run| run.say("stopped", "state", "missing"), &["cpu-states"]);
    red(|run| run.say("stopped", "ns", "9000000000000"), &["cpu-states"]);
    // An IPI where the ladder has none; another rung than the scenario names.
    red(|run| run.stop = Stop::Nmi, &["cpu-states"]);
    // But not where there is nothing else.
    let mut run = Run::good();
    run.stop = Stop::Nmi;
    run.machine = run.machine.replace("[lacks]", "[lacks]\nnmi = \"it has none\"");
    assert!(run.judge().passed());
    red(
        |run| run.scenario = run.scenario.replace("owner = 0", "owner = 0\nrung = { 1 = \"nmi\" }"),
        &["cpu-states"],
    );
    red(
        |run| {
            run.spoil(|record| {
                record.set(1, slot::RUNG, Rung::None.number().into());
                record.seal(1);
            });
        },
        &["cpu-states"],
    );
}

#[test]
fn jump() {
    // In the first kernel, in no kernel, and where nobody knows.
    let verdict = red(|run| run.owner_at = vec![0x10a00, 0xa00], &["jump"]);
    let found = &verdict.red().next().unwrap().found;
    assert_eq!(found, "the owner executes at physical 0xa00, in the first kernel: 0x1800 (in park)");
    let verdict = red(|run| run.owner_at = vec![0x1_2200, 0x1_2200], &["jump"]);
    let found = &verdict.red().next().unwrap().found;
    assert_eq!(found, "the owner executes at physical 0x12200, later at 0x12200");
    red(|run| run.owner_at.clear(), &["jump"]);
    // Once in firmware that the capture kernel has called.
    red(|run| run.owner_at = vec![0x1_2200, 0x10a00], &[]);
    // The first kernel plays the capture kernel, and lies about where it is.
    red(|run| run.say("capture", "base", "0x200"), &["jump"]);
    red(|run| run.say("capture", "base", "0x300"), &["jump"]);
    red(|run| run.say("boot", "base", "0x10200"), &["jump"]);
    red(|run| run.say("capture", "build", "b2"), &["jump"]);
    red(|run| run.forget("capture"), &["jump"]);
    red(
        |run| {
            let again = run.said[9].clone();
            run.said.insert(10, again);
        },
        &["jump"],
    );
    red(|run| run.symbols.retain(|(name, _)| *name != "__image_end"), &["jump"]);
}

#[test]
fn a_run_that_must_fail_fails_by_what_is_named_and_nothing_else() {
    let verdict = |must_fail: &[&str], red: &[&'static str]| Verdict {
        checks: red.iter().map(|name| Check::fail(name, "a", "b")).collect(),
        must_fail: must_fail.iter().map(|name| (*name).to_owned()).collect(),
    };
    assert!(verdict(&["claim"], &["claim"]).passed());
    assert!(!verdict(&["claim"], &[]).passed());
    assert!(!verdict(&["claim"], &["claim", "steps"]).passed());
    assert!(!verdict(&[], &["claim"]).passed());
    assert_eq!(verdict(&["claim", "steps"], &["claim"]).survivors().collect::<Vec<_>>(), ["steps"]);
}
