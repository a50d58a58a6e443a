//! One run with everything around it: kernel in, verdict out. And the command `cargo xtask qemu`.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::{Value, json};

use crate::cases::{Case, Source};
use crate::cli::{QemuArgs, RunArgs};
use crate::error::{Classed, environment, unexpected, usage};
use crate::machine::{Choice, Machine};
use crate::page::Writing;
use crate::qemu::emulator::debugger_line;
use crate::qemu::folder::{Folder, VERDICT};
use crate::qemu::inspect::Target;
use crate::qemu::plan::{self, Plan, Planned, works_here};
use crate::qemu::session;
use crate::qemu::{Evidence, Observer};
use crate::report::{self, BOLD, DIM, Live, YELLOW, paint, say};
use crate::scenario::Scenario;
use crate::symbols::Symbols;
use crate::verdict::{self, Facts, Verdict};
use crate::workspace::Workspace;
use crate::{build, explain, setup, store};

/// A run and what came of it.
pub struct RunResult {
    /// What was asked for.
    pub plan: Plan,
    /// What it left behind.
    pub evidence: Evidence,
    /// What came of it.
    pub verdict: Verdict,
    /// Its folder, as a person in the root would type it.
    pub folder_shown: PathBuf,
    /// The emulator's line, to paste.
    pub paste_line: String,
    /// All of that as data.
    pub case: Case,
    folder: Folder,
}

/// Runs a plan with a kernel.
pub fn run(
    workspace: &Workspace,
    plan: &Plan,
    kernel: &Path,
    debugging: bool,
    observer: &mut dyn Observer,
) -> Result<RunResult> {
    let nonce = plan::nonce()?;
    let built = stamp(kernel);
    let symbols = Symbols::read(kernel)?;
    let explained = explain::of_run(workspace, plan)?;
    let damages = Scenario::damages(workspace, plan, &symbols)?;
    let target = Target::find(&symbols, &plan.machine).awaiting(&plan.expect).damaged_by(damages);
    let folder = Folder::create(workspace, &plan.machine.name, &plan.scenario.name, nonce)?;
    let paste_line = plan.paste_line(kernel, folder.path(), nonce);
    folder.write("qemu.txt", &format!("{paste_line}\n"))?;
    let arguments = plan.machine_arguments(kernel, folder.path(), nonce);
    observer.image(&symbols);
    let before = prepare_store(plan, &folder)?;
    let mut evidence = session::run(plan, &folder, &arguments, &target, debugging, observer)?;
    if let Some(before) = before {
        let after = std::fs::read(folder.file(STORE)).or_environment(|| format!("cannot read {STORE}"))?;
        evidence.store = Some(store::File { before, after });
    }
    if stamp(kernel) != built {
        // What was measured is then another image than the one that the symbols are of.
        return Err(environment(format!("{} was replaced during the run; run it again", kernel.display())));
    }
    let facts = Facts::new(plan, nonce, &symbols, explained.bound, &evidence);
    let verdict = match plan.random {
        true => verdict::chaos::judge(&facts),
        false if facts.contract.is_empty() => verdict::judge(&facts),
        false => verdict::contract::judge(&facts),
    };
    let folder_shown = workspace.relative(folder.path()).to_path_buf();
    let case = Case::of_run(&Source {
        plan,
        nonce,
        symbols: &symbols,
        explained: &explained,
        evidence: &evidence,
        verdict: &verdict,
        folder: folder_shown.display().to_string(),
        qemu: &paste_line,
    });
    folder.write(VERDICT, &format!("{:#}\n", serde_json::to_value(&case)?))?;
    Ok(RunResult { plan: plan.clone(), evidence, verdict, folder_shown, paste_line, folder, case })
}

/// The file behind the firmware store, in the run's folder.
const STORE: &str = "store.img";

/// Writes the store's file, if the run has one, and returns what is in it.
fn prepare_store(plan: &Plan, folder: &Folder) -> Result<Option<Vec<u8>>> {
    let Some((device, before)) = plan.store().zip(plan.scenario.store) else { return Ok(None) };
    let bytes = before.bytes(device.bytes);
    std::fs::write(folder.file(STORE), &bytes).or_environment(|| format!("cannot write {STORE}"))?;
    Ok(Some(bytes))
}

/// What changes when a file is built anew.
fn stamp(file: &Path) -> Option<(u64, std::time::SystemTime)> {
    let metadata = std::fs::metadata(file).ok()?;
    Some((metadata.len(), metadata.modified().ok()?))
}

impl RunResult {
    /// One of many: a good one keeps its verdict and its console, and gives back the rest.
    pub fn shrink(&mut self) {
        if self.verdict.passed() {
            self.folder.drop_memory();
            self.evidence.inspections.clear();
        }
    }
}

/// Makes sure, before a run that may take long, that data can be written to a file.
pub fn prepare_json(path: Option<&Path>) -> Result<()> {
    let Some(path) = path else { return Ok(()) };
    if path == Path::new("-") {
        return Err(usage("--json -: standard output is taken by the report for people; name a file"));
    }
    let opened = std::fs::OpenOptions::new().create(true).append(true).open(path);
    opened.map(drop).or_environment(|| format!("--json: cannot write {}", path.display()))
}

/// Writes data to a file.
pub fn write_json(path: &Path, value: &Value) -> Result<()> {
    std::fs::write(path, format!("{value:#}\n")).or_environment(|| format!("cannot write {}", path.display()))
}

/// `cargo xtask qemu`
pub fn command(workspace: &Workspace, args: &QemuArgs) -> Result<()> {
    if args.list {
        return list(workspace);
    }
    let machine = match &args.machine {
        Some(name) => Machine::load(workspace, name)?,
        None => return Err(no_machine(workspace)?),
    };
    let scenario = match &args.run.scenario {
        Some(name) => Scenario::load(workspace, name)?,
        None => Scenario::default(workspace)?,
    };
    let asked = with_its_own(&machine, &scenario, args.run.clone());
    let planned = Plan::make(machine, scenario, &asked)?;
    prepare_json(args.json.as_deref())?;
    let plan = match planned {
        Planned::Run(plan) => plan,
        Planned::NotApplicable(reason) => {
            say!("{}: {reason}", paint(YELLOW, "n/a"));
            if let Some(path) = &args.json {
                write_json(path, &json!({ "passed": true, "not_applicable": reason, "runs": [] }))?;
            }
            if args.report.is_some() {
                say!("there is nothing to draw a page of");
            }
            return Ok(());
        }
    };
    setup::ensure(&plan.machine)?;
    let kernel = build::kernel(workspace, &plan.machine)?;
    let results = repeat(workspace, &plan, &kernel, args)?;
    let failed = results.iter().filter(|result| !result.verdict.passed()).count();
    if let Some(path) = &args.json {
        let runs: Vec<_> = results.iter().map(Case::of).collect();
        write_json(path, &json!({ "passed": failed == 0, "runs": runs }))?;
    }
    if let Some(named) = &args.report {
        draw(workspace, &results, named.as_deref())?;
    }
    if failed == 0 {
        return Ok(());
    }
    Err(unexpected(match results.len() {
        1 => "the run did not end as expected".to_owned(),
        count => format!("{failed} of {count} runs did not end as expected"),
    }))
}

/// Where nothing is asked for, the first accelerator and the first firmware of the machine with which the scenario has a
/// meaning.
fn with_its_own(machine: &Machine, scenario: &Scenario, mut args: RunArgs) -> RunArgs {
    let own = |choices: &[Choice], known: &[String]| {
        let fits = |choice: &&Choice| works_here(choice) && known.contains(&choice.name);
        choices.iter().find(fits).map(|choice| choice.name.clone())
    };
    if args.accel == "auto"
        && let Some(accel) = own(&machine.qemu.accel, &scenario.accels)
    {
        args.accel = accel;
    }
    args.firmware = args.firmware.or_else(|| own(&machine.qemu.firmware, &scenario.firmwares));
    args
}

/// The page of some runs, in the folder that was named or else in the last one's own.
fn draw(workspace: &Workspace, results: &[RunResult], named: Option<&Path>) -> Result<()> {
    let Some(last) = results.last() else { return Ok(()) };
    let folder =
        named.map_or_else(|| workspace.relative(last.folder.path()).to_path_buf(), Path::to_path_buf);
    let mut report = Writing::begin(workspace, Some(&folder))?;
    results.iter().try_for_each(|result| report.add(Case::of(result)))?;
    report.finish()
}

fn repeat(workspace: &Workspace, plan: &Plan, kernel: &Path, args: &QemuArgs) -> Result<Vec<RunResult>> {
    let mut results = Vec::new();
    say!("{} {}: {}", paint(BOLD, "Running"), plan.title(), paint(DIM, &plan.scenario.summary));
    for number in 1..=args.repeat {
        if args.gdb {
            say!("  the machine waits; start the debugger with\n  {}", debugger_line(kernel));
        }
        let mut result = if args.repeat == 1 {
            run(workspace, plan, kernel, args.gdb, &mut Live::default())?
        } else {
            run(workspace, plan, kernel, false, &mut crate::qemu::Unobserved)?
        };
        if args.repeat == 1 {
            say!("{}", report::summary(&result).trim_end());
        } else {
            say!("{number:>4}/{} {}", args.repeat, report::one_line(&result));
            result.shrink();
            if !result.verdict.passed() {
                say!("{}", report::console_tail(&result, &result.plan.rerun()).trim_end());
            }
        }
        results.push(result);
    }
    if args.repeat > 1 {
        let good = results.iter().filter(|result| result.verdict.passed()).count();
        say!("{} {good} of {} as expected", paint(BOLD, "Repeated"), results.len());
    }
    Ok(results)
}

/// Somebody typed the bare command.
pub fn no_machine(workspace: &Workspace) -> Result<anyhow::Error> {
    let names = Machine::names(workspace)?;
    let Some(first) = names.last() else { return Ok(usage("machines/: there is no machine file")) };
    let names = names.join(", ");
    Ok(usage(format!(
        "which machine? There are: {names}. For example `cargo xtask qemu {first}`; `--list` shows more"
    )))
}

/// `cargo xtask qemu --list`
fn list(workspace: &Workspace) -> Result<()> {
    say!("{}", paint(BOLD, "Machines"));
    for name in Machine::names(workspace)? {
        let machine = Machine::load(workspace, &name)?;
        let (cpus, memory) = (&machine.cpus, &machine.memory);
        say!("  {name:<22} {}", machine.summary);
        let (default, most, mib) = (cpus.default, cpus.maximum, memory.default_mib);
        say!("  {:<22}   {default} CPUs (1 to {most}), {mib} MiB ({})", "", memory.range());
        for (option, choices) in [("accel", &machine.qemu.accel), ("firmware", &machine.qemu.firmware)] {
            for choice in choices {
                let option = format!("--{option} {}", choice.name);
                say!("{}", paint(DIM, format_args!("  {:<22}   {option:<20} {}", "", choice.summary)));
            }
        }
    }
    say!("{}", paint(BOLD, "Scenarios"));
    for scenario in Scenario::all(workspace)? {
        let marks = if scenario.default { " (runs when none is named)" } else { "" };
        say!("  {:<22} {}{marks}", scenario.name, scenario.summary);
    }
    say!("\nRun one with: cargo xtask qemu MACHINE --scenario NAME");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::tests::fixture::MACHINE;

    #[test]
    fn a_scenario_runs_where_it_has_a_meaning_unless_somebody_says_where() {
        let text = MACHINE.replace("[[qemu.firmware]]", "[[qemu.accel]]\nname = \"b\"\n[[qemu.firmware]]");
        let machine = Machine::parse(&text, Path::new("machines/m.toml")).unwrap();
        let chosen = |accels: &[&str], asked: &str| {
            let text = format!(
                "name = \"s\"\nsummary = \"s\"\ntiers = [2]\naccels = {accels:?}\nfirmwares = [\"f\"]\n[expect]\nending = \"off\"\nsteps = []\n"
            );
            let scenario = Scenario::parse(&text, Path::new("scenarios/s.toml")).unwrap();
            let args =
                with_its_own(&machine, &scenario, RunArgs { accel: asked.into(), ..RunArgs::default() });
            (args.accel, args.firmware)
        };
        let f = || Some("f".to_owned());
        assert_eq!(chosen(&["b"], "auto"), ("b".into(), f()));
        assert_eq!(chosen(&["b", "a"], "auto"), ("a".into(), f()));
        assert_eq!(chosen(&[], "auto"), ("auto".into(), f()));
        assert_eq!(chosen(&["b"], "a"), ("a".into(), f()));
        assert_eq!(chosen(&["elsewhere"], "auto"), ("auto".into(), f()));
    }
}
