//! The platform-level interrupt controller: which device interrupts the boot CPU.
//!
//! Source: RISC-V Platform-Level Interrupt Controller Specification, "Memory Map". A *context* is a hart in one mode;
//! only the boot CPU's, in supervisor mode, is used.

/// The controller, as the device tree names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plic {
    /// Physical address of its registers.
    pub base: u64,
    /// Number of the boot CPU's context.
    pub context: u32,
}

/// A source's number must be below this.
pub const SOURCES: u32 = 1024;

impl Plic {
    /// Address of the priority of a source; 0 is never delivered.
    pub const fn priority(&self, source: u32) -> u64 {
        self.base.wrapping_add(4 * source as u64)
    }

    /// Address of the word with a source's enable bit, which is number `source % 32`.
    pub const fn enable(&self, source: u32) -> u64 {
        self.base.wrapping_add(0x2000 + 0x80 * self.context as u64 + 4 * (source as u64 / 32))
    }

    /// Address of the priority that a source has to be above.
    pub const fn threshold(&self) -> u64 {
        self.base.wrapping_add(0x20_0000 + 0x1000 * self.context as u64)
    }

    /// Address of the register that gives a source out when it is read, and takes it back when it is written.
    pub const fn claim(&self) -> u64 {
        self.threshold().wrapping_add(4)
    }

    /// An address in each page of registers that is used for `source`.
    pub const fn pages(&self, source: u32) -> [u64; 3] {
        [self.priority(source), self.enable(source), self.threshold()]
    }
}

#[cfg(mayday_metal)]
mod metal {
    use super::Plic;
    use crate::boot;
    use core::sync::atomic::{AtomicU32, Ordering};

    /// The source that is enabled; 0: none.
    static ENABLED: AtomicU32 = AtomicU32::new(0);

    fn plic() -> Option<Plic> {
        boot::machine()?.plic
    }

    fn read(register: u64) -> u32 {
        // SAFETY: a register of the controller, mapped by `mmu::start`; what reading one does is to interrupts alone.
        unsafe { (register as *const u32).read_volatile() }
    }

    fn write(register: u64, value: u32) {
        // SAFETY: as above; the device has no access to memory.
        unsafe { (register as *mut u32).write_volatile(value) };
    }

    /// Lets a source interrupt the boot CPU. False if there is no controller.
    pub fn enable(source: u32) -> bool {
        let Some(plic) = plic() else { return false };
        ENABLED.store(source, Ordering::Release);
        write(plic.priority(source), 1);
        write(plic.threshold(), 0);
        let word = plic.enable(source);
        write(word, read(word) | 1 << (source % 32));
        true
    }

    /// The source that interrupts the boot CPU; until [`complete`] it does not again.
    pub fn claim() -> Option<u32> {
        Some(read(plic()?.claim())).filter(|source| *source != 0)
    }

    /// The interrupt of `source` is over.
    pub fn complete(source: u32) {
        if let Some(plic) = plic() {
            write(plic.claim(), source);
        }
    }

    /// Takes back what was enabled; how many sources that is. A source that is pending already stays so, and reaches
    /// nobody until somebody enables it.
    pub fn disable_all() -> u32 {
        let source = ENABLED.swap(0, Ordering::AcqRel);
        let Some(plic) = plic().filter(|_| source != 0) else { return 0 };
        let word = plic.enable(source);
        write(word, read(word) & !(1 << (source % 32)));
        1
    }

    /// Whether `source` is the one that was enabled.
    pub fn is_enabled(source: u32) -> bool {
        source != 0 && source == ENABLED.load(Ordering::Acquire)
    }
}

#[cfg(mayday_metal)]
pub use metal::{claim, complete, disable_all, enable, is_enabled};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_are_where_the_specification_has_them() {
        let plic = Plic { base: 0xc00_0000, context: 3 };
        assert_eq!(plic.priority(10), 0xc00_0028);
        assert_eq!((plic.enable(10), plic.enable(33)), (0xc00_2180, 0xc00_2184));
        assert_eq!((plic.threshold(), plic.claim()), (0xc20_3000, 0xc20_3004));
        let pages = Plic { base: 0xc00_0000, context: u32::MAX }.pages(SOURCES - 1);
        assert!(pages.iter().all(|page| *page >= 0xc00_0000), "no overflow");
    }
}
