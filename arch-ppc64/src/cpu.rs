//! The executing CPU.

use bitflags::bitflags;

bitflags! {
    /// Bits of the machine state register (Power ISA 3.0B, Book III, "Machine State Register").
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Msr: u64 {
        /// Sixty-four-bit mode.
        const SF = 1 << 63;
        /// External interrupts enabled.
        const EE = 1 << 15;
        /// Machine checks enabled.
        const ME = 1 << 12;
        /// Instruction relocation: fetches are translated.
        const IR = 1 << 5;
        /// Data relocation: loads and stores are translated.
        const DR = 1 << 4;
        /// Recoverable interrupt: SRR0 and SRR1 hold nothing that is still needed.
        const RI = 1 << 1;
    }
}

impl Msr {
    /// What this kernel runs with before it has page tables.
    pub const REAL: Msr = Msr::SF.union(Msr::ME).union(Msr::RI);
    /// What this kernel runs with.
    pub const TRANSLATED: Msr = Msr::REAL.union(Msr::IR).union(Msr::DR);
}

/// The longest that a decrementer of so many bits can be put off, in ticks: one bit is its sign (Power ISA 3.0B, Book III,
/// "Decrementer").
#[cfg(any(mayday_metal, test))]
const fn longest(bits: u32) -> u64 {
    u64::MAX >> 1 >> (64 - bits)
}

#[cfg(mayday_metal)]
mod metal {
    use super::{Msr, longest};
    use crate::{Port, asm, percpu};
    use core::arch::asm;
    use core::sync::atomic::{AtomicU64, Ordering};
    use hal::CpuId;
    use hal::cpu::Cpu;

    /// The machine state register.
    pub fn msr() -> Msr {
        let value: u64;
        // SAFETY: reads a register.
        unsafe { asm!("mfmsr {}", out(reg) value, options(nomem, nostack, preserves_flags)) };
        Msr::from_bits_retain(value)
    }

    /// Writes EE and RI and leaves the rest of the MSR alone.
    fn set_interrupt_bits(bits: Msr) {
        // SAFETY: with L=1 the instruction changes EE and RI only; RI stays 1. No `nomem`: what an
        // interrupt handler touches must not be moved across.
        unsafe { asm!("mtmsrd {}, 1", in(reg) bits.bits(), options(nostack, preserves_flags)) };
    }

    impl Cpu for Port {
        #[inline]
        fn current(&self) -> CpuId {
            percpu::current()
        }

        fn mask_interrupts(&self) -> bool {
            let enabled = interrupts_enabled();
            set_interrupt_bits(Msr::RI);
            enabled
        }

        fn relax(&self) {
            // SAFETY: `yield` (or 27,27,27) is a hint.
            unsafe { asm!("or 27, 27, 27", options(nomem, nostack, preserves_flags)) };
        }

        /// Never returns on this port: see `asm/park.S`.
        fn park_wait(&self) {
            asm::ppc_park_wait()
        }
    }

    /// Whether maskable interrupts are enabled on the executing CPU.
    pub fn interrupts_enabled() -> bool {
        msr().contains(Msr::EE)
    }

    /// Unmasks maskable interrupts on the executing CPU.
    pub fn unmask_interrupts() {
        set_interrupt_bits(Msr::EE | Msr::RI);
    }

    /// What the decrementer is put off by.
    static LONGEST: AtomicU64 = AtomicU64::new(longest(32));

    /// Says how many bits the decrementer has (`ibm,dec-bits`), and looks whether it has them: in one of 32 the value would be
    /// a negative one.
    pub fn set_decrementer_bits(bits: u32) {
        LONGEST.store(longest(bits), Ordering::Relaxed);
        defer_decrementer();
        let left: u64;
        // SAFETY: reads a timer register.
        unsafe { asm!("mfdec {}", out(reg) left, options(nomem, nostack, preserves_flags)) };
        if left > longest(bits) || left < longest(bits) / 2 {
            LONGEST.store(longest(32), Ordering::Relaxed);
            defer_decrementer();
        }
    }

    /// Puts the decrementer off for as long as it goes: 4 s at 512 MHz with 32 bits, years with 56. Nothing here uses it, and
    /// a system reset that comes right behind its interrupt finds a trap entry, with whose context nothing goes on.
    pub fn defer_decrementer() {
        let longest = LONGEST.load(Ordering::Relaxed);
        // SAFETY: writes a timer register.
        unsafe { asm!("mtdec {}", in(reg) longest, options(nostack, preserves_flags)) };
    }

    /// Makes what was just written at `[start, end)` visible to instruction fetch (Power ISA, Book II,
    /// "Instruction Storage").
    pub fn synchronize_instructions(start: u64, end: u64) {
        // The smallest cache block of any processor this runs on is larger.
        const BLOCK: u64 = 32;
        let blocks = || (start & !(BLOCK - 1)..end).step_by(BLOCK as usize);
        for address in blocks() {
            // SAFETY: stores a cache block that the caller just wrote.
            unsafe { asm!("dcbst 0, {}", in(reg) address, options(nostack, preserves_flags)) };
        }
        // SAFETY: a barrier.
        unsafe { asm!("sync", options(nostack, preserves_flags)) };
        for address in blocks() {
            // SAFETY: drops an instruction cache block.
            unsafe { asm!("icbi 0, {}", in(reg) address, options(nostack, preserves_flags)) };
        }
        // SAFETY: barriers.
        unsafe { asm!("sync", "isync", options(nostack, preserves_flags)) };
    }
}

#[cfg(mayday_metal)]
pub use metal::{
    defer_decrementer, interrupts_enabled, msr, set_decrementer_bits, synchronize_instructions,
    unmask_interrupts,
};

#[cfg(test)]
mod tests {
    use super::{Msr, longest};

    #[test]
    fn the_decrementers_sign_is_left_alone() {
        assert_eq!((longest(32), longest(56), longest(64)), (0x7fff_ffff, (1 << 55) - 1, u64::MAX >> 1));
    }

    #[test]
    fn machine_state_words() {
        assert_eq!(Msr::REAL.bits(), 0x8000_0000_0000_1002);
        assert_eq!(Msr::TRANSLATED.bits(), 0x8000_0000_0000_1032);
    }
}
