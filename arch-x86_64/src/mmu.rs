//! Page tables: W^X for the image, a guard below every stack, and an execute-disabled window on RAM.
//!
//! Source: SDM volume 3, chapter 4 (paging).
//!
//! | virtual | what | mapped as |
//! |---|---|---|
//! | `0xFFFF_8000_0000_0000` + physical | RAM, 2 MiB pages | RW-, but R-- where the image and the crash region lie; R-- everywhere in a crash kernel |
//! | the same | APIC and HPET register pages, the error record store | RW-, uncached |
//! | `0xFFFF_FFFF_8020_0000` … | image, 4 KiB pages | text R-X, constants R--, data RW-; stack guards not at all |
//!
//! Nothing is mapped in the lower half.

pub mod tables;

use crate::pvh::{Range, RangeKind};

/// Where the image's link addresses begin: virtual = physical + this - load delta.
pub const KERNEL_BASE: u64 = 0xFFFF_FFFF_8000_0000;
/// Where the direct map begins.
pub const DIRECT_BASE: u64 = 0xFFFF_8000_0000_0000;
/// RAM above this is not in the direct map, for want of tables.
pub const DIRECT_LIMIT: u64 = 32 << 30;
/// Size of a large page.
pub const LARGE: u64 = 2 << 20;
/// The image's size limit: what entry.S maps of it.
pub const IMAGE_MAX: u64 = 16 * LARGE;

/// How the direct map maps one large page that holds RAM.
pub fn direct_map_writable(
    start: u64,
    image: core::ops::Range<u64>,
    crash: core::ops::Range<u64>,
    first: bool,
) -> bool {
    let overlaps = |range: &core::ops::Range<u64>| start < range.end && range.start < start + LARGE;
    // The image keeps its protection only if its other mapping is no way round it.
    first && !overlaps(&image) && !overlaps(&crash)
}

/// The large pages, by start address, that hold any of the usable or ACPI ranges below [`DIRECT_LIMIT`].
/// A page that two ranges share comes up twice.
pub fn direct_map_pages(ranges: &[Range]) -> impl Iterator<Item = u64> + '_ {
    ranges
        .iter()
        .filter(|range| range.kind != RangeKind::Reserved)
        .map(|range| (range.start & !(LARGE - 1), range.end().min(DIRECT_LIMIT)))
        .flat_map(|(start, end)| (start..end.max(start)).step_by(LARGE as usize))
}

#[cfg(mayday_metal)]
pub use metal::*;

#[cfg(mayday_metal)]
mod metal {
    use super::tables::{Protection, Tables, TablesFull};
    use super::*;
    use crate::asm::symbols;
    use crate::boot::Machine;
    use crate::{kexec, stack};
    use core::cell::UnsafeCell;
    use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
    use x86_64::PhysAddr;
    use x86_64::registers::control::{Cr3, Cr3Flags};
    use x86_64::structures::paging::{PageTable, PhysFrame};

    /// Root, two for the image's upper levels, 16 for 32 MiB of it in 4 KiB pages, one for the direct
    /// map, one per GiB of it, one for the APICs' GiB.
    const POOL: usize = 3 + 16 + 1 + 32 + 1;

    struct Pool(UnsafeCell<[PageTable; POOL]>);
    // SAFETY: written by the boot CPU before there is another, afterwards only by `set_region_writable`,
    // which has its own contract.
    unsafe impl Sync for Pool {}
    static POOL_MEMORY: Pool = Pool(UnsafeCell::new([const { PageTable::new() }; POOL]));

    static DELTA: AtomicU64 = AtomicU64::new(0);
    static ROOT: AtomicU64 = AtomicU64::new(0);

    pub(crate) fn set_load_delta(delta: u64) {
        DELTA.store(delta, Relaxed);
    }

    /// How far above its link-time physical address the image was loaded; 0 for the first kernel.
    pub fn load_delta() -> u64 {
        DELTA.load(Relaxed)
    }

    /// Whether this is a crash kernel.
    pub fn is_crash_kernel() -> bool {
        load_delta() != 0
    }

    /// Physical address of a virtual address of the image.
    pub(crate) fn image_physical(address: u64) -> u64 {
        address.wrapping_sub(KERNEL_BASE).wrapping_add(load_delta())
    }

    /// Physical address of an object in the image or in the direct map; 0 for any other address.
    pub fn phys_of<T: ?Sized>(object: *const T) -> u64 {
        let address = object.cast::<u8>() as u64;
        if (symbols::__image_start()..symbols::__image_end()).contains(&address) {
            image_physical(address)
        } else if (DIRECT_BASE..DIRECT_BASE + (1 << 46)).contains(&address) {
            address - DIRECT_BASE
        } else {
            0
        }
    }

    /// The direct map's address of a physical one.
    pub(crate) fn direct<T>(physical: u64) -> *mut T {
        DIRECT_BASE.wrapping_add(physical) as *mut T
    }

    /// Value of CR3 for this kernel's own tables.
    pub(crate) fn root() -> u64 {
        ROOT.load(Relaxed)
    }

    fn image_range() -> core::ops::Range<u64> {
        image_physical(symbols::__image_start())..image_physical(symbols::__image_end())
    }

    fn region_range() -> core::ops::Range<u64> {
        let (base, len) = kexec::region();
        base..base + len
    }

    /// Builds the tables and switches to them.
    ///
    /// # Safety
    /// Once, on the boot CPU, on the boot tables, before anything is read through the direct map.
    pub(crate) unsafe fn init(machine: &Machine) -> Result<(), TablesFull> {
        let pool_physical = image_physical(POOL_MEMORY.0.get() as u64);
        // SAFETY: the only reference to the pool, which no CPU uses yet.
        let pool = unsafe { &mut *POOL_MEMORY.0.get() };
        let mut tables = Tables::new(pool, pool_physical)?;
        let text = symbols::__text_start()..symbols::__text_end();
        let rodata = symbols::__rodata_start()..symbols::__rodata_end();
        for address in (symbols::__image_start()..symbols::__image_end()).step_by(stack::PAGE) {
            let protection = if text.contains(&address) {
                Protection::ReadExecute
            } else if rodata.contains(&address) {
                Protection::Read
            } else if stack::place_of(address).is_some_and(|place| place.guard) {
                continue;
            } else {
                Protection::ReadWrite
            };
            tables.map_small(address, image_physical(address), protection)?;
        }
        for start in direct_map_pages(machine.start.ranges()) {
            let writable = direct_map_writable(start, image_range(), region_range(), !is_crash_kernel());
            let protection = if writable { Protection::ReadWrite } else { Protection::Read };
            tables.map_large(DIRECT_BASE + start, start, protection)?;
        }
        // APIC registers: the large pages at 0xFEC00000 and 0xFEE00000, or where the MADT says.
        let apic = core::iter::once(0xFEE0_0000);
        let io_apics = machine.madt.io_apics().iter().map(|io_apic| u64::from(io_apic.address));
        for address in apic.chain(io_apics).chain(machine.hpet.ok()) {
            let start = address & !(LARGE - 1);
            tables.map_large(DIRECT_BASE + start, start, Protection::Device)?;
        }
        let root = tables.root();
        ROOT.store(root, Relaxed);
        // SAFETY: the tables map the running text, the stack and all data at the addresses in use.
        unsafe {
            Cr3::write(PhysFrame::containing_address(PhysAddr::new_truncate(root)), Cr3Flags::empty());
        }
        Ok(())
    }

    /// Makes the first `len` bytes of the crash region, rounded up to large pages, writable through the
    /// direct map, or read-only again, on this CPU.
    ///
    /// # Safety
    /// 1. No other CPU changes the tables.
    /// 2. Taking the right to write away happens before another CPU could have cached it: before
    ///    secondaries start.
    pub(crate) unsafe fn set_region_writable(len: u64, writable: bool) {
        let pool_physical = image_physical(POOL_MEMORY.0.get() as u64);
        // SAFETY: condition 1. The CPU itself only sets accessed and dirty bits in these.
        let pool = unsafe { &mut *POOL_MEMORY.0.get() };
        let mut tables = Tables::resume(pool, pool_physical);
        let protection = if writable { Protection::ReadWrite } else { Protection::Read };
        let region = region_range();
        for start in (region.start..region.end.min(region.start + len)).step_by(LARGE as usize) {
            tables.protect_large(DIRECT_BASE + start, protection);
        }
        x86_64::instructions::tlb::flush_all();
    }

    /// Maps a device's memory uncached, by large pages, and returns where it begins; memory that is mapped so
    /// already stays so. `None`, and nothing mapped: if RAM lies in one of the pages, or the address is not in
    /// the GiB below 4 GiB, for which there is a table.
    ///
    /// # Safety
    /// 1. On the boot CPU, before other CPUs run.
    /// 2. A device is there that bears accesses of whatever size is made.
    pub(crate) unsafe fn map_device(physical: u64, len: u64) -> Option<*mut u8> {
        let machine = crate::boot::machine()?;
        let end = physical.checked_add(len).filter(|end| physical >= 3 << 30 && *end <= 4 << 30)?;
        let pages = || (physical & !(LARGE - 1)..end).step_by(LARGE as usize);
        if pages().any(|page| direct_map_pages(machine.start.ranges()).any(|ram| ram == page)) {
            return None;
        }
        let pool_physical = image_physical(POOL_MEMORY.0.get() as u64);
        // SAFETY: condition 1. The CPU itself only sets accessed and dirty bits in these.
        let pool = unsafe { &mut *POOL_MEMORY.0.get() };
        let mut tables = Tables::resume(pool, pool_physical);
        for page in pages() {
            tables.map_large(DIRECT_BASE + page, page, Protection::Device).ok()?;
        }
        Some(direct(physical))
    }

    /// A read-only view of RAM, for instance of the first kernel's from a crash kernel. `None` unless
    /// `[physical, physical + len)` lies in one usable range of firmware's map and in the direct map, and
    /// outside this kernel's own image, which this kernel writes.
    ///
    /// This kernel never writes what it hands out here. A CPU of the first kernel that was named as missing
    /// may, and a device may. To Rust such bytes are as a device's, and a `&[u8]` promises more than is
    /// true of them: a value that is read twice may differ. Callers therefore copy what they judge, judge
    /// the copy, and bear any content.
    pub fn map_physical(physical: u64, len: u64) -> Option<&'static [u8]> {
        let machine = crate::boot::machine()?;
        if physical == 0 || len == 0 || physical.checked_add(len)? > DIRECT_LIMIT {
            return None;
        }
        let own = image_range();
        if !machine.start.is_usable(physical, len) || (physical < own.end && own.start < physical + len) {
            return None;
        }
        // SAFETY: usable ranges below the limit are in the direct map, for the whole run; every bit pattern
        // is a `u8`. That nobody writes them for as long as the view lives is true of this kernel, which
        // writes its image and, at load and jump, a crash region that it holds no view of; and of parked
        // CPUs. It cannot be guaranteed for a missing CPU or a device, which this kernel cannot stop: the
        // caller's to bear (above).
        Some(unsafe { core::slice::from_raw_parts(direct::<u8>(physical), usize::try_from(len).ok()?) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u64, end: u64, kind: RangeKind) -> Range {
        Range { start, len: end - start, kind }
    }

    #[test]
    fn the_direct_map_covers_ram_and_nothing_reserved() {
        let ranges = [
            range(0, 0x9_FC00, RangeKind::Usable),
            range(0x10_0000, 0x50_0001, RangeKind::Usable),
            range(0xB000_0000, 0xC000_0000, RangeKind::Reserved),
        ];
        let pages: Vec<_> = direct_map_pages(&ranges).collect();
        assert_eq!(pages, [0, 0, LARGE, 2 * LARGE]);
        let high = [range(DIRECT_LIMIT - LARGE, DIRECT_LIMIT + 8 * LARGE, RangeKind::Usable)];
        assert_eq!(direct_map_pages(&high).count(), 1);
        assert_eq!(
            direct_map_pages(&[range(DIRECT_LIMIT * 2, DIRECT_LIMIT * 3, RangeKind::Usable)]).count(),
            0
        );
    }

    #[test]
    fn image_and_crash_region_are_read_only_in_it() {
        let (image, crash) = (0x20_0000..0x50_0000, 0x400_0000..0x600_0000);
        let writable = |start| direct_map_writable(start, image.clone(), crash.clone(), true);
        assert!(writable(0));
        assert!(!writable(0x20_0000) && !writable(0x40_0000), "both pages of the image");
        assert!(writable(0x60_0000) && writable(0x3E0_0000));
        assert!(!writable(0x400_0000) && !writable(0x5E0_0000));
        assert!(writable(0x600_0000));
        assert!(!direct_map_writable(0, image.clone(), crash.clone(), false), "a crash kernel only reads");
    }
}
