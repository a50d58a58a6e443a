//! Non-maskable inter-processor interrupts.
//!
//! Questions for the porter:
//! * Is there a signal that a CPU with interrupts masked takes? If it is a maskable message under another
//!   name, its strength is [`Strength::Maskable`].
//! * Is it held off inside its own handler, or does it nest? Which state must the handler save first?
//!
//! Answers:
//! * `arch-x86_64/src/nmi.rs`: `self_nmi`, `send`, `unblock`
//! * `arch-ppc64/src/nmi.rs`: `self_nmi`, `send`, `unblock`

use crate::Absent;
use hal::CpuId;
use hal::nmi::{Nmi, SignalError, Strength};

/// Sends an NMI to the executing CPU.
pub fn self_nmi() -> Result<Strength, SignalError> {
    Err(SignalError::NoSuchCpu)
}

impl Nmi for Absent {
    fn send(&self, _target: CpuId) -> Result<Strength, SignalError> {
        match *self {}
    }

    fn unblock(&self) {
        match *self {}
    }
}
