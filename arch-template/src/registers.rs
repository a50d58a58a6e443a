//! The saved register set.
//!
//! Questions for the porter:
//! * What is the order of the machine's ELF `elf_gregset_t`? The words are kept in exactly that order.
//! * Which callee-saved register carries the test load's witness value?
//!
//! Answers:
//! * `arch-x86_64/src/registers.rs`: `words`, `pc`, `sp`, `witness`, `backtrace`, `from_words`
//! * `arch-ppc64/src/registers.rs`: `words`, `pc`, `sp`, `witness`, `backtrace`, `from_words`

use crate::backtrace;
use hal::registers::Registers;

/// Registers as a trap entry saves them. The skeleton has no trap entries and so keeps the two words without
/// which nothing can be said about a context.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RegisterSet {
    words: [u64; 2],
}

impl Registers for RegisterSet {
    fn words(&self) -> &[u64] {
        &self.words
    }

    fn pc(&self) -> u64 {
        self.words[0]
    }

    fn sp(&self) -> u64 {
        self.words[1]
    }

    /// No register is set aside for it yet.
    fn witness(&self) -> u64 {
        0
    }

    fn backtrace(&self, out: &mut [u64]) -> usize {
        backtrace::walk(self.sp(), out)
    }
}
