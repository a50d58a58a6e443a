//! The files on the simulated machine, in this process: with few schedules, and with expectations that are wrong.

use std::path::Path;

use arch_sim::faults::Faults;
use arch_sim::replay::Lab;
use arch_sim::scenario::Scenario as Staged;
use arch_sim::staged;

use super::super::answer::{Answer, Reader};
use super::super::variant::{Variant, variants};
use super::{Chosen, Judged, judge};
use crate::scenario::{AnyCpu, Kexec, Owner, Scenario};
use crate::workspace::Workspace;

/// Schedules of each combination.
const SCHEDULES: u64 = 3;

fn workspace() -> Workspace {
    Workspace::at(&Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
}

/// What the simulator says of this line.
fn ask(lab: &mut Lab, line: &str, change: impl Fn(Staged) -> Staged) -> Answer {
    let (cpus, words) = line.split_once(' ').unwrap();
    let said = match staged::scenario(cpus.parse().unwrap(), words) {
        Ok(scenario) => staged::runs(lab, &change(scenario), 1, SCHEDULES).to_string(),
        Err(unstaged) => format!("unstaged {unstaged}\n"),
    };
    let text = format!("scenario 0\n{said}over\n");
    Reader::new(text.lines().map(|line| Ok(line.to_owned())), SCHEDULES).next().unwrap()
}

#[test]
fn the_files_drive_the_simulated_machine() {
    let mut lab = Lab::new();
    let mut not_applicable = String::new();
    let mut staged = 0;
    for scenario in Scenario::all(&workspace()).unwrap() {
        // As few as the file allows, and one more.
        let few = |all: Vec<Variant>| -> Vec<_> {
            all.into_iter().filter(|variant| variant.cpus <= scenario.cpus.minimum.max(1) + 1).collect()
        };
        let name = scenario.name.clone();
        let chosen = Chosen { name: name.clone(), variants: variants(&scenario).map(few) };
        let lines: Vec<_> = chosen.variants.iter().flatten().map(Variant::line).collect();
        let mut lines = lines.iter();
        match judge(&chosen, || Ok(ask(&mut lab, lines.next().unwrap(), |same| same))).unwrap() {
            Judged::Good { .. } => staged += 1,
            Judged::NotApplicable(why) => not_applicable.push_str(&format!("{name}: {why}\n")),
            Judged::Bad(failure, _) => panic!("{name}: {failure:?}"),
        }
    }
    assert!(staged > 40, "{staged} files");
    insta::assert_snapshot!("scenarios_that_are_not_simulated", not_applicable);
}

/// The first combination of a file with as many CPUs, without the jump if `off`.
fn one(name: &str, cpus: u32, off: bool) -> Variant {
    let scenario = Scenario::load(&workspace(), name).unwrap();
    let wanted = |variant: &Variant| variant.cpus == cpus && (variant.kexec == Kexec::Off) == off;
    variants(&scenario).unwrap().into_iter().find(wanted).unwrap()
}

/// The checks that are red when a combination is judged so, on a machine that is so.
fn red(variant: Variant, spoil: impl Fn(&mut Variant), change: impl Fn(Staged) -> Staged) -> Option<String> {
    let line = variant.line();
    let mut spoilt = variant;
    spoil(&mut spoilt);
    let chosen = Chosen { name: "one".into(), variants: Ok(vec![spoilt]) };
    match judge(&chosen, || Ok(ask(&mut Lab::new(), &line, &change))).unwrap() {
        Judged::Good { .. } => None,
        Judged::Bad(failure, _) => failure.what.split(':').next().map(str::to_owned),
        Judged::NotApplicable(why) => panic!("{why}"),
    }
}

/// An expectation that is wrong in one place.
#[track_caller]
fn wrong(variant: Variant, check: &str, spoil: impl Fn(&mut Variant)) {
    assert_eq!(red(variant, spoil, |same| same).as_deref(), Some(check));
}

#[test]
fn an_expectation_that_is_wrong_is_noticed() {
    let default = || one("default", 2, true);
    assert_eq!(red(default(), |_| (), |same| same), None);
    let steps = |variant: &mut Variant, from: &str, to: &str| {
        let steps = variant.expect.steps.as_mut().unwrap();
        let step = steps.iter_mut().find(|step| *step == from).unwrap();
        *step = to.into();
    };
    wrong(default(), "steps", |variant| steps(variant, "record:skipped", "record:done"));
    wrong(default(), "steps", |variant| variant.expect.steps.as_mut().unwrap().swap(0, 1));
    wrong(default(), "steps", |variant| drop(variant.expect.steps.as_mut().unwrap().pop()));
    wrong(default(), "notifiers", |variant| drop(variant.expect.notifiers.as_mut().unwrap().pop()));
    wrong(default(), "notifiers", |variant| {
        variant.expect.notifiers.as_mut().unwrap()[0] = "inform/log:failed".into();
    });
    wrong(default(), "cpu-states", |variant| variant.expect.cpu_states = Some("missing".into()));
    wrong(default(), "cpu-states", |variant| {
        variant.expect.cpu_state.insert("1".into(), "deferred".into());
    });
    wrong(default(), "cpu-states", |variant| {
        variant.expect.rung.insert("1".into(), "ipi".into());
    });
    wrong(one("deaf", 2, false), "cpu-states", |variant| {
        variant.expect.own_state.insert("1".into(), "parked".into());
    });
    wrong(default(), "claim", |variant| variant.expect.reason = Some("data-access".into()));
    wrong(default(), "claim", |variant| variant.expect.owner = Some(Owner::Cpu(1)));
    assert_eq!(
        red(default(), |variant| variant.expect.owner = Some(Owner::Word(AnyCpu::Any)), |same| same),
        None
    );
    wrong(default(), "ending", |variant| variant.expect.ending = Some("reboot".into()));
    wrong(default(), "final", |variant| variant.expect.action = Some("reboot".into()));
    wrong(default(), "reentries", |variant| variant.expect.reentries = Some(1));
    wrong(one("hung-notifiers", 2, false), "reentries", |variant| variant.expect.reentries = Some(2));
    wrong(default(), "locks", |variant| variant.expect.deferred = Some(true));
    wrong(one("journal-grace", 2, false), "locks", |variant| variant.expect.orphans = Some("none".into()));
    wrong(one("journal-grace", 2, false), "locks", |variant| variant.expect.deferred = Some(false));
    wrong(one("journal-grace", 2, false), "rulings", |variant| {
        variant.expect.rulings = Some(vec!["lock/any:would-wait".into()]);
    });
    wrong(one("journal-grace", 2, false), "rulings", |variant| variant.expect.rulings = None);
}

/// A machine that does something else than the file says.
#[test]
fn a_machine_that_is_wrong_is_noticed() {
    let with = |faults: Faults| move |scenario: Staged| Staged { faults, ..scenario };
    let deaf = with(Faults { deaf: 2, ..Faults::NONE });
    assert_eq!(red(one("default", 2, false), |_| (), deaf).as_deref(), Some("steps"));
    let no_image = with(Faults { no_image: true, ..Faults::NONE });
    assert_eq!(red(one("default", 2, false), |_| (), no_image).as_deref(), Some("ending"));
    let good_image = with(Faults::NONE);
    assert_eq!(red(one("flipped-image", 2, false), |_| (), good_image).as_deref(), Some("ending"));
    let power = with(Faults { power_fails: true, ..Faults::NONE });
    assert_eq!(red(one("default", 1, true), |_| (), power).as_deref(), Some("ending"));
}

/// A promise that is not kept is red, whatever the file expects.
#[test]
fn a_broken_promise_is_noticed() {
    let variant = one("default", 2, false);
    let Answer::Ran(mut seen) = ask(&mut Lab::new(), &variant.line(), |same| same) else { panic!("staged") };
    seen[0].broken.push("P1: two owners".into());
    let chosen = Chosen { name: "one".into(), variants: Ok(vec![variant]) };
    let mut answer = Some(Answer::Ran(seen));
    let judged = judge(&chosen, || Ok(answer.take().unwrap())).unwrap();
    let Judged::Bad(failure, 1) = judged else { panic!("{judged:?}") };
    assert_eq!(failure.what, "promises: expected P1 to P10 kept; found P1: two owners");
}

#[test]
fn a_file_that_can_be_staged_in_part_is_not_passed_off_as_staged() {
    let variants = vec![one("default", 1, false), one("default", 2, false)];
    let chosen = Chosen { name: "one".into(), variants: Ok(variants.clone()) };
    let mut lines = variants.iter().map(Variant::line);
    let mut lab = Lab::new();
    let mut refused = false;
    let judged = judge(&chosen, || {
        let line = lines.next().unwrap();
        let answer = if refused { Answer::Unstaged("so".into()) } else { ask(&mut lab, &line, |same| same) };
        refused = true;
        Ok(answer)
    });
    assert!(judged.unwrap_err().to_string().contains("can be staged in part: so"));
}

#[test]
fn a_table_of_its_own_is_about_the_simulated_machine() {
    let mut scenario = Scenario::load(&workspace(), "default").unwrap();
    let mut on = crate::scenario::OnMachine { command_line: "panic.timeout=1".into(), ..Default::default() };
    scenario.on.insert("others".into(), on.clone());
    assert!(!variants(&scenario).unwrap()[0].line().contains("timeout"));
    scenario.on.insert("sim".into(), on.clone());
    assert!(variants(&scenario).unwrap()[0].line().ends_with("panic.final=poweroff panic.timeout=1"));
    on.not_applicable = Some("so".into());
    scenario.on.insert("sim".into(), on);
    assert_eq!(variants(&scenario).unwrap_err(), "so");
}
