//! The executing CPU.

use crate::asm;
use crate::platform::{PORT, Port};
use crate::stack;
use core::sync::atomic::{AtomicBool, Ordering};
use hal::CpuId;
use hal::cpu::Cpu;
use hal::firmware::Firmware;
use x86_64::instructions::interrupts;
use x86_64::registers::control::{Cr4, Cr4Flags};
use x86_64::registers::model_specific::Msr;

impl Cpu for Port {
    /// By the stack pointer: every stack belongs to one CPU. No memory takes part, and nothing has to be set up.
    #[inline]
    fn current(&self) -> CpuId {
        CpuId::new(stack::cpu_at(stack::pointer().wrapping_sub(stack::base()))).unwrap_or(CpuId::BOOT)
    }

    fn mask_interrupts(&self) -> bool {
        let enabled = interrupts::are_enabled();
        interrupts::disable();
        enabled
    }

    fn relax(&self) {
        core::hint::spin_loop();
    }

    fn park_wait(&self) {
        asm::x86_park_wait();
    }
}

/// Unmasks maskable interrupts on the executing CPU. Not on the panic path.
pub fn unmask_interrupts() {
    interrupts::enable();
}

/// Whether maskable interrupts are enabled on the executing CPU.
pub fn interrupts_enabled() -> bool {
    interrupts::are_enabled()
}

/// The end of a run that has nowhere to report to: by the emulator's exit device, as a failure; where there
/// is none, this CPU stops.
pub(crate) fn end_run() -> ! {
    /// What ends the run can fail like anything else; then it is not tried again.
    static ENDING: AtomicBool = AtomicBool::new(false);
    if !ENDING.swap(true, Ordering::AcqRel) {
        PORT.emulator_exit(false);
    }
    stop_for_ever()
}

/// The end of a CPU that has nowhere to report to.
pub(crate) fn stop_for_ever() -> ! {
    loop {
        PORT.park_wait();
    }
}

/// Clears MCIP: a machine check that comes while it is set shuts the CPU down (SDM volume 3,
/// 16.3.1.2). The banks are left as they are, for whoever reads the dump.
pub(crate) fn end_machine_check() {
    let features = core::arch::x86_64::__cpuid(1).edx;
    if features & 1 << 14 == 0 {
        return;
    }
    let mut status = Msr::new(0x17A);
    // SAFETY: CPUID offers the register; writing 0 to it is the way to say that a machine check is
    // over.
    unsafe {
        if status.read() != 0 {
            status.write(0);
        }
    }
}

/// Lets machine checks arrive as vector 18 (SDM volume 3, 16.3).
pub(crate) fn enable_machine_checks() {
    let features = core::arch::x86_64::__cpuid(1).edx;
    // Bit 7: the exception; bit 14: the banks.
    if features & 1 << 7 == 0 {
        return;
    }
    // SAFETY: CPUID offers both; the IDT has a gate on a stack of its own.
    unsafe {
        if features & 1 << 14 != 0 {
            let banks = (Msr::new(0x179).read() & 0xFF) as u32;
            for bank in 0..banks.min(32) {
                Msr::new(0x400 + 4 * bank).write(u64::MAX);
                Msr::new(0x401 + 4 * bank).write(0);
            }
        }
        Cr4::update(|flags| flags.insert(Cr4Flags::MACHINE_CHECK_EXCEPTION));
    }
}
