//! The session against an emulator that is a shell script: it speaks QMP on the socket it is given,
//! and plays a console.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crash_record::event::{LineWriter, Stream};

use super::*;
use crate::cli::RunArgs;
use crate::error::{Exit, class_of, one_line};
use crate::machine::Machine;
use crate::qemu::Unobserved;
use crate::qemu::plan::Planned;
use crate::scenario::Scenario;
use crate::symbols::Symbols;
use crate::verdict::tests::fixture::MACHINE;
use crate::workspace::Workspace;

/// What every fake does first: find the socket, greet, and answer until `cont`.
const PROLOGUE: &str = r#"#!/bin/bash
for word; do case $word in socket,id=qmp,fd=*) fd=${word##*=};; esac; done
exec 8<&$fd 9>&$fd
say() { printf '%s\n' "$1" >&9; }
answer() { # reads one command, and answers it
  IFS= read -r -u 8 line || exit 1
  id=$(printf '%s' "$line" | sed -n 's/.*"id":\([0-9]*\).*/\1/p')
  command=$(printf '%s' "$line" | sed -n 's/.*"execute":"\([^"]*\)".*/\1/p')
  case $command in
    pmemsave)
      file=$(printf '%s' "$line" | sed -n 's/.*"filename":"\([^"]*\)".*/\1/p')
      size=$(printf '%s' "$line" | sed -n 's/.*"size":\([0-9]*\).*/\1/p')
      head -c "$size" /dev/zero > "$file"
      say "{\"return\": {}, \"id\": $id}";;
    human-monitor-command) say "{\"return\": \"CPU#0\\r\\nPC=1\\r\\n\", \"id\": $id}";;
    no-such) say "{\"error\": {\"desc\": \"no such command\"}, \"id\": $id}";;
    *) say "{\"return\": {}, \"id\": $id}";;
  esac
}
until_command() { until answer; [ "$command" = "$1" ]; do :; done; }
say '{"QMP": {"version": {}, "capabilities": []}}'
until_command cont
"#;

fn plan(folder: &Path, script: &str, scenario: &str) -> Plan {
    let binary = folder.join("emulator");
    std::fs::write(&binary, format!("{PROLOGUE}{script}")).unwrap();
    std::fs::set_permissions(&binary, std::fs::Permissions::from_mode(0o755)).unwrap();
    let text = MACHINE.replace("binary = \"q\"", &format!("binary = \"{}\"", binary.display()));
    let machine = Machine::parse(&text, Path::new("m.toml")).unwrap();
    let head = "name = \"s\"\nsummary = \"s\"\n";
    let expect = "[expect]\nending = \"capture\"\nsteps = []\n[expect.off]\nending = \"stay\"\n";
    let scenario = Scenario::parse(&format!("{head}{scenario}\n{expect}"), Path::new("s.toml")).unwrap();
    let args = RunArgs { accel: "auto".into(), ..RunArgs::default() };
    match Plan::make(machine, scenario, &args).unwrap() {
        Planned::Run(plan) => *plan,
        Planned::NotApplicable(reason) => panic!("{reason}"),
    }
}

/// Runs a script under a scenario; the folder lives as long as the first value.
fn play(script: &str, scenario: &str) -> (tempfile::TempDir, anyhow::Result<Evidence>) {
    let root = tempfile::tempdir().unwrap();
    let plan = plan(root.path(), script, scenario);
    let folder = Folder::create(&Workspace::at(root.path()), "m", "s", 7).unwrap();
    let symbols = Symbols::made_up(&[("MAYDAY_RECORD", 0x1000)]);
    let target = Target::find(&symbols, &plan.machine);
    let arguments = plan.machine_arguments(Path::new("/kernel"), folder.path(), 7);
    loop {
        let result = run(&plan, &folder, &arguments, &target, false, &mut Unobserved);
        // A test beside this one forked while the script was being written.
        if !result.as_ref().is_err_and(|error| one_line(error).contains("Text file busy")) {
            return (root, result);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A line of shell that prints an event.
fn event(stream: Stream, sequence: u64, kind: &str) -> String {
    let mut out = String::new();
    LineWriter::new(stream, sequence, 0, 0, kind)
        .finish(|bytes| out = format!("echo '{}'\n", String::from_utf8_lossy(bytes).trim_end()));
    out
}

#[test]
fn console_and_exit_status_are_taken() {
    let script = format!("echo hello\n{}printf 'no newline'\nexit 33", event(Stream::Boot, 0, "boot"));
    let (root, evidence) = play(&script, "");
    let evidence = evidence.unwrap();
    assert_eq!(evidence.ended, Ended::Exit(33));
    assert_eq!(evidence.console[0], "hello");
    assert_eq!(evidence.console[2], "no newline");
    assert_eq!(evidence.log.events.len(), 1);
    let log = std::fs::read_to_string(root.path().join("out/latest/console.log")).unwrap();
    assert!(log.starts_with("hello\n") && log.ends_with("no newline"));
    let qmp = std::fs::read_to_string(root.path().join("out/latest/qmp.jsonl")).unwrap();
    assert!(qmp.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{qmp}");
}

#[test]
fn a_shutdown_reason_is_taken() {
    let (_root, evidence) =
        play("say '{\"event\": \"SHUTDOWN\", \"data\": {\"reason\": \"guest-reset\"}}'", "");
    let evidence = evidence.unwrap();
    assert_eq!((evidence.ended, evidence.shutdowns), (Ended::Exit(0), vec!["guest-reset".to_owned()]));
}

#[test]
fn what_is_said_before_the_exit_counts_also_if_it_is_heard_later() {
    let script = "(sleep 0.3; say '{\"event\": \"SHUTDOWN\", \"data\": {\"reason\": \"guest-reset\"}}') >/dev/null &\nexit 0";
    let (_root, evidence) = play(script, "");
    assert_eq!(evidence.unwrap().shutdowns, ["guest-reset"]);
}

#[test]
fn death_by_a_signal_is_told_apart() {
    assert_eq!(play("kill -SEGV $$; sleep 5", "").1.unwrap().ended, Ended::Signal(11));
}

#[test]
fn a_silent_guest_is_given_up() {
    let (_root, evidence) = play("echo once; while answer; do :; done", "idle = 1\ntimeout = 30");
    assert_eq!(evidence.unwrap().ended, Ended::Idle(Duration::from_secs(1)));
}

#[test]
fn a_guest_that_talks_for_ever_meets_the_deadline() {
    let script = "(while sleep 0.1; do echo again; done) & while answer; do :; done";
    let (_root, evidence) = play(script, "timeout = 1");
    assert!(matches!(evidence.unwrap().ended, Ended::Deadline(_)));
}

#[test]
fn a_machine_that_stops_by_itself_is_noticed() {
    let (_root, evidence) = play("say '{\"event\": \"STOP\"}'; while answer; do :; done", "");
    assert!(matches!(evidence.unwrap().ended, Ended::Stopped(_)));
}

#[test]
fn an_emulator_that_does_not_start_is_the_environments_fault() {
    let root = tempfile::tempdir().unwrap();
    let mut plan = plan(root.path(), "", "");
    let folder = Folder::create(&Workspace::at(root.path()), "m", "s", 7).unwrap();
    plan.machine.qemu.binary = "/nonexistent/emulator".into();
    let error = run(&plan, &folder, &[], &Target::default(), false, &mut Unobserved).unwrap_err();
    assert_eq!(class_of(&error), Exit::Environment);
    assert!(one_line(&error).starts_with("cannot start /nonexistent/emulator"), "{error}");
    let broken = root.path().join("broken");
    std::fs::write(&broken, "#!/bin/sh\necho 'no such machine' >&2\nexit 1\n").unwrap();
    std::fs::set_permissions(&broken, std::fs::Permissions::from_mode(0o755)).unwrap();
    plan.machine.qemu.binary = broken.display().to_string();
    let error = run(&plan, &folder, &[], &Target::default(), false, &mut Unobserved).unwrap_err();
    assert_eq!(class_of(&error), Exit::Environment);
    assert!(one_line(&error).ends_with("did not start: no such machine"), "{error}");
}

#[test]
fn an_emulator_that_refuses_before_the_guest_speaks_is_the_environments_fault() {
    let error = play("echo 'no KVM for you' >&2; exit 1", "").1.unwrap_err();
    assert_eq!(class_of(&error), Exit::Environment);
    assert!(one_line(&error).ends_with("did not start: no KVM for you"), "{error}");
    // Not if the guest has said something, has ended by itself, or if there is no reason.
    for script in [
        "echo hello; echo 'it broke' >&2; exit 1",
        "echo warning >&2; say '{\"event\": \"SHUTDOWN\", \"data\": {\"reason\": \"guest-panic\"}}'; exit 1",
        "exit 1",
    ] {
        assert_eq!(play(script, "").1.unwrap().ended, Ended::Exit(1), "{script}");
    }
    assert_eq!(play("echo warning >&2; exit 0", "").1.unwrap().ended, Ended::Exit(0));
}

#[test]
fn the_line_to_paste_does_not_hold() {
    let root = tempfile::tempdir().unwrap();
    let mut plan = plan(root.path(), "", "");
    plan.machine.qemu.kernel_arguments = vec!["-append".into(), "{command_line}".into()];
    let (kernel, folder) = (Path::new("/kernel"), Path::new("/out"));
    let pasted = plan.paste_line(kernel, folder, 7);
    assert!(pasted.contains("run.nonce=0000000000000007") && !pasted.contains("run.hold"), "{pasted}");
    let arguments = plan.machine_arguments(kernel, folder, 7).join(" ");
    assert!(arguments.contains("run.hold=60000 run.nonce=0000000000000007"), "{arguments}");
}

#[test]
fn input_is_typed_once_after_its_event() {
    let script = format!(
        "{}read -r -n 1 byte; echo \"got $byte\"\n{}read -r -t 0.5 -n 1 byte || echo nothing more",
        event(Stream::Boot, 0, "ready"),
        event(Stream::Boot, 1, "ready")
    );
    let (_root, evidence) = play(&script, "[[input]]\nafter = \"boot/ready\"\nsend = \"!\"");
    let console = evidence.unwrap().console.join("\n");
    assert!(console.contains("got !") && console.contains("nothing more"), "{console}");
}

#[test]
fn an_input_that_is_refused_or_never_given_is_known() {
    let script = format!(
        "{}until_command no-such; until_command human-monitor-command; exit 33",
        event(Stream::Boot, 0, "ready")
    );
    let inputs = ["boot/ready\"\nqmp = \"no-such", "boot/ready\"\nmonitor = \"x", "boot/never\"\nsend = \"x"];
    let inputs = inputs.map(|input| format!("[[input]]\nafter = \"{input}\"\n")).concat();
    let evidence = play(&script, &inputs).1.unwrap();
    let fates: Vec<_> = evidence.inputs.into_iter().map(|input| input.fate).collect();
    assert!(matches!(&fates[..], [Fate::Refused(_), Fate::Refused(_), Fate::Waits]), "{fates:?}");
}

#[test]
fn a_guest_that_holds_is_looked_at_twice_and_told_to_go_on() {
    let script = format!(
        "{}for n in 1 2; do until_command stop; until_command cont; done\nread -r -n 1 byte\nexit $(( byte == 0 ? 33 : 35 ))",
        event(Stream::Capture, 0, "hold")
    )
    .replace("$(( byte == 0 ? 33 : 35 ))", "$([ \"$byte\" = g ] && echo 33 || echo 35)");
    let (root, evidence) = play(&script, "");
    let evidence = evidence.unwrap();
    assert_eq!((evidence.ended, evidence.inspection_problems), (Ended::Exit(33), Vec::<String>::new()));
    let [inspection] = evidence.inspections.as_slice() else {
        panic!("{} looks", evidence.inspections.len())
    };
    assert_eq!(inspection.stream, Stream::Capture);
    assert_eq!(inspection.record.as_ref().map(Vec::len), Some(crash_record::layout::RECORD_BYTES));
    assert_eq!(inspection.registers, "CPU#0\nPC=1\n");
    assert!(root.path().join("out/latest/hold0-later-record.bin").is_file());
}

#[test]
fn an_emulator_that_dies_while_it_is_looked_at_is_a_problem_of_the_look() {
    let script = format!("{}until_command stop; exit 33", event(Stream::Capture, 0, "hold"));
    let evidence = play(&script, "").1.unwrap();
    assert_eq!((evidence.ended, evidence.inspections.len()), (Ended::Exit(33), 0));
    assert_eq!(evidence.inspection_problems.len(), 1);
}

#[test]
fn a_guest_that_has_to_stay_is_ended_after_its_final_event() {
    let script = format!("{}while answer; do :; done", event(Stream::Panic, 0, "final"));
    let (_root, evidence) = play(&script, "kexec = [\"off\"]\nidle = 30");
    assert_eq!(evidence.unwrap().ended, Ended::Stayed);
}

#[test]
fn a_process_that_works_is_told_from_one_that_sleeps() {
    let mut asleep = Command::new("sleep").arg("20").spawn().unwrap();
    assert_eq!(worked(asleep.id()), Some(Duration::ZERO));
    asleep.kill().unwrap();
    asleep.wait().unwrap();
    assert_eq!(worked(asleep.id()), None);
    let since = Instant::now();
    while worked(std::process::id()) < Some(Duration::from_millis(20)) {
        assert!(since.elapsed() < Duration::from_secs(60), "this process works, and nothing is counted");
    }
}
