//! Radix page tables (Power ISA 3.0B, Book III, "Radix Tree Translation"): four levels for 52 address
//! bits, 13 + 9 + 9 + 9 + 12.
//!
//! The map is the identity: virtual addresses are real addresses.

use bitflags::bitflags;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Bytes of a page.
pub const PAGE: u64 = 4096;
/// Bytes of a large page, a leaf one level up.
pub const LARGE_PAGE: u64 = 2 << 20;
/// Entries of the root table: 64 KiB.
const ROOT_ENTRIES: usize = 1 << 13;
/// Entries of every other table: 4 KiB.
const ENTRIES: usize = 1 << 9;
/// Tables other than the root.
const POOL: usize = 40;

const VALID: u64 = 1 << 63;
const LEAF: u64 = 1 << 62;
/// The bits of an entry that hold a real address.
const ADDRESS: u64 = 0x01ff_ffff_ffff_f000;
/// log2 of the entries of the next table.
const NEXT_LEVEL_SIZE: u64 = 9;
/// Reference and change recorded: hardware never has to write entries.
const REFERENCED_CHANGED: u64 = 0x180;

bitflags! {
    /// What a leaf allows (Encoded Access Authority).
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Access: u64 {
        /// Only in privileged state.
        const PRIVILEGED = 8;
        /// Loads.
        const READ = 4;
        /// Stores.
        const WRITE = 2;
        /// Instruction fetches.
        const EXECUTE = 1;
    }
}

impl Access {
    /// Text.
    pub const TEXT: Access = Access::PRIVILEGED.union(Access::READ).union(Access::EXECUTE);
    /// Constants, and whatever must not be written.
    pub const READ_ONLY: Access = Access::PRIVILEGED.union(Access::READ);
    /// Data.
    pub const DATA: Access = Access::READ_ONLY.union(Access::WRITE);
}

/// The entry that maps a page at real address `address`.
pub const fn leaf(address: u64, access: Access) -> u64 {
    VALID | LEAF | (address & ADDRESS) | REFERENCED_CHANGED | access.bits()
}

/// The entry that points to the next table.
pub const fn directory(table: u64) -> u64 {
    VALID | (table & ADDRESS) | NEXT_LEVEL_SIZE
}

/// Both words of the process table entry for a root table at `root` (64 KiB, 52 address bits).
pub const fn process_entry(root: u64) -> [u64; 2] {
    // RTS is split over bits 1..2 and 56..58: 0b01 and 0b101 stand for 52 = 31 + 21 bits. RPDS = 13.
    [0x4000_0000_0000_0000 | 0xa0 | root | 13, 0]
}

/// Index into the table of `level` (3 = root … 0 = the table of pages).
const fn index(address: u64, level: u32) -> usize {
    let entries = if level == 3 { ROOT_ENTRIES } else { ENTRIES };
    (address >> (12 + 9 * level)) as usize & (entries - 1)
}

#[repr(C, align(4096))]
struct Table([AtomicU64; ENTRIES]);

#[repr(C, align(65536))]
struct Root([AtomicU64; ROOT_ENTRIES]);

/// A set of page tables with the memory for them. Must stay where it is once something was mapped.
pub struct Tables {
    root: Root,
    pool: [Table; POOL],
    used: AtomicUsize,
}

/// Why something was not mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MapError {
    /// There is no memory for another table.
    TablesFull,
    /// Not page-aligned, empty, or beyond 52 bits.
    Range,
}

impl Tables {
    /// Tables that map nothing.
    #[allow(clippy::new_without_default)] // 230 KiB: a static's initialiser, nothing to put on a stack
    pub const fn new() -> Self {
        Tables {
            root: Root([const { AtomicU64::new(0) }; ROOT_ENTRIES]),
            pool: [const { Table([const { AtomicU64::new(0) }; ENTRIES]) }; POOL],
            used: AtomicUsize::new(0),
        }
    }

    /// Address of the root table.
    pub fn root(&self) -> u64 {
        (&raw const self.root) as u64
    }

    fn table_at(&self, address: u64) -> Option<&Table> {
        let offset = address.checked_sub((&raw const self.pool) as u64)? as usize;
        self.pool.get(offset / size_of::<Table>())
    }

    /// The entry for `address` in the table of `level`. Creates what is missing on the way if `create`;
    /// `None` if it is missing, or if a larger leaf is in the way.
    fn entry(&self, address: u64, level: u32, create: bool) -> Result<Option<&AtomicU64>, MapError> {
        let mut entry = self.root.0.get(index(address, 3)).ok_or(MapError::Range)?;
        for next in (level..3).rev() {
            let mut value = entry.load(Ordering::Acquire);
            if value & LEAF != 0 {
                return Ok(None);
            }
            if value == 0 {
                if !create {
                    return Ok(None);
                }
                let number = self.used.fetch_add(1, Ordering::AcqRel);
                let table = self.pool.get(number).ok_or(MapError::TablesFull)?;
                value = directory((&raw const *table) as u64);
                entry.store(value, Ordering::Release);
            }
            let table = self.table_at(value & ADDRESS).ok_or(MapError::Range)?;
            entry = table.0.get(index(address, next)).ok_or(MapError::Range)?;
        }
        Ok(Some(entry))
    }

    /// The leaf that maps `address` and the bytes it maps, if any.
    fn leaf_of(&self, address: u64) -> Option<(&AtomicU64, u64)> {
        for (level, size) in [(1, LARGE_PAGE), (0, PAGE)] {
            if let Ok(Some(entry)) = self.entry(address, level, false)
                && (level == 0 || entry.load(Ordering::Acquire) & LEAF != 0)
                && entry.load(Ordering::Acquire) != 0
            {
                return Some((entry, size));
            }
        }
        None
    }

    /// What `address` may be used for; `None` where nothing is mapped.
    pub fn access(&self, address: u64) -> Option<Access> {
        let (entry, _) = self.leaf_of(address)?;
        Some(Access::from_bits_truncate(entry.load(Ordering::Acquire)))
    }

    /// Maps `[start, end)` to itself. Pages that are mapped already stay as they are. One caller at a
    /// time.
    pub fn map(&self, start: u64, end: u64, access: Access) -> Result<(), MapError> {
        if !start.is_multiple_of(PAGE) || !end.is_multiple_of(PAGE) || start >= end || end > 1 << 52 {
            return Err(MapError::Range);
        }
        let mut at = start;
        while at < end {
            if let Some((_, size)) = self.leaf_of(at) {
                at = (at & !(size - 1)) + size;
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

    /// Changes what the mapped pages of `[start, end)` allow and calls `changed(page, bytes)` for each,
    /// so that the caller drops its old translation. Whole pages, large ones too.
    pub fn protect(&self, start: u64, end: u64, access: Access, mut changed: impl FnMut(u64, u64)) {
        let mut at = start & !(PAGE - 1);
        while at < end {
            let size = match self.leaf_of(at) {
                Some((entry, size)) => {
                    let page = start_of(at, size);
                    entry.store(leaf(page, access), Ordering::Release);
                    changed(page, size);
                    size
                }
                None => PAGE,
            };
            at = start_of(at, size).saturating_add(size);
        }
    }
}

/// Where the page of `size` bytes, a power of two, begins that `at` lies in.
const fn start_of(at: u64, size: u64) -> u64 {
    at & !size.wrapping_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn entries_as_the_architecture_wants_them() {
        assert_eq!(leaf(0x40_0000, Access::TEXT), 0xc000_0000_0040_018d);
        assert_eq!(leaf(0x40_0000, Access::READ_ONLY), 0xc000_0000_0040_018c);
        assert_eq!(leaf(0x40_0000, Access::DATA), 0xc000_0000_0040_018e);
        assert_eq!(directory(0x51_3000), 0x8000_0000_0051_3009);
        assert_eq!(process_entry(0x51_0000), [0x4000_0000_0051_00ad, 0]);
    }

    #[test]
    fn pages_and_large_pages() {
        static TABLES: Tables = Tables::new();
        TABLES.map(0x3f_f000, 0x80_1000, Access::DATA).unwrap();
        for mapped in [0x3f_f000, 0x40_0000, 0x7f_ffff, 0x80_0fff] {
            assert_eq!(TABLES.access(mapped), Some(Access::DATA), "{mapped:x}");
        }
        for unmapped in [0, 0x3f_efff, 0x80_1000, 1 << 51, u64::MAX] {
            assert_eq!(TABLES.access(unmapped), None, "{unmapped:x}");
        }
        // Two tables for the single pages, two for the levels above, none for the large ones.
        assert_eq!(TABLES.used.load(Ordering::Relaxed), 4);

        let mut changed = Vec::new();
        TABLES.protect(0x60_0000, 0x80_1000, Access::READ_ONLY, |page, size| changed.push((page, size)));
        assert_eq!(changed, [(0x60_0000, LARGE_PAGE), (0x80_0000, PAGE)]);
        assert_eq!(TABLES.access(0x60_0000), Some(Access::READ_ONLY));
        assert_eq!(TABLES.access(0x5f_ffff), Some(Access::DATA));
        // What is mapped stays.
        TABLES.map(0x60_0000, 0x80_3000, Access::TEXT).unwrap();
        assert_eq!(TABLES.access(0x60_0000), Some(Access::READ_ONLY));
        assert_eq!(TABLES.access(0x80_2000), Some(Access::TEXT));
    }

    #[test]
    fn bad_ranges_and_full_pools_are_refused() {
        static TABLES: Tables = Tables::new();
        assert_eq!(TABLES.map(1, PAGE, Access::DATA), Err(MapError::Range));
        assert_eq!(TABLES.map(PAGE, PAGE, Access::DATA), Err(MapError::Range));
        assert_eq!(TABLES.map(1 << 52, (1 << 52) + PAGE, Access::DATA), Err(MapError::Range));
        let all = (0..64)
            .try_for_each(|gigabyte| TABLES.map(gigabyte << 30, (gigabyte << 30) + PAGE, Access::DATA));
        assert_eq!(all, Err(MapError::TablesFull));
    }
}
