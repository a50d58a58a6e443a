//! `cargo xtask matrix --chaos`: something is done to the machine at a random moment, and the run is judged by what
//! holds all the same ([`crate::verdict::chaos`]).
//!
//! A seed says what is done, to whom and how long after which event. The moment itself is the host's: the same seed asks
//! for the same again, and meets another instruction.

use anyhow::Result;

use crate::cli::RunArgs;
use crate::error::usage;
use crate::experiment::seed;
use crate::machine::{Capability, Choice, Machine};
use crate::qemu::plan::{Plan, Planned, works_here};
use crate::random::Random;
use crate::scenario::{Input, Scenario};

/// What tells one run from the next.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// How often the scenario that is marked for it is taken, in percent; else one of the others.
const MARKED: u64 = 50;
/// How often another firmware than the machine's first one is taken.
const OTHER_FIRMWARE: u64 = 5;

/// One random run.
pub struct Attempt {
    /// Its own seed, from which all of it follows.
    pub seed: u64,
    /// What is run.
    pub plan: Plan,
}

impl Attempt {
    /// What is done to it, in words.
    pub fn words(&self) -> String {
        let inputs = self.plan.scenario.input.iter().map(|input| {
            let what = match (&input.derail, &input.qmp, &input.send, &input.monitor) {
                (Some(cpu), ..) => format!("derail-{cpu}"),
                (_, Some(qmp), ..) => qmp.clone(),
                (_, _, Some(_), _) => "typing".into(),
                _ => "monitor".into(),
            };
            format!("{what} {} us after {}", input.delay_us, input.after)
        });
        let mut words: Vec<_> = inputs.collect();
        words.extend(self.plan.append.clone());
        words.join(", ")
    }

    /// The command that asks for the same again.
    pub fn again(&self) -> String {
        format!("cargo xtask matrix --arch {} --chaos 1 --seed {:#x}", self.plan.machine.name, self.seed)
    }
}

/// As many random runs on a machine.
pub fn attempts(machine: &Machine, scenarios: &[Scenario], seed: u64, count: u32) -> Result<Vec<Attempt>> {
    let marked = scenarios
        .iter()
        .find(|scenario| scenario.chaos)
        .ok_or_else(|| usage("scenarios/: no file has `chaos = true`"))?;
    // Where nobody is to panic, nothing is to be survived.
    let panics: Vec<_> = scenarios.iter().filter(|scenario| scenario.contract.is_empty()).cloned().collect();
    (0..u64::from(count)).map(|number| attempt(machine, marked, &panics, nth(seed, number))).collect()
}

/// The seed of a run; of the first one, the whole series' own.
fn nth(seed: u64, number: u64) -> u64 {
    seed.wrapping_add(number.wrapping_mul(STEP))
}

fn attempt(machine: &Machine, marked: &Scenario, scenarios: &[Scenario], seed: u64) -> Result<Attempt> {
    // Not the seeds one after the other: their streams would be one another's.
    let random = &mut Random(Random(seed).next());
    loop {
        let own = random.percent(MARKED);
        let scenario = if own { marked } else { random.pick(scenarios).unwrap_or(marked) };
        if let Some(plan) = candidate(machine, scenario, own, random)? {
            return Ok(Attempt { seed, plan });
        }
    }
}

/// A run of this scenario, if what is drawn has a meaning with it.
fn candidate(machine: &Machine, scenario: &Scenario, own: bool, random: &mut Random) -> Result<Option<Plan>> {
    let firmwares: &[Choice] = &machine.qemu.firmware;
    let other = random.percent(OTHER_FIRMWARE);
    let firmware = if other { random.pick(firmwares) } else { firmwares.first() };
    let cpus = random.pick(&machine.suite.cpus).copied().unwrap_or(machine.cpus.default);
    let accel = machine.qemu.accel.iter().find(|accel| works_here(accel)).map(|accel| accel.name.clone());
    let mut scenario = scenario.clone();
    let mut append = None;
    if own {
        scenario.input.clear();
        // Where none is delivered, nobody would panic.
        let button = random.percent(25) && !machine.lacks.contains_key(&Capability::Nmi);
        if button {
            append = Some("test.panic=button".to_owned());
        }
        if cpus > 1 && random.coin() {
            let trial = random.below(1 << 20) as u32;
            let roles = seed::roles(random.next(), trial, cpus, 100_000);
            let words = format!("{} {roles}", append.unwrap_or_default());
            append = Some(words.trim().to_owned()).filter(|words| !words.is_empty());
        }
        scenario.input.push(first(random, cpus, button));
    }
    for _ in 0..random.below(3).max(u64::from(!own)) {
        scenario.input.push(later(random, cpus));
    }
    let args = RunArgs {
        cpus: Some(cpus.into()),
        kexec: random.pick(&scenario.kexec).copied(),
        stop: random.pick(&scenario.stop).copied(),
        firmware: firmware.map(|firmware| firmware.name.clone()),
        accel: accel.unwrap_or_else(|| "auto".into()),
        append,
        ..RunArgs::default()
    };
    match Plan::make(machine.clone(), scenario, &args)? {
        Planned::Run(mut plan) => {
            plan.random = true;
            Ok(Some(*plan))
        }
        Planned::NotApplicable(_) => Ok(None),
    }
}

/// What makes the panic.
fn first(random: &mut Random, cpus: u32, button: bool) -> Input {
    if button {
        return input("boot/ready", nmi(), random.spread(1, 100_000));
    }
    // Before they are all ready, only the CPU that boots is sure to be there.
    let early = random.percent(20);
    let (after, cpu) = match early {
        true => ("boot/image", 0),
        false => ("boot/ready", random.below(cpus.into()) as u32),
    };
    input(after, derail(cpu), random.spread(1, 100_000))
}

/// What is done on top of it.
fn later(random: &mut Random, cpus: u32) -> Input {
    let after = random.pick(&["boot/ready", "panic/claim", "panic/begin", "panic/stopped", "panic/end"]);
    let what = if random.coin() { nmi() } else { derail(random.below(cpus.into()) as u32) };
    input(after.copied().unwrap_or("panic/claim"), what, random.spread(1, 50_000))
}

fn nmi() -> Input {
    Input { qmp: Some("inject-nmi".into()), ..Input::default() }
}

fn derail(cpu: u32) -> Input {
    Input { derail: Some(cpu), ..Input::default() }
}

fn input(after: &str, what: Input, delay_us: u64) -> Input {
    Input { after: after.to_owned(), delay_us: delay_us.max(1), ..what }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Workspace;

    fn lines(seed: u64, count: u32) -> Vec<String> {
        let workspace = Workspace::at(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
        let scenarios = Scenario::all(&workspace).unwrap();
        let mut lines = Vec::new();
        for name in Machine::names(&workspace).unwrap() {
            let machine = Machine::load(&workspace, &name).unwrap();
            let all = attempts(&machine, &scenarios, seed, count).unwrap();
            lines.extend(all.iter().map(|attempt| format!("{} {}", attempt.plan.title(), attempt.words())));
        }
        lines
    }

    #[test]
    fn a_seed_says_the_same_and_each_run_has_its_own() {
        assert_eq!(lines(3, 20), lines(3, 20));
        let (series, second) = (lines(3, 2), lines(nth(3, 1), 1));
        assert_eq!((&series[1], &series[3]), (&second[0], &second[1]));
        let many = lines(5, 300);
        for wanted in ["derail-0", "inject-nmi", "test.role", "cpus-1/", "kexec-pre", "/nmi/", "boot/image"] {
            assert!(many.iter().any(|line| line.contains(wanted)), "{wanted}");
        }
        let workspace = Workspace::at(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
        for machine in Machine::all(&workspace).unwrap() {
            let own = |line: &&String| line.starts_with(&format!("{}/", machine.name));
            let button = many.iter().filter(own).any(|line| line.contains("test.panic=button"));
            assert_eq!(button, !machine.lacks.contains_key(&Capability::Nmi), "{}", machine.name);
        }
    }
}
