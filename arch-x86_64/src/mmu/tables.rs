//! Building page tables in a fixed pool.

use x86_64::structures::paging::{PageTable, PageTableFlags};
use x86_64::{PhysAddr, VirtAddr};

/// What a mapping allows. Nothing is writable and executable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protection {
    /// Read.
    Read,
    /// Read and write.
    ReadWrite,
    /// Read and execute.
    ReadExecute,
    /// Read and write device registers: not cached.
    Device,
}

/// The flags of a leaf entry.
pub fn flags(protection: Protection) -> PageTableFlags {
    let base = PageTableFlags::PRESENT;
    match protection {
        Protection::Read => base | PageTableFlags::NO_EXECUTE,
        Protection::ReadWrite => base | PageTableFlags::WRITABLE | PageTableFlags::NO_EXECUTE,
        Protection::ReadExecute => base,
        Protection::Device => {
            base | PageTableFlags::WRITABLE
                | PageTableFlags::NO_EXECUTE
                | PageTableFlags::NO_CACHE
                | PageTableFlags::WRITE_THROUGH
        }
    }
}

/// The pool has no table left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TablesFull;

/// Tables in a pool whose first table lies at a known physical address. The first is the root.
pub struct Tables<'a> {
    pool: &'a mut [PageTable],
    physical: u64,
    used: usize,
}

impl<'a> Tables<'a> {
    /// Starts with an empty root. All tables of `pool` must be zero.
    pub fn new(pool: &'a mut [PageTable], physical: u64) -> Result<Self, TablesFull> {
        if pool.is_empty() {
            return Err(TablesFull);
        }
        Ok(Tables { pool, physical, used: 1 })
    }

    /// Goes back to tables that are complete: no further table is taken.
    pub fn resume(pool: &'a mut [PageTable], physical: u64) -> Self {
        let used = pool.len();
        Tables { pool, physical, used }
    }

    /// Physical address of the root.
    pub fn root(&self) -> u64 {
        self.physical
    }

    fn index_of(&self, physical: u64) -> Option<usize> {
        let index = usize::try_from(physical.checked_sub(self.physical)? / 4096).ok()?;
        (index < self.pool.len()).then_some(index)
    }

    /// The table below entry `slot` of table `parent`, made if there is none.
    fn below(&mut self, parent: usize, slot: usize) -> Result<usize, TablesFull> {
        let entry = self.pool.get(parent).map(|table| &table[slot]).ok_or(TablesFull)?;
        if !entry.is_unused() {
            return self.index_of(entry.addr().as_u64()).ok_or(TablesFull);
        }
        let index = self.used;
        if index >= self.pool.len() {
            return Err(TablesFull);
        }
        self.used += 1;
        let address = PhysAddr::new_truncate(self.physical + 4096 * index as u64);
        // Upper levels allow everything; the leaf decides.
        let flags = PageTableFlags::PRESENT | PageTableFlags::WRITABLE;
        if let Some(table) = self.pool.get_mut(parent) {
            table[slot].set_addr(address, flags);
        }
        Ok(index)
    }

    fn directory(&mut self, address: VirtAddr) -> Result<usize, TablesFull> {
        let pointers = self.below(0, usize::from(u16::from(address.p4_index())))?;
        self.below(pointers, usize::from(u16::from(address.p3_index())))
    }

    /// Maps the 4 KiB page at `address`.
    pub fn map_small(
        &mut self,
        address: u64,
        physical: u64,
        protection: Protection,
    ) -> Result<(), TablesFull> {
        let address = VirtAddr::new_truncate(address);
        let directory = self.directory(address)?;
        let table = self.below(directory, usize::from(u16::from(address.p2_index())))?;
        if let Some(table) = self.pool.get_mut(table) {
            table[address.p1_index()].set_addr(PhysAddr::new_truncate(physical), flags(protection));
        }
        Ok(())
    }

    /// Maps the 2 MiB page at `address`; maps it again if it is mapped.
    pub fn map_large(
        &mut self,
        address: u64,
        physical: u64,
        protection: Protection,
    ) -> Result<(), TablesFull> {
        let address = VirtAddr::new_truncate(address);
        let directory = self.directory(address)?;
        if let Some(table) = self.pool.get_mut(directory) {
            table[address.p2_index()]
                .set_addr(PhysAddr::new_truncate(physical), flags(protection) | PageTableFlags::HUGE_PAGE);
        }
        Ok(())
    }

    /// The leaf entry's table and slot, and whether it is a large page.
    fn leaf(&self, address: VirtAddr) -> Option<(usize, usize, bool)> {
        let mut table = 0;
        let slots = [address.p4_index(), address.p3_index(), address.p2_index(), address.p1_index()];
        for (level, slot) in slots.into_iter().enumerate() {
            let slot = usize::from(u16::from(slot));
            let entry = &self.pool.get(table)?[slot];
            if !entry.flags().contains(PageTableFlags::PRESENT) {
                return None;
            }
            let large = entry.flags().contains(PageTableFlags::HUGE_PAGE);
            if large || level == 3 {
                return Some((table, slot, large));
            }
            table = self.index_of(entry.addr().as_u64())?;
        }
        None
    }

    /// Changes what the large page at `address` allows; does nothing where none is mapped.
    pub fn protect_large(&mut self, address: u64, protection: Protection) {
        if let Some((table, slot, true)) = self.leaf(VirtAddr::new_truncate(address))
            && let Some(table) = self.pool.get_mut(table)
            && let Some(entry) = table.iter_mut().nth(slot)
        {
            entry.set_flags(flags(protection) | PageTableFlags::HUGE_PAGE);
        }
    }

    /// Physical address and flags for `address`, as the CPU would find them.
    pub fn translate(&self, address: u64) -> Option<(u64, PageTableFlags)> {
        let (table, slot, large) = self.leaf(VirtAddr::new_truncate(address))?;
        let entry = &self.pool.get(table)?[slot];
        let mask = if large { super::LARGE - 1 } else { 4095 };
        Some((entry.addr().as_u64() + (address & mask), entry.flags()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(count: usize) -> Vec<PageTable> {
        (0..count).map(|_| PageTable::new()).collect()
    }

    #[test]
    fn nothing_is_writable_and_executable() {
        for protection in
            [Protection::Read, Protection::ReadWrite, Protection::ReadExecute, Protection::Device]
        {
            let f = flags(protection);
            assert!(f.contains(PageTableFlags::PRESENT));
            assert!(!f.contains(PageTableFlags::WRITABLE) || f.contains(PageTableFlags::NO_EXECUTE));
            assert!(!f.contains(PageTableFlags::USER_ACCESSIBLE));
        }
        assert!(flags(Protection::Device).contains(PageTableFlags::NO_CACHE));
        assert!(!flags(Protection::Read).contains(PageTableFlags::WRITABLE));
        assert!(!flags(Protection::ReadExecute).contains(PageTableFlags::NO_EXECUTE));
    }

    #[test]
    fn what_is_mapped_is_found_and_its_neighbours_are_not() {
        let mut pool = pool(8);
        let mut tables = Tables::new(&mut pool, 0x70_0000).expect("room");
        let text = super::super::KERNEL_BASE + 0x20_0000;
        tables.map_small(text, 0x20_0000, Protection::ReadExecute).expect("room");
        tables.map_large(super::super::DIRECT_BASE, 0, Protection::ReadWrite).expect("room");
        assert_eq!(tables.root(), 0x70_0000);
        assert_eq!(tables.translate(text + 0x123), Some((0x20_0123, flags(Protection::ReadExecute))));
        assert_eq!(tables.translate(text + 4096), None);
        assert_eq!(tables.translate(text - 4096), None);
        let (physical, found) = tables.translate(super::super::DIRECT_BASE + 0x1F_FFFF).expect("mapped");
        assert_eq!(physical, 0x1F_FFFF);
        assert!(found.contains(PageTableFlags::WRITABLE));
        assert_eq!(tables.translate(super::super::DIRECT_BASE + 0x20_0000), None);
        assert_eq!(tables.translate(0), None, "the null page");
    }

    #[test]
    fn protection_changes_and_changes_back() {
        let mut pool = pool(3);
        let mut tables = Tables::new(&mut pool, 0x1000).expect("room");
        tables.map_large(super::super::DIRECT_BASE, 0, Protection::Read).expect("room");
        let mut tables = Tables::resume(&mut pool, 0x1000);
        for protection in [Protection::ReadWrite, Protection::Read] {
            tables.protect_large(super::super::DIRECT_BASE, protection);
            let found = tables.translate(super::super::DIRECT_BASE).expect("mapped").1;
            assert_eq!(found, flags(protection) | PageTableFlags::HUGE_PAGE);
        }
        tables.protect_large(0x1234_5000, Protection::ReadWrite);
        assert_eq!(tables.translate(0x1234_5000), None);
    }

    #[test]
    fn an_exhausted_pool_is_an_error() {
        assert!(Tables::new(&mut [], 0).is_err());
        let mut pool = pool(3);
        let mut tables = Tables::new(&mut pool, 0).expect("room");
        assert_eq!(tables.map_small(0, 0, Protection::Read), Err(TablesFull));
    }
}
