//! The timer that gets through to a CPU with its interrupts masked.
//!
//! Questions for the porter:
//! * Which timer or watchdog can be delivered as the machine's NMI, to the CPU that armed it?
//! * If none can: which maskable one can be let in alone while all others stay masked, when it is armed? It is
//!   [`hal::nmi::Strength::Maskable`] then, and reports to the same handler.
//! * Does its shot reach other CPUs too, also stopped ones, and do their handlers bear it?
//!
//! Answers:
//! * `arch-x86_64/src/timer.rs`: `arm`, `extend`, `disarm`
//! * `arch-ppc64/src/timer.rs`: `arm`, `extend`, `disarm`

use crate::Absent;
use hal::nmi::{SignalError, Strength};
use hal::timer::DeadlineTimer;

impl DeadlineTimer for Absent {
    fn arm(&self, _after_ns: u64) -> Result<Strength, SignalError> {
        match *self {}
    }

    fn extend(&self, _after_ns: u64) {
        match *self {}
    }

    fn disarm(&self) {
        match *self {}
    }
}
