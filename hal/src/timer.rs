//! A timer that gets through to a CPU with its interrupts masked.

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
    /// `Ok` carries the true strength. The shot comes no earlier than asked for, and later by what
    /// the port's README states. It may reach other CPUs too; their handlers count it and return.
    fn arm(&self, after_ns: u64) -> Result<Strength, SignalError>;

    /// Takes the shot back. One that is on its way already may still arrive.
    fn disarm(&self);
}
