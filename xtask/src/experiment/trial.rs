//! One trial as a line of data: what was measured, and what the run was told.

use std::collections::BTreeMap;

use crash_record::event::Stream;
use crash_record::layout::slot;
use crash_record::names::{CpuState, Orphan};
use crash_record::view::RecordView;
use serde::{Deserialize, Serialize};

use super::seed::Kind;
use crate::roles::Roles;
use crate::run::RunResult;
use crate::scenario::Stop;
use crate::verdict::Outcome;
use crate::verdict::roles::Told;

/// In place of a check: the run is green, and its figures are not there.
const NOT_MEASURED: &str = "not-measured";

/// What tells one series of trials from another.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Series {
    /// Machine.
    pub machine: String,
    /// Accelerator.
    pub accel: String,
    /// Firmware.
    pub firmware: String,
    /// Number of CPUs.
    pub cpus: u32,
    /// Where the random numbers start.
    pub seed: u64,
}

/// One line.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Trial {
    /// Where it belongs.
    #[serde(flatten)]
    pub series: Series,
    /// How the CPUs were stopped.
    pub policy: Stop,
    /// Its number.
    pub trial: u32,
    /// What it is about.
    pub kind: String,
    /// What the CPUs were told to do.
    pub roles: String,
    /// Checks of the verdict that are red.
    pub red: Vec<String>,
    /// What was measured; nothing if the run did not get that far.
    pub measured: Option<Measured>,
}

/// What was measured. Times are the guest's, in ns.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Measured {
    /// From the first signal until the last CPU had stopped; with a missing one, until the step gave up.
    pub stop_ns: u64,
    /// What of the sections that the policy waits for was left at the first signal, by the roles.
    pub remaining_ns: u64,
    /// The whole step, its event lines included.
    pub step_ns: u64,
    /// From the claim to the first signal.
    pub before_ns: u64,
    /// CPUs that stopped with a lock held, by reason.
    pub orphans: BTreeMap<String, u32>,
    /// CPUs that were to finish a critical section first.
    pub deferred: u32,
    /// CPUs that got more than one signal.
    pub second: u32,
    /// CPUs that never answered.
    pub missing: u32,
    /// The notifier's entry is there.
    pub entry: bool,
    /// The roles do not allow it to be missing.
    pub entry_required: bool,
    /// The record was read, whole.
    pub record: bool,
    /// The crash image was entered.
    pub kexec: bool,
}

impl Trial {
    /// The line of a run.
    pub fn of(series: &Series, trial: u32, roles: &Roles, result: &RunResult) -> Trial {
        let measured = measure(result);
        let mut red: Vec<_> = result.verdict.red().map(|check| check.name.to_owned()).collect();
        if measured.is_none() && red.is_empty() {
            red.push(NOT_MEASURED.to_owned());
        }
        Trial {
            series: series.clone(),
            policy: result.plan.stop,
            trial,
            kind: Kind::of(trial).name().to_owned(),
            roles: roles.to_string(),
            red,
            measured,
        }
    }
}

fn measure(result: &RunResult) -> Option<Measured> {
    let (plan, evidence) = (&result.plan, &result.evidence);
    let log = &evidence.log;
    let inspection = evidence.inspection(plan.expect.capture.unwrap_or(false))?;
    let record = RecordView::parse(inspection.record.as_deref()?).ok()?;
    // What the run was given, overrides and all.
    let roles = Roles::of(&plan.command_line(0));
    let told = Told::new(&roles, plan.stop, log, record).ok()?;
    let green = |name: &str| {
        let mut checks = result.verdict.checks.iter();
        checks.any(|check| check.name == name && check.outcome == Outcome::Ok)
    };
    let claim = log.first(Stream::Panic, "claim")?;
    let step = log.all(Stream::Panic, "end").find(|event| event.text("step") == "stop")?;
    let mut measured = Measured {
        remaining_ns: told.remaining(),
        step_ns: step.number("ns")?,
        entry: told.entry(),
        entry_required: told.entry_required(),
        record: green("record-intact") && green("record-vs-capture"),
        kexec: green("jump") && green("capture"),
        ..Measured::default()
    };
    let mut last = 0;
    for cpu in told.others() {
        let orphan = cpu.orphan()?;
        if orphan != Orphan::None {
            *measured.orphans.entry(orphan.name().to_owned()).or_default() += 1;
        }
        let signals = cpu.word(slot::OWNER_SIGNALS);
        measured.second += u32::from((signals & 0xffff_ffff) + (signals >> 32) > 1);
        measured.deferred += u32::from(cpu.word(slot::DEFERRED_AT) != 0);
        measured.missing += u32::from(cpu.owner_state() == Some(CpuState::Missing));
        last = last.max(cpu.word(slot::SAVED_AT));
    }
    if let Some(first) = told.signalled() {
        measured.before_ns = first.saturating_sub(claim.at_ns);
        measured.stop_ns = if measured.missing == 0 { last.saturating_sub(first) } else { measured.step_ns };
    }
    Some(measured)
}
