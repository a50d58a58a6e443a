//! Deadlines, and what comes after a handler was left for good.

use super::board::Order;
use super::report::{Look, broken, equal, holds, sent, there, verdict};
use super::{Contract, PATIENCE_NS, QUIET_NS, Verdict};
use crate::Platform;
use crate::nmi::Strength;
use crate::timer::DeadlineTimer;

/// A short time that a timer is set to, ns.
const SHORT_NS: u64 = 60_000_000;
/// A longer one, ns.
const LONG_NS: u64 = 200_000_000;

/// The least that may have passed when a shot comes that was to come in `ns`: the timer's clock is its own.
const fn earliest(ns: u64) -> u64 {
    ns - ns / 8
}

/// Waits for a shot that was ordered at `since`, and says when it came.
fn shot<P: Platform>(contract: &Contract<P>, before: u64, since: u64) -> Look<u64> {
    let me = contract.platform.current();
    let came = contract.wait(PATIENCE_NS, || contract.board.nmis(me) != before);
    holds(came, "the timer's NMI does not come", Some(me))?;
    Ok(contract.platform.now_ns().saturating_sub(since))
}

/// How often something is tried again that a CPU which stood still meanwhile has spoilt.
const TRIES: u32 = 5;

/// Whether a shot ordered after `first` cannot have come yet. If it may have, all that may come has come afterwards.
fn in_time<P: Platform>(contract: &Contract<P>, first: u64, ns: u64) -> bool {
    let good = contract.platform.now_ns().saturating_sub(first) < earliest(ns);
    if !good {
        contract.pass(2 * LONG_NS);
    }
    good
}

fn exactly<P: Platform>(contract: &Contract<P>, wanted: u64) -> Look {
    let me = contract.platform.current();
    contract.pass(LONG_NS + QUIET_NS);
    equal("NMIs of the timer", Some(me), wanted, contract.board.nmis(me))
}

pub fn timer_comes_once<P: Platform>(contract: &Contract<P>) -> Verdict {
    let look = || -> Look {
        let (me, timer) = (contract.platform.current(), there(contract.platform.timer())?);
        let (before, since) = (contract.board.nmis(me), contract.platform.now_ns());
        sent(timer.arm(SHORT_NS), "could not arm its timer", me)?;
        let after = shot(contract, before, since)?;
        holds(after >= earliest(SHORT_NS), "the timer's NMI comes an eighth too early, or more", Some(me))?;
        exactly(contract, before + 1)
    };
    verdict(look())
}

pub fn timer_is_set_anew<P: Platform>(contract: &Contract<P>) -> Verdict {
    let look = || -> Look {
        let (me, timer) = (contract.platform.current(), there(contract.platform.timer())?);
        let (mut before, mut since) = (0, 0);
        for _ in 0..TRIES {
            let first = contract.platform.now_ns();
            sent(timer.arm(SHORT_NS), "could not arm its timer", me)?;
            (before, since) = (contract.board.nmis(me), contract.platform.now_ns());
            sent(timer.arm(LONG_NS), "could not arm its timer anew", me)?;
            if in_time(contract, first, SHORT_NS) {
                break;
            }
        }
        let after = shot(contract, before, since)?;
        holds(after >= earliest(LONG_NS), "an armed timer keeps its first time", Some(me))?;
        exactly(contract, before + 1)
    };
    verdict(look())
}

/// Also whether it gets through to a CPU that had masked its interrupts before, as arming promises, whatever its
/// strength: nothing unmasks them afterwards, so this one comes after the others.
pub fn timer_is_taken_back<P: Platform>(contract: &Contract<P>) -> Verdict {
    let look = || -> Look {
        let (me, timer) = (contract.platform.current(), there(contract.platform.timer())?);
        let mut before = 0;
        for _ in 0..TRIES {
            let first = contract.platform.now_ns();
            before = contract.board.nmis(me);
            sent(timer.arm(LONG_NS), "could not arm its timer", me)?;
            timer.disarm();
            if in_time(contract, first, LONG_NS) {
                break;
            }
        }
        contract.pass(LONG_NS);
        exactly(contract, before)?;
        let _ = contract.platform.mask_interrupts();
        let since = contract.platform.now_ns();
        let strength = sent(timer.arm(SHORT_NS), "could not arm its timer", me)?;
        // Arming lets one in that is maskable.
        shot(contract, before, since)?;
        if strength == Strength::Maskable {
            let first = contract.platform.now_ns();
            sent(timer.arm(LONG_NS), "could not arm its timer", me)?;
            let _ = contract.platform.mask_interrupts();
            if in_time(contract, first, LONG_NS) {
                contract.pass(2 * LONG_NS);
                let taken = contract.board.nmis(me);
                equal("maskable shots, with interrupts masked again", Some(me), before + 1, taken)?;
            }
            timer.disarm();
        }
        Ok(())
    };
    verdict(look())
}

/// Handlers that are left one after the other.
const HANDLERS: u32 = 5;

/// A CPU that left an NMI handler for a panic stack takes NMIs again.
pub fn nmi_after_unblock<P: Platform>(contract: &Contract<P>) -> Verdict {
    let look = || -> Look {
        there(contract.platform.nmi())?;
        let (me, board) = (contract.platform.current(), contract.board);
        let Some(cpu) = contract.others().last() else { return broken("there is no second CPU", None) };
        let send = || -> Look<Strength> {
            match contract.signal(me, Order::Nmi, cpu) {
                Some(result) => sent(result, "could not be sent an NMI", cpu),
                None => broken("does not answer any more", Some(me)),
            }
        };
        // As often as uses up what a port keeps for handlers in handlers.
        for _ in 0..HANDLERS {
            board.leave_from_nmi(cpu);
            if send()? == Strength::Maskable {
                // Masked as it is from its first handler on, it takes no other.
                board.let_go(cpu);
                return Ok(());
            }
            let left = contract.wait(PATIENCE_NS, || board.has_left(cpu));
            holds(left, "does not get from its NMI handler to a panic stack", Some(cpu))?;
        }
        let before = board.nmis(cpu);
        send()?;
        let taken = contract.wait(PATIENCE_NS, || board.nmis(cpu) == before + 1);
        holds(taken, "takes no NMI after it unblocked them", Some(cpu))?;
        holds(contract.quiet(cpu), "does not go on from an NMI on its panic stack", Some(cpu))
    };
    verdict(look())
}
