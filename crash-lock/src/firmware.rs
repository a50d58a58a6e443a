//! Calls into firmware that takes one caller at a time, with exceptions.
//!
//! What matters on the panic path is not who holds firmware's lock but who is *in firmware*: a CPU may have been
//! stopped inside. So each CPU has a marker, the service that it is in, set before the entry and cleared after the
//! return; a missing CPU counts with its last one. Each service has a [`Class`], in its type, which says what may
//! be called beside what:
//!
//! | class | somebody else is in firmware, stopped or missing |
//! |---|---|
//! | [`Class::Serialized`] | refused |
//! | [`Class::SelfReentrant`] | only if everybody in there is in the *same* service |
//! | [`Class::CriticalRegionExempt`] | goes through |
//! | [`Class::Unserialized`] | goes through |
//!
//! "Re-entrant" is not "free". Linux called the four interrupt services of POWER firmware without its lock from 5.8
//! on, on the strength of the specification, which says that they need not be serialized; with 6.1 that was
//! reverted, since real firmware bears each of them only beside *itself*, and corrupted the state of others that
//! were under way. Hence a class of its own.
//!
//! A call that was abandoned half-way makes firmware *dirty*: that service is never called again, and from then on
//! only exempt ones are.

use hal::CpuId;
use hal::sync::{AtomicU32, Ordering};

use crate::Kernel;
use crate::domain::State;
use crate::lock::CrashLock;
use crate::panicking::{Panicking, Refused, Step};
use crate::policy::{Found, Interruptible, Steal};
use crate::ruling::{Answer, Asked, Ruling};

/// What a service bears beside itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// Nothing: one caller in all of firmware.
    Serialized,
    /// Itself, and nothing else.
    SelfReentrant,
    /// Anything, from a handler of a machine check or a system reset (LoPAR R1–7, RTAS critical regions). From any
    /// panic context it is an extension of that, which [`Firmware::exempt_anywhere`] switches.
    CriticalRegionExempt,
    /// Anything.
    Unserialized,
}

/// A service. Its class is part of its type, so no caller can be mistaken about it.
pub trait Service {
    /// For the record.
    const NAME: &'static str;
    /// Tells it from every other one of this firmware; from 1.
    const NUMBER: u32;
    /// What it bears.
    const CLASS: Class;
}

/// Which argument block a call may use: memory of its own, so that a call which was cut off finds its arguments
/// unchanged, should it ever go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Block {
    /// The CPU's own.
    Own(CpuId),
    /// The one for a call from a context that interrupted a call of this CPU.
    Emergency(CpuId),
    /// One of [`SPARES`], for a call by the owner of a panic that has abandoned one: each of those may still have its
    /// block read.
    Spare(usize),
}

/// Why a call was not made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Forbidden {
    /// A CPU that will not come out is in there, in the service with this number.
    Inside {
        /// Who.
        cpu: CpuId,
        /// Its service.
        service: u32,
    },
    /// Firmware's lock is held.
    Locked(Refused),
    /// This very service was abandoned half-way before.
    Abandoned,
    /// Another service was abandoned half-way before.
    Dirty,
}

impl core::fmt::Display for Forbidden {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Forbidden::Inside { cpu, service } => {
                write!(f, "CPU {cpu} is inside firmware, in service {service}")
            }
            Forbidden::Locked(refused) => write!(f, "firmware's lock: {refused}"),
            Forbidden::Abandoned => f.write_str("this service was abandoned half-way"),
            Forbidden::Dirty => {
                f.write_str("a service was abandoned half-way, and only exempt ones are called")
            }
        }
    }
}

/// What firmware's lock protects: nothing that a CPU writes.
struct Nothing;

// SAFETY: there is nothing in it.
#[allow(unsafe_code)]
unsafe impl Interruptible for Nothing {
    fn repair(&mut self, _: Found) {}
}

/// The most services that may be abandoned: no more of them are called after that, not even an exempt one, since
/// nobody could tell that it was abandoned, too. Each is abandoned once, so a firmware with fewer exempt services
/// never comes to this.
const MOST_ABANDONED: usize = 8;

/// How many argument blocks there are to be beyond those of the CPUs.
pub const SPARES: usize = MOST_ABANDONED;

/// Firmware: its lock, and who is inside.
pub struct Firmware<K> {
    lock: CrashLock<Nothing, K, Steal>,
    /// Number and name of the services, for the record.
    names: &'static [(u32, &'static str)],
    /// Service number by CPU; 0: outside.
    inside: [AtomicU32; hal::MAX_CPUS],
    /// Services that were abandoned half-way.
    abandoned: [AtomicU32; MOST_ABANDONED],
    /// Calls that were refused.
    refused: AtomicU32,
    /// 1: exempt services are held to their lock, too.
    strict: AtomicU32,
}

impl<K: Kernel> Firmware<K> {
    hal::const_unless_loom! {
    /// Nobody is inside, and services have no names but those of who calls them.
    #[allow(clippy::new_without_default)] // a static's initialiser
    pub fn new() -> Self {
        Firmware::naming(&[])
    }
    }

    hal::const_unless_loom! {
    /// Nobody is inside. `names`: number and name of each service, for the record.
    pub fn naming(names: &'static [(u32, &'static str)]) -> Self {
        Firmware {
            names,
            lock: CrashLock::new(Nothing),
            inside: hal::each!(AtomicU32::new(0)),
            abandoned: hal::each!(AtomicU32::new(0)),
            refused: AtomicU32::new(0),
            strict: AtomicU32::new(0),
        }
    }
    }

    /// Whether exempt services are called from any panic context, and not only from the handlers that the
    /// specification names. On at first.
    pub fn exempt_anywhere(&self, on: bool) {
        self.strict.store(u32::from(!on), Ordering::Release);
    }

    /// The service that `cpu` is in; 0 for none.
    pub fn inside(&self, cpu: CpuId) -> u32 {
        self.inside.get(cpu.index()).map_or(0, |marker| marker.load(Ordering::Acquire))
    }

    /// Calls that were refused so far.
    pub fn refusals(&self) -> u32 {
        self.refused.load(Ordering::Acquire)
    }

    /// Takes firmware's lock and never gives it back: what a CPU leaves behind that is stopped between the lock and
    /// the marker. For tests.
    #[doc(hidden)]
    pub fn hold(&'static self) {
        core::mem::forget(self.lock.lock());
    }

    /// Calls a service, for everybody who is not on the panic path: waits for firmware's lock where the service
    /// wants it.
    pub fn call<S: Service, R>(&'static self, body: impl FnOnce(Block) -> R) -> R {
        let guard = (S::CLASS != Class::Unserialized).then(|| self.lock.lock());
        let result = self.marked::<S, R>(K::current(), body);
        drop(guard);
        result
    }

    /// Calls a service by the rules of the panic path, if the caller owns the panic; else as [`Firmware::call`].
    /// Bounded by [`Kernel::PATIENCE`], and by what the service takes.
    pub fn call_by_owner<S: Service, R>(
        &'static self,
        body: impl FnOnce(Block) -> R,
    ) -> Result<R, Forbidden> {
        let me = K::current();
        let Some((_, generation)) = K::domain().owner().filter(|(owner, _)| *owner == me) else {
            return Ok(self.call::<S, R>(body));
        };
        let result = self.allowed::<S, R>(me, generation, body);
        if let Err(why) = &result {
            self.refused.fetch_add(1, Ordering::AcqRel);
            let beside = match why {
                Forbidden::Inside { service, .. } => self.name(*service),
                _ => None,
            };
            self.tell::<S>(Answer::Forbidden { why: *why, beside });
        }
        result
    }

    fn tell<S: Service>(&self, answer: Answer) {
        K::ruled(&Ruling { asked: Asked::Firmware(S::NAME), answer });
    }

    fn name(&self, service: u32) -> Option<&'static str> {
        self.names.iter().find(|(number, _)| *number == service).map(|(_, name)| *name)
    }

    fn allowed<S: Service, R>(
        &'static self,
        me: CpuId,
        generation: u32,
        body: impl FnOnce(Block) -> R,
    ) -> Result<R, Forbidden> {
        self.notice(me);
        if self.abandoned().any(|service| service == S::NUMBER) {
            return Err(Forbidden::Abandoned);
        }
        if self.abandoned().count() == MOST_ABANDONED {
            return Err(Forbidden::Dirty);
        }
        let exempt = S::CLASS == Class::CriticalRegionExempt && self.strict.load(Ordering::Acquire) == 0;
        if exempt || S::CLASS == Class::Unserialized {
            return Ok(self.marked::<S, R>(me, body));
        }
        if self.abandoned().next().is_some() {
            return Err(Forbidden::Dirty);
        }
        let inside = |(cpu, service)| Forbidden::Inside { cpu, service };
        // Everybody is looked at once: somebody who is stopped between two looks would be taken for borne.
        let mut borne = false;
        for (cpu, service) in self.stuck(me) {
            if S::CLASS != Class::SelfReentrant || service != S::NUMBER {
                return Err(inside((cpu, service)));
            }
            borne = true;
        }
        if borne {
            // Whoever is in there for good is in this very service; it bears that, and its lock with it.
            return Ok(self.marked::<S, R>(me, body));
        }
        let step = Step::new();
        let token = Panicking::new(&step, me, generation);
        let guard = self.lock.enter_untold(&token).map_err(Forbidden::Locked)?;
        if let Some((from, found)) = guard.stolen {
            self.tell::<S>(Answer::Stolen { from, found });
        }
        // Who was on its way while this CPU waited may have been stopped inside since.
        let result = match self.stuck(me).next() {
            Some(stuck) => Err(inside(stuck)),
            None => Ok(self.marked::<S, R>(me, body)),
        };
        drop(guard);
        result
    }

    /// Services that were abandoned half-way.
    fn abandoned(&self) -> impl Iterator<Item = u32> {
        self.abandoned.iter().map(|service| service.load(Ordering::Acquire)).filter(|service| *service != 0)
    }

    /// CPUs in firmware that will not come out, or cannot be told to, each with its service.
    fn stuck(&self, me: CpuId) -> impl Iterator<Item = (CpuId, u32)> {
        let gone = |cpu: CpuId| matches!(K::domain().state(cpu), State::Parked | State::Missing);
        // First who is stopped, then where: the other way round it could go in and be stopped in between.
        let others = CpuId::all().filter(move |cpu| *cpu != me && gone(*cpu));
        others.map(|cpu| (cpu, self.inside(cpu))).filter(|(_, service)| *service != 0)
    }

    /// The owner begins a call. If it is marked, that is a call which it abandoned: the marker of one under way
    /// would be in the way of no call but a nested one, which an owner does not make.
    fn notice(&self, me: CpuId) {
        let Some(marker) = self.inside.get(me.index()) else { return };
        let service = marker.load(Ordering::Acquire);
        if service == 0 {
            return;
        }
        let free = |place: &&AtomicU32| {
            matches!(place.load(Ordering::Acquire), 0) || place.load(Ordering::Acquire) == service
        };
        if let Some(place) = self.abandoned.iter().find(free) {
            place.store(service, Ordering::Release);
        }
        // Only now: a re-entry in between finds the one or the other.
        marker.store(0, Ordering::Release);
    }

    /// Runs a call with the marker set.
    fn marked<S: Service, R>(&self, me: CpuId, body: impl FnOnce(Block) -> R) -> R {
        let Some(marker) = self.inside.get(me.index()) else { return body(Block::Own(me)) };
        let outer = marker.swap(S::NUMBER, Ordering::AcqRel);
        // What firmware may still read or write belongs to the calls that were cut off.
        let block = match self.abandoned().count().checked_sub(1) {
            Some(spare) => Block::Spare(spare),
            None if outer == 0 => Block::Own(me),
            None => Block::Emergency(me),
        };
        let result = body(block);
        marker.store(outer, Ordering::Release);
        result
    }
}
