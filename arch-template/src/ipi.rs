//! Maskable inter-processor interrupts.
//!
//! Questions for the porter:
//! * Which hardware sends them, can it be busy, and what bounds that wait?
//! * Which vector means stop and which means nudge, and how does the target acknowledge?
//!
//! Answers:
//! * `arch-x86_64/src/ipi.rs`: `send_stop`, `send_nudge`
//! * `arch-ppc64/src/ipi.rs`: `send_stop`, `send_nudge`

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
