//! `cargo xtask test`: host tests, models of memory orderings, tidy, image checks, and the matrix of scenarios.

mod host;
mod matrix;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::mpsc::channel;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Instant;

use anyhow::Result;
use serde_json::json;

use crate::cases::{Case, Outcome};
use crate::cli::{TestArgs, TidyArgs};
use crate::error::{class_of, environment, one_line, unexpected, usage};
use crate::machine::Machine;
use crate::page::Writing;
use crate::qemu::Unobserved;
use crate::qemu::plan::Plan;
use crate::report::{self as shown, BOLD, GREEN, RED, YELLOW, paint, say};
use crate::run::{self, RunResult};
use crate::workspace::Workspace;
use crate::{build, image_check, setup, tidy};
#[cfg(test)]
pub use host::browser;
use matrix::Matrix;

/// Virtual CPUs that may be busy for each CPU of this host, if nobody says otherwise.
const VCPUS_PER_CPU: usize = 4;

/// What runs once, whatever machines there are.
const STAGES: [&str; 4] = ["host-tests", "models", "tidy", PAGE];

/// The stage that needs a browser.
const PAGE: &str = "report-page";

/// `cargo xtask test`
pub fn command(workspace: &Workspace, args: &TestArgs) -> Result<()> {
    let started = Instant::now();
    let wanted = |name: &str| args.filter.as_deref().is_none_or(|filter| name.contains(filter));
    let mut matrix = Matrix::new(workspace, args.full)?;
    if let Some(filter) = &args.filter {
        matrix.filter(filter);
    }
    let machines = matrix.machines.clone();
    let images: Vec<_> =
        machines.iter().filter(|machine| wanted(&format!("{}/image", machine.name))).collect();
    let unrun: Vec<_> = unrun(&matrix).collect();
    let mut stages = STAGES.map(|name| (name, wanted(name)));
    for (name, wanted) in &mut stages {
        if let Some(why) = host::no_browser().filter(|_| *name == PAGE && *wanted) {
            *wanted = false;
            matrix.skipped.push(format!("{name}: {why}"));
        }
    }
    let emulated: Vec<_> = machines.iter().filter(|machine| wanted(&host::title(machine))).collect();
    let emulated = host::emulated(&emulated, &mut matrix.skipped)?;
    if matrix.plans.is_empty()
        && matrix.not_applicable.is_empty()
        && matrix.skipped.is_empty()
        && images.is_empty()
        && emulated.is_empty()
        && stages.iter().all(|(_, wanted)| !wanted)
    {
        let filter = args.filter.as_deref().unwrap_or_default();
        return Err(usage(format!(
            "--filter {filter}: nothing has that in its name; --list shows the names"
        )));
    }
    if args.list {
        list(&stages, &emulated, &images, &matrix);
        return Ok(());
    }
    run::prepare_json(args.json.as_deref())?;
    // First of all: the checks below also look at what only a guest's toolchain can compile.
    setup::ensure_all(&machines.iter().collect::<Vec<_>>())?;
    let mut tally = Tally::default();
    for (name, _) in stages.iter().filter(|(_, wanted)| *wanted) {
        heading(name);
        let result = match *name {
            "tidy" => tidy::run(workspace, &TidyArgs::default()),
            "models" => host::models(workspace),
            PAGE => host::page(workspace),
            _ => host::tests(workspace),
        };
        tally.note(name, result)?;
    }
    for machine in &emulated {
        heading(&host::title(machine));
        tally.note(&host::title(machine), host::tests_as(workspace, machine))?;
    }
    let mut kernels = BTreeMap::new();
    for machine in &machines {
        let checked = images.iter().any(|image| image.name == machine.name);
        if !checked && !matrix.plans.iter().any(|plan| plan.machine.name == machine.name) {
            continue;
        }
        heading(&format!("{}/image", machine.name));
        let kernel = build::kernel(workspace, machine);
        let result = kernel.and_then(|kernel| {
            kernels.insert(machine.name.clone(), kernel.clone());
            if checked { image_check::run(machine, &kernel) } else { Ok(()) }
        });
        tally.note(&format!("{}/image", machine.name), result)?;
    }
    let mut report = Writing::begin(args.report.as_deref())?;
    unrun.into_iter().try_for_each(|case| report.add(case))?;
    let results = scenarios(workspace, args, &matrix, &kernels, &mut tally, &mut report)?;
    report.finish()?;
    if let Some(path) = &args.json {
        let runs: Vec<_> = results.iter().map(Case::of).collect();
        run::write_json(
            path,
            &json!({ "passed": tally.failed.is_empty(), "failed": tally.failed, "runs": runs }),
        )?;
    }
    for skipped in &matrix.skipped {
        say!("{} {skipped}", paint(YELLOW, "skipped"));
    }
    say!(
        "\n{}: {} as expected, {} not, {} n/a, {} skipped, in {} s",
        paint(BOLD, "Result"),
        tally.passed,
        tally.failed.len(),
        matrix.not_applicable.len(),
        matrix.skipped.len(),
        started.elapsed().as_secs()
    );
    if tally.failed.is_empty() {
        return Ok(());
    }
    for name in &tally.failed {
        say!("  {} {name}", paint(RED, "FAIL"));
    }
    Err(unexpected(format!(
        "{} of {} did not end as expected",
        tally.failed.len(),
        tally.passed + tally.failed.len()
    )))
}

/// The rows that are not run, as cases.
fn unrun(matrix: &Matrix) -> impl Iterator<Item = Case> {
    let none =
        matrix.not_applicable.iter().map(|(row, why)| Case::not_run(row, None, Outcome::NotApplicable, why));
    none.chain(matrix.skipped.iter().map(|text| {
        let (row, why) = text.split_once(": ").unwrap_or((text, ""));
        Case::not_run(row, None, Outcome::Skipped, why)
    }))
}

/// What went well and what did not.
#[derive(Default)]
struct Tally {
    passed: usize,
    failed: Vec<String>,
}

impl Tally {
    /// Counts a stage. Only a broken environment stops the suite.
    fn note(&mut self, name: &str, result: Result<()>) -> Result<()> {
        match result {
            Ok(()) => {
                say!("{} {name}", paint(GREEN, "ok"));
                self.passed += 1;
            }
            Err(error) if class_of(&error) == crate::error::Exit::Environment => return Err(error),
            Err(error) => {
                say!("{} {name}: {}", paint(RED, "FAIL"), one_line(&error));
                self.failed.push(name.to_owned());
            }
        }
        Ok(())
    }
}

fn heading(name: &str) {
    say!("{} {name}", paint(BOLD, "--"));
}

fn list(stages: &[(&str, bool)], emulated: &[&Machine], images: &[&Machine], matrix: &Matrix) {
    for (name, _) in stages.iter().filter(|(_, wanted)| *wanted) {
        say!("{name}");
    }
    for machine in emulated {
        say!("{}", host::title(machine));
    }
    for machine in images {
        say!("{}/image", machine.name);
    }
    for plan in &matrix.plans {
        say!("{}", plan.title());
    }
    for (row, reason) in &matrix.not_applicable {
        say!("{} {row}: {reason}", paint(YELLOW, "n/a"));
    }
    for reason in &matrix.skipped {
        say!("{} {reason}", paint(YELLOW, "skipped"));
    }
}

/// Runs the matrix, several rows at once, and prints each as it ends.
fn scenarios(
    workspace: &Workspace,
    args: &TestArgs,
    matrix: &Matrix,
    kernels: &BTreeMap<String, PathBuf>,
    tally: &mut Tally,
    report: &mut Writing,
) -> Result<Vec<RunResult>> {
    let plans: Vec<&Plan> =
        matrix.plans.iter().filter(|plan| kernels.contains_key(&plan.machine.name)).collect();
    if plans.is_empty() {
        return Ok(Vec::new());
    }
    let host = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let most = args.jobs.map_or(host * VCPUS_PER_CPU, |jobs| jobs as usize);
    heading(&format!("{} runs, at most {most} virtual CPUs at once", plans.len()));
    let budget = Budget::new(most);
    let queue = Mutex::new(plans.iter());
    let (sender, receiver) = channel();
    let mut results = Vec::new();
    std::thread::scope(|scope| {
        // A worker lives as long as its emulator: the parent-death signal is tied to the thread.
        for _ in 0..most.min(plans.len()) {
            let (sender, queue, budget) = (sender.clone(), &queue, &budget);
            scope.spawn(move || {
                while let Some((plan, share)) = budget.next(queue) {
                    let kernel = &kernels[&plan.machine.name];
                    let result = run::run(workspace, plan, kernel, false, &mut Unobserved);
                    drop(share);
                    if sender.send((plan, result)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        for (number, (plan, result)) in receiver.iter().enumerate() {
            let (place, title) = (format!("{:>4}/{}", number + 1, plans.len()), plan.title());
            let case = match &result {
                Ok(result) => Case::of(result),
                Err(error) => Case::not_run(&title, Some(plan), Outcome::Failed, &one_line(error)),
            };
            if let Err(error) = report.add(case) {
                say!("{}: {}", paint(RED, "report"), one_line(&error));
            }
            match result {
                Ok(mut result) => {
                    say!("{place} {}", shown::one_line(&result));
                    result.shrink();
                    if result.verdict.passed() {
                        tally.passed += 1;
                    } else {
                        say!("{}", shown::console_tail(&result).trim_end());
                        tally.failed.push(title);
                    }
                    results.push(result);
                }
                Err(error) => {
                    say!("{place} {} {title}: {}", paint(RED, "FAIL"), one_line(&error));
                    tally.failed.push(title);
                }
            }
        }
    });
    if results.is_empty() {
        return Err(environment("not one run could be started"));
    }
    Ok(results)
}

/// How many virtual CPUs may be busy.
struct Budget {
    most: usize,
    free: Mutex<usize>,
    changed: Condvar,
}

/// A part of the budget, given back when dropped.
struct Share<'b> {
    budget: &'b Budget,
    weight: usize,
}

impl Budget {
    fn new(most: usize) -> Self {
        Budget { most, free: Mutex::new(most), changed: Condvar::new() }
    }

    /// The next plan of the queue, once there is room for its CPUs. The queue stays locked while it
    /// waits, so that a wide row is not overtaken for ever by narrow ones.
    fn next<'p>(&self, queue: &Mutex<std::slice::Iter<'p, &'p Plan>>) -> Option<(&'p Plan, Share<'_>)> {
        let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
        let plan = *queue.next()?;
        Some((plan, self.take(plan.cpus as usize)))
    }

    fn take(&self, weight: usize) -> Share<'_> {
        let weight = weight.min(self.most);
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        while *free < weight {
            free = self.changed.wait(free).unwrap_or_else(PoisonError::into_inner);
        }
        *free -= weight;
        Share { budget: self, weight }
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        *self.budget.free.lock().unwrap_or_else(PoisonError::into_inner) += self.weight;
        self.budget.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn continuous_integration_runs_all_of_it() {
        let workspace = Workspace::at(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
        let workflow = std::fs::read_to_string(workspace.root().join("ci/workflow.yml")).unwrap();
        let steps =
            workflow.lines().filter_map(|line| line.trim().strip_prefix("- run: cargo xtask test --filter "));
        let filters: Vec<_> = steps.map(str::trim).collect();
        let matrix = Matrix::new(&workspace, false).unwrap();
        let machines = matrix.machines.iter();
        let of_machines =
            machines.flat_map(|machine| [format!("{}/image", machine.name), host::title(machine)]);
        let all = STAGES.map(String::from).into_iter().chain(of_machines);
        for name in all.chain(matrix.plans.iter().map(Plan::title)) {
            assert!(filters.iter().any(|filter| name.contains(filter)), "no job runs {name}");
        }
    }

    #[test]
    fn the_budget_is_never_exceeded() {
        let budget = Budget::new(8);
        let (busy, peak) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for weight in [1, 2, 4, 8, 16, 4, 4, 2, 1, 8] {
                let (budget, busy, peak) = (&budget, &busy, &peak);
                scope.spawn(move || {
                    let share = budget.take(weight);
                    peak.fetch_max(
                        busy.fetch_add(share.weight, Ordering::SeqCst) + share.weight,
                        Ordering::SeqCst,
                    );
                    std::thread::sleep(std::time::Duration::from_millis(5));
                    busy.fetch_sub(share.weight, Ordering::SeqCst);
                });
            }
        });
        assert!(peak.load(Ordering::SeqCst) <= 8);
        assert_eq!(*budget.free.lock().unwrap(), 8);
    }
}
