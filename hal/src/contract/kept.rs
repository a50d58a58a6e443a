//! The crash image, and what firmware keeps.

use super::report::{Look, broken, equal, holds, there, verdict};
use super::{Contract, Verdict};
use crate::Platform;
use crate::kexec::{Kexec, KexecError};
use crate::store::{MOST_BYTES, Store, StoreError};

/// What was loaded is verified, as often as one likes; a changed byte is noticed.
pub fn image_is_verified<P: Platform>(contract: &Contract<P>) -> Verdict {
    let look = || -> Look {
        let kexec = there(contract.platform.kexec())?;
        if !contract.image {
            return holds(kexec.image().is_err(), "an image that nobody gave", None);
        }
        let Ok(image) = kexec.image() else {
            return broken("the crash image that was given is not there", None);
        };
        for _ in 0..2 {
            match kexec.verify() {
                Ok(verified) => holds(verified.image() == image, "another image was verified", None)?,
                Err(_) => return broken("an untouched crash image is refused", None),
            }
        }
        (contract.damage)();
        for _ in 0..2 {
            let noticed = matches!(kexec.verify(), Err(KexecError::Digest));
            holds(noticed, "a changed byte of the crash image is not noticed", None)?;
        }
        Ok(())
    };
    verdict(look())
}

/// A byte of what is put into a slot.
fn byte(slot: u32, at: usize) -> u8 {
    (slot as usize).wrapping_mul(31).wrapping_add(at.wrapping_mul(7)).wrapping_add(1) as u8
}

struct Slots<'s, S> {
    store: &'s S,
    room: [u8; MOST_BYTES],
}

impl<S: Store> Slots<'_, S> {
    fn fill(&mut self, slot: u32, len: usize) -> Look {
        self.room.iter_mut().take(len).enumerate().for_each(|(at, to)| *to = byte(slot, at));
        let written = self.store.write(slot, self.room.get(..len).unwrap_or(&[]));
        holds(written.is_ok(), "the store does not take what fits into it", None)
    }

    fn holds(&mut self, slot: u32, len: usize) -> Look {
        self.room.fill(0);
        let Ok(read) = self.store.read(slot, &mut self.room) else {
            return broken("the store does not give back what it took", None);
        };
        equal("bytes that a slot holds", None, len as u64, read as u64)?;
        let same = self.room.iter().take(len).enumerate().all(|(at, found)| *found == byte(slot, at));
        holds(same, "the store gives back other bytes than it took", None)
    }
}

/// Slots keep what they are given, apart from one another; what does not fit is refused.
pub fn store_keeps<P: Platform>(contract: &Contract<P>) -> Verdict {
    let look = || -> Look {
        let store = there(contract.platform.store())?;
        let capacity = store.capacity();
        let most = capacity.bytes;
        holds((256..=MOST_BYTES).contains(&most), "a slot's size is not between 256 and 8192 bytes", None)?;
        holds(capacity.slots >= 2, "a store of fewer than two slots", None)?;
        let (first, last) = (0, capacity.slots.saturating_sub(1));
        let mut slots = Slots { store, room: [0; MOST_BYTES] };
        for len in [1, 200, most] {
            slots.fill(first, len)?;
            slots.holds(first, len)?;
        }
        slots.fill(1, 77)?;
        slots.holds(first, most)?;
        slots.holds(1, 77)?;
        let mut numbers = [0; 16];
        let Ok(occupied) = store.occupied(&mut numbers) else {
            return broken("the store does not list its slots", None);
        };
        let listed = |slot| numbers.iter().take(occupied).any(|number| *number == slot);
        holds(occupied >= 2 && listed(first) && listed(1), "the store does not list what it holds", None)?;
        let refused = |what: Result<(), StoreError>, how| what == Err(how);
        holds(
            refused(store.write(first, &[]), StoreError::Length),
            "nothing at all was put into a slot",
            None,
        )?;
        let beyond = store.write(last.saturating_add(1), &[1]);
        holds(refused(beyond, StoreError::NoSuchSlot), "a slot that does not exist was written", None)?;
        let small = store.read(1, &mut [0; 8]);
        holds(small == Err(StoreError::Room(77)), "more was read than there was room for", None)?;
        holds(store.clear(1).is_ok(), "a slot is not emptied", None)?;
        holds(
            store.read(1, &mut slots.room) == Err(StoreError::Empty),
            "an emptied slot holds something",
            None,
        )?;
        slots.holds(first, most)?;
        holds(store.clear(first).is_ok(), "a slot is not emptied", None)
    };
    verdict(look())
}
