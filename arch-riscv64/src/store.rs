//! Storage that outlives the kernel: SBI keeps nothing. QEMU's `virt` has flash at 0x2000_0000, which no firmware
//! runs there, so that its driver would be this kernel's own.

use crate::Absent;
use hal::store::{Capacity, Store, StoreError};

/// Looks for the store: there is none, and [`hal::Platform::store`] says so.
pub fn prepare() {}
impl Store for Absent {
    fn capacity(&self) -> Capacity {
        match *self {}
    }

    fn write(&self, _slot: u32, _bytes: &[u8]) -> Result<(), StoreError> {
        match *self {}
    }

    fn read(&self, _slot: u32, _room: &mut [u8]) -> Result<usize, StoreError> {
        match *self {}
    }

    fn clear(&self, _slot: u32) -> Result<(), StoreError> {
        match *self {}
    }

    fn occupied(&self, _numbers: &mut [u32]) -> Result<usize, StoreError> {
        match *self {}
    }
}
