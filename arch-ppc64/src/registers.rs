//! The saved register set.

use hal::registers::{MAX_WORDS, Registers};

/// Where each register is in [`RegisterSet::words`]: the order of `elf_gregset_t` on ppc64, which is
/// Linux's `struct pt_regs`, padded to 48 words.
pub mod index {
    /// r1, the stack pointer.
    pub const R1: usize = 1;
    /// r12.
    pub const R12: usize = 12;
    /// r30, which carries the test load's witness.
    pub const R30: usize = 30;
    /// Address of the interrupted instruction (SRR0).
    pub const NIP: usize = 32;
    /// Machine state (SRR1).
    pub const MSR: usize = 33;
    /// After an exception, as Linux has it: where the interrupted code took its last branch (CFAR).
    pub const ORIG_GPR3: usize = 34;
    /// Count register.
    pub const CTR: usize = 35;
    /// Link register.
    pub const LINK: usize = 36;
    /// Fixed-point exception register.
    pub const XER: usize = 37;
    /// Condition register.
    pub const CCR: usize = 38;
    /// Linux's soft interrupt flag; always 0 here.
    pub const SOFTE: usize = 39;
    /// The vector, such as 0x300.
    pub const TRAP: usize = 40;
    /// Data address register.
    pub const DAR: usize = 41;
    /// Data storage interrupt status.
    pub const DSISR: usize = 42;
    /// Result of a system call; always 0 here.
    pub const RESULT: usize = 43;
}

/// Registers as a trap entry saves them (`trap.S` writes this layout).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct RegisterSet {
    words: [u64; MAX_WORDS],
}

impl Default for RegisterSet {
    fn default() -> Self {
        RegisterSet { words: [0; MAX_WORDS] }
    }
}

impl RegisterSet {
    /// From words in `elf_gregset_t` order.
    pub const fn from_words(words: [u64; MAX_WORDS]) -> Self {
        RegisterSet { words }
    }

    /// One word by its [`index`]; 0 beyond the end.
    pub fn word(&self, index: usize) -> u64 {
        self.words.get(index).copied().unwrap_or(0)
    }

    /// Overwrites one word; an index beyond the end is ignored.
    pub fn set_word(&mut self, index: usize, value: u64) {
        if let Some(word) = self.words.get_mut(index) {
            *word = value;
        }
    }

    /// The machine state register of the interrupted context.
    pub fn msr(&self) -> u64 {
        self.word(index::MSR)
    }
}

impl Registers for RegisterSet {
    fn words(&self) -> &[u64] {
        &self.words
    }

    fn pc(&self) -> u64 {
        self.word(index::NIP)
    }

    fn sp(&self) -> u64 {
        self.word(index::R1)
    }

    fn witness(&self) -> u64 {
        self.word(index::R30)
    }

    /// `MSR[RI]`: 0 if the exception overwrote SRR0 and SRR1 while they were needed. Then the program
    /// counter is that of exception entry or exit code. Where there is a way back nevertheless
    /// ([`crate::recovery`]), handlers are shown 1.
    fn resumable(&self) -> bool {
        self.msr() & crate::cpu::Msr::RI.bits() != 0
    }

    fn backtrace(&self, out: &mut [u64]) -> usize {
        crate::backtrace::of_kernel(self.sp(), self.word(index::LINK), out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_in_the_order_of_elf_gregset_t() {
        let words: [u64; MAX_WORDS] = core::array::from_fn(|index| index as u64 * 0x11);
        let registers = RegisterSet::from_words(words);
        assert_eq!(registers.words().len(), 48);
        assert_eq!(registers.sp(), 0x11);
        assert_eq!(registers.witness(), 30 * 0x11);
        assert_eq!(registers.pc(), 32 * 0x11);
        assert_eq!(registers.msr(), 33 * 0x11);
        assert_eq!([index::ORIG_GPR3, index::CTR, index::LINK, index::XER, index::CCR], [34, 35, 36, 37, 38]);
        assert_eq!(
            [index::SOFTE, index::TRAP, index::DAR, index::DSISR, index::RESULT],
            [39, 40, 41, 42, 43]
        );
    }

    #[test]
    fn an_index_beyond_the_end_does_nothing() {
        let mut registers = RegisterSet::default();
        registers.set_word(48, 1);
        assert_eq!(registers, RegisterSet::default());
        assert_eq!(registers.word(48), 0);
    }
}
