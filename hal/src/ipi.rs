//! The polite rung of the stop ladder.

use crate::CpuId;
use crate::nmi::{SignalError, Strength};

/// Maskable inter-processor interrupts.
pub trait Ipi {
    /// Sends the stop IPI to one CPU. The target's port calls [`crate::trap::Handlers::stop`] with
    /// the registers it interrupted.
    ///
    /// # Before
    /// `target` is online and is not the caller.
    ///
    /// # After
    /// Returns without waiting for the target; a wait for the sending hardware itself is bounded.
    /// `Ok` means that the machine accepted the signal, never that it arrived.
    fn send_stop(&self, target: CpuId) -> Result<Strength, SignalError>;

    /// Sends an IPI that the target acknowledges and otherwise ignores: work for a test load.
    /// Before and after as [`Ipi::send_stop`].
    fn send_nudge(&self, target: CpuId) -> Result<Strength, SignalError>;
}
