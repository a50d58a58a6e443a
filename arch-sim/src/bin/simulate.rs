//! Long searches on the simulated machine.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use arch_sim::action::Schedule;
use arch_sim::cases::{self, CASES, Status};
use arch_sim::contract::Checked;
use arch_sim::explore::{self, Hunted, Prey};
use arch_sim::replay::Lab;
use arch_sim::scenario::{Body, Scenario};
use arch_sim::world::End;
use hal::contract::Verdict;

const HELP: &str = "\
Runs the panic path on a simulated machine, under many schedules.

simulate [--seed S] [--schedules N] [--jobs J] [--row R]   random schedules (default: seed 1, 100000)
simulate [--row R] --seed S --replay CHOICES               one run again, with its timeline
simulate --rows                                            the rows of the list of failure modes
simulate --contract                                        what the HAL promises, asked of this machine
simulate --exhaustive [--seconds T]                        every schedule of some small scenarios; not as
                                                           expected if one is not through by then
simulate [--row R] --expect P [--median K]                 0 if a run breaks promise P: negative controls;
                                                           after how many schedules, the median of K hunts
simulate [--row R] --survey N                              counts violations by kind and goes on

simulate --staged [--seed S] [--schedules N] [--jobs J]    reads scenarios, a line each: CPUs and the words of a
                                                           kernel command line; says what is to be seen
simulate --staged --replay CHOICES                         the same for one schedule of one, with its timeline

A seed is decimal, or hexadecimal after 0x. P is P1 to P10, or `row`: what a row wants beyond the promises.
Exit codes: 0 as expected, 1 not, 2 usage.
";

#[path = "simulate/staged.rs"]
mod staged;

#[derive(Default)]
struct Options {
    seed: Option<u64>,
    schedules: Option<u64>,
    jobs: Option<u64>,
    seconds: Option<u64>,
    survey: Option<u64>,
    median: Option<u64>,
    row: Option<String>,
    expect: Option<String>,
    replay: Option<Schedule>,
    rows: bool,
    staged: bool,
    contract: bool,
    exhaustive: bool,
}

fn number(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| format!("not a number: `{text}`"))
}

impl Options {
    /// Threads: as many as were asked for, or as there are cores, but no more than there is work for.
    fn jobs(&self, work: u64) -> u64 {
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
        self.jobs.unwrap_or(cores).min(work).clamp(1, 64)
    }
}

fn options() -> Result<Options, String> {
    let mut options = Options::default();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} wants a value"));
        match argument.as_str() {
            "--seed" => options.seed = Some(number(&value()?)?),
            "--schedules" => options.schedules = Some(number(&value()?)?),
            "--jobs" => options.jobs = Some(number(&value()?)?),
            "--seconds" => options.seconds = Some(number(&value()?)?),
            "--survey" => options.survey = Some(number(&value()?)?),
            "--row" => options.row = Some(value()?),
            "--median" => options.median = Some(number(&value()?)?),
            "--expect" => options.expect = Some(value()?),
            "--replay" => options.replay = Some(value()?.parse()?),
            "--help" => return Err(HELP.into()),
            "--rows" => options.rows = true,
            "--staged" => options.staged = true,
            "--contract" => options.contract = true,
            "--exhaustive" => options.exhaustive = true,
            _ => return Err(format!("{HELP}\nunknown: `{argument}`")),
        }
    }
    Ok(options)
}

/// Options that are left out of a replay would replay something else.
fn checked(options: Options) -> Result<Options, String> {
    if options.replay.is_some() && options.seed.is_none() && options.row.is_none() && !options.staged {
        return Err("--replay wants the --seed that was printed with it (or a --row)".into());
    }
    // What is good after no run at all says nothing.
    for (name, count) in
        [("schedules", options.schedules), ("median", options.median), ("survey", options.survey)]
    {
        if count == Some(0) {
            return Err(format!("--{name} 0: at least 1"));
        }
    }
    if let Some(promise) = &options.expect
        && !PROMISES.contains(&promise.as_str())
    {
        return Err(format!("--expect {promise}: there are {}", PROMISES.join(", ")));
    }
    Ok(options)
}

const NO_SUCH_SCHEDULE: &str = "this is not a schedule of this scenario, or not of this version of the code";

const PROMISES: [&str; 11] = ["P1", "P2", "P3", "P4", "P5", "P6", "P7", "P8", "P9", "P10", "row"];

fn main() -> ExitCode {
    // A panic here is one of the code that is simulated, too, and ends the process.
    let as_ever = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        as_ever(info);
        if let Some((base, number)) = explore::running() {
            eprintln!("it was run {number} of the hunt with --seed {base}, which comes to it again");
        }
    }));
    let options = match options().and_then(checked) {
        Ok(options) => options,
        Err(what) => {
            eprintln!("{what}");
            return ExitCode::from(2);
        }
    };
    let prey = match options.row.as_deref().map(|id| (id, cases::case(id))) {
        None => Prey::Any,
        Some((_, Some(case))) => match case.status {
            Status::Native(..) => Prey::Row(case),
            Status::Pending(mechanism) => {
                println!("row {}: pending({mechanism})", case.id);
                return ExitCode::SUCCESS;
            }
        },
        Some((id, None)) => {
            eprintln!("no row {id}; --rows lists them");
            return ExitCode::from(2);
        }
    };
    let good = if options.staged {
        match staged::command(&options) {
            Ok(()) => true,
            Err(what) => {
                eprintln!("{what}");
                return ExitCode::from(2);
            }
        }
    } else if options.rows {
        rows();
        true
    } else if options.contract {
        contract()
    } else if options.exhaustive {
        exhaustive(Duration::from_secs(options.seconds.unwrap_or(600)))
    } else if let Some(count) = options.survey {
        survey(prey, options.seed.unwrap_or(1), count)
    } else if let Some(schedule) = &options.replay {
        match again(prey, options.seed.unwrap_or(1), schedule) {
            Some(good) => good,
            None => {
                eprintln!("{NO_SUCH_SCHEDULE}");
                return ExitCode::from(2);
            }
        }
    } else if let Some(promise) = &options.expect {
        expect(prey, &options, promise)
    } else {
        hunt(prey, &options)
    };
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn rows() {
    let count = |native: bool| {
        CASES.iter().filter(|case| matches!(case.status, Status::Native(..)) == native).count()
    };
    for case in CASES {
        match case.status {
            Status::Native(..) => println!("{:>4}  native                {}", case.id, case.title),
            Status::Pending(mechanism) => {
                println!("{:>4}  {:20}  {}", case.id, format!("pending({mechanism})"), case.title);
            }
        }
    }
    println!("{} native, {} pending", count(true), count(false));
}

/// Says of each of the HAL's promises whether this machine keeps it.
fn contract() -> bool {
    const SCHEDULES: u64 = 50;
    let checked = arch_sim::contract::check(SCHEDULES, |scenario| scenario);
    for Checked { name, tier, verdict, .. } in &checked {
        let outcome = match verdict {
            Some(Verdict::Held) => "held".into(),
            Some(verdict @ Verdict::Unsupported(_)) => verdict.to_string(),
            Some(verdict @ Verdict::Broken(_)) => format!("broken: {verdict}"),
            None => "broken: the machine did not come to it".into(),
        };
        println!("{tier} {name} {outcome}");
    }
    checked.iter().all(|check| matches!(check.verdict, Some(Verdict::Held | Verdict::Unsupported(_))))
}

/// Looks for a run that breaks this promise: after how many schedules, the median of some hunts.
fn expect(prey: Prey, options: &Options, promise: &str) -> bool {
    let most = options.schedules.unwrap_or(20_000);
    let mut lab = Lab::new();
    explore::prepare(&mut lab, prey);
    let mut needed = Vec::new();
    let mut also = std::collections::BTreeSet::new();
    for base in 0..options.median.unwrap_or(1) {
        let base = options.seed.unwrap_or(1) + base;
        let found = (0..most).find(|number| {
            let seed = explore::seed_of(base, *number);
            let world = lab.run(&prey.scenario(seed), explore::chooser_of(seed));
            prey.check(world);
            let broken = &world.oracle.violations;
            also.extend(broken.iter().map(|violation| violation.promise).filter(|other| *other != promise));
            broken.iter().any(|violation| violation.promise == promise)
        });
        needed.push(found.map_or(u64::MAX, |number| number + 1));
    }
    needed.sort_unstable();
    let median = needed[needed.len() / 2];
    let also: Vec<_> = also.into_iter().collect();
    let also = if also.is_empty() { String::new() } else { format!(" (also {})", also.join(", ")) };
    if median == u64::MAX {
        println!("{promise} holds in {most} schedules{also}");
    } else {
        println!("{promise} breaks after {median} schedules{also}");
    }
    median != u64::MAX
}

/// Whether the run kept what it should; `None` if there is no such run.
fn again(prey: Prey, seed: u64, schedule: &Schedule) -> Option<bool> {
    let mut lab = Lab::new();
    explore::prepare(&mut lab, prey);
    print!("{}", explore::explain(&mut lab, prey, seed, schedule));
    let outcome = lab.outcome();
    (outcome.end != End::Abandoned).then_some(outcome.violations.is_empty())
}

fn survey(prey: Prey, base: u64, count: u64) -> bool {
    let mut lab = Lab::new();
    explore::prepare(&mut lab, prey);
    let mut kinds = std::collections::BTreeMap::<String, (u64, u64, String)>::new();
    for number in 0..count {
        let seed = explore::seed_of(base, number);
        let world = lab.run(&prey.scenario(seed), explore::chooser_of(seed));
        prey.check(world);
        for violation in &world.oracle.violations {
            let what = violation.what.replace(|letter: char| letter.is_ascii_digit(), "#");
            let kind = format!("{} {what}", violation.promise);
            kinds.entry(kind).or_insert_with(|| (0, seed, world.schedule.to_string())).0 += 1;
        }
    }
    for (kind, (times, seed, schedule)) in &kinds {
        println!("{times:7} × {kind}\n          --seed {seed:#x} --replay {schedule}");
    }
    kinds.is_empty()
}

/// Splits the runs over threads, each with a machine of its own.
fn hunt(prey: Prey, options: &Options) -> bool {
    let base = options.seed.unwrap_or(1);
    let runs = options.schedules.unwrap_or(100_000);
    let jobs = options.jobs(runs);
    let start = Instant::now();
    let done = std::sync::atomic::AtomicU64::new(0);
    let stop = std::sync::atomic::AtomicBool::new(false);
    let shows = std::io::stderr().is_terminal();
    let all: Vec<Hunted> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..jobs)
            .map(|job| {
                let (done, stop) = (&done, &stop);
                scope.spawn(move || {
                    use std::sync::atomic::Ordering::Relaxed;
                    let mut lab = Lab::new();
                    let share = |job: u64| (u128::from(runs) * u128::from(job) / u128::from(jobs)) as u64;
                    let (from, to) = (share(job), share(job + 1));
                    let mut last = 0;
                    let hunted = explore::hunt(&mut lab, prey, base, from..to, |so_far| {
                        let total = done.fetch_add(so_far.runs - last, Relaxed) + so_far.runs - last;
                        last = so_far.runs;
                        if shows && job == 0 {
                            bar(total, runs, start.elapsed());
                        }
                        !stop.load(Relaxed)
                    });
                    if hunted.failure.is_some() {
                        stop.store(true, Relaxed);
                    }
                    hunted
                })
            })
            .collect();
        // One that panicked has found something, and must not pass for one that found nothing.
        let joined = threads.into_iter().map(|thread| thread.join());
        joined.map(|hunted| hunted.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    });
    if shows {
        eprintln!();
    }
    report(prey, base, &all, start.elapsed())
}

fn bar(done: u64, all: u64, took: Duration) {
    const WIDTH: u64 = 30;
    let full = (u128::from(done) * u128::from(WIDTH) / u128::from(all.max(1))).min(WIDTH.into()) as usize;
    let rate = done as f64 / took.as_secs_f64().max(1e-9);
    let left = (all - done.min(all)) as f64 / rate.max(1e-9);
    let line = "#".repeat(full) + &"-".repeat(WIDTH as usize - full);
    eprint!("\r[{line}] {done}/{all} schedules, {rate:.0}/s, {left:.0} s left   ");
    let _ = std::io::stderr().flush();
}

fn report(prey: Prey, base: u64, all: &[Hunted], took: Duration) -> bool {
    let mut ends = std::collections::BTreeMap::new();
    let mut distinct = std::collections::HashSet::<u64>::new();
    let mut coverage = [[0u64; 8]; 16];
    let (mut runs, mut cpu) = (0, Duration::ZERO);
    for hunted in all {
        runs += hunted.runs;
        cpu += hunted.took;
        distinct.extend(&hunted.distinct);
        for (end, times) in &hunted.ends {
            *ends.entry(*end).or_insert(0) += times;
        }
        for (all, one) in coverage.iter_mut().flatten().zip(hunted.coverage.iter().flatten()) {
            *all += u64::from(*one);
        }
    }
    println!("step          switch   signal external   mcheck     hang    fault  garbage     time");
    for (step, counts) in coverage.iter().enumerate().take(12) {
        let name = crash_record::names::Step::from_number(step as u16).map_or("before", |step| step.name());
        let cells: String = counts.iter().map(|count| format!(" {count:8}")).collect();
        println!("{name:11}{cells}");
    }
    println!("ends: {ends:?}");
    let rate = runs as f64 / took.as_secs_f64();
    let one = runs as f64 / cpu.as_secs_f64().max(1e-9);
    println!(
        "seed {base}: {runs} schedules, {} distinct, {:.1} s, {rate:.0}/s ({one:.0}/s and thread)",
        distinct.len(),
        took.as_secs_f64()
    );
    let Some((seed, outcome)) = all.iter().find_map(|hunted| hunted.failure.as_ref()) else { return true };
    let mut lab = Lab::new();
    explore::prepare(&mut lab, prey);
    print!("{}", explore::explain(&mut lab, prey, *seed, &outcome.schedule));
    for violation in &outcome.violations {
        println!("FAILED {}: {}", violation.promise, violation.what);
    }
    let row = if let Prey::Row(case) = prey { format!("--row {} ", case.id) } else { String::new() };
    println!("again: cargo xtask simulate {row}--seed {seed:#x} --replay {}", outcome.schedule);
    false
}

fn exhaustive(most: Duration) -> bool {
    let two = Scenario::new(2);
    let both = two.cpu(1, Body::Panics);
    // Three take bounds: switches away from a CPU that could go on, and polls without time passing.
    let few = |preemptions, scenario| Scenario { preemptions: Some(preemptions), turns: 1, ..scenario };
    let three = Scenario::new(3);
    let scenarios = [
        ("2 CPUs, one panics", two),
        ("2 CPUs, both panic", both),
        ("2 CPUs, one panics, the other starts", two.cpu(1, Body::Starts)),
        ("2 CPUs, one panics, an NMI anywhere", Scenario { external_nmis: 1, ..two }),
        ("3 CPUs, one panics, at most 3 preemptions", few(3, three)),
        ("3 CPUs, two panic, at most 3 preemptions", few(3, three.cpu(1, Body::Panics))),
        ("3 CPUs, one panics, one starts, at most 3 preemptions", few(3, three.cpu(1, Body::Starts))),
        ("2 CPUs, both panic, an NMI anywhere", Scenario { external_nmis: 1, ..both }),
    ];
    let mut good = true;
    for (name, scenario) in scenarios {
        let mut lab = Lab::new();
        let found = explore::exhaustive(&mut lab, &scenario, true, most);
        println!("{name}: {found}");
        // What was not seen holds nothing.
        good &= found.complete;
        for (end, times) in &found.ends {
            println!("  {times:8} × {end}");
        }
        if let Some(failure) = found.failure {
            let outcome = lab.show(&scenario, &failure.schedule);
            println!("{}", outcome.timeline.join("\n"));
            println!("FAILED {:?}\nschedule {}", failure.violations, failure.schedule);
            good = false;
        }
    }
    good
}
