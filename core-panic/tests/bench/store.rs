//! Storage that outlives the kernel: bytes behind a mutex.

use std::collections::BTreeMap;
use std::sync::Mutex;

use hal::store::{Capacity, Store, StoreError};

/// Two slots of 256 bytes.
#[derive(Default)]
pub struct Slots(Mutex<BTreeMap<u32, Vec<u8>>>);

impl Slots {
    const CAPACITY: Capacity = Capacity { slots: 2, bytes: 256 };

    fn with<R>(
        &self,
        slot: u32,
        work: impl FnOnce(&mut BTreeMap<u32, Vec<u8>>) -> R,
    ) -> Result<R, StoreError> {
        if slot >= Self::CAPACITY.slots {
            return Err(StoreError::NoSuchSlot);
        }
        Ok(work(&mut self.0.lock().unwrap()))
    }
}

impl Store for Slots {
    fn capacity(&self) -> Capacity {
        Self::CAPACITY
    }
    fn write(&self, slot: u32, bytes: &[u8]) -> Result<(), StoreError> {
        if bytes.is_empty() || bytes.len() > Self::CAPACITY.bytes {
            return Err(StoreError::Length);
        }
        self.with(slot, |slots| drop(slots.insert(slot, bytes.to_vec())))
    }
    fn read(&self, slot: u32, room: &mut [u8]) -> Result<usize, StoreError> {
        self.with(slot, |slots| {
            let bytes = slots.get(&slot).ok_or(StoreError::Empty)?;
            room.get_mut(..bytes.len()).ok_or(StoreError::Room(bytes.len()))?.copy_from_slice(bytes);
            Ok(bytes.len())
        })?
    }
    fn clear(&self, slot: u32) -> Result<(), StoreError> {
        self.with(slot, |slots| slots.remove(&slot).map(drop).ok_or(StoreError::Empty))?
    }
    fn occupied(&self, numbers: &mut [u32]) -> Result<usize, StoreError> {
        self.with(0, |slots| {
            numbers.iter_mut().zip(slots.keys()).for_each(|(place, slot)| *place = *slot);
            slots.len()
        })
    }
}
