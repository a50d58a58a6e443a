//! Searches: everything, or as much as there is time for.

use std::cell::Cell;
use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use crate::action::Schedule;
use crate::cases::{Case, Status};
use crate::choose::{Chooser, Exhaustive};
use crate::random::{Random, mix};
use crate::replay::{Lab, Outcome};
use crate::scenario::Scenario;
use crate::world::{End, World};

/// What an exhaustive search found.
#[derive(Debug, Default)]
pub struct Searched {
    /// Runs.
    pub runs: u64,
    /// Distinct states at choices.
    pub states: usize,
    /// Runs given up since their future was known.
    pub pruned: u64,
    /// Locations that CPUs share.
    pub shared: usize,
    /// Everything was seen.
    pub complete: bool,
    /// Wall time.
    pub took: Duration,
    /// What the ends looked like, and how often.
    pub ends: BTreeMap<String, u64>,
    /// The first run that broke a promise.
    pub failure: Option<Outcome>,
}

impl std::fmt::Display for Searched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let complete = if self.complete { "complete" } else { "NOT COMPLETE" };
        let (runs, states, pruned, seconds) = (self.runs, self.states, self.pruned, self.took.as_secs_f64());
        write!(
            f,
            "{complete}, {runs} runs, {states} states, {pruned} runs pruned, {} shared locations, {} ends, {seconds:.1} s",
            self.shared,
            self.ends.len()
        )
    }
}

/// Finds out which locations are shared, by some runs that switch anywhere.
pub fn learn(lab: &mut Lab, scenario: &Scenario, runs: u64) {
    lab.world().reduce = false;
    lab.world().memory.frozen = false;
    for seed in 0..runs {
        let chooser = if seed % 2 == 0 { Chooser::random(seed) } else { Chooser::priority(seed) };
        lab.run(scenario, chooser);
    }
    lab.world().reduce = true;
}

/// The same for hunts, over all kinds of scenarios, and then settles it: what a seed means must not
/// depend on the seeds before it.
pub fn prepare(lab: &mut Lab, prey: Prey) {
    lab.world().memory.forget();
    for seed in 0..300 {
        learn(lab, &prey.scenario(seed), 2);
    }
    lab.world().memory.frozen = true;
}

/// Tries every schedule of a scenario, unless the time runs out before. `prune`: with the reductions.
pub fn exhaustive(lab: &mut Lab, scenario: &Scenario, prune: bool, most: Duration) -> Searched {
    let start = Instant::now();
    lab.world().memory.forget();
    learn(lab, scenario, 200);
    lab.world().reduce = prune;
    lab.hashing = prune;
    let mut search = Exhaustive::new(prune);
    let mut searched = Searched::default();
    loop {
        let world = lab.run(scenario, Chooser::Exhaustive(Box::new(search)));
        search = match std::mem::take(&mut world.chooser) {
            Chooser::Exhaustive(back) => *back,
            _ => Exhaustive::new(prune),
        };
        searched.runs += 1;
        if prune && world.memory.grown {
            search.restart();
            searched = Searched::default();
            continue;
        }
        if world.end != Some(End::Abandoned) {
            *searched.ends.entry(describe(world)).or_default() += 1;
        }
        if !world.oracle.violations.is_empty() {
            searched.failure = Some(lab.outcome());
            break;
        }
        if !search.advance() {
            searched.complete = true;
            break;
        }
        if start.elapsed() > most {
            break;
        }
    }
    searched.states = search.states();
    searched.pruned = search.pruned;
    searched.shared = lab.world().memory.count();
    searched.took = start.elapsed();
    lab.world().reduce = true;
    lab.hashing = false;
    searched
}

/// An end state: how the machine ended, and what the record says about every CPU.
pub fn describe(world: &World) -> String {
    use crash_record::layout::{header, slot};
    let mut text = format!("{:?} owner {:?}", world.end.unwrap_or(End::Stuck), world.oracle.owner);
    for cpu in hal::CpuId::all().take(world.count) {
        let word = |at| world.machine.record.slot(cpu, at);
        let (says, saw) = (word(slot::STATE), word(slot::OWNER_STATE));
        let rung = word(slot::RUNG);
        text.push_str(&format!("; {cpu}: {says}/{saw} by {rung}"));
    }
    let counted = world.machine.record.load(header::SURPLUS_NMIS);
    text.push_str(&format!("; {counted} counted"));
    text
}

/// What random searches found.
#[derive(Default)]
pub struct Hunted {
    /// Runs.
    pub runs: u64,
    /// Hashes of the distinct pairs of scenario and schedule.
    pub distinct: HashSet<u64>,
    /// Ends.
    pub ends: BTreeMap<End, u64>,
    /// For each step how often each kind of thing happened in it.
    pub coverage: [[u32; 8]; 16],
    /// Wall time.
    pub took: Duration,
    /// The first run that broke a promise: its seed and what came of it.
    pub failure: Option<(u64, Outcome)>,
}

/// What a hunt runs.
#[derive(Clone, Copy)]
pub enum Prey {
    /// Any scenario.
    Any,
    /// A row.
    Row(&'static Case),
}

impl Prey {
    /// The scenario of a seed.
    pub fn scenario(&self, seed: u64) -> Scenario {
        match self {
            Prey::Row(Case { status: Status::Native(scenario, _), .. }) => scenario(),
            _ => Scenario::random(seed),
        }
    }

    /// What a row wants beyond the promises.
    pub fn check(&self, world: &mut World) {
        if let Prey::Row(Case { status: Status::Native(_, check), .. }) = self
            && let Err(what) = check(world)
        {
            world.violation("row", format_args!("{what}"));
        }
    }
}

/// The chooser of a seed.
pub fn chooser_of(seed: u64) -> Chooser {
    if mix(seed, 1).is_multiple_of(3) { Chooser::priority(seed) } else { Chooser::random(seed) }
}

/// The seed of the `number`th run of a hunt.
pub fn seed_of(base: u64, number: u64) -> u64 {
    Random::new(base ^ number.wrapping_mul(0x2545_F491_4F6C_DD1D)).draw()
}

thread_local! {
    static RUNNING: Cell<Option<(u64, u64)>> = const { Cell::new(None) };
}

/// The hunt and the number of the run in it that this thread is at, for whoever reports a panic in there.
pub fn running() -> Option<(u64, u64)> {
    RUNNING.get()
}

/// Runs `runs` schedules from `base` on. `progress` is called now and then, and stops the hunt by false.
pub fn hunt(
    lab: &mut Lab,
    prey: Prey,
    base: u64,
    runs: std::ops::Range<u64>,
    mut progress: impl FnMut(&Hunted) -> bool,
) -> Hunted {
    prepare(lab, prey);
    lab.world().coverage = [[0; 8]; 16];
    let start = Instant::now();
    let mut hunted = Hunted::default();
    for number in runs {
        RUNNING.set(Some((base, number)));
        let seed = seed_of(base, number);
        let scenario = prey.scenario(seed);
        let world = lab.run(&scenario, chooser_of(seed));
        prey.check(world);
        hunted.runs += 1;
        hunted.distinct.insert(mix(world.schedule_hash, scenario.hash()));
        if let Some(end) = world.end {
            *hunted.ends.entry(end).or_default() += 1;
        }
        if !world.oracle.violations.is_empty() {
            hunted.failure = Some((seed, lab.outcome()));
            break;
        }
        if number % 1024 == 0 {
            hunted.took = start.elapsed();
            if !progress(&hunted) {
                break;
            }
        }
    }
    RUNNING.set(None);
    hunted.took = start.elapsed();
    hunted.coverage = lab.world().coverage;
    hunted
}

/// Text for people about a run that broke a promise.
pub fn explain(lab: &mut Lab, prey: Prey, seed: u64, schedule: &Schedule) -> String {
    let scenario = prey.scenario(seed);
    let outcome = lab.show(&scenario, schedule);
    prey.check(lab.world());
    let mut text = format!("{scenario:?}\n\n");
    for line in &outcome.timeline {
        text.push_str(line);
        text.push('\n');
    }
    for violation in lab.outcome().violations {
        text.push_str(&format!("{}: {}\n", violation.promise, violation.what));
    }
    text
}
