//! From a seed to what every CPU does when the panic comes.

use crate::random::Random;
use crate::roles::{Role, Roles, Then};

/// Locks that the kernel's bench has.
const LOCKS: u32 = 4;

/// What a trial is about. They take turns, so that each has a quarter of the trials.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Nobody holds a lock, nobody keeps interrupts off for long.
    Quiet,
    /// Some hold locks, and everybody is through within half the grace.
    Holders,
    /// One CPU loops with interrupts off and holds nothing; the others work.
    Loop,
    /// All that can happen, the owner's own lock and a grace that is too short among it.
    Mixed,
}

impl Kind {
    /// All of them, in the order in which they take turns.
    pub const ALL: [Kind; 4] = [Kind::Quiet, Kind::Holders, Kind::Loop, Kind::Mixed];

    /// The kind of a trial.
    pub fn of(trial: u32) -> Kind {
        Kind::ALL[trial as usize % Kind::ALL.len()]
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Quiet => "quiet",
            Kind::Holders => "holders",
            Kind::Loop => "loop",
            Kind::Mixed => "mixed",
        }
    }
}

/// What everybody does in one trial: CPU 0 panics, `grace_us` is how long a critical section may go on once
/// the CPU is signalled. The same for every policy, so that trials can be compared.
pub fn roles(seed: u64, trial: u32, cpus: u32, grace_us: u64) -> Roles {
    let mut random = Random(seed ^ u64::from(trial).wrapping_mul(0xd134_2543_de82_ef95));
    let random = &mut random;
    let mut roles = Roles::default();
    match Kind::of(trial) {
        Kind::Quiet => {
            for cpu in 1..cpus as usize {
                if random.coin() {
                    let us = random.spread(10, 2_000);
                    roles.of.insert(cpu, Role { interrupts: random.coin(), lock: None, us, then: Then::End });
                }
            }
            // With nobody told to do anything there is no moment to count from.
            if roles.of.is_empty() {
                roles.of.insert(1, Role { interrupts: true, lock: None, us: 10, then: Then::End });
            }
        }
        Kind::Loop => {
            let cpu = 1 + random.below(u64::from(cpus) - 1) as usize;
            roles.of.insert(cpu, Role { interrupts: false, lock: None, us: 0, then: Then::Loop });
        }
        Kind::Holders => hold(random, &mut roles, cpus, grace_us, false),
        Kind::Mixed => hold(random, &mut roles, cpus, grace_us, true),
    }
    roles
}

/// How long a section still takes when the panic comes.
fn section(random: &mut Random, grace_us: u64, beyond: bool) -> u64 {
    match random.below(100) {
        0..10 => random.below(100),
        10..40 => random.spread(100, grace_us / 50),
        40..75 => random.spread(grace_us / 50, grace_us / 2),
        _ if beyond => random.spread(2 * grace_us, 3 * grace_us),
        _ => random.spread(100, grace_us / 2),
    }
}

/// CPUs with locks, in some order: each may ask for the lock of one before it, so that nobody waits in a circle.
fn hold(random: &mut Random, roles: &mut Roles, cpus: u32, grace_us: u64, mixed: bool) {
    let mut free: Vec<_> = (0..LOCKS).collect();
    random.shuffle(&mut free);
    let mut held = Vec::new();
    if mixed && random.percent(25) {
        let lock = free.pop();
        roles.of.insert(0, Role { interrupts: true, lock, us: 0, then: Then::End });
        held.extend(lock);
    }
    let mut others: Vec<_> = (1..cpus as usize).collect();
    random.shuffle(&mut others);
    for cpu in others {
        let interrupts = random.coin();
        let us = section(random, grace_us, mixed);
        let other = held.get(random.below(held.len() as u64) as usize).copied();
        let choice = random.below(100);
        // The first one holds a lock, whatever else there is.
        let first = !roles.of.keys().any(|cpu| *cpu != 0);
        let role = match (choice, other) {
            (0..15, Some(other)) if !first => {
                let us = if random.coin() { 0 } else { us };
                Role { interrupts, lock: None, us, then: Then::Ask(other) }
            }
            (15..25, _) if !first => continue,
            (25..32, _) if mixed && !first => Role { interrupts: false, lock: None, us: 0, then: Then::Loop },
            _ => {
                let Some(lock) = free.pop() else { continue };
                let (us, then) = match (random.below(100), other) {
                    (0..30, Some(other)) => (if random.coin() { 0 } else { us }, Then::Ask(other)),
                    (30..42, _) if mixed => (us, Then::Panic),
                    (42..50, _) if mixed => (us, Then::Loop),
                    _ => (us, Then::End),
                };
                held.push(lock);
                Role { interrupts, lock: Some(lock), us, then }
            }
        };
        roles.of.insert(cpu, role);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: u64 = 100_000;

    #[test]
    fn a_seed_says_the_same_for_ever() {
        let lines: Vec<_> = (0..8).map(|trial| roles(1, trial, 4, GRACE).to_string()).collect();
        insta::assert_snapshot!(lines.join("\n"));
        assert_ne!(roles(2, 1, 4, GRACE), roles(1, 1, 4, GRACE));
    }

    #[test]
    fn what_is_made_up_is_what_the_kernel_takes() {
        for (trial, cpus) in (0..4_000).zip([2, 4, 8, 16].into_iter().cycle()) {
            let roles = roles(7, trial, cpus, GRACE);
            let kind = Kind::of(trial);
            let mut locks: Vec<_> = roles.of.values().filter_map(|role| role.lock).collect();
            locks.sort_unstable();
            let all = locks.len();
            locks.dedup();
            assert!(all == locks.len() && locks.iter().all(|lock| *lock < LOCKS), "{roles}");
            assert!(!roles.of.is_empty() && roles.of.keys().all(|cpu| *cpu < cpus as usize), "{roles}");
            assert_eq!(!locks.is_empty(), matches!(kind, Kind::Holders | Kind::Mixed), "{roles}");
            for (cpu, role) in &roles.of {
                assert!(role.us <= 3 * GRACE, "{roles}");
                if let Then::Ask(lock) = role.then {
                    assert!(role.lock != Some(lock) && roles.holder(lock).is_some(), "{roles}");
                }
                let within = roles.ends_us(*cpu, 0).is_some_and(|us| us <= GRACE / 2);
                assert!(within || matches!(kind, Kind::Loop | Kind::Mixed), "{roles}");
            }
        }
    }

    #[test]
    fn everything_that_may_happen_does() {
        let of = |cpu: usize, wanted: fn(&Role) -> bool| {
            let all = (0..400).map(|trial| roles(3, trial, 4, GRACE));
            all.filter(|roles| roles.of.get(&cpu).is_some_and(wanted)).count()
        };
        assert!(of(0, |role| role.lock.is_some()) > 5);
        for wanted in [
            (|role| role.lock.is_none() && matches!(role.then, Then::Ask(_))) as fn(&Role) -> bool,
            |role| role.lock.is_some() && matches!(role.then, Then::Ask(_)),
            |role| role.lock.is_some() && role.then == Then::Loop,
            |role| role.lock.is_none() && role.then == Then::Loop,
            |role| role.then == Then::Panic,
            |role| role.lock.is_some() && role.us > GRACE,
            |role| role.lock.is_some() && role.interrupts,
            |role| role.lock.is_some() && !role.interrupts,
        ] {
            assert!(of(2, wanted) > 2);
        }
    }
}
