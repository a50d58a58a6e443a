//! The executing CPU.

use bitflags::bitflags;

bitflags! {
    /// Bits of sstatus (privileged architecture, "Supervisor Status Register").
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Status: u64 {
        /// Interrupts are taken in supervisor mode.
        const SIE = 1 << 1;
        /// What SIE was before the trap, and will be after it.
        const SPIE = 1 << 5;
        /// The trap came from supervisor mode.
        const SPP = 1 << 8;
    }
}

#[cfg(mayday_metal)]
mod metal {
    use super::Status;
    use crate::{Port, asm, stack};
    use core::arch::asm;
    use hal::CpuId;
    use hal::cpu::Cpu;

    impl Cpu for Port {
        /// By the stack pointer: every stack belongs to one CPU. No memory and no register that anybody sets takes
        /// part, and nothing has to be set up.
        #[inline]
        fn current(&self) -> CpuId {
            stack::cpu_of(stack::pointer()).unwrap_or(CpuId::BOOT)
        }

        fn mask_interrupts(&self) -> bool {
            let before: u64;
            // SAFETY: clears SIE. No `nomem`: what an interrupt handler touches must not be moved across.
            unsafe { asm!("csrrci {}, sstatus, 2", out(reg) before, options(nostack, preserves_flags)) };
            Status::from_bits_retain(before).contains(Status::SIE)
        }

        /// `pause`, a hint that does nothing where it is not known.
        fn relax(&self) {
            core::hint::spin_loop();
        }

        fn park_wait(&self) {
            asm::riscv_park_wait();
        }
    }

    /// Whether maskable interrupts are enabled on the executing CPU.
    pub fn interrupts_enabled() -> bool {
        let status: u64;
        // SAFETY: reads a register.
        unsafe { asm!("csrr {}, sstatus", out(reg) status, options(nomem, nostack, preserves_flags)) };
        Status::from_bits_retain(status).contains(Status::SIE)
    }

    /// Unmasks maskable interrupts on the executing CPU. Not on the panic path.
    pub fn unmask_interrupts() {
        // SAFETY: sets SIE; the trap entry was installed before anything that calls this. No `nomem`, as above.
        unsafe { asm!("csrsi sstatus, 2", options(nostack, preserves_flags)) };
    }

    /// Orders all that came before, at devices and in CSRs as well as in memory, before all that comes after. The fences
    /// of `core` are about memory alone.
    pub(crate) fn fence_all() {
        // SAFETY: orders, and does nothing. No `nomem`: the compiler must not move accesses across either.
        unsafe { asm!("fence iorw, iorw", options(nostack, preserves_flags)) };
    }

    /// Lets software and external interrupts in on the executing CPU, once it unmasks interrupts: what there is of
    /// them, their sources decide.
    pub(crate) fn listen() {
        // SAFETY: the trap entry is installed, and takes them.
        unsafe { asm!("csrw sie, {}", in(reg) 1_u64 << 1 | 1_u64 << 9, options(nostack, preserves_flags)) };
    }

    /// The end of a CPU that has nowhere to report to.
    pub(crate) fn stop_for_ever() -> ! {
        loop {
            asm::riscv_park_wait();
        }
    }
}

#[cfg(mayday_metal)]
pub(crate) use metal::{fence_all, listen, stop_for_ever};
#[cfg(mayday_metal)]
pub use metal::{interrupts_enabled, unmask_interrupts};

#[cfg(test)]
mod tests {
    use super::Status;

    #[test]
    fn status_bits_are_the_architectures() {
        // The assembly's immediates have room for 31, and `csrrci` above has the number itself.
        assert_eq!((Status::SIE.bits(), Status::SPIE.bits(), Status::SPP.bits()), (2, 0x20, 0x100));
    }
}
