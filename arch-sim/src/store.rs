//! Storage that outlives the kernel: a few slots in the world's memory.

use hal::store::{Capacity, Store, StoreError};

use crate::faults::Call;
use crate::platform::{Sim, call};
use crate::scheduler;
use crate::world::with;

/// Slots.
pub const SLOTS: usize = 4;
/// Bytes that a slot takes.
pub const SLOT_BYTES: usize = 256;

/// What the slots hold.
#[derive(Clone, Copy, Debug)]
pub struct Content([[u8; SLOT_BYTES]; SLOTS], [usize; SLOTS]);

impl Content {
    /// Nothing.
    pub const EMPTY: Content = Content([[0; SLOT_BYTES]; SLOTS], [0; SLOTS]);

    /// The bytes in a slot; none if it is empty, or there is no such slot.
    pub fn slot(&self, slot: usize) -> &[u8] {
        let length = self.1.get(slot).copied().unwrap_or(0);
        self.0.get(slot).and_then(|bytes| bytes.get(..length)).unwrap_or(&[])
    }

    fn set(&mut self, slot: usize, content: &[u8]) {
        self.0[slot][..content.len()].copy_from_slice(content);
        self.1[slot] = content.len();
    }
}

/// Makes the call, which may hang or fail, and then does `work` in one step.
fn operate<R>(
    slot: u32,
    work: impl FnOnce(&mut Content, usize) -> Result<R, StoreError>,
) -> Result<R, StoreError> {
    scheduler::hal_call(true);
    let slot = usize::try_from(slot).ok().filter(|slot| *slot < SLOTS).ok_or(StoreError::NoSuchSlot)?;
    if call(Call::Store).is_some() {
        return Err(StoreError::Firmware(-1));
    }
    with(|world| work(&mut world.store, slot)).unwrap_or(Err(StoreError::Firmware(-1)))
}

impl Store for Sim {
    fn capacity(&self) -> Capacity {
        Capacity { slots: SLOTS as u32, bytes: SLOT_BYTES }
    }

    fn write(&self, slot: u32, bytes: &[u8]) -> Result<(), StoreError> {
        operate(slot, |store, slot| {
            if bytes.is_empty() || bytes.len() > SLOT_BYTES {
                return Err(StoreError::Length);
            }
            store.set(slot, bytes);
            Ok(())
        })
    }

    fn read(&self, slot: u32, room: &mut [u8]) -> Result<usize, StoreError> {
        operate(slot, |store, slot| {
            let content = store.slot(slot);
            if content.is_empty() {
                return Err(StoreError::Empty);
            }
            room.get_mut(..content.len()).ok_or(StoreError::Room(content.len()))?.copy_from_slice(content);
            Ok(content.len())
        })
    }

    fn clear(&self, slot: u32) -> Result<(), StoreError> {
        operate(slot, |store, slot| {
            if store.slot(slot).is_empty() {
                return Err(StoreError::Empty);
            }
            store.set(slot, &[]);
            Ok(())
        })
    }

    fn occupied(&self, numbers: &mut [u32]) -> Result<usize, StoreError> {
        operate(0, |store, _| {
            let full = || (0..SLOTS).filter(|slot| !store.slot(*slot).is_empty());
            for (place, slot) in numbers.iter_mut().zip(full()) {
                *place = slot as u32;
            }
            Ok(full().count())
        })
    }
}
