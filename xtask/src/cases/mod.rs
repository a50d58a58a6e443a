//! Cases: what became of each row of a suite, one line of `cases.jsonl` each.
//!
//! A report's folder has its one truth in that file. What people look at (`report.html`) and what other
//! tools take (`junit.xml`) are made of it and of nothing else, so the lines of several machines put
//! together are the report of all of them.
//!
//! * this module is a line,
//! * `record` the part of it that was read out of the guest's memory,
//! * `file` how lines are written, read and put together,
//! * `compare` what differs between two reports,
//! * `times` how long cases take.

mod compare;
mod file;
mod record;
#[cfg(test)]
pub mod tests;
mod times;

use std::collections::BTreeMap;

use crash_record::event::{PREFIX, Stream};
use serde::{Deserialize, Serialize};

pub use compare::{Comparison, differences};
pub use file::{Cases, FILE, Writer, merge};
#[cfg(test)]
pub use record::Cpu;
pub use record::Record;
pub use times::Times;

use crate::events::Event;
use crate::explain::Explained;
use crate::qemu::plan::Plan;
use crate::qemu::{Ended, Evidence};
use crate::report::names_in;
use crate::run::RunResult;
use crate::scenario::value_name;
use crate::symbols::Symbols;
use crate::verdict::{self, Verdict};

/// What became of a case.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It did not end as expected.
    Failed,
    /// It could not be run here.
    Skipped,
    /// It has no meaning.
    NotApplicable,
    /// It ended as expected.
    Passed,
}

impl Outcome {
    /// As in the file.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Failed => "failed",
            Outcome::Skipped => "skipped",
            Outcome::NotApplicable => "not-applicable",
            Outcome::Passed => "passed",
        }
    }
}

/// One line.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Case {
    /// The row's name ([`Plan::title`]), with `#2` and so on behind it where it ran more than once. Of a row
    /// without a meaning, as much of the name as it has.
    pub id: String,
    /// What became of it.
    pub outcome: Outcome,
    /// Why it was not run, or why it could not be judged; empty if it was.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Machine.
    pub machine: String,
    /// Scenario.
    pub scenario: String,
    /// What the scenario is about.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub summary: String,
    /// Every other choice, by the name of its option.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub axes: BTreeMap<String, String>,
    /// Where its random numbers started, if it had any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<String>,
    /// The command that runs it again; empty if nothing does.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub rerun: String,
    /// What the run left behind, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Run>,
}

/// What a run left behind. Times in ns are the guest's.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Run {
    /// The number on the kernel command line.
    pub nonce: String,
    /// The image's build id, as the kernel says it; empty if it did not get that far.
    pub build: String,
    /// What every deadline was multiplied by.
    pub scale: u64,
    /// How the emulator ended.
    pub ended: String,
    /// `reason` of every QMP event SHUTDOWN.
    pub shutdowns: Vec<String>,
    /// Wall time, ms.
    pub wall_ms: u64,
    /// What the same emulator takes for a kernel that ends at once, ms, if that was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor_ms: Option<u64>,
    /// Its folder.
    pub folder: String,
    /// The emulator's line, to paste.
    pub qemu: String,
    /// The checks of the verdict, in their order.
    pub checks: Vec<Check>,
    /// The steps of the panic path, in the order in which they began.
    pub steps: Vec<Step>,
    /// The events, in the order of the console.
    pub events: Vec<Event>,
    /// The console, line by line.
    pub console: Vec<Line>,
    /// The crash record, if it was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<Record>,
    /// What the emulator said on its standard error.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub stderr: String,
}

/// One check, as [`verdict::Check`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Check {
    /// Name.
    pub name: String,
    /// How it ended.
    pub outcome: verdict::Outcome,
    /// What had to be.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub expected: String,
    /// What there was, or why it has no meaning.
    pub found: String,
}

/// One step of the panic path.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Step {
    /// Name.
    pub name: String,
    /// How it ended; `unfinished` if nothing says that it did.
    pub outcome: String,
    /// Clock when it began. Of a step that was left out, when that was said.
    pub began_ns: u64,
    /// What it took, if it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ns: Option<u64>,
    /// What it is meant to take at scale 1 with the notifiers of this run, ms; none if it has no budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget_ms: Option<u64>,
    /// What it says of itself.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// One line of the console.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Line {
    /// An event: its place in [`Run::events`].
    Event(usize),
    /// Text.
    Text(String),
    /// Text with addresses in it, and the functions there.
    Named(String, String),
}

/// What a case of a run is made of.
pub struct Source<'a> {
    /// What was asked for.
    pub plan: &'a Plan,
    /// The number on the kernel command line.
    pub nonce: u64,
    /// The image.
    pub symbols: &'a Symbols,
    /// What the kernel says of its order.
    pub explained: &'a Explained,
    /// What the run left behind.
    pub evidence: &'a Evidence,
    /// What came of it.
    pub verdict: &'a Verdict,
    /// Its folder, as a person would type it.
    pub folder: String,
    /// The emulator's line.
    pub qemu: &'a str,
}

impl Case {
    /// The case of a run.
    pub fn of(result: &RunResult) -> Case {
        result.case.clone()
    }

    /// A row that was not run, and why: it has no meaning, cannot be run here, or broke before there was a
    /// verdict. Give it the plan if there is one.
    pub fn not_run(id: &str, plan: Option<&Plan>, outcome: Outcome, reason: &str) -> Case {
        let mut parts = id.split('/');
        let mut part = || parts.next().unwrap_or_default().to_owned();
        let (machine, scenario) = (part(), part());
        Case {
            id: id.to_owned(),
            outcome,
            reason: reason.to_owned(),
            machine,
            scenario,
            summary: plan.map(|plan| plan.scenario.summary.clone()).unwrap_or_default(),
            axes: plan.map(axes).unwrap_or_default(),
            seed: None,
            rerun: plan.map(Plan::rerun).unwrap_or_default(),
            run: None,
        }
    }

    /// The case of what a run left behind.
    pub fn of_run(source: &Source) -> Case {
        let Source { plan, evidence, verdict, .. } = source;
        let outcome = if verdict.passed() { Outcome::Passed } else { Outcome::Failed };
        let mut case = Case::not_run(&plan.title(), Some(plan), outcome, "");
        case.machine = plan.machine.name.clone();
        case.scenario = plan.scenario.name.clone();
        let log = &evidence.log;
        let claim = log.first(Stream::Panic, "claim");
        let build = log.first(Stream::Boot, "boot").map(|boot| boot.text("build").to_owned());
        case.run = Some(Run {
            nonce: format!("{:016x}", source.nonce),
            build: build.unwrap_or_default(),
            scale: claim.and_then(|claim| claim.number("scale")).unwrap_or(plan.accel.panic_scale.into()),
            ended: ended(&evidence.ended),
            shutdowns: evidence.shutdowns.clone(),
            wall_ms: evidence.wall.as_millis() as u64,
            floor_ms: None,
            folder: source.folder.clone(),
            qemu: source.qemu.to_owned(),
            checks: verdict.checks.iter().map(Check::from).collect(),
            steps: steps(&log.events, &source.explained.budgets),
            events: log.events.clone(),
            console: console(&evidence.console, &log.events, source.symbols),
            record: record::read(evidence, source.symbols),
            stderr: evidence.stderr.trim_end().to_owned(),
        });
        case
    }

    /// The names of its red checks.
    pub fn red(&self) -> impl Iterator<Item = &str> {
        let checks = self.run.iter().flat_map(|run| &run.checks);
        checks.filter(|check| check.outcome == verdict::Outcome::Fail).map(|check| check.name.as_str())
    }

    /// Its steps, as `name:outcome`.
    pub fn step_outcomes(&self) -> Vec<String> {
        let steps = self.run.iter().flat_map(|run| &run.steps);
        steps.map(|step| format!("{}:{}", step.name, step.outcome)).collect()
    }
}

impl From<&verdict::Check> for Check {
    fn from(check: &verdict::Check) -> Self {
        Check {
            name: check.name.to_owned(),
            outcome: check.outcome,
            expected: check.expected.clone(),
            found: check.found.clone(),
        }
    }
}

fn axes(plan: &Plan) -> BTreeMap<String, String> {
    let axes = [
        ("cpus", plan.cpus.to_string()),
        ("memory", plan.memory.to_string()),
        ("accel", plan.accel.name.clone()),
        ("firmware", plan.firmware.name.clone()),
        ("kexec", value_name(plan.kexec)),
        ("stop", value_name(plan.stop)),
    ];
    axes.into_iter().map(|(axis, value)| (axis.to_owned(), value)).collect()
}

fn ended(ended: &Ended) -> String {
    match ended {
        Ended::Exit(code) => format!("exit status {code}"),
        Ended::Signal(signal) => format!("killed by signal {signal}"),
        Ended::Idle(time) => format!("given up: silent for {} s", time.as_secs()),
        Ended::Deadline(time) => format!("given up: not through after {} s", time.as_secs()),
        Ended::Stopped(state) => format!("the machine stopped: {state}"),
        Ended::Stayed => "stayed up, and was ended".to_owned(),
    }
}

/// The steps that events speak of, in the order in which they began.
fn steps(events: &[Event], budgets: &[(String, u64)]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for event in events.iter().filter(|event| event.stream == Stream::Panic) {
        let name = event.text("step");
        let open =
            steps.iter().rposition(|step| step.name == name && step.ns.is_none()).filter(|_| event.is("end"));
        if !event.is("begin") && !event.is("end") {
            continue;
        }
        let at = open.unwrap_or_else(|| {
            steps.push(Step {
                name: name.to_owned(),
                outcome: "unfinished".to_owned(),
                began_ns: event.at_ns,
                ns: None,
                budget_ms: budgets.iter().find(|(step, _)| step == name).map(|(_, ms)| *ms),
                detail: String::new(),
            });
            steps.len() - 1
        });
        if event.is("end") {
            event.text("outcome").clone_into(&mut steps[at].outcome);
            event.text("detail").clone_into(&mut steps[at].detail);
            steps[at].ns = Some(event.number("ns").unwrap_or(0));
        }
    }
    steps
}

/// The console's lines, each event line as a number. A line with more than an event, or a torn one, is text and the
/// events that are on it.
fn console(lines: &[String], events: &[Event], symbols: &Symbols) -> Vec<Line> {
    let mut out = Vec::new();
    let mut due = events.iter().enumerate().peekable();
    for line in lines {
        let mut log = crate::events::EventLog::default();
        let found = log.feed(0, line).len();
        // What is torn stays as it is: it is what is wrong with this console.
        let text = if found == 0 { line } else { line.split(PREFIX).next().unwrap_or_default() };
        if found == 0 || !text.trim().is_empty() {
            let text = text.trim_end().to_owned();
            let names = names_in(symbols, &text);
            out.push(match names.trim() {
                "" => Line::Text(text),
                names => Line::Named(text, names.to_owned()),
            });
        }
        out.extend(due.by_ref().take(found).map(|(number, _)| Line::Event(number)));
    }
    out
}
