//! Signals between CPUs.

use super::board::Order;
use super::report::{Look, broken, equal, holds, sent, there, verdict};
use super::{Contract, PATIENCE_NS, QUIET_NS, Verdict};
use crate::nmi::Strength;
use crate::{CpuId, Platform};

/// How far two CPUs' clocks may be apart, ns ([`crate::clock::Clock::now_ns`]).
const SKEW_NS: u64 = 10_000;

/// The answer of a CPU that has to answer.
fn answer<T>(answer: Option<T>, cpu: CpuId) -> Look<T> {
    match answer {
        Some(answer) => Ok(answer),
        None => broken("does not answer any more", Some(cpu)),
    }
}

pub fn number_of_each<P: Platform>(contract: &Contract<P>) -> Verdict {
    verdict(contract.others().try_for_each(|cpu| {
        let number = answer(contract.ask(cpu, Order::Number, 0), cpu)?;
        equal("its number of itself", Some(cpu), cpu.index() as u64, number)
    }))
}

pub fn clock_across_cpus<P: Platform>(contract: &Contract<P>) -> Verdict {
    let look = |cpu| -> Look {
        for _ in 0..100 {
            let before = contract.platform.now_ns();
            let there = answer(contract.ask(cpu, Order::Clock, 0), cpu)?;
            let after = contract.platform.now_ns();
            let behind = before.saturating_sub(there.saturating_add(SKEW_NS));
            equal("ns that its clock is behind, beyond 10 us", Some(cpu), 0, behind)?;
            let ahead = there.saturating_sub(after.saturating_add(SKEW_NS));
            equal("ns that its clock is ahead, beyond 10 us", Some(cpu), 0, ahead)?;
        }
        Ok(())
    };
    verdict(contract.others().try_for_each(look))
}

/// Of one kind of signal: how it is sent, and who has taken how many.
struct Kind<'c, P: Platform> {
    contract: &'c Contract<P>,
    order: Order,
}

impl<P: Platform> Kind<'_, P> {
    fn taken(&self, cpu: CpuId) -> u64 {
        let board = self.contract.board;
        if self.order == Order::Nmi { board.nmis(cpu) } else { board.ipis(cpu) }
    }

    fn send(&self, from: CpuId, to: CpuId) -> Look<Strength> {
        sent(answer(self.contract.signal(from, self.order, to), from)?, "could not be sent a signal", to)
    }

    /// The target has taken this many, and that many only.
    fn arrived(&self, to: CpuId, wanted: u64) -> Look {
        let arrived = self.contract.wait(PATIENCE_NS, || self.taken(to) >= wanted);
        if arrived { Ok(()) } else { equal("signals taken that were sent", Some(to), wanted, self.taken(to)) }
    }

    fn exactly(&self, to: CpuId, wanted: u64) -> Look {
        holds(self.contract.quiet(to), "does not go on", Some(to))?;
        equal("signals taken", Some(to), wanted, self.taken(to))
    }

    /// Each CPU signals each, one after the other.
    fn each_to_each(&self, itself_too: bool) -> Look {
        let all = || CpuId::all().take(self.contract.cpus);
        for to in all() {
            let mut wanted = self.taken(to);
            for from in all().filter(|from| itself_too || *from != to) {
                self.send(from, to)?;
                wanted += 1;
                self.arrived(to, wanted)?;
            }
            self.exactly(to, wanted)?;
        }
        Ok(())
    }

    /// A CPU with its interrupts masked takes what is said to be non-maskable, and nothing else.
    fn strength(&self, cpu: CpuId) -> Look {
        let contract = self.contract;
        let on = answer(contract.ask(cpu, Order::Mask, 0), cpu)?;
        equal("interrupts were on when it masked them", Some(cpu), 1, on)?;
        let before = self.taken(cpu);
        match self.send(contract.platform.current(), cpu)? {
            Strength::Maskable => {
                holds(contract.quiet(cpu), "does not go on", Some(cpu))?;
                equal("maskable signals taken with interrupts masked", Some(cpu), before, self.taken(cpu))?;
            }
            Strength::NonMaskable | Strength::NonMaskableNesting => {
                let arrived = contract.wait(PATIENCE_NS, || self.taken(cpu) != before);
                holds(arrived, "a signal said to be non-maskable waits for interrupts", Some(cpu))?;
                self.stays_masked(cpu)?;
            }
        }
        answer(contract.ask(cpu, Order::Release, 0), cpu)?;
        self.arrived(cpu, before + 1)?;
        self.exactly(cpu, before + 1)
    }

    /// What came through has not turned interrupts on.
    fn stays_masked(&self, cpu: CpuId) -> Look {
        let contract = self.contract;
        let Ok(_) = contract.platform.ipi() else { return Ok(()) };
        let ipi = Kind { contract, order: Order::Ipi };
        let before = ipi.taken(cpu);
        if ipi.send(contract.platform.current(), cpu)? == Strength::Maskable {
            holds(contract.quiet(cpu), "does not go on after a signal", Some(cpu))?;
            equal(
                "interrupts taken, masked, after a non-maskable signal",
                Some(cpu),
                before,
                ipi.taken(cpu),
            )?;
        }
        Ok(())
    }
}

pub fn ipi_arrives_once<P: Platform>(contract: &Contract<P>) -> Verdict {
    let look = || -> Look {
        there(contract.platform.ipi())?;
        Kind { contract, order: Order::Ipi }.each_to_each(false)
    };
    verdict(look())
}

pub fn ipi_strength<P: Platform>(contract: &Contract<P>) -> Verdict {
    let look = || -> Look {
        there(contract.platform.ipi())?;
        contract.others().try_for_each(|cpu| Kind { contract, order: Order::Ipi }.strength(cpu))
    };
    verdict(look())
}

pub fn nmi_arrives_once<P: Platform>(contract: &Contract<P>) -> Verdict {
    let look = || -> Look {
        there(contract.platform.nmi())?;
        Kind { contract, order: Order::Nmi }.each_to_each(true)
    };
    verdict(look())
}

pub fn nmi_strength<P: Platform>(contract: &Contract<P>) -> Verdict {
    let look = || -> Look {
        there(contract.platform.nmi())?;
        contract.others().try_for_each(|cpu| Kind { contract, order: Order::Nmi }.strength(cpu))
    };
    verdict(look())
}

/// Inside the handler of a signal another one nests, or waits for the handler's end, as its strength says.
pub fn nmi_in_nmi<P: Platform>(contract: &Contract<P>) -> Verdict {
    let (me, board) = (contract.platform.current(), contract.board);
    let nmi = Kind { contract, order: Order::Nmi };
    let look = |cpu| -> Look {
        let before = nmi.taken(cpu);
        board.hold_in_nmi(cpu);
        nmi.send(me, cpu)?;
        holds(contract.wait(PATIENCE_NS, || board.is_held(cpu)), "took no NMI", Some(cpu))?;
        let strength = nmi.send(me, cpu)?;
        if strength == Strength::NonMaskableNesting {
            let nested = contract.wait(PATIENCE_NS, || nmi.taken(cpu) == before + 2);
            holds(
                nested && board.is_held(cpu),
                "an NMI said to nest waits for the handler's end",
                Some(cpu),
            )?;
        } else {
            contract.pass(QUIET_NS);
            equal("NMIs taken inside an NMI handler", Some(cpu), before + 1, nmi.taken(cpu))?;
        }
        board.let_go(cpu);
        nmi.arrived(cpu, before + 2)?;
        nmi.exactly(cpu, before + 2)
    };
    let all = || -> Look {
        there(contract.platform.nmi())?;
        contract.others().try_for_each(look)
    };
    let verdict = verdict(all());
    contract.others().for_each(|cpu| board.let_go(cpu));
    verdict
}

/// A parked CPU takes no interrupt, and goes nowhere when it is signalled.
pub fn park_holds<P: Platform>(contract: &Contract<P>) -> Verdict {
    let look = || -> Look {
        let Some(cpu) = contract.others().last() else { return broken("there is no second CPU", None) };
        let me = contract.platform.current();
        answer(contract.ask(cpu, Order::Park, 0), cpu)?;
        let ipi = Kind { contract, order: Order::Ipi };
        let before = ipi.taken(cpu);
        let takes_none = |what| -> Look {
            if contract.platform.ipi().is_ok() && ipi.send(me, cpu)? == Strength::Maskable {
                contract.pass(QUIET_NS);
                equal(what, Some(cpu), before, ipi.taken(cpu))?;
            }
            Ok(())
        };
        takes_none("interrupts taken while parked")?;
        if contract.platform.nmi().is_ok() {
            let nmi = Kind { contract, order: Order::Nmi };
            let nmis = nmi.taken(cpu);
            if nmi.send(me, cpu)? != Strength::Maskable {
                nmi.arrived(cpu, nmis + 1)?;
            }
            takes_none("interrupts taken while parked, after an NMI")?;
        }
        Ok(())
    };
    verdict(look())
}
