//! Long searches on the simulated machine.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use arch_sim::action::Schedule;
use arch_sim::cases::{self, CASES, Status};
use arch_sim::explore::{self, Hunted, Prey};
use arch_sim::replay::Lab;
use arch_sim::scenario::{Body, Scenario};

const HELP: &str = "\
Runs the panic path on a simulated machine, under many schedules.

simulate [--seed S] [--schedules N] [--jobs J] [--row R]   random schedules (default: seed 1, 100000)
simulate --exhaustive [--seconds T]                         every schedule of some small scenarios
simulate --rows                                             the rows of the list of failure modes
simulate [--row R] --seed S --schedule CHOICES              one run again, with its timeline
simulate --survey N                                         count violations by kind and go on

A seed is decimal, or hexadecimal after 0x.
";

#[derive(Default)]
struct Options {
    seed: Option<u64>,
    schedules: Option<u64>,
    jobs: Option<u64>,
    seconds: Option<u64>,
    survey: Option<u64>,
    row: Option<String>,
    schedule: Option<Schedule>,
    rows: bool,
    exhaustive: bool,
}

fn number(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| format!("not a number: `{text}`"))
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
            "--schedule" => options.schedule = Some(value()?.parse()?),
            "--rows" => options.rows = true,
            "--exhaustive" => options.exhaustive = true,
            _ => return Err(format!("{HELP}\nunknown: `{argument}`")),
        }
    }
    Ok(options)
}

fn main() -> ExitCode {
    let options = match options() {
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
    let good = if options.rows {
        rows();
        true
    } else if options.exhaustive {
        exhaustive(Duration::from_secs(options.seconds.unwrap_or(600)))
    } else if let Some(count) = options.survey {
        survey(prey, options.seed.unwrap_or(1), count)
    } else if let Some(schedule) = &options.schedule {
        again(prey, options.seed.unwrap_or(1), schedule)
    } else {
        hunt(prey, &options)
    };
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn rows() {
    for case in CASES {
        match case.status {
            Status::Native(..) => println!("{:>4}  native                {}", case.id, case.title),
            Status::Pending(mechanism) => {
                println!("{:>4}  {:20}  {}", case.id, format!("pending({mechanism})"), case.title);
            }
        }
    }
}

fn again(prey: Prey, seed: u64, schedule: &Schedule) -> bool {
    let mut lab = Lab::new();
    explore::prepare(&mut lab, prey);
    print!("{}", explore::explain(&mut lab, prey, seed, schedule));
    lab.outcome().violations.is_empty()
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
        println!("{times:7} × {kind}\n          --seed {seed:#x} --schedule {schedule}");
    }
    kinds.is_empty()
}

/// Splits the runs over threads, each with a machine of its own.
fn hunt(prey: Prey, options: &Options) -> bool {
    let base = options.seed.unwrap_or(1);
    let runs = options.schedules.unwrap_or(100_000);
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let jobs = options.jobs.unwrap_or(cores).clamp(1, 64);
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
                    let (from, to) = (runs * job / jobs, runs * (job + 1) / jobs);
                    let mut last = 0;
                    let hunted = explore::hunt(&mut lab, prey, base, from..to, |so_far| {
                        let total = done.fetch_add(so_far.runs - last, Relaxed) + so_far.runs - last;
                        last = so_far.runs;
                        if shows && job == 0 {
                            let rate = total as f64 / start.elapsed().as_secs_f64();
                            eprint!("\r{total} of {runs} schedules, {rate:.0}/s   ");
                            let _ = std::io::stderr().flush();
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
        threads.into_iter().map(|thread| thread.join().unwrap_or_default()).collect()
    });
    if shows {
        eprintln!();
    }
    report(prey, base, &all, start.elapsed())
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
    println!("again: simulate {row}--seed {seed:#x} --schedule {}", outcome.schedule);
    false
}

fn exhaustive(most: Duration) -> bool {
    let two = Scenario::new(2);
    let scenarios = [
        ("2 CPUs, one panics", two),
        ("2 CPUs, both panic", two.cpu(1, Body::Panics)),
        ("2 CPUs, one panics, the other starts", two.cpu(1, Body::Starts)),
        ("2 CPUs, one panics, an NMI anywhere", Scenario { external_nmis: 1, ..two }),
        ("2 CPUs, both panic, an NMI anywhere", Scenario { external_nmis: 1, ..two.cpu(1, Body::Panics) }),
        (
            "3 CPUs, two panic, at most 3 preemptions",
            Scenario { preemptions: Some(3), ..Scenario::new(3).cpu(1, Body::Panics) },
        ),
    ];
    let mut good = true;
    for (name, scenario) in scenarios {
        let mut lab = Lab::new();
        let found = explore::exhaustive(&mut lab, &scenario, true, most);
        let complete = if found.complete { "complete" } else { "NOT COMPLETE" };
        println!(
            "{name}: {complete}, {} runs, {} states, {} pruned, {} shared locations, {:.1} s",
            found.runs,
            found.states,
            found.pruned,
            found.shared,
            found.took.as_secs_f64()
        );
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
