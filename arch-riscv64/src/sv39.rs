//! Sv39 page tables (privileged architecture, "Sv39: Page-Based 39-bit Virtual-Memory System"): three levels of 512
//! entries, pages of 4 KiB, and of 2 MiB one level up.
//!
//! The map is the identity: virtual addresses are physical ones.

use bitflags::bitflags;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Bytes of a page.
pub const PAGE: u64 = 4096;
/// Bytes of a large page.
pub const LARGE_PAGE: u64 = 2 << 20;
/// Addresses below this are their own translation; above, the identity would not be canonical.
pub const LIMIT: u64 = 1 << 38;
/// Entries of a table.
const ENTRIES: usize = 512;
/// Tables, the root among them: two GiB are used, and in them 20 pieces of 2 MiB at the most.
const POOL: usize = 24;

const VALID: u64 = 1 << 0;
/// The same in every address space.
const GLOBAL: u64 = 1 << 5;
/// Accessed and dirty: hardware never has to write entries, nor to trap because it does not.
const ACCESSED_DIRTY: u64 = 3 << 6;
/// Mode "Sv39" in satp.
const MODE: u64 = 8 << 60;

bitflags! {
    /// What a leaf allows.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Access: u64 {
        /// Loads.
        const READ = 1 << 1;
        /// Stores.
        const WRITE = 1 << 2;
        /// Instruction fetches.
        const EXECUTE = 1 << 3;
    }
}

impl Access {
    /// Text.
    pub const TEXT: Access = Access::READ.union(Access::EXECUTE);
    /// Data, and registers of devices.
    pub const DATA: Access = Access::READ.union(Access::WRITE);
}

/// The entry that maps a page at physical address `address`.
pub const fn leaf(address: u64, access: Access) -> u64 {
    VALID | GLOBAL | ACCESSED_DIRTY | access.bits() | ((address / PAGE) << 10)
}

/// The entry that points to the next table.
pub const fn directory(table: u64) -> u64 {
    VALID | ((table / PAGE) << 10)
}

/// The value of satp for a root table at `root`.
pub const fn satp(root: u64) -> u64 {
    MODE | (root / PAGE)
}

/// Whether an entry maps a page: one that points to a table has no rights.
const fn is_leaf(entry: u64) -> bool {
    entry & VALID != 0 && entry & Access::all().bits() != 0
}

/// Where the page of `size` bytes, a power of two, begins that `at` lies in.
const fn start_of(at: u64, size: u64) -> u64 {
    at & !size.wrapping_sub(1)
}

/// Index into the table of `level` (2 = root, 0 = the table of pages).
const fn index(address: u64, level: u32) -> usize {
    (address >> (12 + 9 * level)) as usize & (ENTRIES - 1)
}

#[repr(C, align(4096))]
struct Table([AtomicU64; ENTRIES]);

/// A set of page tables with the memory for them. Must stay where it is once something was mapped.
pub struct Tables {
    pool: [Table; POOL],
    used: AtomicUsize,
}

/// Why something was not mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MapError {
    /// There is no memory for another table.
    TablesFull,
    /// Not page-aligned, empty, or not below [`LIMIT`].
    Range,
}

impl Tables {
    /// Tables that map nothing.
    #[allow(clippy::new_without_default)] // 96 KiB: a static's initialiser, nothing to put on a stack
    pub const fn new() -> Self {
        Tables {
            pool: [const { Table([const { AtomicU64::new(0) }; ENTRIES]) }; POOL],
            used: AtomicUsize::new(1),
        }
    }

    /// Address of the root table.
    pub fn root(&self) -> u64 {
        (&raw const self.pool) as u64
    }

    fn table_at(&self, address: u64) -> Option<&Table> {
        let offset = address.checked_sub(self.root())? as usize;
        self.pool.get(offset / size_of::<Table>())
    }

    /// The entry for `address` in the table of `level`. Creates what is missing on the way if `create`; `None` if it is
    /// missing, or if a large page is in the way.
    fn entry(&self, address: u64, level: u32, create: bool) -> Result<Option<&AtomicU64>, MapError> {
        let mut table = self.pool.first().ok_or(MapError::TablesFull)?;
        for above in (level + 1..3).rev() {
            let entry = table.0.get(index(address, above)).ok_or(MapError::Range)?;
            let mut value = entry.load(Ordering::Acquire);
            if is_leaf(value) {
                return Ok(None);
            }
            if value == 0 {
                if !create {
                    return Ok(None);
                }
                let number = self.used.fetch_add(1, Ordering::AcqRel);
                let next = self.pool.get(number).ok_or(MapError::TablesFull)?;
                value = directory((&raw const *next) as u64);
                entry.store(value, Ordering::Release);
            }
            table = self.table_at((value >> 10) << 12).ok_or(MapError::Range)?;
        }
        Ok(table.0.get(index(address, level)))
    }

    /// The leaf that maps `address` and the bytes it maps, if any.
    fn leaf_of(&self, address: u64) -> Option<(&AtomicU64, u64)> {
        for (level, size) in [(1, LARGE_PAGE), (0, PAGE)] {
            if let Ok(Some(entry)) = self.entry(address, level, false)
                && is_leaf(entry.load(Ordering::Acquire))
            {
                return Some((entry, size));
            }
        }
        None
    }

    /// What `address` may be used for; `None` where nothing is mapped.
    pub fn access(&self, address: u64) -> Option<Access> {
        let (entry, _) = self.leaf_of(address).filter(|_| address < LIMIT)?;
        Some(Access::from_bits_truncate(entry.load(Ordering::Acquire)))
    }

    /// Maps `[start, end)` to itself. Pages that are mapped already stay as they are. One caller at a time.
    pub fn map(&self, start: u64, end: u64, access: Access) -> Result<(), MapError> {
        if !start.is_multiple_of(PAGE) || !end.is_multiple_of(PAGE) || start >= end || end > LIMIT {
            return Err(MapError::Range);
        }
        let mut at = start;
        while at < end {
            if let Some((_, size)) = self.leaf_of(at) {
                at = start_of(at, size) + size;
                continue;
            }
            if at.is_multiple_of(LARGE_PAGE)
                && end - at >= LARGE_PAGE
                && let Some(entry) = self.entry(at, 1, true)?
                && entry.load(Ordering::Acquire) == 0
            {
                entry.store(leaf(at, access), Ordering::Release);
                at += LARGE_PAGE;
                continue;
            }
            let entry = self.entry(at, 0, true)?.ok_or(MapError::Range)?;
            entry.store(leaf(at, access), Ordering::Release);
            at += PAGE;
        }
        Ok(())
    }

    /// Changes what the mapped pages of `[start, end)` allow, whole pages, large ones too. The caller drops their old
    /// translations.
    pub fn protect(&self, start: u64, end: u64, access: Access) {
        let mut at = start_of(start, PAGE);
        while at < end {
            let size = match self.leaf_of(at) {
                Some((entry, size)) => {
                    entry.store(leaf(start_of(at, size), access), Ordering::Release);
                    size
                }
                None => PAGE,
            };
            at = start_of(at, size).saturating_add(size);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_as_the_architecture_wants_them() {
        assert_eq!(leaf(0x8020_0000, Access::TEXT), 0x2008_00eb);
        assert_eq!(leaf(0x8020_0000, Access::READ), 0x2008_00e3);
        assert_eq!(leaf(0x8020_0000, Access::DATA), 0x2008_00e7);
        assert_eq!(directory(0x8051_3000), 0x2014_4c01);
        assert_eq!(satp(0x8051_3000), 0x8000_0000_0008_0513);
        // Writable without readable is reserved.
        assert!(Access::DATA.contains(Access::READ));
    }

    #[test]
    fn what_is_mapped_is_mapped_and_nothing_else() {
        static TABLES: Tables = Tables::new();
        TABLES.map(0x8020_0000, 0x8020_3000, Access::TEXT).unwrap();
        TABLES.map(0x1000_0000, 0x1000_1000, Access::DATA).unwrap();
        for mapped in [0x8020_0000, 0x8020_2fff] {
            assert_eq!(TABLES.access(mapped), Some(Access::TEXT), "{mapped:x}");
        }
        for unmapped in [0, 0x801f_ffff, 0x8020_3000, 0x1000_1000, LIMIT + 0x8020_0000, u64::MAX] {
            assert_eq!(TABLES.access(unmapped), None, "{unmapped:x}");
        }
        assert_eq!(TABLES.used.load(Ordering::Relaxed), 5, "the root, and two for each of two places");
        // What is mapped stays.
        TABLES.map(0x8020_2000, 0x8020_4000, Access::DATA).unwrap();
        assert_eq!(
            [0x8020_2000, 0x8020_3000].map(|at| TABLES.access(at)),
            [Some(Access::TEXT), Some(Access::DATA)]
        );
    }

    #[test]
    fn large_pages_are_used_where_they_fit_and_can_be_protected() {
        static TABLES: Tables = Tables::new();
        TABLES.map(0x83ff_f000, 0x8420_1000, Access::READ).unwrap();
        for mapped in [0x83ff_f000, 0x8400_0000, 0x841f_ffff, 0x8420_0fff] {
            assert_eq!(TABLES.access(mapped), Some(Access::READ), "{mapped:x}");
        }
        assert_eq!(TABLES.used.load(Ordering::Relaxed), 4, "the root, the GiB, two for single pages");
        TABLES.protect(0x8400_0000, 0x8420_1000, Access::DATA);
        let access = [0x83ff_f000, 0x8400_0000, 0x8420_0000, 0x8420_1000].map(|at| TABLES.access(at));
        assert_eq!(access, [Some(Access::READ), Some(Access::DATA), Some(Access::DATA), None]);
        // What is mapped stays.
        TABLES.map(0x8400_0000, 0x8420_2000, Access::TEXT).unwrap();
        assert_eq!(
            [0x8410_0000, 0x8420_1000].map(|at| TABLES.access(at)),
            [Some(Access::DATA), Some(Access::TEXT)]
        );
    }

    #[test]
    fn bad_ranges_and_full_pools_are_refused() {
        static TABLES: Tables = Tables::new();
        for (start, end) in [(1, PAGE), (PAGE, PAGE), (LIMIT, LIMIT + PAGE), (0, 1)] {
            assert_eq!(TABLES.map(start, end, Access::DATA), Err(MapError::Range));
        }
        let all = (0..64)
            .try_for_each(|gigabyte| TABLES.map(gigabyte << 30, (gigabyte << 30) + PAGE, Access::DATA));
        assert_eq!(all, Err(MapError::TablesFull));
    }
}
