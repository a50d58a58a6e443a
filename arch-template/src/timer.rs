//! The timer that gets through to a CPU with its interrupts masked.
//!
//! Questions for the porter:
//! * Which timer or watchdog can be delivered as the machine's NMI, to the CPU that armed it?
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
