//! Maskable inter-processor interrupts: none yet, because no other CPU is started.
//!
//! They will be SBI's ("IPI Extension"): a supervisor software interrupt, which one word per CPU tells to be a stop or
//! a nudge.

use crate::Absent;
use hal::CpuId;
use hal::ipi::Ipi;
use hal::nmi::{SignalError, Strength};

impl Ipi for Absent {
    fn send_stop(&self, _target: CpuId) -> Result<Strength, SignalError> {
        match *self {}
    }

    fn send_nudge(&self, _target: CpuId) -> Result<Strength, SignalError> {
        match *self {}
    }
}
