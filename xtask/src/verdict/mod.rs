//! The verdict: pure functions from what a run left behind to a list of named checks.
//!
//! Nothing the guest prints is enough. What it says in event lines is compared with what the runner
//! read itself, out of the guest's memory and registers, and with how the emulator ended. The names
//! of the checks are an interface: mutants, reports and scripts refer to them.
//!
//! A check that lacks its evidence *because the run was given up* is not applicable: the check
//! `ending` is red then, and one cause makes one red check. In every other case missing evidence is a
//! failure, of the check that is closest to the cause.

pub mod chaos;
pub mod contract;
pub mod cpus;
mod firmware;
mod inputs;
mod jump;
mod locks;
mod price;
mod record;
pub mod roles;
mod rulings;
pub mod simulated;
mod steps;
mod store;
mod stray;
mod stream;
#[cfg(test)]
pub mod tests;

use crash_record::view::RecordView;
use serde::{Deserialize, Serialize};

use crate::explain::Bound;
use crate::machine::{Ending, Machine};
use crate::qemu::inspect::Inspection;
use crate::qemu::plan::Plan;
use crate::qemu::{Ended, Evidence, Fate};
use crate::roles::Roles;
use crate::scenario::{Expect, Stop};
use crate::symbols::Symbols;

/// How a check ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It holds.
    Ok,
    /// It does not.
    Fail,
    /// It has no meaning in this run.
    NotApplicable,
}

/// One check.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Check {
    /// Stable name, in kebab-case.
    pub name: &'static str,
    /// How it ended.
    pub outcome: Outcome,
    /// What had to be; empty if it has no meaning.
    pub expected: String,
    /// What there was, or why it has no meaning.
    pub found: String,
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Check { name, outcome: Outcome::Ok, expected: String::new(), found: found.into() }
    }

    fn fail(name: &'static str, expected: impl Into<String>, found: impl Into<String>) -> Self {
        Check { name, outcome: Outcome::Fail, expected: expected.into(), found: found.into() }
    }

    fn none(name: &'static str, why: impl Into<String>) -> Self {
        Check { name, outcome: Outcome::NotApplicable, expected: String::new(), found: why.into() }
    }

    /// Green if `found` is what was expected.
    fn equal(name: &'static str, expected: impl Into<String>, found: impl Into<String>) -> Self {
        let (expected, found) = (expected.into(), found.into());
        if expected == found { Self::ok(name, found) } else { Self::fail(name, expected, found) }
    }

    /// Green if there are no faults; `good` says what was seen.
    fn without_faults(
        name: &'static str,
        expected: &str,
        faults: Vec<String>,
        good: impl Into<String>,
    ) -> Self {
        if faults.is_empty() { Self::ok(name, good) } else { Self::fail(name, expected, faults.join("; ")) }
    }
}

/// All checks of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// In a fixed order.
    pub checks: Vec<Check>,
    /// The checks that have to be red, and no others: of a run that must fail.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub must_fail: Vec<String>,
}

impl Verdict {
    /// True if nothing is red but what must be, and all of that is.
    pub fn passed(&self) -> bool {
        self.unexpected().next().is_none() && self.survivors().next().is_none()
    }

    /// The failed checks that must not be red.
    pub fn unexpected(&self) -> impl Iterator<Item = &Check> {
        self.red().filter(|check| !self.must_fail.iter().any(|name| name == check.name))
    }

    /// The checks that must be red and are not.
    pub fn survivors(&self) -> impl Iterator<Item = &str> {
        let is_red = |name: &str| self.red().any(|check| check.name == name);
        self.must_fail.iter().map(String::as_str).filter(move |name| !is_red(name))
    }

    /// The failed checks.
    pub fn red(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| check.outcome == Outcome::Fail)
    }
}

/// Everything a verdict is made of.
pub struct Facts<'a> {
    /// The machine.
    pub machine: &'a Machine,
    /// What the scenario expects.
    pub expect: &'a Expect,
    /// The promises that the kernel has to look at, if it is not to panic.
    pub contract: &'a [String],
    /// The checks that must be red, if the run must fail.
    pub must_fail: &'a [String],
    /// How the run has to end.
    pub ending: &'a Ending,
    /// CPUs that the machine was given.
    pub cpus: u32,
    /// The stop ladder.
    pub stop: Stop,
    /// How long it may take.
    pub bound: Bound,
    /// What the command line said each CPU does.
    pub roles: Roles,
    /// CPUs that were put where no instruction is. One that is halted stays there.
    pub derailed: Vec<usize>,
    /// The number that was on the kernel command line.
    pub nonce: u64,
    /// The image.
    pub symbols: &'a Symbols,
    /// What the run left behind.
    pub evidence: &'a Evidence,
}

impl<'a> Facts<'a> {
    /// The facts of a run.
    pub fn new(
        plan: &'a Plan,
        nonce: u64,
        symbols: &'a Symbols,
        bound: Bound,
        evidence: &'a Evidence,
    ) -> Self {
        Facts {
            machine: &plan.machine,
            expect: &plan.expect,
            contract: &plan.scenario.contract,
            must_fail: &plan.scenario.must_fail,
            ending: &plan.ending,
            cpus: plan.cpus,
            stop: plan.stop,
            bound,
            roles: Roles::of(&plan.command_line(nonce)),
            derailed: evidence
                .inputs
                .iter()
                .zip(&plan.scenario.input)
                .filter(|(given, _)| given.fate == Fate::Given)
                .filter_map(|(_, input)| Some(input.derail? as usize))
                .collect(),
            nonce,
            symbols,
            evidence,
        }
    }

    /// True if a capture kernel is to run and to vouch for what it finds.
    fn capture(&self) -> bool {
        self.expect.capture.unwrap_or(false)
    }

    /// True if the runner gave the run up: then the evidence that is missing is missing for that.
    fn given_up(&self) -> bool {
        matches!(self.evidence.ended, Ended::Idle(_) | Ended::Deadline(_))
    }

    /// The look that the verdict rests on: the last one, taken while the right kernel held still.
    fn inspection(&self) -> Option<&'a Inspection> {
        self.evidence.inspection(self.capture())
    }

    /// The record as the runner read it.
    fn record(&self) -> Option<RecordView<'a>> {
        RecordView::parse(self.inspection()?.record.as_deref()?).ok()
    }

    /// A check without its evidence.
    fn missing(&self, name: &'static str, expected: &str) -> Check {
        if self.given_up() {
            Check::none(name, "the run was given up before")
        } else {
            Check::fail(name, expected, "nothing")
        }
    }
}

/// Every check's name, in the order of the verdict.
pub const NAMES: [&str; CHECKS.len()] = {
    let mut names = [""; CHECKS.len()];
    let mut at = 0;
    while at < CHECKS.len() {
        names[at] = CHECKS[at].0;
        at += 1;
    }
    names
};

type Judge = fn(&'static str, &Facts) -> Check;

const CHECKS: [(&str, Judge); 30] = [
    ("events", stream::events),
    ("ending", stream::ending),
    ("inputs", inputs::inputs),
    ("config", stream::config),
    ("nonce", stream::nonce),
    ("claim", stream::claim),
    ("steps", steps::steps),
    ("notifiers", steps::notifiers),
    ("reentries", steps::reentries),
    ("final", stream::last_action),
    ("bound", steps::bound),
    ("jump", jump::jump),
    ("capture", stream::capture),
    ("record-intact", record::intact),
    ("record-vs-capture", record::versus_capture),
    ("cpu-count", cpus::count),
    ("cpu-states", cpus::states),
    ("parked-pc", cpus::parked_pc),
    ("heartbeats", cpus::heartbeats),
    ("registers", cpus::registers),
    ("witness", cpus::witness),
    ("locks", locks::locks),
    ("rulings", rulings::rulings),
    ("firmware", firmware::firmware),
    ("roles", roles::roles),
    ("lock-price", price::lock_price),
    ("store", store::store),
    ("stray", stray::stray),
    ("panic-stack", cpus::panic_stack),
    ("contract", contract::contract),
];

/// Judges a run.
pub fn judge(facts: &Facts) -> Verdict {
    Verdict {
        must_fail: facts.must_fail.to_vec(),
        checks: CHECKS.iter().map(|(name, check)| check(name, facts)).collect(),
    }
}
