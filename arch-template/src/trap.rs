//! Trap entries, and the handlers they report to.
//!
//! Questions for the porter:
//! * Which vector is which [`hal::trap::FaultKind`], and where is the faulting address?
//! * Which kinds need a stack of their own (NMI, machine check, stack faults)?
//! * What does a trap do that comes before handlers are registered? (A line on the console, then stop.)

use crate::registers::RegisterSet;
use hal::Unsupported;
use hal::testload::Provoke;
use hal::trap::Handlers;

/// Registers the handlers that trap entries call. Refused: this port would never call them.
pub fn set_handlers(_handlers: &'static Handlers<RegisterSet>) -> Result<(), Unsupported> {
    Err(Unsupported::new("this port has no trap entries"))
}

/// Executes an instruction that faults as asked.
pub fn provoke(_fault: Provoke) -> Result<core::convert::Infallible, Unsupported> {
    Err(Unsupported::new("this port cannot provoke faults"))
}
