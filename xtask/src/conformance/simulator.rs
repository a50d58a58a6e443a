//! The simulated machine as a port: the HAL's promises under many schedules, and the list of failure modes, each row
//! in the lowest tier of the scenarios that stage it on metal.

use anyhow::Result;

use super::tiers::{Tiers, files};
use super::{Attempt, Missing, Port, SIMULATOR};
use crate::error::{Classed, unexpected};
use crate::machine::Machine;
use crate::qemu::kill;
use crate::scenario::Scenario;
use crate::simulate::simulator;
use crate::toolchain;
use crate::workspace::Workspace;

/// Schedules under which a row is tried.
const SCHEDULES: &str = "300";

/// The simulator.
pub struct Tried<'w> {
    workspace: &'w Workspace,
    tiers: &'w Tiers,
    machines: Vec<Machine>,
    /// What it says of the promises: tier, name, and the rest.
    promises: Vec<(u8, String, String)>,
    /// Rows of the list of failure modes, with their tier.
    rows: Vec<(u8, String)>,
}

impl<'w> Tried<'w> {
    /// Builds it, and asks about the promises.
    pub fn new(workspace: &'w Workspace, tiers: &'w Tiers, scenarios: &[Scenario]) -> Result<Self> {
        let status = kill::status(&mut simulator(workspace.root(), None, true));
        if !status.or_environment(|| "cannot run cargo".into())?.success() {
            return Err(unexpected("the simulator could not be built"));
        }
        let ask = |argument: &str| {
            let mut command = simulator(workspace.root(), None, false);
            let output = command.arg(argument).output().or_environment(|| "cannot run cargo".into())?;
            Ok::<_, anyhow::Error>(String::from_utf8_lossy(&output.stdout).into_owned())
        };
        let promises: Vec<_> = ask("--contract")?.lines().filter_map(promise).collect();
        if promises.is_empty() {
            return Err(unexpected("the simulator says nothing about the HAL's promises"));
        }
        let ids = ask("--rows")?;
        let rows = ids.lines().filter_map(row).map(|id| (tier_of(&id, scenarios), id)).collect();
        Ok(Tried { workspace, tiers, machines: Machine::all(workspace)?, promises, rows })
    }
}

/// `TIER NAME OUTCOME: …`
fn promise(line: &str) -> Option<(u8, String, String)> {
    let mut words = line.splitn(3, ' ');
    let (tier, name, rest) = (words.next()?, words.next()?, words.next()?);
    Some((tier.parse().ok()?, name.to_owned(), rest.to_owned()))
}

/// The number of a row that can be run.
fn row(line: &str) -> Option<String> {
    let mut words = line.split_whitespace();
    let id = words.next()?;
    (words.next() == Some("native") && id.starts_with(|first: char| first.is_ascii_digit()))
        .then(|| id.to_owned())
}

/// The tier of a row: the lowest of the scenarios that stage it. What metal cannot stage is about whole panics.
fn tier_of(id: &str, scenarios: &[Scenario]) -> u8 {
    /// Deadlines and re-entry: there most of what can go wrong does.
    const OTHERWISE: u8 = 3;
    let digits: String = id.chars().take_while(char::is_ascii_digit).collect();
    let Ok(number) = digits.parse::<u32>() else { return OTHERWISE };
    let staged = scenarios.iter().filter(|scenario| scenario.rows.contains(&number));
    staged.flat_map(|scenario| &scenario.tiers).copied().min().unwrap_or(OTHERWISE)
}

impl Port for Tried<'_> {
    fn name(&self) -> &str {
        SIMULATOR
    }

    /// All that there are: it is a part of the tests.
    fn claim(&self) -> Option<u8> {
        Some(self.tiers.most())
    }

    fn attempt(&mut self, number: u8) -> Result<Attempt> {
        let mut attempt = Attempt::default();
        for (_, name, found) in self.promises.iter().filter(|(tier, ..)| *tier == number) {
            let modules = self.tiers.modules(name, number);
            match found.split_once(':').map_or(found.as_str(), |(outcome, _)| outcome) {
                "held" => attempt.promises += 1,
                "unsupported" => attempt.not_applicable.push((name.clone(), found.clone())),
                _ => attempt.missing.push(Missing {
                    what: name.clone(),
                    why: found.clone(),
                    look: files(self.workspace, SIMULATOR, &self.machines, modules),
                    again: "cargo test -p arch-sim --test contract".into(),
                }),
            }
        }
        for (_, id) in self.rows.iter().filter(|(tier, _)| *tier == number) {
            let mut command = simulator(self.workspace.root(), None, false);
            command.args(["--row", id, "--schedules", SCHEDULES]);
            if toolchain::output(&mut command).is_some() {
                attempt.scenarios += 1;
            } else {
                attempt.missing.push(Missing {
                    what: format!("row {id}"),
                    why: "a promise was not kept".into(),
                    look: vec!["core-panic/src".into()],
                    again: format!("cargo xtask simulate --row {id} --schedules {SCHEDULES}"),
                });
            }
        }
        Ok(attempt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_simulator() {
        assert_eq!(promise("2 nmi-in-nmi held"), Some((2, "nmi-in-nmi".into(), "held".into())));
        let broken = promise("0 clock-moves broken: the clock stands still");
        assert_eq!(broken.unwrap().2, "broken: the clock stands still");
        assert_eq!(promise("24 promises"), None);
        assert_eq!(row("  1b  native                a title"), Some("1b".into()));
        assert_eq!(row("  2c  pending(clock)        a title"), None);
        assert_eq!(row("69 native, 9 pending"), None);
    }
}
