//! `cargo xtask matrix`: every way to die, on every machine.
//!
//! * [`rows`] makes the rows from the data, [`filter`] and [`order`] say which of them run, and in which order;
//! * [`floor`] measures what a run takes at least,
//! * [`chaos`] makes random runs instead;
//! * [`runner`] runs many at once; `cargo xtask test` does the same between its other stages.

pub mod chaos;
pub mod filter;
pub mod floor;
pub mod order;
pub mod rows;
pub mod runner;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;

use crate::cases::Times;
use crate::cli::MatrixArgs;
use crate::error::usage;
use crate::machine::Machine;
use crate::mutants::named::Named;
use crate::page::Writing;
use crate::qemu::Unobserved;
use crate::random::{Random, parse_seed};
use crate::report::{BOLD, YELLOW, paint, say};
use crate::scenario::Scenario;
use crate::suite::nothing_matches;
use crate::workspace::Workspace;
use crate::{build, run, setup};
use filter::Filter;
use floor::Floors;
use rows::Matrix;
use runner::{Pace, Tally, Task, conclude, run_all};

/// `cargo xtask matrix`
pub fn command(workspace: &Workspace, args: &MatrixArgs) -> Result<()> {
    let seed = args.seed.as_deref().map(parse_seed).transpose()?;
    if let Some(count) = args.chaos {
        return chaos(workspace, args, seed.unwrap_or(1), count);
    }
    let matrix = select(workspace, args)?;
    let mut tasks: Vec<_> = matrix.plans.iter().map(Task::of).collect();
    let mut random = seed.map(Random);
    if let Some(random) = &mut random {
        // From their names on, so that the order does not depend on anything else.
        tasks.sort_by(|one, other| one.title.cmp(&other.title));
        random.shuffle(&mut tasks);
    }
    if args.list {
        list(&matrix, &tasks);
        return Ok(());
    }
    let started = Instant::now();
    let named = Named::read(workspace)?;
    let mut report = Writing::begin(workspace, args.report.as_deref())?;
    matrix.unrun().try_for_each(|case| report.add(case))?;
    let kernels = kernels(workspace, &matrix.machines, &tasks)?;
    if let Some(seed) = seed {
        say!("{} {seed}: the order of the rows", paint(BOLD, "Seed"));
    }
    let floors = args.floor.then(|| Floors::new(workspace, &kernels));
    // What others take beside a run is nothing of its own.
    let jobs = if args.floor { Some(1) } else { args.jobs };
    let mut cases = Vec::new();
    let run = |task: &Task| {
        let floor = floors.as_ref().map(|floors| floors.beside(task.plan)).transpose()?;
        let kernel = &kernels[&task.plan.machine.name];
        let mut result = run::run(workspace, task.plan, kernel, false, &mut Unobserved)?;
        if let Some(run) = &mut result.case.run {
            run.floor_ms = floor;
        }
        Ok(result)
    };
    let mut tally = Tally::default();
    let mut counts = Counts::default();
    for round in 1..=args.repeat {
        if args.repeat > 1 {
            say!("{} {round} of {}", paint(BOLD, "Round"), args.repeat);
        }
        if let Some(random) = random.as_mut().filter(|_| round > 1) {
            random.shuffle(&mut tasks);
        }
        let before = tally.failed.len();
        let among = seed.map(|seed| format!("the order of seed {seed}, round {round} of {}", args.repeat));
        let pace = Pace { jobs, rounds: args.repeat - round, among };
        run_all(&tasks, &pace, &run, &mut tally, |task, result| {
            let case = task.case(result);
            cases.extend(args.floor.then(|| case.clone()));
            report.add(case)
        })?;
        counts.add(&tasks, &tally.failed[before..]);
    }
    matrix.say_skipped();
    if args.repeat > 1 {
        say!("\n{}", counts.summary().trim_end());
    }
    for times in Times::of(&cases) {
        say!("{} {}", paint(BOLD, "Floor"), times.words());
    }
    report.finish()?;
    conclude(&tally, &matrix, &named, started)
}

/// `cargo xtask matrix --chaos`
fn chaos(workspace: &Workspace, args: &MatrixArgs, seed: u64, count: u32) -> Result<()> {
    let filter = args.filter.as_deref().map(|text| Filter::read(workspace, text)).transpose()?;
    let mut machines = match &args.arch {
        Some(name) => vec![Machine::load(workspace, name)?],
        None => Machine::all(workspace)?,
    };
    machines.retain(|machine| {
        if !machine.panics() {
            let reason = format!("machines/{}.toml claims no tier with a panic path", machine.name);
            say!("{} {}: {reason}", paint(YELLOW, "n/a"), machine.name);
        }
        machine.panics()
    });
    if machines.is_empty() {
        return Ok(());
    }
    let scenarios = Scenario::all(workspace)?;
    let mut attempts = Vec::new();
    for machine in &machines {
        attempts.extend(chaos::attempts(machine, &scenarios, seed, count)?);
    }
    attempts.retain(|attempt| {
        filter.as_ref().is_none_or(|filter| filter.matches(&rows::subject_of(&attempt.plan)))
    });
    let tasks: Vec<_> = attempts
        .iter()
        .map(|attempt| Task {
            title: format!("{}@{:#x}", attempt.plan.title(), attempt.seed),
            plan: &attempt.plan,
            done: attempt.words(),
            again: attempt.again(),
        })
        .collect();
    if tasks.is_empty() {
        return Err(nothing_matches(args.filter.as_deref()));
    }
    if args.list {
        for task in &tasks {
            say!("{}: {}", task.title, task.done);
        }
        return Ok(());
    }
    let started = Instant::now();
    let mut report = Writing::begin(workspace, args.report.as_deref())?;
    let kernels = kernels(workspace, &machines, &tasks)?;
    say!("{} {seed}: {} random runs", paint(BOLD, "Seed"), tasks.len());
    let run = |task: &Task| {
        run::run(workspace, task.plan, &kernels[&task.plan.machine.name], false, &mut Unobserved)
    };
    let mut tally = Tally::default();
    run_all(&tasks, &Pace::once(args.jobs), &run, &mut tally, |task, result| report.add(task.case(result)))?;
    let (good, bad) = (tally.passed, tally.failed.len());
    let seconds = started.elapsed().as_secs();
    say!(
        "\n{}: {good} ended within their bound and said what happened, {bad} did not, in {seconds} s",
        paint(BOLD, "Result")
    );
    report.finish()?;
    tally.names()
}

/// The rows that are asked for.
fn select(workspace: &Workspace, args: &MatrixArgs) -> Result<Matrix> {
    let filter = args.filter.as_deref().map(|text| Filter::read(workspace, text)).transpose()?;
    let mut matrix = Matrix::new(workspace, args.full)?;
    if let Some(arch) = &args.arch {
        matrix.only_on(&Machine::load(workspace, arch)?);
    }
    if let Some(filter) = &filter {
        matrix.filter(filter);
    }
    if matrix.plans.is_empty() && matrix.not_applicable.is_empty() && matrix.skipped.is_empty() {
        return Err(nothing_matches(args.filter.as_deref()));
    }
    if let Some(text) = args.filter.as_deref().filter(|_| matrix.plans.is_empty() && !args.list) {
        matrix.say_unrun();
        return Err(usage(format!("--filter {text}: nothing can be run of what matches")));
    }
    if let Some(shard) = args.shard {
        matrix.plans.retain(|plan| shard.has(&plan.title()));
        // Said once, by the first part.
        if shard.index > 1 {
            matrix.not_applicable.clear();
            matrix.skipped.clear();
        }
    }
    Ok(matrix)
}

fn list(matrix: &Matrix, tasks: &[Task]) {
    for task in tasks {
        say!("{}", task.title);
    }
    matrix.say_unrun();
}

/// The kernels of the machines that are needed, by name.
fn kernels(workspace: &Workspace, machines: &[Machine], tasks: &[Task]) -> Result<BTreeMap<String, PathBuf>> {
    let needed = |machine: &&Machine| tasks.iter().any(|task| task.plan.machine.name == machine.name);
    let machines: Vec<_> = machines.iter().filter(needed).collect();
    setup::ensure_all(&machines)?;
    let kernels =
        machines.iter().map(|machine| Ok((machine.name.clone(), build::kernel(workspace, machine)?)));
    kernels.collect()
}

/// How often each row went well, of how often.
#[derive(Default)]
struct Counts(BTreeMap<String, (u32, u32)>);

impl Counts {
    fn add(&mut self, tasks: &[Task], failed: &[String]) {
        for task in tasks {
            let (good, all) = self.0.entry(task.title.clone()).or_default();
            *good += u32::from(!failed.contains(&task.title));
            *all += 1;
        }
    }

    /// Rows that went well sometimes. A row that never did is no flake.
    fn summary(&self) -> String {
        let flaky = |(_, (good, all)): &(&String, &(u32, u32))| (1..*all).contains(good);
        let flaky: Vec<_> = self.0.iter().filter(flaky).collect();
        let rate = flaky.len() as f64 * 100.0 / self.0.len().max(1) as f64;
        let mut text =
            format!("{}: {} of {} rows, {rate:.1} %\n", paint(BOLD, "Flaky"), flaky.len(), self.0.len());
        for (name, (good, all)) in flaky {
            text.push_str(&format!("  {} {name}: {good} of {all} as expected\n", paint(YELLOW, "flaky")));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_which_none_can_be_run_are_no_success() {
        let workspace = Workspace::at(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
        let selected = |filter: &str, list: bool| {
            let args = MatrixArgs { filter: Some(filter.into()), list, ..MatrixArgs::default() };
            select(&workspace, &args).map(|matrix| matrix.plans.len()).map_err(|error| error.to_string())
        };
        let all = Matrix::new(&workspace, false).unwrap();
        let (without, _) = all
            .not_applicable
            .iter()
            .find(|(row, _)| !all.plans.iter().any(|plan| plan.title().starts_with(&format!("{row}/"))))
            .unwrap();
        let (arch, scenario) = without.split_once('/').unwrap();
        let filter = format!("arch={arch} & scenario={scenario}");
        assert!(selected(&filter, false).unwrap_err().contains("nothing can be run"));
        assert_eq!(selected(&filter, true), Ok(0));
        assert!(selected(&format!("arch={arch}"), false).unwrap() > 0);
    }

    #[test]
    fn a_flake_is_what_goes_both_ways() {
        let counts = Counts(BTreeMap::from([
            ("a".into(), (3, 3)),
            ("b".into(), (2, 3)),
            ("c".into(), (0, 3)),
            ("d".into(), (3, 3)),
        ]));
        let text = anstream::adapter::strip_str(&counts.summary()).to_string();
        assert_eq!(text, "Flaky: 1 of 4 rows, 25.0 %\n  flaky b: 2 of 3 as expected\n");
    }
}
