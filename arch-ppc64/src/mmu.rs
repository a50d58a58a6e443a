//! Address translation: writable memory is not executable, text is not writable, the page below every
//! stack and the first 64 KiB are not mapped.
//!
//! Only what the kernel uses is mapped: its image, the crash module (read-only), the crash region
//! (read-only until the jump). Exceptions switch translation off (AIL = 0), so the vector page and
//! firmware need no mapping. The page tables of a capture kernel replace the first kernel's for the
//! whole partition; CPUs parked in the first kernel run untranslated.

/// Where the image is linked; `link/kernel.ld` has the same number.
pub const LINK_BASE: u64 = 0x40_0000;

#[cfg(mayday_metal)]
mod metal {
    use crate::asm::symbols;
    use crate::cpu::Msr;
    use crate::devicetree::Machine;
    use crate::hcall::{self, H_REGISTER_PROC_TBL, H_SUCCESS, ProcessTable};
    use crate::radix::{Access, LARGE_PAGE, PAGE, Tables, process_entry};
    use crate::stack::{COUNT, GUARD, SLOT};
    use crate::{boot, kexec};
    use core::arch::asm;
    use core::sync::atomic::{AtomicU64, Ordering};
    use spin::Mutex;

    static TABLES: Tables = Tables::new();

    /// The process table: one entry is used, for process 0.
    #[repr(C, align(4096))]
    struct ProcessEntries([AtomicU64; 512]);
    static PROCESSES: ProcessEntries = ProcessEntries([const { AtomicU64::new(0) }; 512]);

    /// Serialises [`map_physical`]. Not taken on the way into a crash kernel.
    static MAPPING: Mutex<()> = Mutex::new(());

    /// Builds the page tables and switches translation on.
    ///
    /// # Safety
    /// Once per kernel, on the boot CPU, in real mode, with vectors installed.
    pub unsafe fn start(machine: &Machine) -> Result<(), &'static str> {
        let map =
            |start, end, access| TABLES.map(start, end, access).map_err(|_| "there are too few page tables");
        map(symbols::text_start(), symbols::text_end(), Access::TEXT)?;
        map(symbols::rodata_start(), symbols::rodata_end(), Access::READ_ONLY)?;
        map(symbols::data_start(), symbols::data_end(), Access::DATA)?;
        for slot in 0..COUNT as u64 {
            let start = symbols::stacks_start() + slot * SLOT;
            map(start + GUARD, start + SLOT, Access::DATA)?;
        }
        if let Some((start, end)) = machine.initrd {
            map(start & !(PAGE - 1), end.next_multiple_of(PAGE), Access::READ_ONLY)?;
        }
        if let Ok((base, len)) = kexec::usable_region() {
            map(base, base + len, Access::READ_ONLY)?;
        }
        for (slot, word) in PROCESSES.0.iter().zip(process_entry(TABLES.root())) {
            slot.store(word, Ordering::Relaxed);
        }
        let table = (&raw const PROCESSES) as u64;
        // SAFETY: the tables above map everything that runs from here on, to itself.
        let answer = unsafe { hcall::call(H_REGISTER_PROC_TBL, [ProcessTable::all().bits(), table, 0, 0]) };
        if answer.status != H_SUCCESS {
            return Err("the hypervisor refused the radix process table");
        }
        // SAFETY: as above; process 0 is the one in the table. Translations of an earlier kernel are
        // dropped first.
        unsafe {
            asm!(
                "mtspr 48, {zero}",
                "isync",
                // tlbie r3, r4, RIC=2, PRS=1, R=1 with IS=1: everything of process r4 >> 32.
                "ptesync",
                ".long 0x7c8b1a64",
                "eieio",
                "tlbsync",
                "ptesync",
                "mtmsrd {msr}",
                "isync",
                zero = in(reg) 0_u64,
                msr = in(reg) Msr::TRANSLATED.bits(),
                in("r3") 0x400_u64,
                in("r4") 0_u64,
                options(nostack),
            );
        }
        Ok(())
    }

    /// Drops the translation of one page on every CPU.
    fn invalidate(page: u64, size: u64) {
        // Actual page size: 0 for 4 KiB, 1 for 2 MiB, in bits 56..58.
        let operand = page | if size == LARGE_PAGE { 1 << 5 } else { 0 };
        // SAFETY: dropping a translation has no effect but a later walk of the tables.
        unsafe {
            asm!(
                "ptesync",
                // tlbie r3, r4, RIC=0, PRS=1, R=1: the page r3 of process r4 >> 32.
                ".long 0x7c831a64",
                "eieio",
                "tlbsync",
                "ptesync",
                in("r3") operand,
                in("r4") 0_u64,
                options(nostack, preserves_flags),
            );
        }
    }

    /// Makes the crash region writable, or read-only again, on every CPU. Takes no lock.
    pub fn set_region_writable(region: (u64, u64), writable: bool) {
        let access = if writable { Access::DATA } else { Access::READ_ONLY };
        TABLES.protect(region.0, region.0.saturating_add(region.1), access, invalidate);
    }

    /// The physical address behind a kernel pointer: the same, the map is the identity.
    pub fn phys_of<T: ?Sized>(pointer: *const T) -> u64 {
        pointer.cast::<u8>() as u64
    }

    /// A read-only view of `length` bytes of RAM at `physical`: for a capture kernel that reads the
    /// first one's memory. `None` if that is not RAM as a whole, or is this kernel's own writable
    /// memory, or cannot be mapped.
    ///
    /// This kernel never writes what it maps here. A CPU of the first kernel that was named as missing
    /// may: until its next exception it runs on, and a device may write by itself. To Rust such bytes are
    /// as a device's, and a `&[u8]` promises more than is true of them: a value that is read twice may
    /// differ. Callers therefore copy what they judge, judge the copy, and bear any content.
    pub fn map_physical(physical: u64, length: u64) -> Option<&'static [u8]> {
        let machine = boot::machine()?;
        let end = physical.checked_add(length)?;
        let own = symbols::data_start()..symbols::image_end();
        if length == 0 || !machine.is_ram(physical, length) || (physical < own.end && own.start < end) {
            return None;
        }
        // The page at 0 stays unmapped, and no slice starts at a null pointer.
        if physical < PAGE {
            return None;
        }
        let _one_at_a_time = MAPPING.lock();
        let (first, last) = (physical & !(PAGE - 1), end.next_multiple_of(PAGE));
        TABLES.map(first, last, Access::READ_ONLY).ok()?;
        // SAFETY: RAM that is mapped now, for ever; every bit pattern is a `u8`. That nobody writes it for as
        // long as the view lives is true of this kernel: it is not in its image, and the crash region is
        // written before anything can ask for a view of it. It is true of parked CPUs. It cannot be
        // guaranteed for a missing CPU or a device, which this kernel cannot stop: the caller's to bear
        // (above). No code of this kernel can be made to write through the view, which is mapped read-only.
        Some(unsafe { core::slice::from_raw_parts(physical as *const u8, length as usize) })
    }
}

#[cfg(mayday_metal)]
pub use metal::{map_physical, phys_of, set_region_writable, start};
