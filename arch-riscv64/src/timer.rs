//! The timer that gets through to a CPU with its interrupts masked: there is none.
//!
//! The supervisor timer (SBI's, or stimecmp where a hart has Sstc) arrives as an interrupt that sstatus.SIE masks, and
//! the owner of a panic masks it first of all. A step that hangs on the only CPU therefore hangs for good, and the
//! record says `unwatched`.

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
