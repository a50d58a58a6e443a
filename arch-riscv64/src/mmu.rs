//! Address translation: writable memory is not executable, text is not writable, the page below every stack is not
//! mapped, and nor is anything that the kernel does not use. What it uses is its image, the registers of a few devices,
//! the crash module (read-only) and the crash region (read-only until the jump).

/// Where the image is linked; `link/kernel.ld` has the same number.
pub const LINK_BASE: u64 = 0x8020_0000;

#[cfg(mayday_metal)]
mod metal {
    use crate::asm::symbols;
    use crate::devicetree::Machine;
    use crate::stack::{COUNT, GUARD, SLOT};
    use crate::sv39::{Access, PAGE, Tables, satp};
    use crate::{boot, kexec};
    use core::arch::asm;
    use spin::Mutex;

    static TABLES: Tables = Tables::new();

    /// Serialises [`map_physical`]. Not taken on the way into a crash kernel.
    static MAPPING: Mutex<()> = Mutex::new(());

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
        if let Some((start, end)) = machine.initrd {
            map(start & !(PAGE - 1), end.next_multiple_of(PAGE), Access::READ)?;
        }
        if let Ok((base, len)) = kexec::usable_region() {
            map(base, base + len, Access::READ)?;
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

    /// Makes the crash region writable, or read-only again: in the one set of tables that all CPUs use, and what is
    /// cached of it is dropped on the executing CPU alone.
    ///
    /// Taking the right to write away is for before others run, or for naught on those that have cached it.
    pub fn set_region_writable(region: (u64, u64), writable: bool) {
        let access = if writable { Access::DATA } else { Access::READ };
        TABLES.protect(region.0, region.0.saturating_add(region.1), access);
        // SAFETY: drops cached translations; what is mapped is mapped to itself, before and after.
        unsafe { asm!("sfence.vma", options(nostack, preserves_flags)) };
    }

    /// A read-only view of `length` bytes of RAM at `physical`: for a capture kernel that reads the first one's
    /// memory. `None` if that is not RAM as a whole, or is this kernel's own writable memory, or cannot be mapped.
    ///
    /// This kernel never writes what it maps here. A CPU of the first kernel that was named as missing may, and a device
    /// may. To Rust such bytes are as a device's, and a `&[u8]` promises more than is true of them: a value that is read
    /// twice may differ. Callers therefore copy what they judge, judge the copy, and bear any content.
    pub fn map_physical(physical: u64, length: u64) -> Option<&'static [u8]> {
        let machine = boot::machine()?;
        let end = physical.checked_add(length)?;
        let own = symbols::data_start()..symbols::image_end();
        if length == 0 || !machine.is_ram(physical, length) || (physical < own.end && own.start < end) {
            return None;
        }
        let _one_at_a_time = MAPPING.lock();
        let (first, last) = (physical & !(PAGE - 1), end.checked_next_multiple_of(PAGE)?);
        TABLES.map(first, last, Access::READ).ok()?;
        // SAFETY: orders the tables' writing before a walk of them.
        unsafe { asm!("sfence.vma", options(nostack, preserves_flags)) };
        // SAFETY: RAM that is mapped now, for ever; every bit pattern is a `u8`. That nobody writes it for as long as
        // the view lives is true of this kernel: it is not in its image, and the crash region is written before
        // anything can ask for a view of it. It is true of parked CPUs. It cannot be guaranteed for a missing CPU or a
        // device, which this kernel cannot stop: the caller's to bear (above). No code of this kernel can be made to
        // write through the view, which is mapped read-only.
        Some(unsafe { core::slice::from_raw_parts(physical as *const u8, length as usize) })
    }
}

#[cfg(mayday_metal)]
pub use metal::{enable, map_physical, phys_of, set_region_writable, start};
