//! This port's records: a common platform error record whose one section is what the caller stores.
//!
//! Source: UEFI 2.10, appendix N. Others may keep records in the same store (an operating system's log, for
//! instance); this port's are told by their id *and* their creator, and no other is touched.

use super::{Bus, Erst, action};
use crate::physical::{u16_at, u32_at, u64_at};
use hal::store::{Capacity, MOST_BYTES, StoreError};

/// Bytes of the record header.
const HEADER: usize = 128;
/// Bytes of the section descriptor.
const DESCRIPTOR: usize = 72;
/// Where the section begins.
pub const SECTION: usize = HEADER + DESCRIPTOR;
/// Slots. How many records fit into the store is not something that firmware tells.
pub const SLOTS: u32 = 64;
/// Ids of this port's records: `Mayday` in the upper six bytes, the slot in the lower two. Neither 0 nor
/// all ones, which firmware takes for "any" and "none".
const IDS: u64 = 0x4D61_7964_6179_0000;
/// Creator of the record, and type of its section: d2c1a8f6-7b3e-4e59-9d0c-5f1e86b2a734.
const OURS: [u8; 16] =
    [0xF6, 0xA8, 0xC1, 0xD2, 0x3E, 0x7B, 0x59, 0x4E, 0x9D, 0x0C, 0x5F, 0x1E, 0x86, 0xB2, 0xA7, 0x34];
/// Severity "informational".
const INFORMATIONAL: u32 = 3;

/// The record id of a slot.
fn id(slot: u32) -> Result<u64, StoreError> {
    if slot < SLOTS { Ok(IDS | u64::from(slot)) } else { Err(StoreError::NoSuchSlot) }
}

/// The slot of a record id, if it is one of this port's.
fn slot(id: u64) -> Option<u32> {
    (id & !0xFFFF == IDS).then_some((id & 0xFFFF) as u32).filter(|slot| *slot < SLOTS)
}

/// Header and section descriptor of a record with `length` bytes of content.
fn head(id: u64, length: usize) -> [u8; SECTION] {
    let mut head = [0; SECTION];
    let mut put = |at: usize, bytes: &[u8]| {
        for (place, byte) in head.iter_mut().skip(at).zip(bytes) {
            *place = *byte;
        }
    };
    put(0, b"CPER");
    put(4, &0x0100u16.to_le_bytes());
    put(6, &u32::MAX.to_le_bytes());
    put(10, &1u16.to_le_bytes());
    put(12, &INFORMATIONAL.to_le_bytes());
    put(20, &((SECTION + length) as u32).to_le_bytes());
    put(64, &OURS);
    put(96, &id.to_le_bytes());
    put(HEADER, &(SECTION as u32).to_le_bytes());
    put(HEADER + 4, &(length as u32).to_le_bytes());
    put(HEADER + 8, &0x0100u16.to_le_bytes());
    put(HEADER + 16, &OURS);
    put(HEADER + 48, &INFORMATIONAL.to_le_bytes());
    head
}

/// The length of the content behind a head, if the head is as [`head`] makes it.
fn content(head: &[u8; SECTION], id: u64) -> Result<usize, StoreError> {
    let foreign = |what| Err(StoreError::Foreign(what));
    if head.get(..4) != Some(b"CPER".as_slice()) || u16_at(head, 10) != Some(1) {
        return foreign("no error record with one section");
    }
    if u64_at(head, 96) != Some(id) {
        return foreign("a record with another id than was asked for");
    }
    if head.get(64..80) != Some(OURS.as_slice())
        || head.get(HEADER + 16..HEADER + 32) != Some(OURS.as_slice())
    {
        return foreign("a record of another creator");
    }
    let length = u32_at(head, HEADER + 4).unwrap_or(0) as usize;
    let whole = u32_at(head, 20).unwrap_or(0) as usize;
    if u32_at(head, HEADER) != Some(SECTION as u32)
        || length == 0
        || length > MOST_BYTES
        || whole != SECTION + length
    {
        return foreign("a record with impossible lengths");
    }
    Ok(length)
}

/// What there is room for, with an exchange buffer of `length` bytes. `None`: too little.
pub fn capacity(length: u64) -> Option<Capacity> {
    let length = usize::try_from(length).unwrap_or(usize::MAX).min(MOST_BYTES);
    let bytes = length.checked_sub(SECTION).filter(|bytes| *bytes >= 256)?;
    Some(Capacity { slots: SLOTS, bytes })
}

/// [`hal::store::Store::write`]
pub fn write(erst: &Erst, bus: &impl Bus, most: usize, slot: u32, bytes: &[u8]) -> Result<(), StoreError> {
    let id = id(slot)?;
    if bytes.is_empty() || bytes.len() > most {
        return Err(StoreError::Length);
    }
    bus.copy_in(0, &head(id, bytes.len()));
    bus.copy_in(SECTION, bytes);
    erst.operate(bus, action::BEGIN_WRITE, id)
}

/// [`hal::store::Store::read`]
pub fn read(
    erst: &Erst,
    bus: &impl Bus,
    most: usize,
    slot: u32,
    room: &mut [u8],
) -> Result<usize, StoreError> {
    let id = id(slot)?;
    erst.operate(bus, action::BEGIN_READ, id)?;
    let mut head = [0; SECTION];
    bus.copy_out(0, &mut head);
    let length = content(&head, id)?;
    if length > most {
        return Err(StoreError::Foreign("a record that is longer than the exchange buffer"));
    }
    bus.copy_out(SECTION, room.get_mut(..length).ok_or(StoreError::Room(length))?);
    Ok(length)
}

/// [`hal::store::Store::clear`]
pub fn clear(erst: &Erst, bus: &impl Bus, slot: u32) -> Result<(), StoreError> {
    erst.operate(bus, action::BEGIN_CLEAR, id(slot)?)
}

/// [`hal::store::Store::occupied`]
pub fn occupied(erst: &Erst, bus: &impl Bus, numbers: &mut [u32]) -> usize {
    let mut count = 0;
    erst.for_each_id(bus, |id| {
        if let Some(number) = slot(id) {
            if let Some(place) = numbers.get_mut(count) {
                *place = number;
            }
            count += 1;
        }
    });
    count
}
