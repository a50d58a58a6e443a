//! Non-maskable inter-processor interrupts: supervisor mode has none.
//!
//! What reaches a hart with sstatus.SIE clear goes to machine mode, which is firmware's: its own interrupts, and the
//! resumable NMIs of Smrnmi. SBI has no call that delivers one of these to a supervisor (its software events, SSE, do,
//! and are not in any firmware that QEMU 7.2 comes with). Nor does this port make one of priorities: sie alone tells
//! sources apart, so a "never masked" source would be one that nobody has masked yet, which is no NMI.

use crate::Absent;
use hal::CpuId;
use hal::nmi::{Nmi, SignalError, Strength};

/// Sends an NMI to the executing CPU: there is none.
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
