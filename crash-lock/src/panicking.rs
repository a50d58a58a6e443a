//! The lock, for the panic path.

use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};

use hal::CpuId;
use hal::sync::Ordering;

use crate::Kernel;
use crate::domain::{Cpu, State};
use crate::held::{self, Entry, REPAIRING};
use crate::lock::CrashLock;
use crate::policy::{Enters, Found, Policy, Skip};
use crate::ruling::{Answer, Ruling};

/// What a token's lifetime is bound to: made by the sequence at the begin of a step or notifier, gone at its end.
pub struct Step {
    here: PhantomData<*const ()>,
}

impl Step {
    /// A step begins.
    #[allow(clippy::new_without_default)] // each is a step that begins
    pub fn new() -> Self {
        Step { here: PhantomData }
    }
}

/// Proof that the caller runs in a step of the panic path, on its owner.
pub struct Panicking<'s> {
    me: CpuId,
    generation: u32,
    step: PhantomData<&'s Step>,
}

impl Panicking<'_> {
    pub(crate) fn new(_: &Step, me: CpuId, generation: u32) -> Self {
        Panicking { me, generation, step: PhantomData }
    }
}

/// Why the panic path did not get a lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// This very context holds it: there is a live reference to the value.
    Recursive,
    /// Its word names no CPU: something wrote over it. Nobody will ever release it, and nobody may be robbed.
    Destroyed,
    /// Somebody holds it that will not release it, or did not while the owner waited, and it is not stolen.
    Held {
        /// Who.
        by: CpuId,
        /// What that CPU does.
        state: State,
    },
}

impl core::fmt::Display for Refused {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Refused::Recursive => f.write_str("this context holds it already"),
            Refused::Destroyed => f.write_str("its word is destroyed"),
            Refused::Held { by, state } => {
                let state = match state {
                    State::Running | State::Deferred => "not known to be stopped",
                    State::Parked => "parked",
                    State::Missing => "missing",
                };
                write!(f, "held by CPU {by}, {state}")
            }
        }
    }
}

impl<T: ?Sized, K: Kernel, P: Policy<T> + Enters> CrashLock<T, K, P> {
    /// Takes the lock on the panic path, by the table of the crate. Bounded by [`Kernel::PATIENCE`]. That it was
    /// stolen or refused is told to the sequence ([`Kernel::ruled`]).
    pub fn enter<'s>(&'static self, token: &'s Panicking<'_>) -> Result<PanicGuard<'s, T, K, P>, Refused> {
        let result = self.enter_untold(token);
        let answer = match &result {
            Ok(guard) => guard.stolen.map(|(from, found)| Answer::Stolen { from, found }),
            Err(refused) => Some(Answer::Refused(*refused)),
        };
        if let Some(answer) = answer {
            K::ruled(&Ruling { asked: Self::asked(), answer });
        }
        result
    }

    /// The same, for who tells the sequence more.
    pub(crate) fn enter_untold<'s>(
        &'static self,
        token: &'s Panicking<'_>,
    ) -> Result<PanicGuard<'s, T, K, P>, Refused> {
        let (me, mine) = (token.me, held::word(token.me, token.generation));
        let domain = K::domain();
        let cpu = domain.cpu(me);
        let entry = cpu.list.enter(&self.word);
        let mut patience = K::PATIENCE;
        let refused = loop {
            let word = match self.word.compare_exchange(0, mine, Ordering::Acquire, Ordering::Acquire) {
                Ok(_) => return Ok(PanicGuard { lock: self, cpu, entry, stolen: None, token: PhantomData }),
                Err(word) => word,
            };
            let Some(by) = held::holder(word) else { break Refused::Destroyed };
            let (state, found) = match domain.state(by) {
                _ if by == me && held::generation(word) == token.generation => break Refused::Recursive,
                _ if by == me => (State::Parked, Found::Interrupted),
                state => (state, Found::Orphaned),
            };
            match (P::REPAIR, state) {
                (Some(repair), State::Parked) if word & REPAIRING == 0 => {
                    let taken = self.word.compare_exchange(
                        word,
                        mine | REPAIRING,
                        Ordering::Acquire,
                        Ordering::Acquire,
                    );
                    if taken.is_ok() {
                        // SAFETY: the word names this CPU. The holder before it is stopped for good, or is a context
                        // of this CPU that was abandoned; the value bears that, by the contract of
                        // `Interruptible`.
                        #[allow(unsafe_code)]
                        repair(unsafe { &mut *self.value.get() }, found);
                        self.word.store(mine, Ordering::Release);
                        return Ok(PanicGuard {
                            lock: self,
                            cpu,
                            entry,
                            stolen: Some((by, found)),
                            token: PhantomData,
                        });
                    }
                }
                (_, State::Parked | State::Missing) => break Refused::Held { by, state },
                (_, State::Running | State::Deferred) => {
                    if patience == 0 {
                        break Refused::Held { by, state };
                    }
                    K::relax();
                }
            }
            // Also a lost exchange counts: the loop is bounded, whatever the others do.
            if patience == 0 {
                break Refused::Held { by, state };
            }
            patience -= 1;
        };
        cpu.list.leave(entry);
        Err(refused)
    }
}

/// The lock is held by the panic path; dropping this releases it.
pub struct PanicGuard<'s, T: ?Sized + 'static, K: Kernel, P: Policy<T> + 'static = Skip> {
    lock: &'static CrashLock<T, K, P>,
    cpu: &'static Cpu,
    entry: Entry,
    pub(crate) stolen: Option<(CpuId, Found)>,
    token: PhantomData<(&'s (), *const ())>,
}

impl<T: ?Sized, K: Kernel, P: Policy<T>> PanicGuard<'_, T, K, P> {
    /// How it was found, if it was stolen.
    pub fn stolen(&self) -> Option<Found> {
        self.stolen.map(|(_, found)| found)
    }
}

impl<T: ?Sized, K: Kernel, P: Policy<T>> Deref for PanicGuard<'_, T, K, P> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: the word names this CPU and this generation, and nothing takes it from there.
        #[allow(unsafe_code)]
        unsafe {
            &*self.lock.value.get()
        }
    }
}

impl<T: ?Sized, K: Kernel, P: Policy<T>> DerefMut for PanicGuard<'_, T, K, P> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`.
        #[allow(unsafe_code)]
        unsafe {
            &mut *self.lock.value.get()
        }
    }
}

impl<T: ?Sized, K: Kernel, P: Policy<T>> Drop for PanicGuard<'_, T, K, P> {
    fn drop(&mut self) {
        self.lock.release(self.cpu, self.entry);
    }
}
