//! Many runs, several at once: each in an emulator and a folder of its own, at most so many virtual CPUs at a time.

use std::sync::mpsc::channel;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::cases::{Case, Outcome};
use crate::error::{Exit, class_of, environment, one_line, unexpected};
use crate::matrix::rows::Matrix;
use crate::mutants::named::Named;
use crate::qemu::plan::Plan;
use crate::report::{self, BOLD, DIM, GREEN, RED, paint, say};
use crate::run::RunResult;

/// Virtual CPUs that may be busy for each CPU of this host, if nobody says otherwise. Most of them spin for most of their
/// time, and what is awaited is somewhere else: three times as many as first thought make a round of all rows take
/// 43 s where it took 77, and find more.
const VCPUS_PER_CPU: usize = 12;

/// What went well and what did not.
#[derive(Default)]
pub struct Tally {
    /// How many did.
    pub passed: usize,
    /// The names of those that did not.
    pub failed: Vec<String>,
}

impl Tally {
    /// Counts a stage. Only a broken environment stops everything.
    pub fn note(&mut self, name: &str, result: Result<()>) -> Result<()> {
        match result {
            Ok(()) => {
                say!("{} {name}", paint(GREEN, "ok"));
                self.passed += 1;
            }
            Err(error) if class_of(&error) == Exit::Environment => return Err(error),
            Err(error) => {
                say!("{} {name}: {}", paint(RED, "FAIL"), one_line(&error));
                self.failed.push(name.to_owned());
            }
        }
        Ok(())
    }

    /// The names of what failed, and the exit code.
    pub fn names(&self) -> Result<()> {
        if self.failed.is_empty() {
            return Ok(());
        }
        for name in &self.failed {
            say!("  {} {name}", paint(RED, "FAIL"));
        }
        let all = self.passed + self.failed.len();
        Err(unexpected(format!("{} of {all} did not end as expected", self.failed.len())))
    }
}

/// What it all came to: the figures, the names of what failed, and the exit code.
pub fn conclude(tally: &Tally, matrix: &Matrix, named: &Named, started: Instant) -> Result<()> {
    let ran = matrix.plans.iter().map(|plan| (plan.machine.name.as_str(), plan.scenario.name.as_str()));
    let coverage = named.coverage(ran);
    say!(
        "\n{}: {} as expected, {} not, {} n/a, {} skipped, in {} s",
        paint(BOLD, "Result"),
        tally.passed,
        tally.failed.len(),
        matrix.not_applicable.len(),
        matrix.skipped.len(),
        started.elapsed().as_secs()
    );
    if let Some(words) = coverage.words() {
        say!("{words}");
    }
    tally.names()
}

/// The line above what comes.
pub fn heading(name: &str) {
    say!("{} {name}", paint(BOLD, "--"));
}

/// One of many runs.
pub struct Task<'p> {
    /// What it is called in lists.
    pub title: String,
    /// What is run.
    pub plan: &'p Plan,
    /// What is done at random moments, in words; empty if nothing is.
    pub done: String,
    /// One command that runs exactly this again.
    pub again: String,
}

impl<'p> Task<'p> {
    /// A row.
    pub fn of(plan: &'p Plan) -> Self {
        Task { title: plan.title(), plan, done: String::new(), again: plan.rerun() }
    }

    /// The line of a report for what came of it.
    pub fn case(&self, result: Result<RunResult, String>) -> Case {
        let mut case = match result {
            Ok(result) => Case::of(&result),
            Err(reason) => Case::not_run(&self.title, Some(self.plan), Outcome::Failed, &reason),
        };
        case.id.clone_from(&self.title);
        case.rerun.clone_from(&self.again);
        case
    }
}

/// How many at once, and what comes after them.
#[derive(Default)]
pub struct Pace {
    /// Virtual CPUs that may be busy at once, if not as many as usual.
    pub jobs: Option<u32>,
    /// How often all of them are run once more after this.
    pub rounds: u32,
    /// Which order this is, where it is one of many: what a run does may depend on those beside it.
    pub among: Option<String>,
}

impl Pace {
    /// All of them once.
    pub fn once(jobs: Option<u32>) -> Self {
        Pace { jobs, ..Pace::default() }
    }
}

/// Runs all of them in their order, prints each as it ends, and hands over what came of it.
pub fn run_all(
    tasks: &[Task],
    pace: &Pace,
    run: &(dyn Fn(&Task) -> Result<RunResult> + Sync),
    tally: &mut Tally,
    mut each: impl FnMut(&Task, Result<RunResult, String>) -> Result<()>,
) -> Result<()> {
    if tasks.is_empty() {
        return Ok(());
    }
    let host = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let most = pace.jobs.map_or(host * VCPUS_PER_CPU, |jobs| jobs as usize);
    heading(&format!("{} runs, at most {most} virtual CPUs at once", tasks.len()));
    let budget = Budget::new(most);
    let queue = Mutex::new(tasks.iter());
    let (sender, receiver) = channel();
    let mut progress = Progress::new(tasks, pace.rounds);
    let mut started = 0;
    let mut broken = None;
    std::thread::scope(|scope| {
        // A worker lives as long as its emulator: the parent-death signal is tied to the thread.
        for _ in 0..most.min(tasks.len()) {
            let (sender, queue, budget) = (sender.clone(), &queue, &budget);
            scope.spawn(move || {
                while let Some((task, share)) = budget.next(queue) {
                    let result = run(task);
                    drop(share);
                    if sender.send((task, result)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        for (task, result) in receiver {
            let place = progress.done(task);
            match result {
                Ok(mut result) => {
                    started += 1;
                    say!("{place} {}{}", report::one_line(&result), paint(DIM, progress.left()));
                    result.shrink();
                    if result.verdict.passed() {
                        tally.passed += 1;
                    } else {
                        if !task.done.is_empty() {
                            say!("    done to it: {}", task.done);
                        }
                        say!("{}", report::console_tail(&result, &task.again).trim_end());
                        if let Some(among) = &pace.among {
                            say!("    among: {among}");
                        }
                        tally.failed.push(task.title.clone());
                    }
                    broken = broken.take().or(each(task, Ok(result)).err());
                }
                Err(error) => {
                    let reason = one_line(&error);
                    say!("{place} {} {}: {reason}", paint(RED, "FAIL"), task.title);
                    say!("    again: {}", task.again);
                    tally.failed.push(task.title.clone());
                    broken = broken.take().or(each(task, Err(reason)).err());
                }
            }
        }
    });
    if let Some(error) = broken {
        return Err(error);
    }
    if started == 0 {
        return Err(environment("not one run could be started"));
    }
    Ok(())
}

/// How far it is, and how long it may take yet.
struct Progress {
    all: usize,
    done: usize,
    weight_all: u64,
    weight_done: u64,
    started: Instant,
}

/// What a run is likely to take, in no unit: its CPUs, and the patience that its place asks for.
fn weight(plan: &Plan) -> u64 {
    (u64::from(plan.cpus) + 1) * plan.deadline().as_secs()
}

impl Progress {
    fn new(tasks: &[Task], rounds: u32) -> Self {
        let weight_all = tasks.iter().map(|task| weight(task.plan)).sum::<u64>() * u64::from(rounds + 1);
        Progress { all: tasks.len(), done: 0, weight_all, weight_done: 0, started: Instant::now() }
    }

    /// One more; its place in the list.
    fn done(&mut self, task: &Task) -> String {
        self.done += 1;
        self.weight_done += weight(task.plan);
        let width = self.all.to_string().len();
        format!("{:>width$}/{}", self.done, self.all)
    }

    /// The estimate, once there is something to estimate from.
    fn left(&self) -> String {
        left(self.started.elapsed(), self.weight_done, self.weight_all)
    }
}

fn left(elapsed: Duration, done: u64, all: u64) -> String {
    if done == 0 || done >= all || elapsed < Duration::from_secs(5) {
        return String::new();
    }
    let seconds = elapsed.as_secs_f64() * (all - done) as f64 / done as f64;
    match seconds as u64 {
        0..=1 => String::new(),
        seconds @ 2..=99 => format!("  about {seconds} s left"),
        seconds => format!("  about {} min left", seconds.div_ceil(60)),
    }
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

    /// The next run of the queue, once there is room for its CPUs. The queue stays locked while it
    /// waits, so that a wide row is not overtaken for ever by narrow ones.
    fn next<'t, 'p>(
        &self,
        queue: &Mutex<std::slice::Iter<'t, Task<'p>>>,
    ) -> Option<(&'t Task<'p>, Share<'_>)> {
        let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
        let task = queue.next()?;
        Some((task, self.take(task.plan.cpus as usize)))
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
                    std::thread::sleep(Duration::from_millis(5));
                    busy.fetch_sub(share.weight, Ordering::SeqCst);
                });
            }
        });
        assert!(peak.load(Ordering::SeqCst) <= 8);
        assert_eq!(*budget.free.lock().unwrap(), 8);
    }

    #[test]
    fn the_estimate_needs_something_to_go_by() {
        let left = |seconds, done, all| left(Duration::from_secs(seconds), done, all);
        assert_eq!(left(4, 1, 10), "");
        assert_eq!(left(10, 0, 10), "");
        assert_eq!(left(10, 1, 10), "  about 90 s left");
        assert_eq!(left(60, 10, 100), "  about 9 min left");
        assert_eq!(left(60, 10, 10), "");
    }
}
