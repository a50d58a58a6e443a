//! A timer that gets through to a CPU with its interrupts masked, as an NMI or because it alone is let in.

use crate::nmi::{SignalError, Strength};

/// One shot that arrives as an NMI at the CPU that armed it: what watches the panic path while no
/// other CPU can.
pub trait DeadlineTimer {
    /// Arms the timer: in `after_ns` nanoseconds the executing CPU takes an NMI
    /// ([`crate::trap::Handlers::nmi`]). A timer that is armed already is set anew.
    ///
    /// # Before
    /// Any context.
    ///
    /// # After
    /// `Ok` carries the true strength. [`Strength::Maskable`] says that arming lets this one interrupt in, and no other,
    /// until the timer is disarmed, whether the CPU had masked them or not: whoever masks them again keeps it out, and an
    /// interrupt handler does. The shot comes when the timer's own clock says so, which may run a little faster or slower
    /// than [`crate::clock::Clock`]; later by what the port's README states. It may reach other CPUs too, and stops
    /// those that a stop would: they park, or finish a critical section first; parked ones count it.
    fn arm(&self, after_ns: u64) -> Result<Strength, SignalError>;

    /// The shot has come too early by [`crate::clock::Clock`]: one more, in `after_ns` nanoseconds.
    ///
    /// # Before
    /// In the NMI handler of the CPU that armed the timer. What it interrupted may be anything, the middle
    /// of [`DeadlineTimer::arm`] included.
    ///
    /// # After
    /// As after `arm`, by the same route. Touches the timer alone, and no index and data register
    /// pair, which the interrupted code may be in the middle of.
    fn extend(&self, after_ns: u64);

    /// Takes the shot back. One that is on its way already may still arrive. Where arming has let an interrupt in
    /// ([`Strength::Maskable`]), all are masked afterwards, also on a CPU that had not masked them before: the panic path
    /// has, and another caller unmasks them itself.
    fn disarm(&self);
}
