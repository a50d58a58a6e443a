//! The executing CPU.
//!
//! Questions for the porter:
//! * How does code find its CPU number in any context, inside an NMI too, without trusting a register that a
//!   stray write may have changed?
//! * How are maskable interrupts masked? What is the polite busy wait? How does a parked CPU give the host its
//!   core back without unmasking (and is that wait in the section `.text.park`)? Does an interrupt that is masked and
//!   pending end it at once?
//!
//! Answers:
//! * `arch-x86_64/src/cpu.rs`: `current`, `mask_interrupts`, `relax`, `park_wait`, `interrupts_enabled`, `unmask_interrupts`
//! * `arch-ppc64/src/cpu.rs`: `current`, `mask_interrupts`, `relax`, `park_wait`, `interrupts_enabled`, `unmask_interrupts`

use crate::Port;
use hal::CpuId;
use hal::cpu::Cpu;

impl Cpu for Port {
    /// Always the boot CPU: this port starts no other.
    fn current(&self) -> CpuId {
        CpuId::BOOT
    }

    /// Nothing here ever unmasks interrupts, so there is nothing to mask and they were not enabled.
    fn mask_interrupts(&self) -> bool {
        interrupts_enabled()
    }

    fn relax(&self) {
        core::hint::spin_loop();
    }

    fn park_wait(&self) {
        core::hint::spin_loop();
    }
}

/// Whether maskable interrupts are enabled on the executing CPU: never, see [`unmask_interrupts`].
pub fn interrupts_enabled() -> bool {
    false
}

/// Unmasks maskable interrupts on the executing CPU. There are none: [`interrupts_enabled`] stays false.
pub fn unmask_interrupts() {}
