//! The lock, for everybody who is not on the panic path.

use core::cell::UnsafeCell;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};

use hal::CpuId;
use hal::sync::{AtomicU64, Ordering};

use crate::domain::{Cpu, State};
use crate::held::{self, Entry};
use crate::panicking::Refused;
use crate::policy::{Policy, Skip};
use crate::ruling::{Answer, Asked, Ruling};
use crate::{Kernel, Parking};

/// A mutual-exclusion lock whose word names its holder. `K` is the kernel, `P` what a panic may do about a
/// holder that will not go on.
pub struct CrashLock<T: ?Sized, K, P = Skip> {
    pub(crate) word: AtomicU64,
    kinds: PhantomData<fn() -> (K, P)>,
    pub(crate) value: UnsafeCell<T>,
}

// SAFETY: the value is reached by one holder at a time, on whatever CPU that is.
#[allow(unsafe_code)]
unsafe impl<T: ?Sized + Send, K, P> Sync for CrashLock<T, K, P> {}

impl<T, K: Kernel, P: Policy<T>> CrashLock<T, K, P> {
    hal::const_unless_loom! {
    /// A lock that nobody holds.
    pub fn new(value: T) -> Self {
        CrashLock { word: AtomicU64::new(0), kinds: PhantomData, value: UnsafeCell::new(value) }
    }
    }
}

impl<T: ?Sized, K: Kernel, P: Policy<T>> CrashLock<T, K, P> {
    /// Takes the lock, and waits for it. Once a panic is claimed, see the table of the crate.
    #[inline]
    pub fn lock(&'static self) -> Guard<T, K, P> {
        let pin = K::pin();
        let me = K::current();
        let domain = K::domain();
        let cpu = domain.cpu(me);
        let entry = cpu.list.enter(&self.word);
        if !(domain.calm() && self.take(me, 0)) {
            self.wait(me, entry);
        }
        Guard { lock: self, cpu, entry, pin, here: PhantomData }
    }

    /// Takes the lock if it is free. Never waits, and so never parks or abandons a CPU that could go on; but a
    /// CPU that holds nothing parks, once a panic is claimed.
    #[inline]
    pub fn try_lock(&'static self) -> Option<Guard<T, K, P>> {
        let pin = K::pin();
        let me = K::current();
        let domain = K::domain();
        let cpu = domain.cpu(me);
        let entry = cpu.list.enter(&self.word);
        if !domain.calm() {
            // This lock counts, too: a context that the caller interrupted may be in the middle of it.
            self.stop_here(me, entry, None);
        }
        let generation = domain.owner().filter(|(owner, _)| *owner == me).map_or(0, |(_, number)| number);
        if self.take(me, generation) {
            return Some(Guard { lock: self, cpu, entry, pin, here: PhantomData });
        }
        cpu.list.leave(entry);
        None
    }

    /// Who holds it. Out of date as soon as it is known, unless that CPU is stopped.
    pub fn holder(&self) -> Option<CpuId> {
        held::holder(self.word.load(Ordering::Acquire))
    }

    /// This lock, for the record.
    pub(crate) fn asked() -> Asked {
        Asked::Lock(core::any::type_name::<T>())
    }

    #[inline]
    fn take(&self, me: CpuId, generation: u32) -> bool {
        let mine = held::word(me, generation);
        self.word.compare_exchange(0, mine, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// A CPU that holds nothing else has no business with a lock while a panic is under way. Returns on the owner,
    /// and on a CPU in a critical section; not in that of `except`, for which it would wait itself.
    fn stop_here(&'static self, me: CpuId, entry: Entry, except: Option<&'static AtomicU64>) {
        let domain = K::domain();
        let owns = domain.owner().is_some_and(|(owner, _)| owner == me);
        if !owns && !domain.list(me).held(me, except).any() {
            domain.list(me).leave(entry);
            K::park(Parking::Asked);
        }
    }

    /// The lock is held, or a panic is claimed. Returns when the lock is taken.
    #[cold]
    #[inline(never)]
    fn wait(&'static self, me: CpuId, entry: Entry) {
        let domain = K::domain();
        loop {
            let owner = domain.owner();
            let generation = owner.filter(|(owner, _)| *owner == me).map(|(_, generation)| generation);
            if owner.is_some() && generation.is_none() {
                self.stop_here(me, entry, Some(&self.word));
            }
            // Looked at before it is tried: waiting CPUs share the line instead of tearing at it.
            let word = self.word.load(Ordering::Acquire);
            if word == 0 {
                if self.take(me, generation.unwrap_or(0)) {
                    return;
                }
                continue;
            }
            // A word that names nobody was destroyed. In a panic nobody waits for that; before one there is no way out.
            let known = held::holder(word);
            let holder = known.unwrap_or(me);
            if let Some((owner, _)) = owner {
                if owner == me {
                    domain.list(me).leave(entry);
                    let answer = match known {
                        Some(holder) => Answer::Abandons { holder },
                        None => Answer::Refused(Refused::Destroyed),
                    };
                    K::ruled(&Ruling { asked: Self::asked(), answer });
                    K::abandon(holder);
                }
                let gone = known.is_none()
                    || holder == owner
                    || matches!(domain.state(holder), State::Parked | State::Missing);
                // Who holds it is asked again: it may have been released meanwhile, before its holder was stopped. A
                // word that names nobody has to be the same one: a free lock names nobody either.
                let still = match known {
                    Some(_) => self.holder() == known,
                    None => self.word.load(Ordering::Acquire) == word,
                };
                if (gone && still) || domain.last_call() {
                    domain.block(me, core::ptr::from_ref(&self.word).addr(), holder);
                    domain.list(me).leave(entry);
                    K::park(Parking::Blocked);
                }
            }
            K::relax();
        }
    }

    /// The release, by whoever holds it.
    #[inline]
    pub(crate) fn release(&'static self, cpu: &'static Cpu, entry: Entry) {
        self.word.store(0, Ordering::Release);
        cpu.list.leave(entry);
        if cpu.pending() {
            Self::released();
        }
    }

    #[cold]
    #[inline(never)]
    fn released() {
        if !K::domain().held(K::current()).any() {
            K::park(Parking::Released);
        }
    }
}

/// The lock is held; dropping this releases it. Stays on its CPU.
pub struct Guard<T: ?Sized + 'static, K: Kernel, P: Policy<T> + 'static = Skip> {
    lock: &'static CrashLock<T, K, P>,
    /// Of the CPU that holds it.
    cpu: &'static Cpu,
    entry: Entry,
    #[allow(dead_code)] // dropped after the release, which is what it is for
    pin: K::Pin,
    here: PhantomData<*const ()>,
}

impl<T: ?Sized, K: Kernel, P: Policy<T>> Deref for Guard<T, K, P> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: the word names this CPU, whose guard this is, and it is not taken from a CPU that runs.
        #[allow(unsafe_code)]
        unsafe {
            &*self.lock.value.get()
        }
    }
}

impl<T: ?Sized, K: Kernel, P: Policy<T>> DerefMut for Guard<T, K, P> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`.
        #[allow(unsafe_code)]
        unsafe {
            &mut *self.lock.value.get()
        }
    }
}

impl<T: ?Sized, K: Kernel, P: Policy<T>> Drop for Guard<T, K, P> {
    #[inline]
    fn drop(&mut self) {
        self.lock.release(self.cpu, self.entry);
    }
}
