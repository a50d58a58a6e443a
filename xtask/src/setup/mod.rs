//! `cargo xtask setup`: finds what is needed, and installs what is missing.
//!
//! Split in three: [`probe`] looks, [`plan`] decides, this module does. Every command is named before it runs.

mod conflict;
mod probe;

pub mod plan;

use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::cli::SetupArgs;
use crate::error::{Classed, environment};
use crate::machine::Machine;
use crate::toolchain;
use crate::workspace::Workspace;
use plan::{Consent, Need, Presence, Probe, Step};

/// `cargo xtask setup`
pub fn run(workspace: &Workspace, arguments: &SetupArgs) -> Result<()> {
    let names = Machine::names(workspace)?;
    let machines = names.iter().map(|name| Machine::load(workspace, name)).collect::<Result<Vec<_>>>()?;
    let machines: Vec<&Machine> = machines.iter().collect();
    let look = || {
        let mut probe = probe::look(&machines);
        if arguments.host_tests {
            // A compiler that does not run is named by the rest of the probe.
            probe.emulations = probe::emulations(&machines).unwrap_or_default();
        }
        probe
    };
    let probe = look();
    for line in report(&probe) {
        println!("{line}");
    }
    let needs = plan::needs(&probe);
    if needs.is_empty() {
        println!("nothing is missing");
        return Ok(());
    }
    if arguments.check {
        return Err(refusal(&needs, "something is missing; `cargo xtask setup` installs it by"));
    }
    satisfy(&look, &needs, arguments.yes)?;
    println!("nothing is missing any more");
    Ok(())
}

/// Makes sure that one machine can be built and run; quiet when it can.
pub fn ensure(machine: &Machine) -> Result<()> {
    ensure_all(&[machine])
}

/// As [`ensure`], for several machines.
pub fn ensure_all(machines: &[&Machine]) -> Result<()> {
    ensure_found(&|| probe::look(machines))
}

/// Makes sure that the kernel of a machine can be built, whether there is an emulator for it or not.
pub fn ensure_build(machine: &Machine) -> Result<()> {
    ensure_found(&|| Probe { emulators: Vec::new(), ..probe::look(&[machine]) })
}

fn ensure_found(look: &dyn Fn() -> Probe) -> Result<()> {
    let needs = plan::needs(&look());
    if needs.is_empty() { Ok(()) } else { satisfy(look, &needs, false) }
}

/// What is there and what is not, one line each.
fn report(probe: &Probe) -> Vec<String> {
    let mut lines = Vec::new();
    let state = |there: bool| if there { "ok     " } else { "missing" };
    match (&probe.kit, &probe.compiler) {
        (Some(kit), _) => lines.push(format!("{} toolchain: {kit}", state(true))),
        (None, Some(compiler)) if !compiler.new_enough => {
            lines.push(format!("{} toolchain: rustc {} is older than 1.95", state(false), compiler.release));
        }
        (None, Some(compiler)) => {
            let source = state(compiler.library);
            lines.push(format!("{source} library source of rustc {}", compiler.release));
            lines.push(format!("{} LLD, the linker", state(probe.linker.is_some())));
        }
        (None, None) => lines.push(format!("{} toolchain: no rustc found", state(false))),
    }
    for emulator in &probe.emulators {
        let what = emulator.found.as_ref().unwrap_or(&emulator.binary);
        lines.push(format!("{} QEMU: {what}", state(emulator.found.is_some())));
    }
    for emulation in &probe.emulations {
        lines.push(match &emulation.lack {
            None => format!("{} tests as {}", state(true), emulation.target),
            Some(lack) => format!("{} tests as {}: {lack}", state(false), emulation.target),
        });
    }
    lines
}

/// Runs the ways of each need, best first, until nothing is missing.
fn satisfy(look: &dyn Fn() -> Probe, needs: &[Need], yes: bool) -> Result<()> {
    eprintln!("Missing here:");
    for need in needs {
        eprintln!("  {}", need.what);
    }
    if needs.iter().any(|need| need.ways.is_empty()) {
        return Err(refusal(needs, "no way to install all of it was found; by hand:"));
    }
    eprintln!("Commands that will be run, the next one for each only if the one before does not help:");
    for line in command_lines(needs) {
        eprintln!("  {line}");
    }
    let presence = Presence {
        yes,
        ci: std::env::var("CI").is_ok_and(|value| value == "true"),
        person: std::io::stdin().is_terminal() && std::io::stderr().is_terminal(),
        root: rustix::process::geteuid().is_root(),
    };
    let consent = presence.consent();
    match consent {
        Consent::Go => {}
        Consent::Ask if asked("Run them?")? => {}
        Consent::Ask => return Err(environment("nothing was installed")),
        Consent::Refuse => {
            return Err(refusal(needs, "not installed without being told to (--yes, or as root); by hand:"));
        }
    }
    let mut done = BTreeSet::new();
    for need in needs {
        for way in &need.ways {
            if plan::needs(&look()).iter().all(|open| open.what != need.what) {
                break;
            }
            take(way, &mut done);
        }
        if plan::needs(&look()).iter().any(|open| open.what == need.what) {
            make_room(need, consent, &mut done)?;
        }
    }
    let still = plan::needs(&look());
    if still.is_empty() { Ok(()) } else { Err(refusal(&still, "still missing; by hand:")) }
}

/// Something installed may stand in the way of a package: shows the command that makes both fit, and runs it.
fn make_room(need: &Need, consent: Consent, done: &mut BTreeSet<String>) -> Result<()> {
    let rights = probe::rights();
    for package in &need.packages {
        let Some(step) = conflict::way_around(package, rights, plan::PACKAGE_LIMIT) else { continue };
        eprintln!("{package} does not go together with what is installed; this makes both fit:\n  {step}");
        if consent == Consent::Go || asked("Run it?")? {
            take(&[step], done);
        }
    }
    Ok(())
}

/// Runs the steps of one way; stops at the first that fails and matters. A command that was run before is not
/// run again.
fn take(way: &[Step], done: &mut BTreeSet<String>) {
    for step in way {
        let line = step.to_string();
        if !done.insert(line.clone()) {
            continue;
        }
        let start = Instant::now();
        eprintln!("+ {line}");
        let outcome = execute(step);
        let seconds = start.elapsed().as_secs();
        match outcome {
            Ok(()) => eprintln!("  done ({seconds} s)"),
            Err(error) => {
                eprintln!("  {error} ({seconds} s)");
                if !step.optional {
                    return;
                }
            }
        }
    }
}

/// The one place that runs a command which changes this machine.
fn execute(step: &Step) -> Result<()> {
    let (program, arguments) = step.words.split_first().ok_or_else(|| environment("an empty command"))?;
    let log = tempfile::tempfile().or_environment(|| "cannot make a temporary file".into())?;
    let again = |what: &str| log.try_clone().or_environment(|| format!("cannot share {what}"));
    let mut command = Command::new(program);
    toolchain::clean_for_rustup(&mut command);
    let mut child = command
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .stdout(again("standard output")?)
        .stderr(again("standard error")?)
        .spawn()
        .or_environment(|| format!("cannot run {program}"))?;
    let deadline = Instant::now() + step.limit;
    let status = loop {
        match child.try_wait().or_environment(|| format!("cannot wait for {program}"))? {
            Some(status) => break Some(status),
            None if Instant::now() > deadline => break None,
            None => std::thread::sleep(Duration::from_millis(50)),
        }
    };
    if status.is_some_and(|status| status.success()) {
        return Ok(());
    }
    for line in last_lines(log, 8) {
        eprintln!("  | {line}");
    }
    match status {
        Some(status) => Err(environment(format!("failed, {status}"))),
        None => {
            // Failing to end or to collect it changes nothing: it is given up on either way.
            let _ = child.kill();
            let _ = child.wait();
            Err(environment(format!("given up after {} s", step.limit.as_secs())))
        }
    }
}

fn last_lines(mut log: std::fs::File, count: usize) -> Vec<String> {
    use std::io::{Read, Seek};
    let mut text = Vec::new();
    if log.rewind().is_err() || log.read_to_end(&mut text).is_err() {
        return Vec::new();
    }
    let text = String::from_utf8_lossy(&text).into_owned();
    let lines: Vec<_> = text.lines().map(str::to_owned).collect();
    lines[lines.len().saturating_sub(count)..].to_vec()
}

fn asked(question: &str) -> Result<bool> {
    eprint!("{question} [y/N] ");
    std::io::stderr().flush().or_environment(|| "cannot write to the terminal".into())?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).or_environment(|| "cannot read from the terminal".into())?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn command_lines(needs: &[Need]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let steps = needs.iter().flat_map(|need| &need.ways).flatten();
    steps.map(Step::to_string).filter(|line| seen.insert(line.clone())).collect()
}

/// An error that says what to do by hand.
fn refusal(needs: &[Need], why: &str) -> anyhow::Error {
    let mut lines = vec![why.to_owned()];
    for need in needs {
        lines.push(format!("  {}: {}", need.what, need.advice));
    }
    lines.extend(command_lines(needs).into_iter().map(|line| format!("    {line}")));
    environment(lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(words: &[&str], limit_ms: u64) -> Step {
        Step {
            words: words.iter().map(|word| word.to_string()).collect(),
            limit: Duration::from_millis(limit_ms),
            optional: false,
        }
    }

    #[test]
    fn a_command_that_hangs_is_given_up() {
        let error = execute(&step(&["sleep", "60"], 100)).unwrap_err();
        assert!(error.to_string().contains("given up"), "{error}");
    }

    #[test]
    fn a_command_that_fails_or_does_not_exist_is_an_error() {
        assert!(execute(&step(&["false"], 5000)).unwrap_err().to_string().contains("exit status: 1"));
        assert!(execute(&step(&["no-such-program-here"], 5000)).is_err());
        assert!(execute(&step(&["true"], 5000)).is_ok());
    }

    #[test]
    fn the_refusal_names_each_command_once() {
        let need = |what: &str| Need {
            what: what.into(),
            ways: vec![vec![step(&["apt-get", "update"], 1), step(&["apt-get", "install", what], 1)]],
            packages: vec![],
            advice: "by hand".into(),
        };
        let text = refusal(&[need("one"), need("two")], "missing:").to_string();
        assert_eq!(text.matches("apt-get update").count(), 1);
        assert!(text.contains("apt-get install one") && text.contains("apt-get install two"));
    }
}
