//! The file behind a machine's firmware store, as the host sees it: what it begins as, and what is in it
//! after a run. The formats are those of the emulator and of the firmware, written down here a second time:
//! the kernel never sees the file, and the runner never sees the kernel's code.

use std::collections::BTreeMap;

use serde::Deserialize;

/// How a store's file is laid out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// QEMU's `acpi-erst`: a directory of record ids, then records of a fixed size.
    Erst,
    /// A chain of NVRAM partitions (CHRP, LoPAR), one of which holds the slots.
    Nvram,
}

/// What a store's file is before the run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Before {
    /// All zeros: never used.
    Blank,
    /// Noise.
    Damaged,
}

/// A store's file before and after a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Before.
    pub before: Vec<u8>,
    /// After.
    pub after: Vec<u8>,
}

impl Before {
    /// The file's bytes.
    pub fn bytes(self, length: usize) -> Vec<u8> {
        match self {
            Before::Blank => vec![0; length],
            // Any bytes without a meaning do, as long as they are the same every time.
            Before::Damaged => (0..length).map(|at| (at * 151 + 89) as u8).collect(),
        }
    }
}

/// What a problem is about: the part, and where it is.
type Problem = String;

fn number(bytes: &[u8], at: usize, size: usize, big: bool) -> Option<u64> {
    let part = bytes.get(at..at.checked_add(size)?)?;
    let add = |number, byte: &u8| number << 8 | u64::from(*byte);
    Some(if big { part.iter().fold(0, add) } else { part.iter().rev().fold(0, add) })
}

impl Format {
    /// What lies in the slots of the kernel under test, by slot number. Everything around it has to hold too.
    pub fn slots(self, bytes: &[u8]) -> Result<BTreeMap<u32, &[u8]>, Problem> {
        match self {
            Format::Erst => erst(bytes),
            Format::Nvram => nvram(bytes),
        }
    }
}

/// Upper six bytes of the ids of our records; the slot is in the lower two.
const RECORD_IDS: u64 = u64::from_be_bytes(*b"\0\0Mayday");
/// Where the directory of record ids begins.
const DIRECTORY: usize = 24;

fn erst(bytes: &[u8]) -> Result<BTreeMap<u32, &[u8]>, Problem> {
    let word = |at, size| number(bytes, at, size, false).unwrap_or(0);
    if bytes.get(..8) != Some(b"ERSTSTOR") {
        return Err("the file does not begin with the emulator's header".into());
    }
    let (size, first) = (word(8, 4) as usize, word(12, 4) as usize);
    if size == 0 || !bytes.len().is_multiple_of(size) || first % size != 0 {
        return Err(format!("records of {size} bytes from {first:#x} on do not fill the file"));
    }
    let mut slots = BTreeMap::new();
    let mut count = 0;
    for index in first / size..bytes.len() / size {
        let id = word(DIRECTORY + 8 * index, 8);
        count += u64::from(id != 0);
        if id >> 16 != RECORD_IDS {
            continue;
        }
        let record = &bytes[index * size..(index + 1) * size];
        let fault = |what| format!("record {index}, id {id:#x}: {what}");
        let field = |at, size| number(record, at, size, false).unwrap_or(0);
        if !record.starts_with(b"CPER") || field(96, 8) != id {
            return Err(fault("not the record that the directory names"));
        }
        let (at, length) = (field(128, 4) as usize, field(132, 4) as usize);
        if field(10, 2) != 1 || field(20, 4) as usize != at + length {
            return Err(fault("its one section does not end where the record does"));
        }
        let content = record.get(at..at + length).ok_or(fault("its section lies outside of it"))?;
        if slots.insert((id & 0xffff) as u32, content).is_some() {
            return Err(fault("the id occurs twice"));
        }
    }
    if count != word(20, 4) {
        return Err(format!("the header counts {} records, the directory has {count}", word(20, 4)));
    }
    Ok(slots)
}

/// Bytes of a slot in our partition.
const SLOT: usize = 1024;

fn nvram(bytes: &[u8]) -> Result<BTreeMap<u32, &[u8]>, Problem> {
    let mut at = 0;
    let mut own = None;
    while at < bytes.len() {
        let fault = |what| format!("partition at {at:#x}: {what}");
        let header = bytes.get(at..at + 16).ok_or(fault("cut off"))?;
        // One's complement sum of all bytes but the checksum itself.
        let sum = header.iter().map(|byte| u32::from(*byte)).sum::<u32>() - u32::from(header[1]);
        if (1 + sum.wrapping_sub(1) % 255) as u8 != header[1] || sum == 0 {
            return Err(fault("its header's checksum does not hold"));
        }
        let length = 16 * number(header, 2, 2, true).unwrap_or(0) as usize;
        let whole = bytes.get(at..at + length).filter(|whole| !whole.is_empty());
        let whole = whole.ok_or(fault("has an impossible length"))?;
        if &header[4..] == b"mayday,store" && own.replace(&whole[16..]).is_some() {
            return Err(fault("a second one of ours"));
        }
        at += length;
    }
    let mut slots = BTreeMap::new();
    for (slot, room) in (0..).zip(own.ok_or("no partition of ours")?.chunks_exact(SLOT)) {
        match (number(room, 0, 2, true), number(room, 2, 2, true).unwrap_or(0) as usize) {
            (Some(0), 0) => {}
            (Some(0x4d59), length) if (1..=SLOT - 4).contains(&length) => {
                slots.insert(slot, &room[4..4 + length]);
            }
            _ => return Err(format!("slot {slot}: an impossible length")),
        }
    }
    Ok(slots)
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A file of records with this content in these slots.
    pub fn records(slots: &[(u32, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![0; 0x10000];
        let mut put = |at: usize, part: &[u8]| bytes[at..at + part.len()].copy_from_slice(part);
        put(0, b"ERSTSTOR");
        put(8, &0x2000_u32.to_le_bytes());
        put(12, &0x2000_u32.to_le_bytes());
        put(20, &(slots.len() as u32).to_le_bytes());
        for (index, (slot, content)) in (1..).zip(slots) {
            let (id, at) = (RECORD_IDS << 16 | u64::from(*slot), index * 0x2000);
            put(DIRECTORY + 8 * index, &id.to_le_bytes());
            put(at, b"CPER");
            put(at + 10, &1_u16.to_le_bytes());
            put(at + 20, &(200 + content.len() as u32).to_le_bytes());
            put(at + 96, &id.to_le_bytes());
            put(at + 128, &200_u32.to_le_bytes());
            put(at + 132, &(content.len() as u32).to_le_bytes());
            put(at + 200, content);
        }
        bytes
    }

    fn partitions(slots: &[(u32, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![0; 0x8000];
        let mut put = |at: usize, part: &[u8]| bytes[at..at + part.len()].copy_from_slice(part);
        // As firmware and kernel leave it.
        put(0, b"\x51\x94\x00\x80ibm,CPU1log\0");
        put(0x800, b"\xa0\x88\x04\x01mayday,store");
        put(0x4810, b"\x7f\x9b\x03\x7fwwwwwwwwwwww");
        for (slot, content) in slots {
            let at = 0x810 + *slot as usize * SLOT;
            put(at, &[0x4d, 0x59]);
            put(at + 2, &(content.len() as u16).to_be_bytes());
            put(at + 4, content);
        }
        bytes
    }

    #[test]
    fn slots_are_found_in_either_format() {
        let slots: [(u32, &[u8]); 2] = [(4, b"four"), (1, b"one")];
        for (format, bytes) in [(Format::Erst, records(&slots)), (Format::Nvram, partitions(&slots))] {
            let found = format.slots(&bytes).unwrap_or_else(|problem| panic!("{format:?}: {problem}"));
            assert_eq!(found, BTreeMap::from(slots), "{format:?}");
        }
    }

    #[test]
    fn records_of_others_are_passed_by_and_counted() {
        let mut bytes = records(&[(1, b"one")]);
        bytes[DIRECTORY + 8 * 5] = 9;
        assert!(Format::Erst.slots(&bytes).unwrap_err().contains("counts 1 records"));
        bytes[20] = 2;
        assert_eq!(Format::Erst.slots(&bytes).unwrap().len(), 1);
    }

    #[test]
    fn what_does_not_hold_is_named() {
        let spoil = |at: usize, value: u8| {
            let mut bytes = records(&[(1, b"one"), (2, b"two")]);
            bytes[at] = value;
            Format::Erst.slots(&bytes).unwrap_err()
        };
        assert!(spoil(0, 0).contains("header"));
        assert!(spoil(8, 3).contains("do not fill"));
        assert!(spoil(0x2000, 0).contains("not the record"));
        assert!(spoil(0x2060, 7).contains("not the record"));
        assert!(spoil(0x2014, 7).contains("does not end"));
        let spoil = |at: usize, value: u8| {
            let mut bytes = partitions(&[(1, b"one")]);
            bytes[at] = value;
            Format::Nvram.slots(&bytes).unwrap_err()
        };
        assert!(spoil(5, 0).contains("checksum"));
        assert!(spoil(0x801, 0).contains("partition at 0x800"));
        assert!(spoil(0x810, 1).contains("slot 0"));
        assert!(Format::Nvram.slots(&[0; 64]).unwrap_err().contains("checksum"));
        assert!(Format::Nvram.slots(&partitions(&[])[..0x800]).unwrap_err().contains("no partition"));
        assert!(Format::Nvram.slots(&partitions(&[])[..0x900]).unwrap_err().contains("length"));
        for format in [Format::Erst, Format::Nvram] {
            assert!(format.slots(&Before::Damaged.bytes(0x10000)).is_err());
            assert!(format.slots(&Before::Blank.bytes(0x10000)).is_err());
        }
    }
}
