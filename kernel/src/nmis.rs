//! A CPU that is inside an NMI handler when the panic comes (`test.nmi`).
//!
//! Where NMIs wait until the handler returns, the machine itself keeps the stop signal from such a CPU. Where
//! they nest, the nested ones are swallowed here, in its stead.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use core_panic::stop::Signal;
use crash_record::layout::{header, slot};
use crash_record::names::{CpuState, Rung};
use hal::clock::Clock;
use hal::cpu::Cpu;
use hal::nmi::Nmi;
use hal::registers::Snapshot;
use hal::{CpuId, Platform};

use crate::console;
use crate::options::NmiHandler;
use crate::port::{PORT, Port};
use crate::state::{MAYDAY_RECORD, PANIC, options};

const IDLE: u32 = 0;
const SENT: u32 = 1;
const INSIDE: u32 = 2;
const DEAD: u32 = 3;

/// How far the CPU of `test.nmi` is.
static STATE: AtomicU32 = AtomicU32::new(IDLE);

/// How long it stays after what it waited for, ns.
const LINGER_NS: u64 = 5_000_000;
/// How long the path waits for a CPU that is late, ms: no step's time, since none runs.
const LATE_MS: u64 = 5_000;

/// This CPU is at work. If `test.nmi` names it, it sends itself the NMI in whose handler it is from then on.
pub fn at_work(cpu: CpuId) {
    if options().nmi.is_none_or(|(named, _)| named != cpu.index())
        || STATE.compare_exchange(IDLE, SENT, Ordering::AcqRel, Ordering::Acquire).is_err()
    {
        return;
    }
    let sent = PORT.nmi().map(|nmi| nmi.send(cpu));
    assert!(matches!(sent, Ok(Ok(_))), "no NMI could be sent");
}

/// Whether there is such a CPU, other than the one that waits here, and it is not in its handler yet.
pub fn awaited() -> bool {
    options().nmi.is_some_and(|(cpu, _)| cpu != PORT.current().index())
        && STATE.load(Ordering::Acquire) != INSIDE
}

/// The stop is over: the CPU that is late parks now, and is waited for. It runs with page tables that the next kernel
/// replaces, and on a loaded host may not get to run before that.
pub fn await_the_late() {
    let Some((cpu, NmiHandler::Late)) = options().nmi else { return };
    let parked = || CpuId::new(cpu).is_none_or(|cpu| MAYDAY_RECORD.state(cpu) == CpuState::Parked);
    console::wait(LATE_MS, parked);
}

/// This CPU dies here, inside an NMI handler.
pub fn die() -> ! {
    DEAD_CPU.store(PORT.current().index() as u32, Ordering::Release);
    STATE.store(DEAD, Ordering::Release);
    if let Ok(nmi) = PORT.nmi() {
        let _ = nmi.send(PORT.current());
    }
    loop {
        PORT.relax();
    }
}

/// Whether the dead CPU is in its handler: another NMI nests, and returns.
static NESTED: AtomicBool = AtomicBool::new(false);
static DEAD_CPU: AtomicU32 = AtomicU32::new(0);

/// An NMI arrived on this CPU. True if it was the business of `test.nmi`.
pub fn taken(snapshot: &Snapshot<<Port as Platform>::Registers>) -> bool {
    if STATE.load(Ordering::Acquire) == DEAD {
        let here = DEAD_CPU.load(Ordering::Acquire) as usize == PORT.current().index();
        if here && !NESTED.swap(true, Ordering::AcqRel) {
            wait_until(|| false);
        }
        return here;
    }
    let Some((cpu, what)) = options().nmi else { return false };
    if PORT.current().index() != cpu {
        return false;
    }
    match STATE.load(Ordering::Acquire) {
        SENT => {
            STATE.store(INSIDE, Ordering::Release);
            handle(what, snapshot)
        }
        INSIDE => matches!(what, NmiHandler::Late | NmiHandler::Deaf),
        _ => false,
    }
}

fn handle(what: NmiHandler, snapshot: &Snapshot<<Port as Platform>::Registers>) -> bool {
    match what {
        NmiHandler::Busy => {
            let me = PORT.current();
            wait_until(|| MAYDAY_RECORD.slot(me, slot::OWNER_SIGNALLED_AT) != 0);
        }
        NmiHandler::Late => wait_until(|| MAYDAY_RECORD.load(header::STOPPED_AT) != 0),
        NmiHandler::Deaf => wait_until(|| false),
        NmiHandler::Poll => {
            while PANIC.on_signal(Rung::Nmi, snapshot) == Signal::NotOurs {
                PORT.relax();
            }
        }
    }
    // Late as it is, it looks now.
    what != NmiHandler::Late
}

fn wait_until(condition: impl Fn() -> bool) {
    while !condition() {
        PORT.relax();
    }
    let since = PORT.now_ns();
    while PORT.now_ns().wrapping_sub(since) < LINGER_NS {
        PORT.relax();
    }
}
