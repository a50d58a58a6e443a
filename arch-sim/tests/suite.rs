//! The bounded suite: every row, every schedule of the small scenarios, and a random hunt.

use std::io::Write;
use std::time::Duration;

use arch_sim::action::Schedule;
use arch_sim::cases::{CASES, Status};
use arch_sim::choose::Chooser;
use arch_sim::explore::{self, Prey};
use arch_sim::faults::{Call, Faults, What};
use arch_sim::lock::Which;
use arch_sim::plan::{Op, Plan};
use arch_sim::replay::Lab;
use arch_sim::scenario::{Body, Does, Scenario};
use arch_sim::world::End;
use core_panic::Config;
use core_panic::config::{FinalAction, KexecMode};
use crash_record::names::Class;

/// More than any search here takes, on a slow and busy machine.
const MOST: Duration = Duration::from_secs(400);

/// Past the capture of the test harness: the figures are wanted from green runs too.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn hunt(prey: Prey, runs: u64, name: &str) {
    let mut lab = Lab::new();
    let hunted = explore::hunt(&mut lab, prey, 1, 0..runs, |_| true);
    if let Some((seed, outcome)) = hunted.failure {
        let story = explore::explain(&mut lab, prey, seed, &outcome.schedule);
        panic!("{name}: {:?}\n{story}\n--seed {seed:#x} --replay {}", outcome.violations, outcome.schedule);
    }
    let rate = hunted.runs as f64 / hunted.took.as_secs_f64();
    say(&format!("{name}: {} schedules, {} distinct, {rate:.0}/s", hunted.runs, hunted.distinct.len()));
}

#[test]
fn every_native_row_holds() {
    for case in CASES {
        if let Status::Native(..) = case.status {
            hunt(Prey::Row(case), 300, case.id);
        }
    }
}

/// Whichever write to the console it is that faults, also between two notifiers.
#[test]
fn a_fault_in_the_panics_own_words_costs_no_notifier() {
    let mut lab = Lab::new();
    let config = Config { kexec: KexecMode::Off, ..Config::DEFAULT };
    let plain = Scenario::new(1).config(config);
    let plain = plain.notifier(Class::Inform, Does::Work).notifier(Class::Inform, Does::Work);
    let plain = plain.notifier(Class::PreReboot, Does::Work).notifier(Class::PreReboot, Does::Work);
    let mut faulted = 0;
    for nth in 0..200 {
        let scenario = plain.faults(Faults::NONE.with(Call::Console, nth, What::Fault));
        let world = lab.run(&scenario, Chooser::random(u64::from(nth)));
        let (found, notified) = (format!("{:?}", world.oracle.violations), world.oracle.notified);
        assert_eq!((found.as_str(), notified), ("[]", 0b1111), "write {nth} to the console faults");
        faulted += u32::from(world.calls[Call::Console as usize] > nth);
    }
    assert!((20..200).contains(&faulted), "{faulted} of 200 writes are made");
}

#[test]
fn any_scenario_keeps_the_promises() {
    hunt(Prey::Any, 40_000, "any");
}

/// Every schedule, and a machine that ends.
fn everything(name: &str, scenario: &Scenario) {
    let mut lab = Lab::new();
    let found = explore::exhaustive(&mut lab, scenario, true, MOST);
    say(&format!("{name}: {found}"));
    if let Some(failure) = found.failure {
        let story = lab.show(scenario, &failure.schedule).timeline.join("\n");
        panic!("{name}: {:?}\n{story}\n{}", failure.violations, failure.schedule);
    }
    assert!(found.complete, "{name}: not everything was seen");
}

#[test]
fn every_schedule_of_a_panic_and_a_worker() {
    everything("2 CPUs, one panics", &Scenario::new(2));
}

#[test]
fn every_schedule_of_two_that_panic() {
    everything("2 CPUs, both panic", &Scenario::new(2).cpu(1, Body::Panics));
}

#[test]
fn every_schedule_of_a_cpu_that_starts() {
    everything("2 CPUs, one panics, one starts", &Scenario::new(2).cpu(1, Body::Starts));
}

#[test]
fn every_schedule_with_an_nmi_at_every_point() {
    everything("2 CPUs, one panics, an NMI anywhere", &Scenario { external_nmis: 1, ..Scenario::new(2) });
}

/// The stop is deferred, and a second signal may come at any point: in the section, in its release, after it.
#[test]
fn every_schedule_of_a_critical_section_with_an_nmi_at_every_point() {
    let ops = [Op::Take(Which::Skip), Op::Work(1), Op::Drop, Op::Work(1)];
    let holder = Scenario::new(2).cpu(1, Body::Runs(Plan::new(&ops)));
    everything("2 CPUs, one panics, one holds a lock", &holder);
    let any = Scenario { external_nmis: 1, preemptions: Some(1), ..holder };
    everything("2 CPUs, one panics, one holds a lock, an NMI anywhere, at most 1 preemption", &any);
    let own = Scenario { external_to: Some(1), preemptions: Some(2), ..any };
    everything("2 CPUs, one panics, one holds a lock, an NMI to that one, at most 2 preemptions", &own);
}

/// Three take bounds: on switches away from a CPU that could go on, and one poll of each waiting CPU per 10 ms.
fn bounded(preemptions: u8, scenario: Scenario) -> Scenario {
    Scenario { preemptions: Some(preemptions), turns: 1, ..scenario }
}

#[test]
fn every_schedule_of_three_cpus_with_three_preemptions() {
    everything("3 CPUs, one panics, at most 3 preemptions", &bounded(3, Scenario::new(3)));
}

#[test]
fn every_schedule_of_three_cpus_two_of_which_panic_with_one_preemption() {
    let two = Scenario::new(3).cpu(1, Body::Panics);
    everything("3 CPUs, two panic, at most 1 preemption", &bounded(1, two));
}

/// One CPU, and the whole way to the final action past a notifier that hangs.
#[test]
fn every_place_for_an_nmi_and_a_fault_on_one_cpu() {
    let config = Config { kexec: KexecMode::Off, final_action: FinalAction::Halt, ..Config::DEFAULT };
    let one = Scenario::new(1).config(config).notifier(Class::Inform, Does::Spin);
    everything("1 CPU, an NMI anywhere", &Scenario { external_nmis: 1, ..one });
    everything("1 CPU, a machine check anywhere", &Scenario { machine_checks: 1, ..one });
}

/// Pruning leaves no end state out.
#[test]
fn pruned_and_unpruned_searches_reach_the_same_ends() {
    let scenarios = [
        ("both panic", bounded(1, Scenario::new(2).cpu(1, Body::Panics))),
        ("one starts", bounded(1, Scenario::new(2).cpu(1, Body::Starts))),
        ("an NMI", bounded(0, Scenario { external_nmis: 1, ..Scenario::new(2) })),
        ("a machine check", bounded(0, Scenario { machine_checks: 1, ..Scenario::new(2) })),
    ];
    for (name, scenario) in scenarios {
        let mut lab = Lab::new();
        let pruned = explore::exhaustive(&mut lab, &scenario, true, MOST);
        say(&format!("pruned, {name}: {pruned}"));
        let unpruned = explore::exhaustive(&mut lab, &scenario, false, MOST);
        say(&format!("unpruned, {name}: {unpruned}"));
        assert!(pruned.complete && unpruned.complete, "{name}");
        let ends = |found: &explore::Searched| found.ends.keys().cloned().collect::<Vec<_>>();
        assert_eq!(ends(&pruned), ends(&unpruned), "{name}");
        assert!(pruned.runs <= unpruned.runs, "{name}");
    }
}

/// A schedule gives the same run again, on another machine too.
#[test]
fn a_schedule_replays() {
    let (mut lab, mut other) = (Lab::new(), Lab::new());
    explore::prepare(&mut lab, Prey::Any);
    explore::prepare(&mut other, Prey::Any);
    for number in 0..2_000 {
        let seed = explore::seed_of(3, number);
        let scenario = Scenario::random(seed);
        lab.run(&scenario, explore::chooser_of(seed));
        let first = lab.outcome();
        let text = first.schedule.to_string();
        let schedule: Schedule = text.parse().expect("it was printed");
        other.run(&scenario, Chooser::Replay(schedule, 0));
        let again = other.outcome();
        assert_eq!((first.end, first.took_ns), (again.end, again.took_ns), "seed {seed:#x}");
        assert_eq!(first.schedule, again.schedule, "seed {seed:#x}");
        assert_eq!(lab.world().console, other.world().console, "seed {seed:#x}");
    }
}

/// A schedule of another scenario is not passed off as a run.
#[test]
fn a_schedule_that_does_not_fit_is_said_so() {
    let mut lab = Lab::new();
    let schedule: Schedule = "1r3".parse().expect("a schedule");
    assert_eq!(lab.show(&Scenario::new(2), &schedule).end, End::Abandoned);
}

/// The allocator's counter counts.
#[test]
fn an_allocation_of_a_simulated_cpu_is_noticed() {
    arch_sim::allocator::take_count();
    arch_sim::allocator::in_guest(true);
    let memory = std::hint::black_box(vec![1u8; 100]);
    arch_sim::allocator::in_guest(false);
    drop(memory);
    assert_eq!(arch_sim::allocator::take_count(), 1);
}
