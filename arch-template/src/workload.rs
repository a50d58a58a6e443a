//! The load that runs on every CPU while the panic path is tested.
//!
//! One round, as every port has it: interrupts on; some hundreds of beats (`heartbeat`, plus one each); the lock, with
//! a beat for each look while it is held by somebody else, and under it some dozens of `shared`, plus one each;
//! interrupts off, as many beats again, and on. Every 32 rounds or more, one call of `nudge` with `cpu`, with
//! `outside` 1 before it and 0 after it. In mode 1: interrupts off and beats, for ever.
//!
//! Questions for the porter:
//! * The loop is assembly in the section `.text.workload`; [`Workload`] gives the offsets. Which register holds
//!   the witness, and is it the one that [`hal::registers::Registers::witness`] reads?
//! * What does a busy wait say to an emulator that runs one CPU at a time, so that it goes on to the next one?
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
