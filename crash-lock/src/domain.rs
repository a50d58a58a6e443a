//! What the CPUs of a kernel know of each other while a panic is under way, as far as locks care.

use hal::CpuId;
use hal::sync::{AtomicU32, AtomicU64, AtomicUsize, BindOnce, Ordering, signal_fence};

use crate::Sequence;
use crate::held::{Held, List};
use crate::panicking::{Panicking, Step};

/// What a CPU does about a panic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// It works: it has not acknowledged a stop.
    Running = 0,
    /// It has acknowledged a stop and finishes its critical section.
    Deferred = 1,
    /// It is stopped, and said so itself.
    Parked = 2,
    /// It was signalled and never acknowledged, or owned the panic and died: it may still run.
    Missing = 3,
}

/// What a CPU waits for that will not come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Blocked {
    /// Address of the lock's word.
    pub lock: usize,
    /// Who held it.
    pub by: CpuId,
}

/// What is kept of one CPU.
#[repr(align(128))]
pub(crate) struct Cpu {
    pub(crate) list: List,
    /// 1: park at the drop that leaves nothing held. A word of its own: a machine that counts by load and
    /// store would lose a bit that a handler sets in between.
    stop_pending: AtomicU32,
    state: AtomicU32,
    blocked_lock: AtomicUsize,
    /// CPU + 1.
    blocked_by: AtomicU32,
}

impl Cpu {
    hal::const_unless_loom! {
    fn new() -> Self {
        Cpu {
            list: List::new(),
            stop_pending: AtomicU32::new(0),
            state: AtomicU32::new(0),
            blocked_lock: AtomicUsize::new(0),
            blocked_by: AtomicU32::new(0),
        }
    }
    }

    /// Whether a stop is pending. Asked by this CPU alone, and set by its own handlers: program order is enough.
    #[inline]
    pub(crate) fn pending(&self) -> bool {
        self.stop_pending.load(Ordering::Relaxed) != 0
    }
}

/// Which CPU holds what, who owns the panic, and who is stopped. One static per kernel.
pub struct Domain {
    /// 0 while there is no panic; else owner + 1 in the low half, the owner's generation in the high one.
    panic: AtomicU64,
    /// 1: nobody is deferred any more.
    last_call: AtomicU32,
    /// To whom the authority was given; 0: to nobody.
    taken: AtomicUsize,
    sequence: BindOnce<Sequence>,
    cpus: [Cpu; hal::MAX_CPUS],
}

impl Domain {
    hal::const_unless_loom! {
    /// No panic, nothing held.
    #[allow(clippy::new_without_default)] // a static's initialiser
    pub fn new() -> Self {
        Domain {
            panic: AtomicU64::new(0),
            last_call: AtomicU32::new(0),
            taken: AtomicUsize::new(0),
            sequence: BindOnce::new(),
            cpus: hal::each!(Cpu::new()),
        }
    }
    }

    #[inline]
    pub(crate) fn cpu(&self, cpu: CpuId) -> &Cpu {
        &self.cpus[cpu.index()]
    }

    #[inline]
    pub(crate) fn list(&self, cpu: CpuId) -> &List {
        &self.cpu(cpu).list
    }

    /// Says once, at boot, what parks and abandons. False if that was said before.
    pub fn bind(&self, sequence: Sequence) -> bool {
        self.sequence.bind(sequence)
    }

    pub(crate) fn sequence(&self) -> Option<&Sequence> {
        self.sequence.get()
    }

    /// The owner of the panic and its generation; `None` while there is no panic.
    #[inline]
    pub fn owner(&self) -> Option<(CpuId, u32)> {
        match self.panic.load(Ordering::Acquire) {
            0 => None,
            word => CpuId::new((word as u32).wrapping_sub(1) as usize).map(|cpu| (cpu, (word >> 32) as u32)),
        }
    }

    /// Whether there is a panic. What a lock asks on its fast path.
    #[inline]
    pub(crate) fn calm(&self) -> bool {
        self.panic.load(Ordering::Relaxed) == 0
    }

    /// What `cpu` does about the panic.
    pub fn state(&self, cpu: CpuId) -> State {
        match self.cpu(cpu).state.load(Ordering::Acquire) {
            1 => State::Deferred,
            2 => State::Parked,
            3 => State::Missing,
            _ => State::Running,
        }
    }

    /// What `cpu` holds. Exact when that CPU asks, or is stopped.
    pub fn held(&self, cpu: CpuId) -> Held {
        self.list(cpu).held(cpu, None)
    }

    /// The addresses of the words of the locks that `cpu` holds.
    pub fn locks(&self, cpu: CpuId) -> impl Iterator<Item = usize> {
        self.list(cpu).each(cpu)
    }

    /// What `cpu` waited for when it gave up.
    pub fn blocked(&self, cpu: CpuId) -> Option<Blocked> {
        let it = self.cpu(cpu);
        let by = (it.blocked_by.load(Ordering::Acquire) as usize).checked_sub(1).and_then(CpuId::new)?;
        Some(Blocked { lock: it.blocked_lock.load(Ordering::Acquire), by })
    }

    /// In the handler of a stop signal, on `me`: may it return, since this CPU holds a lock? True: the CPU is
    /// deferred from here on, the drop that leaves nothing held parks it, and the handler returns with
    /// interrupts masked. False: it parks here, also if it was deferred before.
    pub fn defer(&self, me: CpuId) -> bool {
        let it = self.cpu(me);
        // Also one that was given up on: it answers late, and does as the others.
        let first = matches!(self.state(me), State::Running | State::Missing);
        if !first || self.last_call() || !self.held(me).any() {
            return false;
        }
        it.state.store(State::Deferred as u32, Ordering::Release);
        it.stop_pending.store(1, Ordering::Release);
        signal_fence();
        true
    }

    /// Whether a stop of `me` is pending: a handler that interrupted a deferred CPU before the stop came
    /// returns with interrupts masked, too.
    pub fn pending(&self, me: CpuId) -> bool {
        self.cpu(me).pending()
    }

    /// Called by `me` when it has saved its registers and is about to do nothing ever again: whoever reads
    /// `Parked` may rely on everything it wrote before.
    pub fn parked(&self, me: CpuId) {
        self.cpu(me).state.store(State::Parked as u32, Ordering::Release);
    }

    pub(crate) fn block(&self, me: CpuId, lock: usize, by: CpuId) {
        let it = self.cpu(me);
        it.blocked_lock.store(lock, Ordering::Release);
        it.blocked_by.store(by.index() as u32 + 1, Ordering::Release);
    }

    /// Whether deferral is over: see [`Authority::last_call`].
    pub fn last_call(&self) -> bool {
        self.last_call.load(Ordering::Acquire) != 0
    }

    /// What the panic sequence may do here. Given to the first who asks, and to that one again: a sequence which
    /// is interrupted in the middle of its very first question has not lost it. `who` is an address of the
    /// caller's own, and not 0.
    pub fn authority(&'static self, who: usize) -> Option<Authority> {
        let taken = self.taken.compare_exchange(0, who, Ordering::AcqRel, Ordering::Acquire);
        (who != 0 && taken.map_or_else(|by| by == who, |_| true)).then_some(Authority { domain: self })
    }
}

/// The right to say who owns the panic, and to hand out tokens.
pub struct Authority {
    domain: &'static Domain,
}

impl Authority {
    /// The domain that this is about.
    pub fn domain(&self) -> &'static Domain {
        self.domain
    }

    /// `owner` owns the panic. `generation` is 1 at the claim and rises with each re-entry and each change
    /// of owner: what it held before belongs to a context that is abandoned.
    ///
    /// Called by `owner`. A stop of it that was pending is over.
    pub fn own(&self, owner: CpuId, generation: u32) {
        self.own_while(owner, generation, || true);
    }

    /// As [`Authority::own`], where a panic may change hands at any moment. `owns` asks whether `owner` owns it still: what
    /// a CPU says that was overtaken in the middle of this does not stand above what its heir has said, whichever comes
    /// first. A generation is never used twice. Returns whether this was said.
    pub fn own_while(&self, owner: CpuId, generation: u32, owns: impl Fn() -> bool) -> bool {
        let word = (owner.index() as u64 + 1) | u64::from(generation) << 32;
        loop {
            // Read first: an heir changes hands before it writes here, so whoever still owns now has read what came before.
            let before = self.domain.panic.load(Ordering::Acquire);
            if !owns() {
                return false;
            }
            let said = self.domain.panic.compare_exchange(before, word, Ordering::AcqRel, Ordering::Acquire);
            // It fails once for each of those who say so at the same time.
            if said.is_ok() {
                self.domain.cpu(owner).stop_pending.store(0, Ordering::Release);
                return true;
            }
        }
    }

    /// `cpu` did not answer, or died as the owner: what it holds is not stolen.
    pub fn missing(&self, cpu: CpuId) {
        self.domain.cpu(cpu).state.store(State::Missing as u32, Ordering::Release);
    }

    /// From here on nobody is deferred: a signal parks, and who waits for a lock parks.
    pub fn last_call(&self) {
        self.domain.last_call.store(1, Ordering::Release);
    }

    /// A token for `step` on `me`, which must own the panic; `None` if it does not.
    pub fn token<'s>(&self, step: &'s Step, me: CpuId) -> Option<Panicking<'s>> {
        let (owner, generation) = self.domain.owner()?;
        (owner == me).then(|| Panicking::new(step, me, generation))
    }
}
