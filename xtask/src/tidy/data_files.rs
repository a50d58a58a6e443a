//! Machine files, scenario files and mutants: everything that is data is read, not only what a run needs.

use super::tree::{Problem, Tree};
use crate::error::one_line;
use crate::image_check;
use crate::machine::Machine;
use crate::mutants::{self, host::HostCase, metal::list, sim};
use crate::scenario::{Scenario, Stop};
use clap::ValueEnum;
use std::path::Path;

/// Parses every data file. Returns what could be read, and what could not.
pub fn check(tree: &Tree) -> (Vec<Machine>, Vec<Scenario>, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut refused = |check, path: &str, error: &anyhow::Error| {
        problems.push(Problem::of(check, path, one_line(error)));
    };
    let mut machines = Vec::new();
    for (path, text) in tree.below("machines", ".toml") {
        match Machine::parse(text, Path::new(path)) {
            Ok(machine) => machines.push(machine),
            Err(error) => refused("machine-file", path, &error),
        }
    }
    let mut scenarios = Vec::new();
    for (path, text) in tree.below("scenarios", ".toml") {
        match Scenario::parse(text, Path::new(path)) {
            Ok(scenario) => scenarios.push(scenario),
            Err(error) => refused("scenario-file", path, &error),
        }
    }
    let names: Vec<_> = machines.iter().map(|machine| machine.name.clone()).collect();
    let load = |name: &str| machines.iter().find(|machine| machine.name == name).cloned();
    for (path, text) in tree.below("scenarios", ".toml") {
        let scenario = scenarios.iter().find(|known| path == format!("scenarios/{}.toml", known.name));
        if let Some(Err(error)) = scenario.map(|known| known.fits(&names, load, text, Path::new(path))) {
            problems.push(Problem::of("scenario-file", path, one_line(&error)));
        }
    }
    for (path, text) in tree.below("mutants", ".patch") {
        for message in mutant(text, &machines, &scenarios) {
            problems.push(Problem::of("mutant-header", path, message));
        }
    }
    // Those that must fail are checks of the judge: no document lists them among what is promised.
    scenarios.retain(|scenario| scenario.must_fail.is_empty());
    (machines, scenarios, problems)
}

/// What is wrong with the head of a mutant: a sentence that says what is broken, a blank line, and which
/// scenario must go red by which check.
fn mutant(text: &str, machines: &[Machine], scenarios: &[Scenario]) -> Vec<String> {
    let Some((head, _)) = text.split_once("\ndiff --git ") else {
        return vec!["has no `diff --git` line".into()];
    };
    let mut wrong = Vec::new();
    let first = head.lines().next().unwrap_or_default();
    if first.trim().is_empty() || first.contains(": ") {
        wrong.push("the first line does not say what this breaks".into());
    }
    if let Some(key) = mutants::odd_key(text) {
        wrong.push(format!("has no meaning for a line `{key}:`"));
    }
    let field = |name: &str| mutants::field(text, name).unwrap_or_default();
    if let Some(case) = mutants::case(text).and_then(|case| case.strip_prefix("sim:")) {
        wrong.extend(sim::wrong(case, |name| field(name).to_owned()));
        return wrong;
    }
    if let Some(case) = mutants::case(text) {
        match HostCase::parse(case) {
            Some(Ok(_)) => {}
            Some(Err(error)) => wrong.push(error),
            None => wrong.push(format!("`case: {case}` is of no kind that is known")),
        }
        if field("promise").is_empty() {
            wrong.push("has no `promise:` line".into());
        }
        return wrong;
    }
    let of_the_image = image_check::NAMES.contains(&field("check"));
    for name in ["scenario", "machine", "check"] {
        if field(name).is_empty() && !(of_the_image && name == "scenario") {
            wrong.push(format!("has no `{name}:` line"));
        }
    }
    for scenario in list(field("scenario")) {
        if !scenario.is_empty() && !scenarios.iter().any(|known| known.name == scenario) {
            wrong.push(format!("`{scenario}` is not a scenario"));
        }
    }
    for machine in list(field("machine")) {
        if !machine.is_empty() && machine != "all" && !machines.iter().any(|known| known.name == machine) {
            wrong.push(format!("`{machine}` is not a machine"));
        }
    }
    let (cpus, accel, stop) = (field("cpus"), field("accel"), field("stop"));
    let most = machines.iter().map(|machine| machine.cpus.maximum).max().unwrap_or(1);
    if !cpus.is_empty() && !cpus.parse().is_ok_and(|cpus| (1..=most).contains(&cpus)) {
        wrong.push(format!("`cpus: {cpus}` is not a number from 1 to {most}"));
    }
    let mut accels = machines.iter().flat_map(|machine| &machine.qemu.accel);
    if !accel.is_empty() && !accels.any(|known| known.name == accel) {
        wrong.push(format!("`{accel}` is not an accelerator"));
    }
    if !stop.is_empty() && Stop::from_str(stop, false).is_err() {
        wrong.push(format!("`{stop}` is no stop policy"));
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_does_not_parse_is_found_by_name_and_line() {
        let tree =
            Tree::of(&[("machines/a.toml", "name = \"a\"\nodd = 1\n"), ("scenarios/b.toml", "name =\n")]);
        let (machines, scenarios, problems) = check(&tree);
        assert!(machines.is_empty() && scenarios.is_empty());
        let checks: Vec<_> = problems.iter().map(|problem| problem.check).collect();
        assert_eq!(checks, ["machine-file", "scenario-file"]);
        assert!(problems[0].message.contains("machines/a.toml:2"), "{}", problems[0].message);
    }

    #[test]
    fn a_mutant_must_say_what_it_breaks_and_who_notices() {
        let complete = "Breaks it.\n\nscenario: s\nmachine: all\ncheck: c\n\ndiff --git a/x b/x\n";
        assert_eq!(mutant(complete, &[], &[]), ["`s` is not a scenario"]);
        let odd = "Breaks it.\n\ncheck: c\nmachine: all\nscenario:\naccell: tcg\ncpus: 99\naccel: x\nstop: y\n\ndiff --git a/x b/x\n";
        assert_eq!(mutant(odd, &[], &[]).len(), 5, "{:?}", mutant(odd, &[], &[]));
        let bare = "scenario: s\n\ndiff --git a/x b/x\n";
        assert_eq!(mutant(bare, &[], &[]).len(), 4, "first line, machine, check, unknown scenario");
        assert_eq!(mutant("Breaks it.\n", &[], &[]).len(), 1);
        let on_host = "Breaks it.\n\ncase: host:some:test\npromise: P1\n\ndiff --git a/x b/x\n";
        assert!(mutant(on_host, &[], &[]).is_empty());
        for wrong in [
            on_host.replace("host:", "lost:"),
            on_host.replace(":test", ""),
            on_host.replace("promise: P1\n", ""),
        ] {
            assert_eq!(mutant(&wrong, &[], &[]).len(), 1, "{wrong}");
        }
    }
}
