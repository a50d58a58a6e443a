//! Which rows there are, for `cargo xtask matrix` and `cargo xtask test`.
//!
//! Every scenario on every machine: with the machine's own number of CPUs and every value of both
//! axes; with each other number of CPUs and one pair of values, another one for each scenario, so
//! that all pairs are met; and, where the scenario says so, on the other firmwares and accelerators. A
//! scenario that is a sample has one pair of values with every number of CPUs, or with those that it names.
//! `--full` runs the whole product instead. A scenario that must fail has one row on each machine.

use anyhow::Result;

use super::filter::{Filter, Subject};
use crate::cases::{Case, Outcome};
use crate::cli::RunArgs;
use crate::machine::{Choice, Machine};
use crate::qemu::plan::{Plan, Planned, works_here};
use crate::report::{YELLOW, paint, say};
use crate::scenario::{Kexec, Scenario, Stop, value_name};
use crate::workspace::Workspace;

/// In place of a scenario's name: no scenario has a row on this machine.
const ANY: &str = "any-scenario";

/// The rows, and those that are none.
pub struct Matrix {
    /// Every machine.
    pub machines: Vec<Machine>,
    /// What can be run.
    pub plans: Vec<Plan>,
    /// What has no meaning, and why: `machine/scenario`, the reason.
    pub not_applicable: Vec<(String, String)>,
    /// What cannot be run here, and why.
    pub skipped: Vec<String>,
}

impl Matrix {
    /// Makes the rows.
    pub fn new(workspace: &Workspace, full: bool) -> Result<Self> {
        let machines = Machine::all(workspace)?;
        let scenarios = Scenario::all(workspace)?;
        let negative = Scenario::negative(workspace)?;
        let mut matrix = Matrix {
            machines: machines.clone(),
            plans: Vec::new(),
            not_applicable: Vec::new(),
            skipped: Vec::new(),
        };
        for machine in &machines {
            if machine.suite.cpus.is_empty() {
                let reason =
                    format!("machines/{}.toml has no numbers of CPUs yet: [suite] cpus", machine.name);
                matrix.not_applicable.push((format!("{}/{ANY}", machine.name), reason));
                continue;
            }
            for (number, scenario) in scenarios.iter().enumerate() {
                matrix.rows(machine, scenario, number, full)?;
            }
            // What judges the judge needs a kernel that panics.
            for scenario in negative.iter().filter(|_| machine.panics()) {
                let accel = scenario.accels.first().map_or("auto", String::as_str);
                matrix.add(machine, scenario, &RunArgs { accel: accel.into(), ..RunArgs::default() })?;
            }
        }
        Ok(matrix)
    }

    /// The rows that are not run, as cases.
    pub fn unrun(&self) -> impl Iterator<Item = Case> {
        let none = self.not_applicable.iter();
        let none = none.map(|(row, why)| Case::not_run(row, None, Outcome::NotApplicable, why));
        none.chain(self.skipped.iter().map(|text| {
            let (row, why) = text.split_once(": ").unwrap_or((text, ""));
            Case::not_run(row, None, Outcome::Skipped, why)
        }))
    }

    /// Prints what cannot be run here.
    pub fn say_skipped(&self) {
        for reason in &self.skipped {
            say!("{} {reason}", paint(YELLOW, "skipped"));
        }
    }

    /// Prints every row that is not run.
    pub fn say_unrun(&self) {
        for (row, reason) in &self.not_applicable {
            say!("{} {row}: {reason}", paint(YELLOW, "n/a"));
        }
        self.say_skipped();
    }

    /// Keeps the rows of one machine.
    pub fn only_on(&mut self, machine: &Machine) {
        let name = &machine.name;
        self.machines.retain(|known| known.name == *name);
        self.plans.retain(|plan| plan.machine.name == *name);
        let own = |row: &str| row.split('/').next() == Some(name);
        self.not_applicable.retain(|(row, _)| own(row));
        self.skipped.retain(|row| own(row));
    }

    /// Keeps what matches. A row that has no meaning has no whole name: it stays if it may match.
    pub fn filter(&mut self, filter: &Filter) {
        let machines = &self.machines;
        self.plans.retain(|plan| filter.matches(&subject_of(plan)));
        self.not_applicable.retain(|(start, _)| filter.matches(&beginning(machines, start)));
        self.skipped.retain(|row| filter.matches(&beginning(machines, without_accel(row))));
    }

    fn rows(&mut self, machine: &Machine, scenario: &Scenario, number: usize, full: bool) -> Result<()> {
        if let Some(tier) = machine.conformance.tier
            && let Some(least) = scenario.tiers.iter().min().filter(|least| **least > tier)
        {
            let (name, own) = (&machine.name, &scenario.name);
            let reason = format!("`{own}` is of tier {least}, and machines/{name}.toml claims tier {tier}");
            self.not_applicable.push((format!("{name}/{own}"), reason));
            return Ok(());
        }
        let pairs = pairs(scenario);
        // Elsewhere the accelerators of its own come below.
        let part = machine.suite.sample && !full;
        let accel = scenario.accels.first().filter(|_| part).map_or("auto", String::as_str);
        let args = |cpus: u32, pair: (Kexec, Stop)| RunArgs {
            cpus: Some(cpus.into()),
            kexec: Some(pair.0),
            stop: Some(pair.1),
            accel: accel.into(),
            ..RunArgs::default()
        };
        for (column, &cpus) in machine.suite.cpus.iter().enumerate() {
            let some = &scenario.suite.cpus;
            // On an accelerator of its own a scenario runs with one CPU and the machine's own number, elsewhere.
            let own = part && !scenario.accels.is_empty() && cpus != machine.cpus.default;
            if own || (!full && !some.is_empty() && !some.contains(&cpus)) {
                continue;
            }
            let all = full || (cpus == machine.cpus.default && !scenario.suite.sample && !part);
            let one = pairs[(number + column) % pairs.len()];
            for &pair in if all { pairs.as_slice() } else { std::slice::from_ref(&one) } {
                self.add(machine, scenario, &args(cpus, pair))?;
            }
        }
        if part {
            return Ok(());
        }
        let base = args(machine.cpus.default, pairs[0]);
        if scenario.suite.every_firmware {
            for firmware in machine.qemu.firmware.iter().skip(1) {
                self.add(
                    machine,
                    scenario,
                    &RunArgs { firmware: Some(firmware.name.clone()), ..base.clone() },
                )?;
            }
        }
        for accel in &scenario.suite.accels {
            let own = machine.cpus.default;
            for cpus in if own == 1 { vec![1] } else { vec![1, own] } {
                self.add(machine, scenario, &RunArgs { accel: accel.clone(), ..args(cpus, pairs[0]) })?;
            }
        }
        if scenario.suite.every_accel {
            let usual = machine.qemu.accel.iter().position(works_here);
            for (place, accel) in machine.qemu.accel.iter().enumerate() {
                if Some(place) == usual {
                    continue;
                }
                if works_here(accel) {
                    self.add(machine, scenario, &RunArgs { accel: accel.name.clone(), ..base.clone() })?;
                } else {
                    let needs = accel.needs.as_deref().unwrap_or_default();
                    self.skipped.push(format!(
                        "{}/{}/{}: {needs} is not there or may not be opened",
                        machine.name, scenario.name, accel.name
                    ));
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, machine: &Machine, scenario: &Scenario, args: &RunArgs) -> Result<()> {
        // A scenario asks for accelerators by name, and not every machine has all of them.
        let known = args.accel == "auto" || machine.qemu.accel.iter().any(|accel| accel.name == args.accel);
        let planned = if known {
            Plan::make(machine.clone(), scenario.clone(), args)?
        } else {
            let (name, accel) = (&scenario.name, &args.accel);
            Planned::NotApplicable(format!("`{name}` on `{accel}`: {} has no such accelerator", machine.name))
        };
        match planned {
            Planned::Run(plan) => self.plans.push(*plan),
            Planned::NotApplicable(reason) => {
                let row = (format!("{}/{}", machine.name, scenario.name), reason);
                if !self.not_applicable.contains(&row) {
                    self.not_applicable.push(row);
                }
            }
        }
        Ok(())
    }
}

/// What a filter sees of a row.
pub fn subject_of(plan: &Plan) -> Subject {
    let axes = vec![
        ("arch", plan.machine.name.clone()),
        ("scenario", plan.scenario.name.clone()),
        ("kexec", value_name(plan.kexec)),
        ("stop", value_name(plan.stop)),
        ("cpus", plan.cpus.to_string()),
        ("accel", plan.accel.name.clone()),
        ("firmware", plan.firmware.name.clone()),
    ];
    Subject { name: plan.title(), axes, ..Subject::default() }
}

/// And of one that has no meaning, or cannot be run here: `machine/scenario` and perhaps more.
fn beginning(machines: &[Machine], start: &str) -> Subject {
    let (machine, scenario) = start.split_once('/').unwrap_or((start, ""));
    let mut axes = vec![("arch", machine.to_owned())];
    axes.extend((scenario != ANY).then(|| ("scenario", scenario.to_owned())));
    let known = machines.iter().find(|known| known.name == machine).map(|machine| {
        let names = |choices: &[Choice]| choices.iter().map(|choice| choice.name.clone()).collect();
        vec![("accel", names(&machine.qemu.accel)), ("firmware", names(&machine.qemu.firmware))]
    });
    Subject { name: start.to_owned(), axes, open: true, possible: known.unwrap_or_default() }
}

/// A row that is skipped, up to the accelerator that is not there.
fn without_accel(row: &str) -> &str {
    let row = row.split(':').next().unwrap_or(row);
    row.rsplit_once('/').map_or(row, |(start, _)| start)
}

/// Every pair of values that a scenario has a meaning with; its default first.
fn pairs(scenario: &Scenario) -> Vec<(Kexec, Stop)> {
    scenario.kexec.iter().flat_map(|&kexec| scenario.stop.iter().map(move |&stop| (kexec, stop))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::Path;

    fn matrix(full: bool) -> Matrix {
        Matrix::new(&Workspace::at(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..")), full).unwrap()
    }

    #[test]
    fn a_filter_is_one_for_rows_without_a_meaning_too() {
        let kept = |text: &str| {
            let mut matrix = matrix(false);
            matrix.filter(&Filter::parse(text).unwrap());
            let names = matrix.not_applicable.iter().map(|(start, _)| start.clone());
            (matrix.plans.len(), names.collect::<BTreeSet<_>>())
        };
        assert_eq!(kept("no-such-row"), (0, BTreeSet::new()));
        let all = kept("!no-such-row");
        let (plans, names) = kept("/deaf/kexec-post");
        assert!(plans > 0 && names.is_empty(), "{names:?}");
        let start = all.1.first().unwrap();
        assert_eq!(kept(start).1, BTreeSet::from([start.clone()]));
        assert_eq!(kept(&format!("{start}/kexec-post")).1, BTreeSet::from([start.clone()]));
    }

    #[test]
    fn an_accelerator_that_a_machine_lacks_leaves_its_row_out() {
        let mut matrix = matrix(false);
        let (mut machine, scenario) = (matrix.plans[0].machine.clone(), matrix.plans[0].scenario.clone());
        let (before, accel) = (matrix.plans.len(), machine.qemu.accel[0].name.clone());
        let args = |accel: &str| RunArgs { accel: accel.into(), ..RunArgs::default() };
        matrix.add(&machine, &scenario, &args(&accel)).unwrap();
        assert_eq!(matrix.plans.len(), before + 1);
        machine.qemu.accel.remove(0);
        matrix.add(&machine, &scenario, &args(&accel)).unwrap();
        assert_eq!(matrix.plans.len(), before + 1);
        let (row, reason) = matrix.not_applicable.last().unwrap();
        assert_eq!(*row, format!("{}/{}", machine.name, scenario.name));
        assert!(reason.contains(&accel), "{reason}");
    }

    #[test]
    fn every_scenario_meets_every_machine_it_is_for() {
        let matrix = matrix(false);
        let met: BTreeSet<_> =
            matrix.plans.iter().map(|plan| (plan.machine.name.clone(), plan.scenario.name.clone())).collect();
        let workspace = Workspace::at(&Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
        for scenario in Scenario::all(&workspace).unwrap() {
            for machine in &matrix.machines {
                let on = scenario.differing_on(&machine.name);
                let mut meant = on.is_none_or(|on| on.not_applicable.is_none());
                // A port on its way has fewer columns, and may lack accelerators and a store.
                meant &= machine.suite.cpus.iter().any(|cpus| *cpus >= scenario.cpus.minimum);
                meant &= scenario.store.is_none() || machine.store.is_some();
                meant &= scenario.requires.iter().all(|needed| !machine.lacks.contains_key(needed));
                let most = machine.conformance.tier.unwrap_or(u8::MAX);
                meant &= scenario.tiers.iter().any(|tier| *tier <= most);
                let here = |name: &String| machine.qemu.accel.iter().any(|accel| accel.name == *name);
                meant &= scenario.accels.is_empty() || scenario.accels.iter().any(here);
                let pair = (machine.name.clone(), scenario.name.clone());
                assert_eq!(met.contains(&pair), meant, "{pair:?}");
            }
        }
    }

    #[test]
    fn titles_are_unique_and_the_full_matrix_has_them_all() {
        let titles = |matrix: &Matrix| matrix.plans.iter().map(Plan::title).collect::<Vec<_>>();
        let (quick, full) = (titles(&matrix(false)), titles(&matrix(true)));
        assert_eq!(quick.iter().collect::<BTreeSet<_>>().len(), quick.len());
        let all: BTreeSet<_> = full.iter().collect();
        assert_eq!(all.len(), full.len());
        assert!(quick.iter().all(|title| all.contains(title)));
    }
}
