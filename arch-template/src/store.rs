//! Storage that outlives the kernel.
//!
//! Questions for the porter:
//! * Who keeps bytes over a reset: firmware's variables, an error record store, battery-backed memory?
//! * What of it belongs to others, and how does this kernel get a part of its own without harming theirs?
//! * How long may each call take, and may it be made while another CPU was stopped inside firmware?
//!
//! Answers:
//! * `arch-x86_64/src/store.rs`: `prepare`, `capacity`, `write`, `read`, `clear`, `occupied`
//! * `arch-ppc64/src/store.rs`: `prepare`, `capacity`, `write`, `read`, `clear`, `occupied`

use crate::Absent;
use hal::store::{Capacity, Store, StoreError};

/// Looks for the store and takes the part that is this kernel's: on the boot CPU, before others run. Until
/// then, and where there is none, [`hal::Platform::store`] answers with the reason.
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
