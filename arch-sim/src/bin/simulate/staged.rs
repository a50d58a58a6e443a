//! `--staged`: scenarios from the standard input, and what is to be seen of each. Who asks judges it.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use arch_sim::replay::Lab;
use arch_sim::scenario::Scenario;
use arch_sim::staged;

use super::Options;

/// Schedules of each, if nobody says how many.
const SCHEDULES: u64 = 200;

/// `CPUS WORD…`
fn scenario(line: &str) -> Result<Result<Scenario, staged::Unstaged>, String> {
    let (cpus, words) = line.split_once(' ').unwrap_or((line, ""));
    let cpus = cpus.parse().map_err(|_| format!("not a number of CPUs: `{cpus}`"))?;
    Ok(staged::scenario(cpus, words))
}

/// Answers in the order of the lines, each as soon as those before it are there.
struct Answers {
    next: usize,
    early: BTreeMap<usize, String>,
}

impl Answers {
    fn give(&mut self, number: usize, answer: String) {
        self.early.insert(number, answer);
        while let Some(answer) = self.early.remove(&self.next) {
            let mut out = std::io::stdout().lock();
            // Nobody reads any more: then nobody is to be told.
            let _ = write!(out, "scenario {}\n{answer}over\n", self.next).and_then(|()| out.flush());
            self.next += 1;
        }
    }
}

pub fn command(options: &Options) -> Result<(), String> {
    let lines = std::io::stdin().lock().lines().collect::<Result<Vec<_>, _>>();
    let lines = lines.map_err(|error| format!("cannot read the scenarios: {error}"))?;
    let scenarios = lines.iter().map(|line| scenario(line)).collect::<Result<Vec<_>, _>>()?;
    if let Some(schedule) = &options.replay {
        let [Ok(scenario)] = scenarios.as_slice() else {
            return Err("--staged --replay wants one scenario, and one that can be staged".into());
        };
        let ran = staged::again(&mut Lab::new(), scenario, schedule).ok_or(super::NO_SUCH_SCHEDULE)?;
        Answers { next: 0, early: BTreeMap::new() }.give(0, ran.to_string());
        return Ok(());
    }
    let (seed, schedules) = (options.seed.unwrap_or(1), options.schedules.unwrap_or(SCHEDULES));
    let jobs = options.jobs(scenarios.len() as u64);
    let (taken, answers) = (AtomicUsize::new(0), Mutex::new(Answers { next: 0, early: BTreeMap::new() }));
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                let mut lab = Lab::new();
                loop {
                    let number = taken.fetch_add(1, Ordering::Relaxed);
                    let Some(scenario) = scenarios.get(number) else { break };
                    let answer = match scenario {
                        Ok(scenario) => staged::runs(&mut lab, scenario, seed, schedules).to_string(),
                        Err(unstaged) => format!("unstaged {unstaged}\n"),
                    };
                    answers.lock().expect("no thread panics with it").give(number, answer);
                }
            });
        }
    });
    Ok(())
}
