//! The rung of the stop ladder that masked interrupts cannot refuse.

use crate::CpuId;

/// What a signal really was (P5): a port whose "NMI" is a maskable message must say `Maskable`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Strength {
    /// A CPU with interrupts masked does not take it until it unmasks them.
    Maskable,
    /// Taken with interrupts masked; held off only while the target is inside an NMI handler.
    NonMaskable,
    /// Taken with interrupts masked, and also inside a handler of its own kind (ppc64 system reset).
    NonMaskableNesting,
}

/// Why a signal was not sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SignalError {
    /// The machine does not know this CPU.
    NoSuchCpu,
    /// The sending hardware stayed busy past the port's bound.
    Busy,
    /// The hypervisor or firmware refused; the value is its status.
    Refused(i64),
}

/// Non-maskable inter-processor interrupts.
pub trait Nmi {
    /// Sends an NMI to one CPU. The target's port calls [`crate::trap::Handlers::nmi`] with the
    /// registers it interrupted.
    ///
    /// # Before
    /// `target` is online, has run since it was started, and is not in a state where a signal would
    /// kill or wake it (x86 wait-for-SIPI, ppc64 stopped). It may be the caller itself.
    ///
    /// # After
    /// Returns without waiting for the target. `Ok` carries the true strength.
    fn send(&self, target: CpuId) -> Result<Strength, SignalError>;

    /// Makes the executing CPU take NMIs again that it holds off because it is inside an NMI or a
    /// machine-check handler (x86: one `iretq` to itself, after MCIP was saved and cleared). Where
    /// nothing is held off, nothing happens.
    ///
    /// # Before
    /// The caller runs on a panic stack and never returns to the handler.
    ///
    /// # After
    /// NMIs are taken, on a stack other than the one that the handler used: what lies there stays
    /// readable until the second-next call.
    fn unblock(&self);
}
