//! Sv39 page tables (privileged architecture, "Sv39: Page-Based 39-bit Virtual-Memory System"): three levels of 512
//! entries, pages of 4 KiB.
//!
//! The map is the identity: virtual addresses are physical ones.

use bitflags::bitflags;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Bytes of a page.
pub const PAGE: u64 = 4096;
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
    VALID | GLOBAL | ACCESSED_DIRTY | access.bits() | address / PAGE << 10
}

/// The entry that points to the next table.
pub const fn directory(table: u64) -> u64 {
    VALID | table / PAGE << 10
}

/// The value of satp for a root table at `root`.
pub const fn satp(root: u64) -> u64 {
    MODE | root / PAGE
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

    /// The entry for the page at `address`. Creates what is missing on the way if `create`.
    fn entry(&self, address: u64, create: bool) -> Result<Option<&AtomicU64>, MapError> {
        let mut table = self.pool.first().ok_or(MapError::TablesFull)?;
        for level in [2, 1] {
            let entry = table.0.get(index(address, level)).ok_or(MapError::Range)?;
            let mut value = entry.load(Ordering::Acquire);
            if value == 0 {
                if !create {
                    return Ok(None);
                }
                let number = self.used.fetch_add(1, Ordering::AcqRel);
                let next = self.pool.get(number).ok_or(MapError::TablesFull)?;
                value = directory((&raw const *next) as u64);
                entry.store(value, Ordering::Release);
            }
            table = self.table_at((value >> 10) * PAGE).ok_or(MapError::Range)?;
        }
        Ok(table.0.get(index(address, 0)))
    }

    /// What `address` may be used for; `None` where nothing is mapped.
    pub fn access(&self, address: u64) -> Option<Access> {
        let entry = self.entry(address, false).ok()??.load(Ordering::Acquire);
        (address < LIMIT && entry != 0).then(|| Access::from_bits_truncate(entry))
    }

    /// Maps `[start, end)` to itself. Pages that are mapped already stay as they are. One caller at a time.
    pub fn map(&self, start: u64, end: u64, access: Access) -> Result<(), MapError> {
        if !start.is_multiple_of(PAGE) || !end.is_multiple_of(PAGE) || start >= end || end > LIMIT {
            return Err(MapError::Range);
        }
        for page in (start..end).step_by(PAGE as usize) {
            let entry = self.entry(page, true)?.ok_or(MapError::Range)?;
            if entry.load(Ordering::Acquire) == 0 {
                entry.store(leaf(page, access), Ordering::Release);
            }
        }
        Ok(())
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
