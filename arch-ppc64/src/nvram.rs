//! The machine's NVRAM: a chain of partitions, of which this kernel has one, divided into slots.
//!
//! Source: LoPAR, *Non-Volatile Memory* (partition header, signatures, free space). Partitions of others are
//! never written to: this kernel's own is taken from free space, once, and found again by its name.
//!
//! ```text
//! partition header   signature, checksum, length in blocks of 16 bytes (2), name (12)
//! slot 0             0x4D59 and the bytes in use, 16 bits each, or 0: empty; then the bytes
//! slot 1             …
//! ```

use hal::store::{Capacity, StoreError};

/// Bytes of a partition header, and the unit of partitions' lengths.
pub const BLOCK: u32 = 16;
/// Bytes of a slot.
pub const SLOT: u32 = 1024;
/// Bytes of a slot before its content.
const SLOT_HEAD: u32 = 4;
/// Most bytes that a slot takes.
pub const SLOT_BYTES: usize = (SLOT - SLOT_HEAD) as usize;
/// Slots that are taken where there is room, and those without which there is no store.
const SLOTS_WANTED: u32 = 16;
const SLOTS_LEAST: u32 = 4;
/// What a slot's first word begins with if it holds something.
const IN_USE: u16 = 0x4D59;
/// Signature of operating systems' partitions.
const SIGNATURE_SYSTEM: u8 = 0xA0;
/// Signature of free space.
const SIGNATURE_FREE: u8 = 0x7F;
/// Name of this kernel's partition.
const NAME: [u8; 12] = *b"mayday,store";
/// Name of free space.
const NAME_FREE: [u8; 12] = [0x77; 12];
/// Partitions that are followed.
const PARTITIONS_MAX: usize = 256;

/// Bytes at offsets, as firmware's services give and take them.
pub trait Memory {
    /// Reads. At most [`SLOT`] bytes.
    fn fetch(&self, offset: u32, room: &mut [u8]) -> Result<(), StoreError>;
    /// Writes. At most [`SLOT`] bytes.
    fn store(&self, offset: u32, bytes: &[u8]) -> Result<(), StoreError>;
}

/// A partition header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Header {
    signature: u8,
    /// Bytes, this header included.
    length: u32,
    name: [u8; 12],
}

impl Header {
    /// `None` unless the checksum holds and the length is one.
    fn parse(bytes: &[u8; 16]) -> Option<Header> {
        let [signature, sum, high, low, name @ ..] = *bytes;
        let length = u32::from(u16::from_be_bytes([high, low])) * BLOCK;
        (sum == checksum(bytes) && length != 0).then_some(Header { signature, length, name })
    }

    fn bytes(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        let [signature, _, high, low, name @ ..] = &mut bytes;
        *signature = self.signature;
        [*high, *low] = ((self.length / BLOCK) as u16).to_be_bytes();
        *name = self.name;
        bytes[1] = checksum(&bytes);
        bytes
    }
}

/// Sum of all bytes but the checksum itself, carries added back in.
fn checksum(bytes: &[u8; 16]) -> u8 {
    let [signature, _, rest @ ..] = bytes;
    rest.iter().fold(*signature, |sum, byte| {
        let (sum, carry) = sum.overflowing_add(*byte);
        sum + u8::from(carry)
    })
}

/// Where this kernel's slots lie.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// Offset of the first slot.
    at: u32,
    slots: u32,
}

/// The state of a slot.
enum Content {
    Nothing,
    Bytes(u32),
}

impl Place {
    /// Finds this kernel's partition in `size` bytes of NVRAM, or takes it from free space. NVRAM that is
    /// zero throughout is free as a whole. The error says why there can be none; then nothing was written.
    pub fn find(memory: &impl Memory, size: u32) -> Result<Place, &'static str> {
        let mut free = None;
        let mut at = 0;
        for _ in 0..PARTITIONS_MAX {
            if at == size {
                let (at, length) = free.ok_or("the NVRAM has no free partition of 4 KiB")?;
                return take(memory, at, length);
            }
            let mut bytes = [0; 16];
            memory.fetch(at, &mut bytes).map_err(|_| UNREADABLE)?;
            let Some(header) = Header::parse(&bytes).filter(|header| header.length <= size - at) else {
                if at == 0 && is_blank(memory, size)? {
                    return take(memory, 0, size.min(u32::from(u16::MAX) * BLOCK) / BLOCK * BLOCK);
                }
                return Err("the NVRAM's partitions are damaged, and are left alone");
            };
            if header.signature == SIGNATURE_SYSTEM && header.name == NAME {
                return Place::within(at, header.length).ok_or("this kernel's NVRAM partition is too small");
            }
            if header.signature == SIGNATURE_FREE && Place::within(at, header.length).is_some() {
                free = free.or(Some((at, header.length)));
            }
            at += header.length;
            if size - at < BLOCK {
                at = size;
            }
        }
        Err("the NVRAM has more partitions than this port follows")
    }

    /// The slots of a partition at `at`.
    fn within(at: u32, length: u32) -> Option<Place> {
        let slots = (length.checked_sub(BLOCK)? / SLOT).min(SLOTS_WANTED);
        (slots >= SLOTS_LEAST).then_some(Place { at: at + BLOCK, slots })
    }

    /// What there is room for.
    pub fn capacity(&self) -> Capacity {
        Capacity { slots: self.slots, bytes: SLOT_BYTES }
    }

    fn offset(&self, slot: u32) -> Result<u32, StoreError> {
        if slot < self.slots { Ok(self.at + slot * SLOT) } else { Err(StoreError::NoSuchSlot) }
    }

    fn content(&self, memory: &impl Memory, offset: u32) -> Result<Content, StoreError> {
        let mut word = [0; 4];
        memory.fetch(offset, &mut word)?;
        let [a, b, c, d] = word;
        match (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])) {
            (0, 0) => Ok(Content::Nothing),
            (IN_USE, length) if (1..=SLOT_BYTES).contains(&usize::from(length)) => {
                Ok(Content::Bytes(length.into()))
            }
            _ => Err(StoreError::Foreign("a slot of NVRAM with an impossible length")),
        }
    }

    /// [`hal::store::Store::write`]: the slot is empty until all bytes are there.
    pub fn write(&self, memory: &impl Memory, slot: u32, bytes: &[u8]) -> Result<(), StoreError> {
        let offset = self.offset(slot)?;
        if bytes.is_empty() || bytes.len() > SLOT_BYTES {
            return Err(StoreError::Length);
        }
        memory.store(offset, &[0; SLOT_HEAD as usize])?;
        memory.store(offset + SLOT_HEAD, bytes)?;
        let [a, b] = IN_USE.to_be_bytes();
        let [c, d] = (bytes.len() as u16).to_be_bytes();
        memory.store(offset, &[a, b, c, d])
    }

    /// [`hal::store::Store::read`]
    pub fn read(&self, memory: &impl Memory, slot: u32, room: &mut [u8]) -> Result<usize, StoreError> {
        let offset = self.offset(slot)?;
        let Content::Bytes(length) = self.content(memory, offset)? else { return Err(StoreError::Empty) };
        let length = length as usize;
        memory.fetch(offset + SLOT_HEAD, room.get_mut(..length).ok_or(StoreError::Room(length))?)?;
        Ok(length)
    }

    /// [`hal::store::Store::clear`]
    pub fn clear(&self, memory: &impl Memory, slot: u32) -> Result<(), StoreError> {
        let offset = self.offset(slot)?;
        match self.content(memory, offset) {
            Ok(Content::Nothing) => Err(StoreError::Empty),
            Ok(Content::Bytes(_)) | Err(StoreError::Foreign(_)) => {
                memory.store(offset, &[0; SLOT_HEAD as usize])
            }
            Err(error) => Err(error),
        }
    }

    /// [`hal::store::Store::occupied`]. A slot with an impossible length holds something too.
    pub fn occupied(&self, memory: &impl Memory, numbers: &mut [u32]) -> Result<usize, StoreError> {
        let mut count = 0;
        for slot in 0..self.slots {
            match self.content(memory, self.offset(slot)?) {
                Ok(Content::Nothing) => continue,
                Ok(Content::Bytes(_)) | Err(StoreError::Foreign(_)) => {}
                Err(error) => return Err(error),
            }
            if let Some(place) = numbers.get_mut(count) {
                *place = slot;
            }
            count += 1;
        }
        Ok(count)
    }
}

const UNREADABLE: &str = "firmware cannot read the NVRAM";

fn is_blank(memory: &impl Memory, size: u32) -> Result<bool, &'static str> {
    let mut room = [0; 256];
    for at in (0..size).step_by(room.len()) {
        let part = room.get_mut(..(size - at).min(256) as usize).unwrap_or_default();
        memory.fetch(at, part).map_err(|_| UNREADABLE)?;
        if part.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Makes this kernel's partition in free space. At every point in between the chain holds: the rest's
/// header is written while it is still inside the free partition, and the new one replaces that in one call.
fn take(memory: &impl Memory, at: u32, length: u32) -> Result<Place, &'static str> {
    let failed = |_| "firmware cannot write the NVRAM";
    let place = Place::within(at, length).ok_or("the NVRAM has no free partition of 4 KiB")?;
    let own = Header { signature: SIGNATURE_SYSTEM, length: BLOCK + place.slots * SLOT, name: NAME };
    for slot in 0..place.slots {
        memory.store(place.at + slot * SLOT, &[0; SLOT_HEAD as usize]).map_err(failed)?;
    }
    let rest = Header { signature: SIGNATURE_FREE, length: length - own.length, name: NAME_FREE };
    if rest.length != 0 {
        memory.store(at + own.length, &rest.bytes()).map_err(failed)?;
    }
    memory.store(at, &own.bytes()).map_err(failed)?;
    Ok(place)
}

#[cfg(test)]
mod tests;
