//! The load that runs on every CPU while the panic path is tested: assembly in the section
//! `.text.workload` (`asm/workload.S`); s11 holds the witness.

use core::mem::offset_of;
use hal::testload::Workload;

// The assembly counts on these.
const _: () = assert!(size_of::<usize>() == 8);
const _: () = assert!(offset_of!(Workload, witness) == 0 && offset_of!(Workload, heartbeat) == 8);
const _: () = assert!(offset_of!(Workload, lock) == 16 && offset_of!(Workload, shared) == 24);
const _: () = assert!(offset_of!(Workload, outside) == 32 && offset_of!(Workload, nudge) == 40);
const _: () = assert!(offset_of!(Workload, cpu) == 48 && offset_of!(Workload, mode) == 56);

/// Runs `load` on the executing CPU for ever. Unmasks interrupts, save in mode 1.
#[cfg(mayday_metal)]
pub fn run(load: &'static Workload) -> ! {
    crate::asm::riscv_workload_run(load)
}
