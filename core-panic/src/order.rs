//! The order, as data.
//!
//! Why this order: everything that decides about other CPUs comes before anything that can hang;
//! what a dump needs comes before what only informs; hostile acts on a console come last. With
//! `kexec=pre` and no `BeforeDump` notifier the path from the claim to the jump is claim, announce,
//! stop, verify, quiesce, jump, and nothing else.

use crate::config::{Config, KexecMode, StopPolicy};
use crate::stop::ladder;
use crash_record::names::{Class, Step};

/// What a step does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Say what happened.
    Announce,
    /// Stop the other CPUs.
    Stop,
    /// Call the notifiers of a class.
    Notify(Class),
    /// Verify, quiesce, jump.
    Kexec,
    /// Write the record to storage that survives a reset.
    Record,
    /// Print what is unprinted.
    Flush,
    /// End this kernel.
    Final,
}

/// What the stop step may take beyond the answers of its ladder, ms: sending to every CPU, and writing down
/// what became of each.
const STOP_BEYOND_ANSWERS_MS: u64 = 1_000;

/// The stop's budget: every rung of the longest ladder may wait as long as it has, and the deadline comes
/// after that. A deadline that came first would abandon a ladder that does what it should.
const STOP_MS: u64 = longest_ladder_ms() + STOP_BEYOND_ANSWERS_MS;

const fn longest_ladder_ms() -> u64 {
    let mut longest = 0;
    let mut policy = 0;
    while policy < StopPolicy::ALL.len() {
        // Without an image: the longer one of a preset that has two.
        let rungs = ladder(StopPolicy::ALL[policy], false);
        // Whoever outlives its grace has as long again to answer the second signal.
        let second = matches!(StopPolicy::ALL[policy], StopPolicy::Deferred);
        let mut sum = if second { rungs[0].1 } else { 0 };
        let mut rung = 0;
        while rung < rungs.len() {
            sum += rungs[rung].1;
            rung += 1;
        }
        longest = if sum > longest { sum } else { longest };
        policy += 1;
    }
    longest
}

/// A line of the order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StepSpec {
    /// Its name.
    pub step: Step,
    /// What it does.
    pub action: Action,
    /// What it is meant to take, in ms; per notifier where it calls notifiers. The deadline is this
    /// times `panic.scale`.
    pub budget_ms: u64,
    /// May be left out when the path has to be shortened.
    pub optional: bool,
}

/// The steps after the claim.
pub const ORDER: [StepSpec; 10] = [
    StepSpec { step: Step::Announce, action: Action::Announce, budget_ms: 1_000, optional: true },
    StepSpec { step: Step::Stop, action: Action::Stop, budget_ms: STOP_MS, optional: false },
    StepSpec {
        step: Step::BeforeDump,
        action: Action::Notify(Class::BeforeDump),
        budget_ms: 10,
        optional: true,
    },
    StepSpec { step: Step::KexecPre, action: Action::Kexec, budget_ms: 1_000, optional: false },
    StepSpec { step: Step::Inform, action: Action::Notify(Class::Inform), budget_ms: 50, optional: true },
    StepSpec { step: Step::Cleanup, action: Action::Notify(Class::PreReboot), budget_ms: 50, optional: true },
    StepSpec { step: Step::KexecPost, action: Action::Kexec, budget_ms: 1_000, optional: false },
    StepSpec { step: Step::Record, action: Action::Record, budget_ms: 500, optional: true },
    StepSpec { step: Step::Flush, action: Action::Flush, budget_ms: 10_000, optional: true },
    StepSpec { step: Step::Final, action: Action::Final, budget_ms: 1_000, optional: false },
];

/// What a step may take on top of its budget because CPUs may finish their critical sections, ms.
pub fn grace_ms(spec: &StepSpec, config: &Config) -> u64 {
    if spec.action == Action::Stop { grace_of(config) } else { 0 }
}

fn grace_of(config: &Config) -> u64 {
    if config.stop == StopPolicy::Deferred { u64::from(config.grace_ms) } else { 0 }
}

/// What it may take to settle a stop that was broken off, ms: a second, and the grace of deferred CPUs, who have it then,
/// too.
pub(crate) fn settle_ms(config: &Config) -> u64 {
    1_000 + grace_of(config)
}

/// Whether this configuration has this step at all. A step that it does not have leaves no trace; a
/// step that it has and that cannot be done is recorded as skipped, with the reason (P5).
pub fn applies(spec: &StepSpec, config: &Config) -> bool {
    match spec.step {
        Step::KexecPre => config.kexec == KexecMode::Pre,
        Step::KexecPost => config.kexec == KexecMode::Post,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_the_order_of_the_step_numbers() {
        assert!(ORDER.windows(2).all(|pair| pair[0].step < pair[1].step));
    }

    #[test]
    fn exactly_one_kexec_or_none() {
        for (kexec, expected) in [(KexecMode::Pre, 1), (KexecMode::Post, 1), (KexecMode::Off, 0)] {
            let config = Config { kexec, ..Config::DEFAULT };
            let jumps = ORDER.iter().filter(|spec| spec.action == Action::Kexec && applies(spec, &config));
            assert_eq!(jumps.count(), expected);
        }
    }
}
