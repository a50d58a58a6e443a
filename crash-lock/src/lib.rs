//! A spin lock that knows who holds it, so that a panic can find out what to do about it.
//!
//! When a kernel panics it stops its other CPUs, and what they held stays held. An ordinary lock tells
//! the panic path nothing: not who holds it, not whether that CPU will ever go on, not whether the value
//! inside is whole. So the panic path hangs, or breaks the lock and hopes.
//!
//! A [`CrashLock`]'s word names its holder. Off the panic path it behaves like any spin lock and costs
//! about as much. Once a panic is claimed, who asks decides what happens:
//!
//! | who asks | the lock is | result |
//! |---|---|---|
//! | a CPU that holds no other lock of this kind, and does not just try one that it holds | anything | it parks |
//! | a CPU that holds one | free | taken: it may finish its critical section |
//! | | held by a CPU that goes on | it waits |
//! | | held by the owner, a parked or a missing CPU | it parks, and what it holds is orphaned |
//! | the owner, blocking | free | taken |
//! | | held | the running step is abandoned: [`Kernel::abandon`] |
//! | the owner, with a [`Panicking`] token | free | taken |
//! | | its own, same generation | [`Refused::Recursive`] |
//! | | its own, from a context that was abandoned | by policy: stolen, or [`Refused::Held`] |
//! | | held by a parked CPU | by policy: stolen, or [`Refused::Held`] |
//! | | held by a CPU not known to be stopped | a bounded wait, then [`Refused::Held`]; never stolen |
//!
//! The token is what selects panic-path behaviour, and only the panic sequence hands one out. So "try here,
//! block everywhere else" is not a habit but a type:
//!
//! ```compile_fail,E0061
//! # use crash_lock::*;
//! fn notify<T, K: Kernel>(lock: &'static CrashLock<T, K>) {
//!     // No token, no panic-path behaviour.
//!     let _ = lock.enter();
//! }
//! ```
//!
//! A token does not outlive its step, and does not leave its CPU:
//!
//! ```compile_fail,E0597
//! # use crash_lock::*;
//! fn keep(authority: &'static Authority, cpu: hal::CpuId) -> Option<Panicking<'static>> {
//!     let step = Step::new();
//!     authority.token(&step, cpu)
//! }
//! ```
//!
//! ```compile_fail,E0277
//! # use crash_lock::*;
//! fn send<T: Send>(_: T) {}
//! fn elsewhere(token: Panicking<'_>) {
//!     send(token);
//! }
//! ```
//!
//! # Deferred stop
//!
//! A stop signal that finds a CPU inside a critical section need not cut it. The handler asks
//! [`Domain::defer`]; if that is true it returns, with interrupts masked in the frame that it returns to,
//! and the drop that leaves no lock of this kind held parks the CPU. Each CPU lists what it holds: the
//! entry is made before the compare-exchange and removed after the release. Whether it *holds* a lock is
//! decided by the lock's word alone, so a signal in either window takes a waiter for a waiter.
//!
//! # For a kernel
//!
//! Implement [`Kernel`] for a type of yours, put one [`Domain`] into a static, and hand its
//! [`Authority`] to the panic sequence. Locks are statics: an interrupt handler reads the words of the locks
//! that a CPU lists, so those have to stay where they are.
#![no_std]
#![deny(unsafe_code)] // allowed where a lock gives out its value, and where a listed word is read

mod domain;
pub mod firmware;
mod held;
mod lock;
mod panicking;
mod policy;
mod ruling;

pub use domain::{Authority, Blocked, Domain, State};
pub use held::{Held, MOST_HELD};
pub use lock::{CrashLock, Guard};
pub use panicking::{PanicGuard, Panicking, Refused, Step};
pub use policy::{Enters, Found, Interruptible, Never, Policy, Skip, Steal};
pub use ruling::{Answer, Asked, Ruling};

use hal::CpuId;

/// What a kernel tells its locks. All static: the type has no values.
pub trait Kernel: 'static {
    /// Keeps the caller on its CPU until it is dropped. Nothing, in a kernel that never moves code between
    /// CPUs.
    type Pin;

    /// Times that the owner looks again at a lock which a CPU holds that may still run, before it gives up.
    const PATIENCE: u32;

    /// Pins the caller.
    fn pin() -> Self::Pin;

    /// The executing CPU. Called after [`Kernel::pin`], also before per-CPU areas exist, when it is
    /// [`CpuId::BOOT`].
    fn current() -> CpuId;

    /// Where the CPUs note what they hold.
    fn domain() -> &'static Domain;

    /// One polite iteration of a busy wait.
    fn relax();

    /// A panic wants this CPU stopped, and its last critical section is over, or cannot go on. Called with
    /// whatever interrupt state the section had; the implementation masks interrupts, saves registers and
    /// parks. As it stands, what [`Domain::bind`] was given.
    fn park(why: Parking) -> ! {
        if let Some(sequence) = Self::domain().sequence() {
            (sequence.park)(why)
        }
        loop {
            Self::relax();
        }
    }

    /// The owner of the panic asked, without a token, for a lock that is held: what runs on it has to be
    /// abandoned, since it would wait for ever. As it stands, what [`Domain::bind`] was given.
    fn abandon(holder: CpuId) -> ! {
        if let Some(sequence) = Self::domain().sequence() {
            (sequence.abandon)(holder)
        }
        loop {
            Self::relax();
        }
    }

    /// The owner of the panic found a lock held, or firmware forbidden, and this is what it does about that. As it
    /// stands, what [`Domain::bind`] was given; nothing if that was not called.
    fn ruled(ruling: &Ruling) {
        if let Some(sequence) = Self::domain().sequence() {
            (sequence.ruled)(ruling)
        }
    }
}

/// The panic sequence, as the locks see it.
#[derive(Clone, Copy, Debug)]
pub struct Sequence {
    /// [`Kernel::park`].
    pub park: fn(Parking) -> !,
    /// [`Kernel::abandon`].
    pub abandon: fn(CpuId) -> !,
    /// [`Kernel::ruled`].
    pub ruled: fn(&Ruling),
}

/// Why a lock parks a CPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Parking {
    /// It holds no lock, and asked for one while a panic was under way.
    Asked,
    /// Its stop was deferred, and the last lock is released.
    Released,
    /// It waits for a lock that will not be released: what it holds is orphaned.
    Blocked,
}
