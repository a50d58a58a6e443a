//! Locks that know their holder, on this machine: the locks themselves, who takes them how, and what parks and
//! abandons.
//!
//! Between "taken" and "about to be released" a CPU is *inside*, and says so to the oracles. Who holds a lock
//! they read off its word.

use core_panic::notifier::{Context, Refusal};
use crash_lock::{
    CrashLock, Domain, Enters, Found, Interruptible, Kernel, Never, Parking, Policy, Ruling, Sequence, Skip,
    Steal,
};
use hal::sync::{AtomicU32, Ordering};
use hal::{CpuId, Platform};

use crate::platform::{SIM, Sim};
use crate::scheduler;
use crate::world::{World, current, machine, with};

/// A lock.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Which {
    /// A driver's, which the panic path does without if it is held.
    Skip,
    /// One that the panic path may steal.
    Steal,
    /// One that the panic path has no business with.
    Never,
    /// That of the store's buffer: skipped, too.
    Store,
    /// That of the console driver, which the panic path may steal.
    Console,
    /// Firmware's. Nobody takes it by itself.
    Firmware,
}

/// How many there are.
pub const LOCKS: usize = 6;

impl Which {
    /// Those that a CPU takes.
    pub const ALL: [Which; 5] = [Which::Skip, Which::Steal, Which::Never, Which::Store, Which::Console];

    /// Whether the panic path may steal it.
    pub const fn is_stolen(self) -> bool {
        matches!(self, Which::Steal | Which::Console | Which::Firmware)
    }
}

/// What a lock protects: the world knows what is in it.
pub struct Section(Which);

// SAFETY: nothing changes in it.
unsafe impl Interruptible for Section {
    fn repair(&mut self, found: Found) {
        // A point in the middle, where the hook may be cut off.
        scheduler::hal_call(true);
        with(|world| world.repairs(self.0, found));
    }
}

type Lock<P> = CrashLock<Section, Sim, P>;

/// The locks of a machine.
#[repr(C)]
pub struct Bank {
    skip: Lock<Skip>,
    steal: Lock<Steal>,
    never: Lock<Never>,
    store: Lock<Skip>,
    console: Lock<Steal>,
    /// An ordinary one: 1 while it is held, by whomever.
    ordinary: AtomicU32,
}

impl Bank {
    /// All free.
    pub const fn new() -> Bank {
        Bank {
            skip: Lock::new(Section(Which::Skip)),
            steal: Lock::new(Section(Which::Steal)),
            never: Lock::new(Section(Which::Never)),
            store: Lock::new(Section(Which::Store)),
            console: Lock::new(Section(Which::Console)),
            ordinary: AtomicU32::new(0),
        }
    }
}

impl Default for Bank {
    fn default() -> Self {
        Bank::new()
    }
}

impl Kernel for Sim {
    /// Nothing moves code between CPUs here.
    type Pin = ();

    /// A tick each at the most: less than a notifier may take.
    const PATIENCE: u32 = 3;

    fn pin() {}

    fn current() -> CpuId {
        CpuId::new(current()).unwrap_or(CpuId::BOOT)
    }

    fn domain() -> &'static Domain {
        machine().locks()
    }

    fn relax() {
        with(World::polls_for_a_lock);
        scheduler::relax();
    }
}

/// What locks do when a panic is under way.
pub const SEQUENCE: Sequence = Sequence { park, abandon, ruled };

fn park(why: Parking) -> ! {
    with(|world| world.tell(|| format!("parked by a lock: {why:?}")));
    machine().panic().park_for_lock(why, &SIM.capture())
}

fn ruled(ruling: &Ruling) {
    machine().panic().ruled(ruling);
}

fn abandon(holder: CpuId) -> ! {
    with(|world| world.abandons(holder.index()));
    machine().panic().abandon_for_lock(holder, &SIM.capture())
}

/// Takes a lock and waits for it, and runs `inside` under it.
pub fn hold<R>(which: Which, inside: impl FnOnce() -> R) -> Option<R> {
    let bank = machine().bank();
    match which {
        Which::Skip => Some(locked(&bank.skip, which, inside)),
        Which::Steal => Some(locked(&bank.steal, which, inside)),
        Which::Never => Some(locked(&bank.never, which, inside)),
        Which::Store => Some(locked(&bank.store, which, inside)),
        Which::Console => Some(locked(&bank.console, which, inside)),
        Which::Firmware => None,
    }
}

fn locked<P: Policy<Section>, R>(lock: &'static Lock<P>, which: Which, inside: impl FnOnce() -> R) -> R {
    with(|world| world.asks(which));
    let guard = lock.lock();
    with(|world| world.section_begins(guard.0));
    let result = inside();
    with(|world| world.section_ends(which));
    drop(guard);
    result
}

/// Takes the ordinary lock and waits for it, whoever has it and whatever became of him; runs `inside` under it.
pub fn ordinary(inside: impl FnOnce()) {
    let lock = &machine().bank().ordinary;
    while lock.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_err() {
        scheduler::relax();
    }
    inside();
    lock.store(0, Ordering::Release);
}

/// Takes a lock by the rules of the panic path, and runs `inside` under it.
pub fn enter<R>(which: Which, context: &dyn Context, inside: impl FnOnce() -> R) -> Result<R, Refusal> {
    let bank = machine().bank();
    match which {
        Which::Skip => entered(&bank.skip, which, context, inside),
        Which::Steal => entered(&bank.steal, which, context, inside),
        Which::Store => entered(&bank.store, which, context, inside),
        Which::Console => entered(&bank.console, which, context, inside),
        Which::Never | Which::Firmware => Err(Refusal::Skipped("not a lock for the panic path")),
    }
}

fn entered<P: Policy<Section> + Enters, R>(
    lock: &'static Lock<P>,
    which: Which,
    context: &dyn Context,
    inside: impl FnOnce() -> R,
) -> Result<R, Refusal> {
    let token = context.token().ok_or(Refusal::Failed("there is no token"))?;
    with(|world| world.asks(which));
    let guard = match lock.enter(token) {
        Ok(guard) => guard,
        Err(refused) => {
            with(|world| world.refused(which));
            context.line(format_args!("lock {which:?}: {refused}"));
            return Err(Refusal::Skipped("the lock was refused"));
        }
    };
    with(|world| world.section_begins(guard.0));
    let result = inside();
    with(|world| world.section_ends(which));
    drop(guard);
    Ok(result)
}

/// Takes each lock once, on a machine that is about to be reset, and tells where its word lies. Wants a world that
/// runs nothing.
pub fn words() -> [Option<usize>; LOCKS] {
    let bank = machine().bank();
    core::mem::forget(bank.skip.lock());
    core::mem::forget(bank.steal.lock());
    core::mem::forget(bank.never.lock());
    core::mem::forget(bank.store.lock());
    core::mem::forget(bank.console.lock());
    machine().services().hold();
    let mut listed = machine().locks().locks(CpuId::BOOT);
    core::array::from_fn(|_| listed.next())
}
