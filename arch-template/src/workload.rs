//! The load that runs on every CPU while the panic path is tested.
//!
//! Questions for the porter:
//! * The loop is assembly in the section `.text.workload`; [`Workload`] gives the offsets. Which register holds
//!   the witness, and is it the one that [`hal::registers::Registers::witness`] reads?
//!
//! Answers:
//! * `arch-x86_64/src/workload.rs`: `run`
//! * `arch-ppc64/src/workload.rs`: `run`

use hal::testload::Workload;

/// Runs the load for ever on the executing CPU. The skeleton's load does nothing: its heartbeat stands still.
pub fn run(_load: &'static Workload) -> ! {
    loop {
        core::hint::spin_loop();
    }
}
