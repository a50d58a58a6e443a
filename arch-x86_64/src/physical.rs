//! Physical memory as the table parsers see it.

/// Bytes at physical addresses. Parsers take this instead of pointers, so that they run on the host
/// over made-up tables and cannot leave the memory that they are given.
pub trait PhysicalMemory {
    /// `length` bytes at `address`, or `None` if not all of them can be read.
    fn bytes(&self, address: u64, length: u64) -> Option<&[u8]>;
}

/// Little-endian `u8` at `offset`; `None` past the end.
pub fn u8_at(bytes: &[u8], offset: usize) -> Option<u8> {
    bytes.get(offset).copied()
}

/// Little-endian `u16` at `offset`; `None` past the end.
pub fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    let part = bytes.get(offset..offset.checked_add(2)?)?;
    Some(u16::from_le_bytes(part.try_into().ok()?))
}

/// Little-endian `u32` at `offset`; `None` past the end.
pub fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    let part = bytes.get(offset..offset.checked_add(4)?)?;
    Some(u32::from_le_bytes(part.try_into().ok()?))
}

/// Little-endian `u64` at `offset`; `None` past the end.
pub fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    let part = bytes.get(offset..offset.checked_add(8)?)?;
    Some(u64::from_le_bytes(part.try_into().ok()?))
}

/// The first 4 GiB through the boot tables, which map them at their own addresses.
#[cfg(mayday_metal)]
pub struct IdentityMapped(());

#[cfg(mayday_metal)]
impl IdentityMapped {
    /// # Safety
    /// 1. The boot tables are in use and stay so for as long as the value or anything read through it
    ///    lives.
    /// 2. Nothing writes to what is read through it meanwhile.
    pub unsafe fn new() -> Self {
        IdentityMapped(())
    }
}

#[cfg(mayday_metal)]
impl PhysicalMemory for IdentityMapped {
    fn bytes(&self, address: u64, length: u64) -> Option<&[u8]> {
        let end = address.checked_add(length)?;
        // Address 0 is no place for a table, and Rust has no slice there.
        if address == 0 || end > 1 << 32 {
            return None;
        }
        // SAFETY: 1. below 4 GiB everything is mapped; 2. nobody writes; the lifetime is that of `self`.
        Some(unsafe { core::slice::from_raw_parts(address as *const u8, length as usize) })
    }
}

/// Memory for tests: a few pieces at chosen addresses.
#[cfg(test)]
pub mod fake {
    use super::PhysicalMemory;

    /// Pieces of memory with their addresses.
    #[derive(Default)]
    pub struct Pieces(pub Vec<(u64, Vec<u8>)>);

    impl PhysicalMemory for Pieces {
        fn bytes(&self, address: u64, length: u64) -> Option<&[u8]> {
            self.0.iter().find_map(|(base, bytes)| {
                let start = usize::try_from(address.checked_sub(*base)?).ok()?;
                let end = start.checked_add(usize::try_from(length).ok()?)?;
                bytes.get(start..end)
            })
        }
    }
}
