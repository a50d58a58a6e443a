//! What a CPU holds: a small list of addresses, and the words at those addresses, which decide.

use hal::CpuId;
use hal::sync::{AtomicU32, AtomicU64, AtomicUsize, Ordering, signal_fence};

/// The most locks that a CPU lists at once. More than this are counted, and taken for held. Fewer in models of memory
/// orderings.
pub const MOST_HELD: usize = if cfg!(loom) { 2 } else { 8 };

/// The CPU in a lock's word, plus 1; 0 while it is free.
pub(crate) const HOLDER: u64 = 0xffff;
/// Where the generation of the holder begins.
pub(crate) const GENERATION_SHIFT: u32 = 16;
/// Set while a repair hook runs. A word that has it and an older generation is never stolen again.
pub(crate) const REPAIRING: u64 = 1 << 63;

/// The word of a lock that `cpu` holds.
pub(crate) const fn word(cpu: CpuId, generation: u32) -> u64 {
    (cpu.index() as u64 + 1) | (generation as u64) << GENERATION_SHIFT
}

/// The holder that a word names.
pub(crate) fn holder(word: u64) -> Option<CpuId> {
    ((word & HOLDER) as usize).checked_sub(1).and_then(CpuId::new)
}

/// The generation that a word names.
pub(crate) const fn generation(word: u64) -> u32 {
    ((word & !REPAIRING) >> GENERATION_SHIFT) as u32
}

/// Where a lock is listed, to be given back; `None` if there was no room.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry(Option<&'static AtomicUsize>);

/// How many locks a CPU holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Held {
    /// Listed locks whose word names the CPU.
    pub locks: u32,
    /// Locks that did not fit into the list. Each is taken for held.
    pub unlisted: u32,
}

impl Held {
    /// How many, those that did not fit included.
    pub fn count(self) -> u64 {
        u64::from(self.locks) + u64::from(self.unlisted)
    }

    /// Whether it holds any.
    pub fn any(self) -> bool {
        self.count() != 0
    }
}

/// One CPU's list. Written by that CPU alone: in order, since what interrupts it gives back what it took
/// before it returns.
pub(crate) struct List {
    addresses: [AtomicUsize; MOST_HELD],
    unlisted: AtomicU32,
}

impl List {
    hal::const_unless_loom! {
    pub(crate) fn new() -> Self {
        List { addresses: hal::each!(AtomicUsize::new(0)), unlisted: AtomicU32::new(0) }
    }
    }

    /// Before the compare-exchange: from here on a handler looks at this word, too.
    ///
    /// Inlined with [`List::leave`]: most locks are taken by who holds no other, and find the first place free.
    #[inline(always)]
    pub(crate) fn enter(&'static self, word: &'static AtomicU64) -> Entry {
        let first = &self.addresses[0];
        if first.load(Ordering::Relaxed) != 0 {
            return self.enter_further(word);
        }
        first.store(core::ptr::from_ref(word).expose_provenance(), Ordering::Relaxed);
        signal_fence();
        Entry(Some(first))
    }

    #[cold]
    #[inline(never)]
    fn enter_further(&'static self, word: &'static AtomicU64) -> Entry {
        let free = self.addresses.iter().skip(1).find(|slot| slot.load(Ordering::Relaxed) == 0);
        match free {
            Some(slot) => slot.store(core::ptr::from_ref(word).expose_provenance(), Ordering::Relaxed),
            // Load and store, no atomic update: nothing else writes it, and an interrupt gives back what it took.
            None => {
                let more = self.unlisted.load(Ordering::Relaxed).saturating_add(1);
                self.unlisted.store(more, Ordering::Relaxed);
            }
        }
        signal_fence();
        Entry(free)
    }

    /// After the release.
    #[inline(always)]
    pub(crate) fn leave(&self, entry: Entry) {
        signal_fence();
        match entry.0 {
            Some(slot) => slot.store(0, Ordering::Relaxed),
            None => self.leave_unlisted(),
        }
        signal_fence();
    }

    #[cold]
    #[inline(never)]
    fn leave_unlisted(&self) {
        let left = self.unlisted.load(Ordering::Relaxed).saturating_sub(1);
        self.unlisted.store(left, Ordering::Relaxed);
    }

    /// What `cpu`, whose list this is, holds, not counting the lock at `except`.
    pub(crate) fn held(&self, cpu: CpuId, except: Option<&'static AtomicU64>) -> Held {
        signal_fence();
        let except = except.map_or(0, |word| core::ptr::from_ref(word).addr());
        let listed = self.addresses.iter().map(|slot| slot.load(Ordering::Relaxed));
        let locks = listed.filter(|&at| at != 0 && at != except && names(at, cpu)).count() as u32;
        Held { locks, unlisted: self.unlisted.load(Ordering::Relaxed) }
    }

    /// The addresses of the locks that `cpu` holds.
    pub(crate) fn each(&self, cpu: CpuId) -> impl Iterator<Item = usize> {
        let listed = self.addresses.iter().map(|slot| slot.load(Ordering::Relaxed));
        listed.filter(move |&at| at != 0 && names(at, cpu))
    }
}

/// Whether the lock's word at `address` names `cpu`.
fn names(address: usize, cpu: CpuId) -> bool {
    // SAFETY: only `enter` lists addresses, each that of a `&'static AtomicU64`, which is readable for
    // ever.
    #[allow(unsafe_code)]
    let word = unsafe { &*core::ptr::with_exposed_provenance::<AtomicU64>(address) };
    holder(word.load(Ordering::Acquire)) == Some(cpu)
}
