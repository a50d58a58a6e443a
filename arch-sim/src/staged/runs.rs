//! Many schedules of a staged scenario, and what there is to see of each of them: the lines that the sequence wrote, the
//! record that it left, and how the machine ended. Whoever asked judges it; what is judged here are the promises.

use std::collections::BTreeMap;
use std::fmt::Write;

use crash_record::event::PREFIX;
use crash_record::layout::{LOG_AT, MAX_SLOTS, SLOT_WORDS, SLOTS_AT, header, slot};

use crate::action::Schedule;
use crate::choose::Chooser;
use crate::explore::{learn, seed_of};
use crate::oracle::Violation;
use crate::replay::Lab;
use crate::scenario::Scenario;
use crate::world::{End, World};

/// Runs that find out what CPUs share.
const LEARNING: u64 = 20;

/// What schedules of one scenario came to.
#[derive(Clone, Debug, Default)]
pub struct Ran {
    /// Schedules.
    pub schedules: u64,
    /// What there was to see, in the order of the first time.
    pub seen: Vec<Seen>,
}

/// Something that was seen, by the first schedule that showed it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Schedules that showed it.
    pub times: u64,
    /// The schedule.
    pub schedule: Schedule,
    /// How the machine ended.
    pub end: End,
    /// Promises that were not kept.
    pub violations: Vec<Violation>,
    /// The event lines.
    pub lines: Vec<String>,
    /// The words of the record that are not 0, with their places.
    pub record: Vec<(usize, u64)>,
    /// What happened, if it was asked for.
    pub timeline: Vec<String>,
}

/// Finds out what CPUs share in this scenario, and settles it: what a seed or a schedule means depends on nothing before.
fn prepare(lab: &mut Lab, scenario: &Scenario) {
    lab.world().memory.forget();
    learn(lab, scenario, LEARNING);
    lab.world().memory.frozen = true;
}

/// Runs so many schedules from `base` on: one half at random, the other by priorities. The same `base` gives the same
/// ones, whatever the lab ran before.
pub fn runs(lab: &mut Lab, scenario: &Scenario, base: u64, schedules: u64) -> Ran {
    prepare(lab, scenario);
    let mut ran = Ran::default();
    let mut known = BTreeMap::new();
    for number in 0..schedules {
        let seed = seed_of(base, number);
        let world =
            lab.run(scenario, if number % 2 == 0 { Chooser::random(seed) } else { Chooser::priority(seed) });
        let place = *known.entry(key(world)).or_insert_with(|| {
            ran.seen.push(Seen::of(world));
            ran.seen.len() - 1
        });
        ran.seen[place].times += 1;
        ran.schedules += 1;
    }
    ran
}

/// One schedule again, with its timeline. `None` if it is none of this scenario, or of this version of the code.
pub fn again(lab: &mut Lab, scenario: &Scenario, schedule: &Schedule) -> Option<Ran> {
    prepare(lab, scenario);
    let timeline = lab.show(scenario, schedule).timeline;
    let world = lab.world();
    if world.end == Some(End::Abandoned) {
        return None;
    }
    Some(Ran { schedules: 1, seen: vec![Seen { times: 1, timeline, ..Seen::of(world) }] })
}

/// The event lines.
fn lines(world: &World) -> impl Iterator<Item = &str> {
    let lines = world.console.split(|byte| *byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok());
    lines.filter(|line| line.contains(PREFIX))
}

/// The words of the record that are not 0.
fn words(world: &World) -> impl Iterator<Item = (usize, u64)> {
    let words = world.machine.record_bytes().as_chunks::<8>().0.iter();
    words.map(|word| u64::from_ne_bytes(*word)).enumerate().filter(|(_, word)| *word != 0)
}

/// All of a run that anybody judges: two runs with the same key are judged alike. Not in it are the log, which is text for
/// people, and of the CPUs what the promises are about: their registers, heartbeats, and who watched.
fn key(world: &World) -> String {
    let mut key = format!("{:?}", world.end);
    for violation in &world.oracle.violations {
        let _ = write!(key, " {}: {}", violation.promise, violation.what);
    }
    lines(world).for_each(|line| key.push_str(line));
    let judged = |at: usize| match at.checked_sub(SLOTS_AT) {
        Some(at) if at < MAX_SLOTS * SLOT_WORDS => JUDGED.contains(&(at % SLOT_WORDS)),
        _ => at < LOG_AT && at != header::SURPLUS_NMIS && at != header::NEXT_LOG,
    };
    for (at, word) in words(world).filter(|(at, _)| judged(*at)) {
        let _ = write!(key, " {at}={word:x}");
    }
    key
}

/// What is judged of a CPU.
const JUDGED: [usize; 7] = [
    slot::STATE,
    slot::OWNER_STATE,
    slot::RUNG,
    slot::DEFERRED_AT,
    slot::HELD_FIRST,
    slot::HELD_LAST,
    slot::ORPHAN,
];

impl Seen {
    fn of(world: &World) -> Seen {
        Seen {
            times: 0,
            schedule: world.schedule.clone(),
            end: world.end.unwrap_or(End::Stuck),
            violations: world.oracle.violations.clone(),
            lines: lines(world).map(str::to_owned).collect(),
            record: words(world).collect(),
            timeline: Vec::new(),
        }
    }
}

/// The word for how a machine ended: the one that scenario files have for it, where they have one.
fn word(end: End) -> &'static str {
    match end {
        End::Jumped => "capture",
        End::Rebooted => "reboot",
        End::PoweredOff => "poweroff",
        End::Halted => "halt",
        End::Calm => "nobody-panicked",
        End::Stuck => "stuck",
        End::Overdue => "overdue",
        End::Crashed => "crashed",
        End::Abandoned => "abandoned",
    }
}

impl std::fmt::Display for Ran {
    /// As lines of data: a keyword each, and the rest.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for seen in &self.seen {
            writeln!(f, "seen {}", seen.times)?;
            writeln!(f, "schedule {}", seen.schedule)?;
            writeln!(f, "end {}", word(seen.end))?;
            for Violation { promise, what } in &seen.violations {
                writeln!(f, "broken {promise}: {what}")?;
            }
            for line in &seen.timeline {
                writeln!(f, "timeline {line}")?;
            }
            for line in &seen.lines {
                writeln!(f, "line {line}")?;
            }
            f.write_str("record")?;
            for (at, word) in &seen.record {
                write!(f, " {at}={word:x}")?;
            }
            writeln!(f)?;
        }
        writeln!(f, "schedules {}", self.schedules)
    }
}
