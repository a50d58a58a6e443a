//! The saved register set, in the order of `elf_gregset_t`.

use crate::backtrace;

/// Words of `elf_gregset_t` (x86-64 psABI; Linux `struct user_regs_struct`).
pub const WORDS: usize = 27;
/// Words that the trap entry saves; the segment registers follow them.
pub const FRAME_WORDS: usize = 21;

/// Index of each word.
#[allow(missing_docs)] // the registers' own names
pub mod index {
    pub const R15: usize = 0;
    pub const R14: usize = 1;
    pub const R13: usize = 2;
    pub const R12: usize = 3;
    pub const RBP: usize = 4;
    pub const RBX: usize = 5;
    pub const R11: usize = 6;
    pub const R10: usize = 7;
    pub const R9: usize = 8;
    pub const R8: usize = 9;
    pub const RAX: usize = 10;
    pub const RCX: usize = 11;
    pub const RDX: usize = 12;
    pub const RSI: usize = 13;
    pub const RDI: usize = 14;
    pub const ORIG_RAX: usize = 15;
    pub const RIP: usize = 16;
    pub const CS: usize = 17;
    pub const EFLAGS: usize = 18;
    pub const RSP: usize = 19;
    pub const SS: usize = 20;
    pub const FS_BASE: usize = 21;
    pub const GS_BASE: usize = 22;
    pub const DS: usize = 23;
    pub const ES: usize = 24;
    pub const FS: usize = 25;
    pub const GS: usize = 26;
}

/// What the trap entry leaves on the stack: the first 21 words. The error code lies where
/// `elf_gregset_t` has `orig_rax`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    words: [u64; FRAME_WORDS],
}

impl Frame {
    /// A frame of these words, for tests.
    pub const fn from_words(words: [u64; FRAME_WORDS]) -> Frame {
        Frame { words }
    }

    /// The CPU's error code, 0 where the vector has none.
    pub const fn error_code(&self) -> u64 {
        self.words[index::ORIG_RAX]
    }

    /// Returning from this trap leaves maskable interrupts off.
    pub const fn mask_interrupts(&mut self) {
        const IF: u64 = 1 << 9;
        self.words[index::EFLAGS] &= !IF;
    }

    /// The interrupted instruction pointer.
    pub const fn pc(&self) -> u64 {
        self.words[index::RIP]
    }

    /// The interrupted stack pointer.
    pub const fn sp(&self) -> u64 {
        self.words[index::RSP]
    }

    /// The interrupted r15.
    pub const fn witness(&self) -> u64 {
        self.words[index::R15]
    }
}

/// The segment registers, which Rust reads.
#[derive(Clone, Copy, Default, Debug)]
pub struct Segments {
    /// `[fs_base, gs_base, ds, es, fs, gs]`.
    pub words: [u64; WORDS - FRAME_WORDS],
}

/// The registers of an interrupted context.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Registers {
    words: [u64; WORDS],
}

impl Registers {
    /// Joins what the trap entry and Rust saved. `orig_rax` becomes -1, "not a system call", as tools
    /// that read core files expect.
    pub fn new(frame: &Frame, segments: &Segments) -> Registers {
        let mut words = [0; WORDS];
        let (low, high) = words.split_at_mut(FRAME_WORDS);
        low.copy_from_slice(&frame.words);
        high.copy_from_slice(&segments.words);
        words[index::ORIG_RAX] = u64::MAX;
        Registers { words }
    }
}

impl hal::registers::Registers for Registers {
    fn words(&self) -> &[u64] {
        &self.words
    }

    fn pc(&self) -> u64 {
        self.words[index::RIP]
    }

    fn sp(&self) -> u64 {
        self.words[index::RSP]
    }

    fn witness(&self) -> u64 {
        self.words[index::R15]
    }

    fn backtrace(&self, out: &mut [u64]) -> usize {
        backtrace::from_frame_pointer(self.words[index::RBP], out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hal::registers::Registers as _;

    #[test]
    fn the_order_is_that_of_elf_gregset() {
        let frame = Frame::from_words(core::array::from_fn(|i| 100 + i as u64));
        let segments = Segments { words: [121, 122, 123, 124, 125, 126] };
        let registers = Registers::new(&frame, &segments);
        let mut expected: [u64; WORDS] = core::array::from_fn(|i| 100 + i as u64);
        expected[15] = u64::MAX;
        assert_eq!(registers.words(), &expected);
        assert_eq!(registers.pc(), 116);
        assert_eq!(registers.sp(), 119);
        assert_eq!(registers.witness(), 100);
        assert_eq!(frame.error_code(), 115);
    }
}
