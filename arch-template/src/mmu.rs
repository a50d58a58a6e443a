//! Address translation: writable memory is not executable, text is not writable, guard pages under stacks.
//!
//! Questions for the porter:
//! * Which page sizes and which table format? Which bits say read, write, execute?
//! * Is physical memory mapped linearly, and from where?

use hal::Unsupported;

/// The physical address behind a kernel pointer.
pub fn phys_of<T>(_pointer: *const T) -> Result<u64, Unsupported> {
    Err(Unsupported::new("this port has no page tables"))
}

/// A read-only view of `length` bytes of physical memory at `physical`, for a capture kernel.
pub fn map_physical(_physical: u64, _length: u64) -> Option<&'static [u8]> {
    None
}
