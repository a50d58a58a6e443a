//! Address translation: writable memory is not executable, text is not writable, guard pages under stacks.
//!
//! Questions for the porter:
//! * Which page sizes and which table format? Which bits say read, write, execute?
//! * Is physical memory mapped linearly, and from where?
//!
//! Answers:
//! * `arch-x86_64/src/mmu.rs`: `phys_of`, `map_physical`
//! * `arch-ppc64/src/mmu.rs`: `phys_of`, `map_physical`

/// The physical address behind a kernel pointer: the same number, as long as there are no page tables.
pub fn phys_of<T: ?Sized>(pointer: *const T) -> u64 {
    pointer.cast::<u8>().addr() as u64
}

/// A read-only view of `length` bytes of physical memory at `physical`, for a capture kernel.
pub fn map_physical(_physical: u64, _length: u64) -> Option<&'static [u8]> {
    None
}
