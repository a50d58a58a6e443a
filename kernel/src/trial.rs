//! A panic that finds each CPU at what the command line says (`test.role`), and a notifier that wants to write to
//! the journal behind the first lock.
//!
//! What a CPU does when the panic comes is not left to luck: everybody gets to its place first, and how long a
//! critical section still takes counts from a moment that the CPU which panics sets right before it does. So what
//! became of the locks can be held against something that the stop has no part in.

use core::fmt::Display;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use core_panic::notifier::{Context, Refusal};
use crash_lock::{CrashLock, Skip};
use hal::CpuId;
use hal::clock::Clock;
use hal::cpu::Cpu;

use crate::port::{self, PORT, Port};
use crate::roles::{LOCKS, Then};
use crate::state::options;
use crate::traps::DISTURBED;

/// Entries that were written.
struct Journal(u64);

static JOURNALS: [CrashLock<Journal, Port, Skip>; LOCKS] = [const { CrashLock::new(Journal(0)) }; LOCKS];

/// CPUs that are where the command line wants them, a bit each.
static READY: AtomicU32 = AtomicU32::new(0);
/// Clock right before the panic, ns; 0 before.
static MOMENT: AtomicU64 = AtomicU64::new(0);

fn journal(number: usize) -> &'static CrashLock<Journal, Port, Skip> {
    &JOURNALS[number % LOCKS]
}

/// Waits until every CPU with a role is at its place. Called by the CPU that is to panic, which takes its own lock
/// first: others may have to wait for it. Politely: an emulator that runs one CPU at a time goes on to the next one
/// there, and else not for a long time.
pub fn gather(me: CpuId) {
    let options = options();
    if let Some(lock) = options.role(me).and_then(|role| role.lock) {
        core::mem::forget(journal(lock).lock());
    }
    let wanted = CpuId::all().filter(|cpu| *cpu != me && options.role(*cpu).is_some());
    let wanted = wanted.fold(0, |bits, cpu| bits | cpu.bit());
    while READY.load(Ordering::Acquire) & wanted != wanted {
        PORT.relax();
    }
}

/// The panic comes now.
pub fn begin() {
    MOMENT.store(PORT.now_ns().max(1), Ordering::Release);
}

/// Whether so many µs have passed since the panic.
fn over(us: u64) -> bool {
    let moment = MOMENT.load(Ordering::Acquire);
    moment != 0 && PORT.now_ns().saturating_sub(moment) >= us * 1_000
}

/// Plays the part of `cpu`, if it has one. Once.
pub fn play(cpu: CpuId) {
    let options = options();
    let Some(role) = options.role(cpu).filter(|_| options.cpu != cpu.index()) else { return };
    let mine = cpu.bit();
    if READY.load(Ordering::Acquire) & mine != 0 {
        return;
    }
    if !role.interrupts {
        PORT.mask_interrupts();
    }
    let held = role.lock.map(|lock| journal(lock).lock());
    if let Then::Ask(other) = role.then
        && options.roles.iter().flatten().any(|role| role.lock == Some(other))
    {
        while journal(other).holder().is_none() {
            PORT.relax();
        }
    }
    READY.fetch_or(mine, Ordering::AcqRel);
    let waits = role.us == 0 && matches!(role.then, Then::Ask(_));
    while !waits && !over(role.us) {
        PORT.relax();
    }
    match role.then {
        Then::End => {}
        Then::Ask(other) => drop(journal(other).lock()),
        Then::Panic => panic!("a panic on purpose, by role, on CPU {cpu}"),
        Then::Loop => loop {
            PORT.relax();
        },
    }
    if let Some(mut journal) = held {
        journal.0 = journal.0.wrapping_add(1);
    }
    if !role.interrupts {
        port::cpu::unmask_interrupts();
    }
}

/// The driver that logs the panic, as a notifier.
pub fn log(context: &dyn Context) -> Result<(), Refusal> {
    let moment = MOMENT.load(Ordering::Acquire);
    let Some(token) = context.token() else { return Err(Refusal::Failed("there is no token")) };
    let entered = journal(0).enter(token).map(|mut journal| journal.0 = journal.0.wrapping_add(1));
    let entry: &dyn Display = match &entered {
        Ok(()) => &"written",
        Err(refused) => refused,
    };
    let disturbed = DISTURBED.load(Ordering::Acquire);
    context.event("trial", &[("moment", &moment), ("entry", entry), ("interrupts", &disturbed)]);
    entered.map_err(|_| Refusal::Skipped("the journal's lock was refused"))
}
