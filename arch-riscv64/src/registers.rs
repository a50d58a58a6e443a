//! The saved register set.

use crate::backtrace;
use hal::registers::Registers;

/// Words of `elf_gregset_t` on riscv64, which is Linux's `struct user_regs_struct`.
pub const WORDS: usize = 32;

/// Where each register is in [`RegisterSet`]: pc in place of x0, and every other register at its number.
pub mod index {
    /// Program counter.
    pub const PC: usize = 0;
    /// x1, the return address.
    pub const RA: usize = 1;
    /// x2, the stack pointer.
    pub const SP: usize = 2;
    /// x8, the frame pointer.
    pub const S0: usize = 8;
    /// x27, which carries the test load's witness.
    pub const S11: usize = 27;
}

/// The general registers of a context, in the order of `elf_gregset_t`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct RegisterSet {
    words: [u64; WORDS],
}

impl RegisterSet {
    /// From words in `elf_gregset_t` order.
    pub const fn from_words(words: [u64; WORDS]) -> Self {
        RegisterSet { words }
    }
}

impl Registers for RegisterSet {
    fn words(&self) -> &[u64] {
        &self.words
    }

    fn pc(&self) -> u64 {
        self.words[index::PC]
    }

    fn sp(&self) -> u64 {
        self.words[index::SP]
    }

    fn witness(&self) -> u64 {
        self.words[index::S11]
    }

    fn backtrace(&self, out: &mut [u64]) -> usize {
        let link = Some(self.words[index::RA]).filter(|link| *link != self.pc());
        backtrace::of_kernel(self.words[index::S0], link, out)
    }
}

/// What the trap entry leaves on the stack (`trap.S` writes this layout).
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(16))]
pub struct Frame {
    /// The interrupted registers.
    pub registers: RegisterSet,
    /// sstatus, as it is to be when this trap is returned from.
    pub status: u64,
    /// scause.
    pub cause: u64,
    /// stval.
    pub value: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_that_of_elf_gregset() {
        let registers = RegisterSet::from_words(core::array::from_fn(|number| 100 + number as u64));
        assert_eq!(registers.words().len(), 32);
        assert_eq!((registers.pc(), registers.sp(), registers.witness()), (100, 102, 127));
    }

    #[test]
    fn a_frame_is_as_the_entry_code_fills_it() {
        use core::mem::offset_of;
        assert_eq!(
            (offset_of!(Frame, status), offset_of!(Frame, cause), offset_of!(Frame, value)),
            (256, 264, 272)
        );
        assert_eq!(size_of::<Frame>(), 288);
    }
}
