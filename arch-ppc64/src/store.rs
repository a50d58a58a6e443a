//! Storage that outlives the kernel: a partition of NVRAM ([`crate::nvram`]), through RTAS `nvram-fetch` and
//! `nvram-store` (LoPAR chapter 7).
//!
//! Firmware gets the address of a static buffer, which lies in the image and so below 4 GiB, never that of a
//! stack. A call that hangs in firmware hangs here: firmware states no bound of its own for these services.

#![cfg(mayday_metal)]

use crate::boot;
use crate::nvram::{Memory, Place, SLOT};
use crate::rtas::service::{NvramFetch, NvramStore as StoreService, Rtas};
use crate::rtas::{self, RtasError};
use core::sync::atomic::{AtomicU8, Ordering};
use hal::Unsupported;
use hal::store::{Capacity, Store, StoreError};
use spin::Once;

/// What passes between firmware and this kernel. Callers take turns (hal::store); should two come at once,
/// each byte is one of theirs.
#[repr(C, align(16))]
struct Buffer([AtomicU8; SLOT as usize]);

static BUFFER: Buffer = Buffer([const { AtomicU8::new(0) }; SLOT as usize]);

/// The two services.
#[derive(Clone, Copy, Debug)]
struct Nvram;

/// The slots of this kernel's partition.
#[derive(Debug)]
pub struct NvramStore {
    nvram: Nvram,
    place: Place,
}

static STORE: Once<Result<NvramStore, Unsupported>> = Once::new();

impl Nvram {
    /// `Firmware` carries the service's status, 0 if it reported success for fewer bytes than asked for.
    fn call<S: Rtas>(offset: u32, length: usize) -> Result<(), StoreError> {
        let length = u32::try_from(length).ok().filter(|length| *length <= SLOT).ok_or(StoreError::Length)?;
        let mut done = [0];
        match rtas::call::<S>(&[offset, (&raw const BUFFER) as u64 as u32, length], &mut done) {
            Ok(()) if done == [length] => Ok(()),
            Ok(()) => Err(StoreError::Firmware(0)),
            Err(RtasError::Status(status)) => Err(StoreError::Firmware(status.into())),
            // There was RTAS when this store was found, and it does not go away.
            Err(RtasError::NotAvailable | RtasError::Forbidden(_)) => Err(StoreError::Firmware(i64::MIN)),
        }
    }
}

impl Memory for Nvram {
    fn fetch(&self, offset: u32, room: &mut [u8]) -> Result<(), StoreError> {
        Nvram::call::<NvramFetch>(offset, room.len())?;
        for (place, byte) in room.iter_mut().zip(&BUFFER.0) {
            *place = byte.load(Ordering::Relaxed);
        }
        Ok(())
    }

    fn store(&self, offset: u32, bytes: &[u8]) -> Result<(), StoreError> {
        for (place, byte) in BUFFER.0.iter().zip(bytes) {
            place.store(*byte, Ordering::Relaxed);
        }
        Nvram::call::<StoreService>(offset, bytes.len())
    }
}

fn look() -> Result<NvramStore, Unsupported> {
    let services = rtas::services().ok_or(Unsupported::new("firmware has no RTAS"))?;
    let size = boot::machine().and_then(|machine| machine.nvram_bytes);
    let size = size.ok_or(Unsupported::new("the device tree has no NVRAM"))?;
    if services.nvram_fetch.is_none() || services.nvram_store.is_none() {
        return Err(Unsupported::new("RTAS lacks nvram-fetch or nvram-store"));
    }
    let nvram = Nvram;
    let place = Place::find(&nvram, size).map_err(Unsupported::new)?;
    Ok(NvramStore { nvram, place })
}

/// Looks for this kernel's partition, and takes it from free space if there is none. On the boot CPU, once,
/// before other CPUs run.
pub fn prepare() {
    STORE.call_once(look);
}

/// The store, or why there is none.
pub(crate) fn present() -> Result<&'static NvramStore, Unsupported> {
    match STORE.get() {
        Some(Ok(store)) => Ok(store),
        Some(Err(unsupported)) => Err(*unsupported),
        None => Err(Unsupported::new("the store was not looked for yet")),
    }
}

impl Store for NvramStore {
    fn capacity(&self) -> Capacity {
        self.place.capacity()
    }

    fn write(&self, slot: u32, bytes: &[u8]) -> Result<(), StoreError> {
        self.place.write(&self.nvram, slot, bytes)
    }

    fn read(&self, slot: u32, room: &mut [u8]) -> Result<usize, StoreError> {
        self.place.read(&self.nvram, slot, room)
    }

    fn clear(&self, slot: u32) -> Result<(), StoreError> {
        self.place.clear(&self.nvram, slot)
    }

    fn occupied(&self, numbers: &mut [u32]) -> Result<usize, StoreError> {
        self.place.occupied(&self.nvram, numbers)
    }
}
