//! A tier on a machine: its scenarios, and what the kernel says of the HAL's promises.

use std::path::PathBuf;

use anyhow::Result;

use super::tiers::{Tiers, files};
use super::{Attempt, Missing, Port};
use crate::cases::{Case, Outcome};
use crate::cli::RunArgs;
use crate::error::{Exit, class_of, one_line};
use crate::machine::Machine;
use crate::matrix::runner::{Pace, Tally, Task, run_all};
use crate::qemu::Unobserved;
use crate::qemu::plan::{Plan, Planned};
use crate::scenario::{Column, Scenario};
use crate::verdict::{self, contract};
use crate::workspace::Workspace;
use crate::{build, image_check, run, setup};

/// A port on the emulator.
pub struct Tried<'w> {
    workspace: &'w Workspace,
    tiers: &'w Tiers,
    machine: Machine,
    machines: Vec<Machine>,
    scenarios: &'w [Scenario],
    jobs: Option<u32>,
    /// The kernel, or why there is none.
    kernel: Result<PathBuf, String>,
}

impl<'w> Tried<'w> {
    /// Builds its kernel, if that can be done.
    pub fn new(
        workspace: &'w Workspace,
        tiers: &'w Tiers,
        scenarios: &'w [Scenario],
        name: &str,
        jobs: Option<u32>,
    ) -> Result<Self> {
        let machine = Machine::load(workspace, name)?;
        setup::ensure(&machine)?;
        let built = build::kernel(workspace, &machine)
            .and_then(|image| image_check::run(&machine, &image).map(|()| image));
        let kernel = match built {
            Ok(image) => Ok(image),
            Err(error) if class_of(&error) == Exit::Environment => return Err(error),
            Err(error) => Err(one_line(&error)),
        };
        let machines = Machine::all(workspace)?;
        Ok(Tried { workspace, tiers, machine, machines, scenarios, jobs, kernel })
    }

    fn look(&self, promise: &str, tier: u8) -> Vec<String> {
        files(self.workspace, &self.machine.name, &self.machines, self.tiers.modules(promise, tier))
    }

    /// The scenarios of a tier as runs; what has no meaning is noted, and what cannot be said about the machine.
    fn plans(&self, number: u8, column: Column, attempt: &mut Attempt) -> Vec<Plan> {
        let machine = &self.machine;
        let file = format!("machines/{}.toml", machine.name);
        let mut plans = Vec::new();
        for scenario in self.scenarios.iter().filter(|scenario| scenario.tiers.contains(&number)) {
            // What is lacking is named once, by itself.
            let lacking = !scenario.contract.is_empty()
                && scenario.requires.iter().any(|what| machine.lacks.contains_key(what));
            let has = |name: &&String| machine.qemu.firmware.iter().any(|firmware| firmware.name == **name);
            let args = RunArgs {
                cpus: Some(if column.alone { 1 } else { machine.cpus.default }.into()),
                kexec: column.kexec(scenario),
                firmware: scenario.firmwares.iter().find(has).cloned(),
                accel: scenario.accels.first().map_or("auto", String::as_str).to_owned(),
                ..RunArgs::default()
            };
            match Plan::make(machine.clone(), scenario.clone(), &args) {
                Ok(Planned::Run(plan)) => plans.push(*plan),
                // A port cannot reach a tier whose promises nobody could look at.
                Ok(Planned::NotApplicable(_)) if lacking => {}
                Ok(Planned::NotApplicable(why)) if !scenario.contract.is_empty() => {
                    attempt.missing.push(Missing {
                        what: scenario.name.clone(),
                        why,
                        look: vec![format!("scenarios/{}.toml", scenario.name), file.clone()],
                        again: String::new(),
                    });
                }
                Ok(Planned::NotApplicable(why)) => {
                    attempt.not_applicable.push((scenario.name.clone(), why));
                }
                Err(error) => attempt.missing.push(Missing {
                    what: scenario.name.clone(),
                    why: one_line(&error),
                    look: vec![file.clone()],
                    again: String::new(),
                }),
            }
        }
        plans
    }

    /// What a run says about a tier.
    fn judge(&self, case: &Case, promises: &[String], number: u8, attempt: &mut Attempt) {
        let looked = contract::looked(case.run.iter().flat_map(|run| &run.events));
        let mut broken = Vec::new();
        for name in promises {
            match looked.iter().find(|looked| looked.name == *name) {
                Some(looked) if looked.held => attempt.promises += 1,
                Some(looked) if looked.unsupported => {
                    attempt.not_applicable.push((name.clone(), looked.found.clone()));
                }
                seen => broken.push(Missing {
                    what: name.clone(),
                    why: seen.map_or("the kernel did not come to it", |looked| &looked.found).to_owned(),
                    look: self.look(name, number),
                    again: String::new(),
                }),
            }
        }
        if case.outcome == Outcome::Passed {
            attempt.scenarios += 1;
            return;
        }
        let red = case.run.iter().flat_map(|run| &run.checks);
        let red = red.filter(|check| check.outcome == verdict::Outcome::Fail);
        let red: Vec<_> = red
            .filter(|check| check.name != "contract" || broken.is_empty())
            .map(|check| format!("{}: {}", check.name, check.found))
            .collect();
        // First how far the run came, then what of it was broken.
        if !red.is_empty() || !case.reason.is_empty() {
            attempt.missing.push(Missing {
                what: case.scenario.clone(),
                why: if red.is_empty() { case.reason.clone() } else { red.join("; ") },
                look: match &case.run {
                    Some(_) => self.look("", number),
                    None => vec![format!("machines/{}.toml", self.machine.name)],
                },
                again: case.rerun.clone(),
            });
        }
        attempt.missing.append(&mut broken);
    }
}

impl Port for Tried<'_> {
    fn name(&self) -> &str {
        &self.machine.name
    }

    fn claim(&self) -> Option<u8> {
        self.machine.conformance.tier
    }

    fn attempt(&mut self, number: u8) -> Result<Attempt> {
        let mut attempt = Attempt::default();
        let (Some(tier), Some(column)) = (self.tiers.tier(number), Column::of(number)) else {
            return Ok(attempt);
        };
        let name = &self.machine.name;
        let file = format!("machines/{name}.toml");
        let kernel = match &self.kernel {
            Ok(kernel) => kernel,
            Err(why) => {
                attempt.missing.push(Missing {
                    what: "a kernel".into(),
                    why: why.clone(),
                    look: vec![file, format!("arch-{name}/")],
                    again: format!("cargo xtask build {name}"),
                });
                return Ok(attempt);
            }
        };
        for capability in &tier.needs {
            if let Some(why) = self.machine.lacks.get(capability) {
                let module = [capability.name().to_owned()];
                attempt.missing.push(Missing {
                    what: capability.name().to_owned(),
                    why: why.clone(),
                    look: files(self.workspace, name, &self.machines, &module),
                    again: String::new(),
                });
            }
        }
        if !column.alone && self.machine.cpus.default == 1 {
            attempt.missing.push(Missing {
                what: "a second CPU".into(),
                why: format!("{file} runs with one by default"),
                look: files(self.workspace, name, &self.machines, &["smp".to_owned()]),
                again: String::new(),
            });
        }
        let plans = self.plans(number, column, &mut attempt);
        let tasks: Vec<_> = plans.iter().map(Task::of).collect();
        let mut cases = Vec::new();
        let go = |task: &Task| run::run(self.workspace, task.plan, kernel, false, &mut Unobserved);
        let ran = run_all(&tasks, &Pace::once(self.jobs), &go, &mut Tally::default(), |task, result| {
            cases.push((task.case(result), task.plan.scenario.contract.clone()));
            Ok(())
        });
        // An emulator that refuses the machine file's arguments is the first thing to mend, and not the end.
        match ran {
            Err(error) if cases.is_empty() || class_of(&error) != Exit::Environment => return Err(error),
            _ => {}
        }
        for (case, promises) in &cases {
            self.judge(case, promises, number, &mut attempt);
        }
        Ok(attempt)
    }
}
