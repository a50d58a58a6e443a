//! What one CPU can see by itself.

use super::report::{Look, equal, holds, verdict};
use super::{Absence, Contract, PATIENCE_NS, Verdict, absences};
use crate::registers::{MAX_WORDS, Registers};
use crate::{CpuId, Platform, Unsupported};

/// How often what has to be so always is looked at.
const OFTEN: u32 = 10_000;

pub fn name_fits<P: Platform>(contract: &Contract<P>) -> Verdict {
    let name = contract.platform.name();
    let fits = (1..=16).contains(&name.len()) && name.is_ascii();
    verdict(holds(fits, "the machine's name is not 1 to 16 bytes of ASCII", None))
}

pub fn number_is_boot<P: Platform>(contract: &Contract<P>) -> Verdict {
    verdict((0..OFTEN).try_for_each(|_| {
        let current = contract.platform.current();
        equal("the number of the CPU that booted", None, CpuId::BOOT.index() as u64, current.index() as u64)
    }))
}

pub fn clock_moves<P: Platform>(contract: &Contract<P>) -> Verdict {
    let since = contract.platform.now_ns();
    // Rounds, not time: this clock may stand still.
    let mut rounds = 100_000_000_u32;
    while contract.platform.now_ns() <= since {
        rounds -= 1;
        if rounds == 0 {
            return verdict(super::report::broken("the clock stands still", None));
        }
        contract.platform.relax();
    }
    Verdict::Held
}

pub fn clock_never_back<P: Platform>(contract: &Contract<P>) -> Verdict {
    let mut before = contract.platform.now_ns();
    verdict((0..OFTEN).try_for_each(|_| {
        let now = contract.platform.now_ns();
        let by = before.saturating_sub(now);
        before = now;
        equal("ns that the clock went back by", None, 0, by)
    }))
}

pub fn console_takes_lines<P: Platform>(contract: &Contract<P>) -> Verdict {
    let look = || -> Look {
        equal("bytes taken of none", None, 0, contract.platform.write(b"") as u64)?;
        let line = b"contract: a line on the emergency console\n";
        let taken = contract.platform.write(line);
        holds(taken <= line.len(), "more bytes taken than there were", None)?;
        equal("bytes taken of a line", None, line.len() as u64, taken as u64)
    };
    verdict(look())
}

pub fn console_does_not_wait<P: Platform>(contract: &Contract<P>) -> Verdict {
    let since = contract.platform.now_ns();
    for _ in 0..100 {
        if contract.platform.read().is_none() {
            break;
        }
    }
    let took = contract.platform.now_ns().saturating_sub(since);
    verdict(holds(took < PATIENCE_NS, "reading the console waits for a byte", None))
}

pub fn reasons_are_given<P: Platform>(contract: &Contract<P>) -> Verdict {
    let (first, second) = (absences(contract.platform), absences(contract.platform));
    let look = |((_, first), (_, second)): (&Absence, &Absence)| -> Look {
        let Some(Unsupported { reason }) = first else {
            return holds(second.is_none(), "a capability that was there is gone", None);
        };
        let fits = (1..=Unsupported::MOST_BYTES).contains(&reason.len());
        let fits = fits && reason.is_ascii() && !reason.contains('\n');
        holds(fits, "the reason for an absence is not a line of 1 to 64 bytes of ASCII", None)?;
        holds(first == second, "a second look gets another reason", None)
    };
    verdict(first.iter().zip(&second).try_for_each(look))
}

pub fn capture_is_here<P: Platform>(contract: &Contract<P>) -> Verdict {
    let snapshot = contract.platform.capture();
    let registers = &snapshot.registers;
    let look = || -> Look {
        let count = registers.words().len();
        holds((1..=MAX_WORDS).contains(&count), "a register set of no words or too many", None)?;
        holds(registers.pc() != 0 && registers.sp() != 0, "no program counter or no stack pointer", None)?;
        let among = |word: u64| registers.words().contains(&word);
        holds(among(registers.pc()) && among(registers.sp()), "pc and sp are not among the words", None)?;
        holds(registers.resumable(), "the caller's own registers are not its own", None)?;
        holds(snapshot.interrupted.is_none(), "the caller was taken for an interrupt handler", None)?;
        equal("return addresses found for no room", None, 0, registers.backtrace(&mut []) as u64)?;
        let mut room = [0; 4];
        holds(registers.backtrace(&mut room) <= room.len(), "more return addresses than room", None)
    };
    verdict(look())
}

pub fn mask_stays<P: Platform>(contract: &Contract<P>) -> Verdict {
    let _ = contract.platform.mask_interrupts();
    let on = contract.platform.mask_interrupts();
    verdict(holds(!on, "interrupts are on after they were masked", None))
}
