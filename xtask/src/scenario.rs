//! Scenarios: who panics, how and when, and what has to come of it, read from
//! `scenarios/<name>.toml`. No scenario is named in this program.

mod check;
mod corrupt;
mod rows;
mod tier;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::data;
use crate::machine::{Capability, Machine, unknown_placeholder};
use crate::store::Before;
use crate::verdict;
use crate::workspace::Workspace;
use check::Mistake;
pub use corrupt::{Corrupt, Damage};
pub use rows::{OnMachine, ROWS, Staging};
pub use tier::Column;

/// The folder below `scenarios/` of those that must fail.
const NEGATIVE: &str = "negative";

/// When the panic path jumps into the crash image.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, ValueEnum, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kexec {
    /// Before the informing notifiers
    Pre,
    /// After the notifiers
    Post,
    /// Never
    Off,
}

/// Which rungs the stop ladder has.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, ValueEnum, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stop {
    /// The NMI at once; a CPU inside a critical section finishes it first
    Deferred,
    /// A maskable IPI first, an NMI for those who do not answer
    IpiNmi,
    /// The NMI at once
    Nmi,
    /// `nmi` with a crash image, `ipi-nmi` without
    Linux,
}

/// The name of a clap value, as it is typed.
pub fn value_name<T: ValueEnum>(value: T) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

/// Why a scenario does not run with this value of an axis.
pub fn no_meaning<T: ValueEnum>(scenario: &str, axis: &str, value: T, known: &[T]) -> String {
    let known: Vec<_> = known.iter().map(|known| value_name(known.clone())).collect();
    format!("`{scenario}` has no meaning with --{axis} {}, only with {}", value_name(value), known.join(", "))
}

/// One file of `scenarios/`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Its name: the file's name without the suffix, and what people type.
    pub name: String,
    /// One line for lists.
    pub summary: String,
    /// `cargo xtask qemu` without `--scenario` runs this one. One file has it.
    #[serde(default)]
    pub default: bool,
    /// What `cargo xtask experiment stop` runs, with other roles for its CPUs every time. One file has it.
    #[serde(default)]
    pub trials: bool,
    /// What `cargo xtask matrix --chaos` runs most, with other inputs every time. One file has it.
    #[serde(default)]
    pub chaos: bool,
    /// Checks that must be red, and no others: what makes a run of this scenario one that is as expected. Every file of
    /// `scenarios/negative/` has some, and no other.
    #[serde(default)]
    pub must_fail: Vec<String>,
    /// Rows of the list of failure modes that it stages (docs/scenarios.md).
    #[serde(default)]
    pub rows: Vec<u32>,
    /// Whether the machine itself goes wrong in these rows, or code that stands in for it.
    #[serde(default)]
    pub staging: Option<Staging>,
    /// Conformance tiers that it is a part of, 0 to 5 (PORTING.md). Every scenario that need not fail has some.
    #[serde(default)]
    pub tiers: Vec<u8>,
    /// What a machine must not lack for it to have a meaning.
    #[serde(default)]
    pub requires: Vec<Capability>,
    /// Promises of the HAL that the kernel has to look at, by name, all of them and no others. Nobody panics then.
    #[serde(default)]
    pub contract: Vec<String>,
    /// What differs on single machines, by name; `others` is every machine that is not named.
    #[serde(default)]
    pub on: BTreeMap<String, OnMachine>,
    /// Accelerators it has a meaning on; all if empty. For what some hypervisors cannot run.
    #[serde(default)]
    pub accels: Vec<String>,
    /// Firmware it has a meaning with; all if empty. For what one firmware sets up and another does not.
    #[serde(default)]
    pub firmwares: Vec<String>,
    /// Added to the kernel command line.
    #[serde(default)]
    pub command_line: String,
    /// Arguments added to the emulator's.
    #[serde(default)]
    pub qemu_arguments: Vec<String>,
    /// The machine has its firmware store, whose file begins like this.
    #[serde(default)]
    pub store: Option<Before>,
    /// How many CPUs it needs.
    #[serde(default)]
    pub cpus: CpuRange,
    /// Values of `--kexec` it has a meaning with; the first one is the default.
    #[serde(default = "all_kexec")]
    pub kexec: Vec<Kexec>,
    /// Values of `--stop` it has a meaning with; the first one is the default.
    #[serde(default = "all_stop")]
    pub stop: Vec<Stop>,
    /// Seconds of wall time that a run may take, before it is multiplied by the patience of
    /// accelerator and firmware.
    #[serde(default = "default_timeout")]
    pub timeout: u32,
    /// Seconds of wall time without a byte on the console after which a run is given up,
    /// multiplied likewise.
    #[serde(default = "default_idle")]
    pub idle: u32,
    /// What the runner does when it sees an event.
    #[serde(default)]
    pub input: Vec<Input>,
    /// Rows of `cargo xtask test`.
    #[serde(default)]
    pub suite: SuiteRows,
    /// What has to come of it.
    pub expect: Expect,
}

fn all_kexec() -> Vec<Kexec> {
    vec![Kexec::Post, Kexec::Pre, Kexec::Off]
}

fn all_stop() -> Vec<Stop> {
    vec![Stop::Deferred, Stop::IpiNmi, Stop::Nmi]
}

fn default_timeout() -> u32 {
    60
}

fn default_idle() -> u32 {
    20
}

/// `[cpus]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CpuRange {
    /// Fewer make no sense: `n/a`.
    #[serde(default = "one")]
    pub minimum: u32,
    /// Why.
    #[serde(default)]
    pub reason: String,
}

impl Default for CpuRange {
    fn default() -> Self {
        CpuRange { minimum: 1, reason: String::new() }
    }
}

fn one() -> u32 {
    1
}

/// `[[input]]`: one action, the first time an event is seen.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Kind of the event, or `stream/kind`.
    pub after: String,
    /// Bytes typed on the console.
    #[serde(default)]
    pub send: Option<String>,
    /// QMP command, without arguments.
    #[serde(default)]
    pub qmp: Option<String>,
    /// Command of the emulator's monitor for people, for what QMP lacks.
    #[serde(default)]
    pub monitor: Option<String>,
    /// The CPU whose next instruction is the one at address 0, where there is none: set by the emulator's debugger.
    /// Not done any more once the first kernel has left.
    #[serde(default)]
    pub derail: Option<u32>,
    /// Memory that the emulator's debugger writes over. Not done any more once the first kernel has left, but for what
    /// waits for an event of the capture kernel.
    #[serde(default)]
    pub corrupt: Option<Corrupt>,
    /// µs of wall time between the event and the action.
    #[serde(default)]
    pub delay_us: u64,
}

/// `[suite]`: rows beyond the machine's first accelerator and firmware.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SuiteRows {
    /// Also on every other firmware of the machine.
    #[serde(default)]
    pub every_firmware: bool,
    /// Also on every other accelerator of the machine that works here.
    #[serde(default)]
    pub every_accel: bool,
    /// One pair of values with each number of CPUs, also with the machine's own: for runs that take seconds.
    #[serde(default)]
    pub sample: bool,
    /// Of the usual numbers of CPUs only these, in a sample, for runs that take many seconds; empty: all of them.
    #[serde(default)]
    pub cpus: Vec<u32>,
    /// Also on these accelerators, with one CPU and with the machine's own number.
    #[serde(default)]
    pub accels: Vec<String>,
}

/// `[expect]`. The tables `[expect.pre]`, `[expect.post]` and `[expect.off]` override single keys
/// for that value of `--kexec`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// Reason of the claim.
    #[serde(default)]
    pub reason: Option<String>,
    /// The CPU that owns the panic: a number, or `any`.
    #[serde(default)]
    pub owner: Option<Owner>,
    /// Steps after the claim as `name:outcome`, in order, complete.
    #[serde(default)]
    pub steps: Option<Vec<String>>,
    /// Notifiers as `class/name:outcome`, in order, complete.
    #[serde(default)]
    pub notifiers: Option<Vec<String>>,
    /// How the run ends: a name under the machine's `[ending]`.
    #[serde(default)]
    pub ending: Option<String>,
    /// True if a capture kernel runs and vouches for what it found.
    #[serde(default)]
    pub capture: Option<bool>,
    /// State of the CPUs that do not own the panic.
    #[serde(default)]
    pub cpu_states: Option<String>,
    /// States of single CPUs, by number, where they differ.
    #[serde(default)]
    pub cpu_state: BTreeMap<String, String>,
    /// What single CPUs say of themselves in the end, by number.
    #[serde(default)]
    pub own_state: BTreeMap<String, String>,
    /// What stopped single CPUs, by number.
    #[serde(default)]
    pub rung: BTreeMap<String, String>,
    /// False if stopped CPUs were not in the load yet, or have left it.
    #[serde(default)]
    pub workload: Option<bool>,
    /// Why other CPUs stopped with a lock held: `none`, or the reason of all that did, at least one.
    #[serde(default)]
    pub orphans: Option<String>,
    /// Whether a CPU was to finish its critical section first.
    #[serde(default)]
    pub deferred: Option<bool>,
    /// What the panic path decided about locks that were held and calls into firmware that others were in the way
    /// of, as `lock/NAME:ruling` and `firmware/NAME:ruling`, in order, complete; none if it is left out.
    #[serde(default)]
    pub rulings: Option<Vec<String>>,
    /// CPUs that stay inside the firmware that a test puts in front of the machine's own.
    #[serde(default)]
    pub firmware: Option<u32>,
    /// Interrupts that the capture kernel gets which it did not ask for.
    #[serde(default)]
    pub stray: Option<u32>,
    /// The most ns that a lock which knows its holder takes to be locked and unlocked.
    #[serde(default)]
    pub lock_price: Option<u64>,
    /// Action of the `final` event.
    #[serde(default)]
    pub action: Option<String>,
    /// Re-entries, exactly.
    #[serde(default)]
    pub reentries: Option<u32>,
    /// Keys that the kernel has to complain about in `config` events, in their order.
    #[serde(default)]
    pub config_problems: Option<Vec<String>>,
    /// Entries that the kernel leaves in the firmware store.
    #[serde(default)]
    pub store: Option<u32>,
    /// Entries that the panic path leaves in the firmware store, beside those of CPUs that wrote there until they were
    /// stopped.
    #[serde(default)]
    pub kept: Option<u32>,
    /// True if the kernel has to say why it has no firmware store.
    #[serde(default)]
    pub store_unsupported: Option<bool>,
    /// Milliseconds of guest time from claim to the jump or the final action, before they are
    /// multiplied by `panic.scale`.
    #[serde(default)]
    pub bound_ms: Option<u64>,
    /// Overrides for `--kexec pre`.
    #[serde(default)]
    pub pre: Option<Box<Expect>>,
    /// Overrides for `--kexec post`.
    #[serde(default)]
    pub post: Option<Box<Expect>>,
    /// Overrides for `--kexec off`.
    #[serde(default)]
    pub off: Option<Box<Expect>>,
}

/// Who owns the panic.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "expected a CPU number or \"any\"")]
pub enum Owner {
    /// This CPU.
    Cpu(u32),
    /// `any`
    Word(AnyCpu),
}

/// The word for "one of them, no matter which".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AnyCpu {
    /// `any`
    Any,
}

impl Expect {
    /// What is expected with this value of `--kexec`.
    pub fn resolve(&self, kexec: Kexec) -> Expect {
        let over = match kexec {
            Kexec::Pre => self.pre.as_deref(),
            Kexec::Post => self.post.as_deref(),
            Kexec::Off => self.off.as_deref(),
        };
        let mut merged = Expect { pre: None, post: None, off: None, ..self.clone() };
        let Some(over) = over.cloned() else { return merged };
        macro_rules! override_with {
            ($($field:ident),*) => { $(if over.$field.is_some() { merged.$field = over.$field; })* };
        }
        override_with!(reason, owner, steps, notifiers, ending, capture, cpu_states, workload);
        override_with!(
            orphans,
            deferred,
            rulings,
            stray,
            kept,
            firmware,
            lock_price,
            action,
            reentries,
            config_problems,
            bound_ms,
            store,
            store_unsupported
        );
        merged.cpu_state.extend(over.cpu_state);
        merged.own_state.extend(over.own_state);
        merged.rung.extend(over.rung);
        merged
    }
}

impl Scenario {
    /// Every scenario's name, without those that must fail.
    pub fn names(workspace: &Workspace) -> Result<Vec<String>> {
        data::names(&workspace.scenarios())
    }

    /// The names of those that must fail, as people type them: with the folder.
    fn negative_names(workspace: &Workspace) -> Result<Vec<String>> {
        let folder = workspace.scenarios().join(NEGATIVE);
        if !folder.is_dir() {
            return Ok(Vec::new());
        }
        Ok(data::names(&folder)?.iter().map(|name| format!("{NEGATIVE}/{name}")).collect())
    }

    /// Reads those that must fail, in the order of their names.
    pub fn negative(workspace: &Workspace) -> Result<Vec<Self>> {
        let others = Self::names(workspace)?;
        let mut all = Vec::new();
        for name in Self::negative_names(workspace)? {
            let scenario = Self::load(workspace, &name)?;
            if others.iter().any(|other| name.rsplit('/').next() == Some(other)) {
                let path = workspace.scenarios().join(format!("{name}.toml"));
                let shown = workspace.relative(&path);
                let message = "one that must not fail has this name already";
                return Err(data::mistake(&data::text(&path, shown)?, shown, "name", message));
            }
            all.push(scenario);
        }
        Ok(all)
    }

    /// Reads a scenario; an unknown name is a usage error that lists the known ones.
    pub fn load(workspace: &Workspace, name: &str) -> Result<Self> {
        let mut known = Self::names(workspace)?;
        let negative = Self::negative_names(workspace)?;
        if !known.iter().chain(&negative).any(|candidate| candidate == name) {
            if name.starts_with(NEGATIVE) {
                known = negative;
            }
            return Err(data::unknown("no scenario", name, &known));
        }
        let path = workspace.scenarios().join(format!("{name}.toml"));
        let shown = workspace.relative(&path);
        let text = data::text(&path, shown)?;
        let scenario = Self::parse(&text, shown)?;
        scenario.fits(
            &Machine::names(workspace)?,
            |name| Machine::load(workspace, name).ok(),
            &text,
            shown,
        )?;
        Ok(scenario)
    }

    /// Reads every scenario, in the order of their names.
    pub fn all(workspace: &Workspace) -> Result<Vec<Self>> {
        let scenarios = Self::names(workspace)?
            .iter()
            .map(|name| Self::load(workspace, name))
            .collect::<Result<Vec<_>>>()?;
        let marks = [("default", "the default"), ("trials", "what trials run"), ("chaos", "what chaos runs")];
        for (key, what) in marks {
            let marked = |scenario: &&Scenario| match key {
                "default" => scenario.default,
                "trials" => scenario.trials,
                _ => scenario.chaos,
            };
            let mut marked = scenarios.iter().filter(marked);
            if let (Some(first), Some(second)) = (marked.next(), marked.next()) {
                let path = workspace.scenarios().join(format!("{}.toml", second.name));
                let shown = workspace.relative(&path);
                let message = format!("scenarios/{}.toml is {what} already", first.name);
                return Err(data::mistake(&data::text(&path, shown)?, shown, key, &message));
            }
        }
        Ok(scenarios)
    }

    /// What `cargo xtask experiment stop` runs.
    pub fn of_trials(workspace: &Workspace) -> Result<Self> {
        Self::all(workspace)?
            .into_iter()
            .find(|scenario| scenario.trials)
            .ok_or_else(|| crate::error::usage("scenarios/: no file has `trials = true`"))
    }

    /// The scenario that runs when none is named.
    pub fn default(workspace: &Workspace) -> Result<Self> {
        Self::all(workspace)?.into_iter().find(|scenario| scenario.default).ok_or_else(|| {
            crate::error::usage("scenarios/: no file has `default = true`; name one with --scenario")
        })
    }

    /// Parses and checks the text of a scenario file. `shown` is its path for messages.
    pub fn parse(text: &str, shown: &Path) -> Result<Self> {
        let mut scenario: Scenario = data::parse(text, shown)?;
        let wrong = |key: &str, message: &str| Err(data::mistake(text, shown, key, message));
        let file = shown.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        if scenario.name != file {
            return wrong("name", &format!("`{}` is not the file's name `{file}`", scenario.name));
        }
        let negative = shown.parent().is_some_and(|folder| folder.ends_with(NEGATIVE));
        if let Some(odd) = scenario.must_fail.iter().find(|check| !verdict::NAMES.contains(&check.as_str())) {
            let message = format!("no check `{odd}`. There are: {}", verdict::NAMES.join(", "));
            return Err(data::mistake_in(text, shown, "must_fail", Some(odd), &message));
        }
        if negative == scenario.must_fail.is_empty() {
            let message =
                "every file of scenarios/negative/ names the checks that must be red, and no other file does";
            return wrong("must_fail", message);
        }
        if negative && (scenario.default || scenario.trials || scenario.chaos) {
            return wrong("must_fail", "none of `default`, `trials` and `chaos` may be one that must fail");
        }
        if scenario.kexec.is_empty() {
            return wrong("kexec", "must not be empty; leave the key out for every value");
        }
        if scenario.stop.is_empty() {
            return wrong("stop", "must not be empty; leave the key out for every value");
        }
        if !scenario.rows.is_empty() && scenario.staging.is_none() {
            return wrong("rows", "needs `staging`");
        }
        if let Some(row) = scenario.rows.iter().find(|row| !(1..=ROWS).contains(*row)) {
            return wrong(
                "rows",
                &format!("there is no row {row} in the list of failure modes, only 1 to {ROWS}"),
            );
        }
        if scenario.timeout == 0 {
            return wrong("timeout", "must be at least 1 second");
        }
        if scenario.idle == 0 {
            return wrong("idle", "must be at least 1 second");
        }
        for input in scenario.input.iter().chain(scenario.on.values().flat_map(|on| &on.input)) {
            let ways = [&input.send, &input.qmp, &input.monitor].map(Option::is_some);
            let others = [input.derail.is_some(), input.corrupt.is_some()];
            if ways.into_iter().chain(others).filter(|way| *way).count() != 1 {
                let message = "an [[input]] has one of `send`, `qmp`, `monitor`, `derail` and `corrupt`";
                return wrong("after", message);
            }
            if let Some((value, message)) = input.corrupt.as_ref().and_then(Corrupt::mistake) {
                return Err(corrupt::misplaced(text, shown, value, &message));
            }
        }
        for &kexec in &scenario.kexec {
            let judged = scenario.expect.resolve(kexec).check(kexec, scenario.contract.is_empty());
            if let Err(Mistake { key, value, message }) = judged {
                return Err(data::mistake_in(text, shown, key, value.as_deref(), &message));
            }
        }
        if let Some((argument, message)) = unknown_placeholder(&scenario.qemu_arguments) {
            return Err(data::mistake_in(text, shown, "qemu_arguments", Some(argument), &message));
        }
        if let Some(Mistake { key, value, message }) = scenario.impossible() {
            return Err(data::mistake_in(text, shown, key, value.as_deref(), &message));
        }
        if negative {
            scenario.name = format!("{NEGATIVE}/{}", scenario.name);
        }
        Ok(scenario)
    }

    /// Why this scenario has no meaning in this place, if it has none.
    pub fn not_applicable(
        &self,
        machine: &Machine,
        cpus: u32,
        accel: &str,
        firmware: &str,
        kexec: Kexec,
        stop: Stop,
    ) -> Option<String> {
        let name = &self.name;
        if let Some(reason) = self.differing_on(&machine.name).and_then(|on| on.not_applicable.as_deref()) {
            return Some(format!("`{name}` is not for {}: {reason}", machine.name));
        }
        if !self.accels.is_empty() && !self.accels.iter().any(|known| known == accel) {
            return Some(format!("`{name}` cannot run on {accel}, only on {}", self.accels.join(", ")));
        }
        if !self.firmwares.is_empty() && !self.firmwares.iter().any(|known| known == firmware) {
            let known = self.firmwares.join(", ");
            return Some(format!("`{name}` has no meaning with {firmware}, only with {known}"));
        }
        let needs_kexec = (kexec != Kexec::Off).then_some(&Capability::Kexec);
        for capability in self.requires.iter().chain(needs_kexec) {
            if let Some(reason) = machine.lacks.get(capability) {
                let (what, machine) = (capability.name(), &machine.name);
                return Some(format!("`{name}` needs `{what}`, which {machine} lacks: {reason}"));
            }
        }
        if self.store.is_some() && machine.store.is_none() {
            return Some(format!("`{name}` needs a firmware store, which {} does not have", machine.name));
        }
        if cpus < self.cpus.minimum {
            let reason =
                if self.cpus.reason.is_empty() { String::new() } else { format!(": {}", self.cpus.reason) };
            return Some(format!("`{name}` needs {} CPUs, this run has {cpus}{reason}", self.cpus.minimum));
        }
        if !self.kexec.contains(&kexec) {
            return Some(no_meaning(name, "kexec", kexec, &self.kexec));
        }
        if !self.stop.contains(&stop) {
            return Some(no_meaning(name, "stop", stop, &self.stop));
        }
        None
    }
}
