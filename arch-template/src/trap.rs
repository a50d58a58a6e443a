//! Trap entries, and the handlers they report to.
//!
//! Questions for the porter:
//! * Which vector is which [`hal::trap::FaultKind`], and where is the faulting address?
//! * Which kinds need a stack of their own (NMI, machine check, stack faults)?
//! * What does a trap do that comes before handlers are registered? (A line on the console, then stop.)
//!
//! Answers:
//! * `arch-x86_64/src/trap.rs`: `set_handlers`, `provoke`, `x86_trap`, `classify`
//! * `arch-ppc64/src/trap.rs`: `set_handlers`, `provoke`, `ppc_trap`, `classify`

use crate::registers::RegisterSet;
use hal::testload::Provoke;
use hal::trap::Handlers;

/// Registers the handlers that trap entries call. There are no trap entries, so they are never called.
pub fn set_handlers(_handlers: &'static Handlers<RegisterSet>) {}

/// Executes an instruction that faults as asked. Without trap entries nobody would hear of it: the CPU stops
/// here instead.
pub fn provoke(_fault: Provoke) -> ! {
    loop {
        core::hint::spin_loop();
    }
}
