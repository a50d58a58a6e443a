//! What the HAL promises, asked of the simulated machine: the checks that run on metal, under many schedules.

use std::cell::RefCell;

use hal::Unsupported;
use hal::contract::{Board, Check, Contract, Verdict};

use crate::choose::Chooser;
use crate::platform::{SIM, Sim};
use crate::replay::Lab;
use crate::scenario::{Body, Scenario};
use crate::scheduler;
use crate::trap::Kind;
use crate::world::{End, machine, with};

/// Guest time that a run may take, ns.
pub(crate) const BOUND_NS: u64 = 600_000_000_000;

/// Checks that mean nothing here.
const WITHOUT: &[(&str, Unsupported)] =
    &[("stacks-are-apart", Unsupported::new("a simulated CPU has one stack, that of its coroutine"))];

thread_local! {
    static REPORTS: RefCell<Vec<(&'static str, Verdict)>> = const { RefCell::new(Vec::new()) };
}

/// One check under many schedules.
#[derive(Clone, Debug)]
pub struct Checked {
    /// Its name.
    pub name: &'static str,
    /// Its tier.
    pub tier: u8,
    /// Schedules under which it was made.
    pub runs: u64,
    /// What came of it; of several things the worst.
    pub verdict: Option<Verdict>,
}

/// The contract of a machine on which `scenario` is to run.
pub(crate) fn contract(board: &'static Board, scenario: &Scenario) -> Contract<Sim> {
    Contract {
        platform: &SIM,
        board,
        cpus: scenario.count(),
        image: !scenario.faults.no_image,
        without: WITHOUT,
        damage: || {
            with(|world| world.scenario.faults.bad_digest = true);
        },
        report: |name, verdict| {
            // The list is the host's: nothing of it may look like an allocation of the code that is simulated.
            with(|_| REPORTS.with_borrow_mut(|reports| reports.push((name, *verdict))));
        },
        end: || scheduler::leave(End::Calm),
    }
}

/// The first CPU's part.
pub(crate) fn run(tier: u8) -> ! {
    machine().contract().run(tier)
}

/// Every other CPU's. Interrupts are on whenever it asks again.
pub(crate) fn serve() -> ! {
    loop {
        machine().contract().serve();
        with(|world| world.me().interrupts = true);
        scheduler::relax();
    }
}

/// The executing CPU took a signal.
pub(crate) fn took(kind: Kind) {
    if with(|world| world.checks()) != Some(true) {
        return;
    }
    let contract = machine().contract();
    match kind {
        Kind::Interrupt => contract.board.ipi(hal::cpu::Cpu::current(&SIM)),
        Kind::Nmi => contract.board.nmi(&SIM),
    }
}

/// Makes every check, each under `schedules` schedules. `alter` makes another machine of the one on which it is made.
pub fn check(schedules: u64, alter: fn(Scenario) -> Scenario) -> Vec<Checked> {
    let mut all: Vec<_> = Contract::<Sim>::checks()
        .iter()
        .map(|Check { name, tier, .. }| Checked { name, tier: *tier, runs: 0, verdict: None })
        .collect();
    let mut tiers: Vec<_> = all.iter().map(|check| check.tier).collect();
    tiers.dedup();
    let mut lab = Lab::new();
    lab.world().reduce = false;
    for tier in tiers {
        for seed in 0..schedules {
            let mut scenario = Scenario::new(if (2..4).contains(&tier) { 3 } else { 1 });
            scenario.cpus = scenario.cpus.map(|body| if body == Body::Works { Body::Serves } else { body });
            scenario.cpus[0] = Body::Checks(tier);
            scenario.early_ticks = u8::MAX;
            let chooser = if seed % 2 == 0 { Chooser::random(seed) } else { Chooser::priority(seed) };
            lab.run(&alter(scenario), chooser);
            for (name, verdict) in REPORTS.take() {
                let Some(checked) = all.iter_mut().find(|check| check.name == name) else { continue };
                checked.runs += 1;
                if !matches!(checked.verdict, Some(Verdict::Broken(_))) {
                    checked.verdict = Some(verdict);
                }
            }
        }
    }
    all
}
