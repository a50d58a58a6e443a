//! Address translation: writable memory is not executable, text is not writable, the page below every stack is not
//! mapped, and nor is anything that the kernel does not use: its image and the registers of a few devices are all.

#[cfg(mayday_metal)]
mod metal {
    use crate::asm::symbols;
    use crate::devicetree::Machine;
    use crate::stack::{COUNT, GUARD, SLOT};
    use crate::sv39::{Access, PAGE, Tables, satp};
    use core::arch::asm;

    static TABLES: Tables = Tables::new();

    /// Builds the page tables and switches translation on.
    ///
    /// # Safety
    /// Once, on the boot CPU, with the trap entry installed; `machine` names devices where there are such.
    pub unsafe fn start(machine: &Machine) -> Result<(), &'static str> {
        let map =
            |start, end, access| TABLES.map(start, end, access).map_err(|_| "there are too few page tables");
        map(symbols::text_start(), symbols::text_end(), Access::TEXT)?;
        map(symbols::rodata_start(), symbols::rodata_end(), Access::READ)?;
        map(symbols::data_start(), symbols::data_end(), Access::DATA)?;
        for slot in 0..COUNT as u64 {
            let start = symbols::stacks_start() + slot * SLOT;
            map(start + GUARD, start + SLOT, Access::DATA)?;
        }
        let source = machine.uart.and_then(|uart| uart.source).unwrap_or(0);
        let controller = machine.plic.map(|plic| plic.pages(source)).into_iter().flatten();
        let others = [machine.uart.map(|uart| uart.base), machine.exit_device].into_iter().flatten();
        for device in controller.chain(others) {
            let page = device & !(PAGE - 1);
            map(page, page + PAGE, Access::DATA)?;
        }
        // SAFETY: the tables map everything that runs, to itself.
        unsafe { enable() }
    }

    /// Switches translation on, on the executing CPU.
    ///
    /// # Safety
    /// The tables are complete, and the CPU runs what they map.
    pub unsafe fn enable() -> Result<(), &'static str> {
        let wanted = satp(TABLES.root());
        let got: u64;
        // SAFETY: what is mapped is mapped to itself, so nothing changes for what runs (contract). Nothing was
        // translated before: the first fence orders the tables' writing before the first walk.
        unsafe {
            asm!("sfence.vma", "csrw satp, {wanted}", "sfence.vma", "csrr {got}, satp",
                wanted = in(reg) wanted, got = out(reg) got, options(nostack));
        }
        // A mode that is not there leaves the register as it was.
        if got == wanted { Ok(()) } else { Err("this CPU has no Sv39 address translation") }
    }

    /// The physical address behind a kernel pointer: the same, the map is the identity.
    pub fn phys_of<T: ?Sized>(pointer: *const T) -> u64 {
        pointer.cast::<u8>() as u64
    }

    /// A read-only view of physical memory, for a capture kernel: none, for there is no way into one yet.
    pub fn map_physical(_physical: u64, _length: u64) -> Option<&'static [u8]> {
        None
    }
}

#[cfg(mayday_metal)]
pub use metal::{enable, map_physical, phys_of, start};
