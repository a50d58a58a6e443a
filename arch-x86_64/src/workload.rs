//! The test load of one CPU.

use crate::asm;
use hal::testload::Workload;

const _: () = {
    // workload.S reads these.
    assert!(core::mem::offset_of!(Workload, witness) == 0);
    assert!(core::mem::offset_of!(Workload, heartbeat) == 8);
    assert!(core::mem::offset_of!(Workload, lock) == 16);
    assert!(core::mem::offset_of!(Workload, shared) == 24);
    assert!(core::mem::offset_of!(Workload, outside) == 32);
    assert!(core::mem::offset_of!(Workload, nudge) == 40);
    assert!(core::mem::offset_of!(Workload, cpu) == 48);
    assert!(core::mem::offset_of!(Workload, mode) == 56);
};

/// Runs `workload` on the executing CPU for ever. Unmasks interrupts, save in mode 1.
pub fn run(workload: &'static Workload) -> ! {
    asm::x86_workload_run(workload)
}
