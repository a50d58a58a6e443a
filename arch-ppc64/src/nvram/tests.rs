use super::*;
use std::cell::{Cell, RefCell};
use std::vec::Vec;

/// NVRAM that can stop taking writes, as if power had gone.
struct Fake {
    bytes: RefCell<Vec<u8>>,
    writes_left: Cell<usize>,
}

impl Fake {
    fn new(bytes: Vec<u8>) -> Self {
        Fake { bytes: RefCell::new(bytes), writes_left: Cell::new(usize::MAX) }
    }

    fn size(&self) -> u32 {
        self.bytes.borrow().len() as u32
    }

    fn find(&self) -> Result<Place, &'static str> {
        Place::find(self, self.size())
    }
}

impl Memory for Fake {
    fn fetch(&self, offset: u32, room: &mut [u8]) -> Result<(), StoreError> {
        assert!(room.len() <= SLOT as usize);
        let bytes = self.bytes.borrow();
        let from = offset as usize;
        room.copy_from_slice(bytes.get(from..from + room.len()).ok_or(StoreError::Firmware(-3))?);
        Ok(())
    }
    fn store(&self, offset: u32, bytes: &[u8]) -> Result<(), StoreError> {
        assert!(bytes.len() <= SLOT as usize);
        if self.writes_left.get() == 0 {
            return Err(StoreError::Firmware(-1));
        }
        self.writes_left.set(self.writes_left.get() - 1);
        let mut memory = self.bytes.borrow_mut();
        memory[offset as usize..offset as usize + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }
}

fn header(signature: u8, length: u32, name: &[u8; 12]) -> [u8; 16] {
    Header { signature, length, name: *name }.bytes()
}

/// As firmware leaves it: two partitions of its own and free space with old bytes in it.
fn formatted(free: u32) -> Vec<u8> {
    let mut bytes = header(0x51, 0x800, b"ibm,CPU0log\0").to_vec();
    bytes.resize(0x800, 0x11);
    bytes.extend(header(0x70, 0x400, b"common\0\0\0\0\0\0"));
    bytes.resize(0xC00, 0x22);
    bytes.extend(header(SIGNATURE_FREE, free, &NAME_FREE));
    bytes.resize(0xC00 + free as usize, 0x33);
    bytes
}

/// Signature and length of every partition.
fn chain(bytes: &[u8]) -> Option<Vec<(u8, u32)>> {
    let (mut chain, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let header = Header::parse(bytes.get(at..)?.first_chunk()?)?;
        chain.push((header.signature, header.length));
        at += header.length as usize;
    }
    (at == bytes.len()).then_some(chain)
}

#[test]
fn the_checksum_is_the_architectures() {
    // Headers as SLOF writes them.
    for (first, name) in [
        ([0x51, 0x15, 0x02, 0x00], b"ibm,CPU0log\0"),
        ([0x51, 0x94, 0x00, 0x80], b"ibm,CPU1log\0"),
        ([0x70, 0xFC, 0x01, 0x00], b"common\0\0\0\0\0\0"),
    ] {
        let bytes: [u8; 16] = [first.as_slice(), name].concat().try_into().unwrap();
        let header = Header::parse(&bytes).unwrap();
        assert_eq!(header.bytes(), bytes);
    }
    assert!(Header::parse(&[0; 16]).is_none(), "no length");
}

#[test]
fn a_partition_is_taken_from_free_space_and_found_again() {
    let before = formatted(0x8000);
    let fake = Fake::new(before.clone());
    let place = fake.find().unwrap();
    assert_eq!(place, Place { at: 0xC10, slots: 16 });
    let after = fake.bytes.borrow().clone();
    assert_eq!(after[..0xC00], before[..0xC00], "partitions of others are as before");
    let own = BLOCK + 16 * SLOT;
    assert_eq!(chain(&after).unwrap(), [(0x51, 0x800), (0x70, 0x400), (0xA0, own), (0x7F, 0x8000 - own)]);
    place.write(&fake, 3, b"kept").unwrap();
    fake.writes_left.set(0);
    assert_eq!(fake.find().unwrap(), place);
    let mut room = [0; SLOT_BYTES];
    assert_eq!(place.read(&fake, 3, &mut room), Ok(4));
}

#[test]
fn less_room_gives_fewer_slots_and_too_little_none() {
    let slots = |free| Fake::new(formatted(free)).find().map(|place| place.slots);
    assert_eq!(slots(BLOCK + 4 * SLOT), Ok(4));
    assert_eq!(slots(BLOCK + 5 * SLOT + 16), Ok(5));
    assert_eq!(slots(4 * SLOT), Err("the NVRAM has no free partition of 4 KiB"));
    let fake = Fake::new(formatted(BLOCK + 4 * SLOT));
    fake.find().unwrap();
    assert_eq!(chain(&fake.bytes.borrow()).unwrap().len(), 3, "no rest, no header for it");
}

#[test]
fn blank_memory_is_free_and_damage_is_left_alone() {
    let fake = Fake::new(std::vec![0; 0x10000]);
    assert_eq!(fake.find().unwrap(), Place { at: 16, slots: 16 });
    assert_eq!(chain(&fake.bytes.borrow()).unwrap().len(), 2);
    for bytes in [std::vec![0xA5; 0x10000], {
        let mut almost = std::vec![0; 0x10000];
        almost[0xFFFF] = 1;
        almost
    }] {
        let fake = Fake::new(bytes.clone());
        assert_eq!(fake.find(), Err("the NVRAM's partitions are damaged, and are left alone"));
        assert_eq!(*fake.bytes.borrow(), bytes);
    }
    let mut cut = formatted(0x8000);
    cut.truncate(0x2000);
    assert!(Fake::new(cut).find().unwrap_err().contains("damaged"));
    assert!(Place::find(&Fake::new(Vec::new()), 64).unwrap_err().contains("cannot read"));
}

#[test]
fn the_chain_holds_wherever_the_taking_stops() {
    for writes in 0..=18 {
        let fake = Fake::new(formatted(0x8000));
        fake.writes_left.set(writes);
        let done = fake.find().is_ok();
        assert_eq!(done, writes == 18);
        let chain = chain(&fake.bytes.borrow()).unwrap();
        assert_eq!(chain.last().unwrap().0, SIGNATURE_FREE, "{writes} writes");
        fake.writes_left.set(usize::MAX);
        assert!(fake.find().is_ok());
    }
}

#[test]
fn slots_are_written_read_cleared_and_listed() {
    let fake = Fake::new(formatted(0x8000));
    let place = fake.find().unwrap();
    assert_eq!(place.capacity(), Capacity { slots: 16, bytes: 1020 });
    let (long, mut room, mut numbers) = ([0x5A; SLOT_BYTES], [0; SLOT_BYTES], [99; 16]);
    assert_eq!(place.occupied(&fake, &mut numbers), Ok(0));
    place.write(&fake, 0, b"zero").unwrap();
    place.write(&fake, 15, &long).unwrap();
    assert_eq!(place.read(&fake, 15, &mut room), Ok(SLOT_BYTES));
    assert_eq!(room, long);
    assert_eq!(place.read(&fake, 0, &mut room), Ok(4));
    assert_eq!(place.read(&fake, 0, &mut room[..3]), Err(StoreError::Room(4)));
    assert_eq!(place.occupied(&fake, &mut numbers[..1]), Ok(2));
    assert_eq!(numbers[..2], [0, 99]);
    place.clear(&fake, 0).unwrap();
    assert_eq!(place.read(&fake, 0, &mut room), Err(StoreError::Empty));
    assert_eq!(place.clear(&fake, 0), Err(StoreError::Empty));
    assert_eq!(place.write(&fake, 16, b"x"), Err(StoreError::NoSuchSlot));
    assert_eq!(place.write(&fake, 0, &[0; SLOT_BYTES + 1]), Err(StoreError::Length));
    assert_eq!(place.write(&fake, 0, &[]), Err(StoreError::Length));
    assert_eq!(chain(&fake.bytes.borrow()).unwrap().len(), 4, "the last slot ends where the rest begins");
}

#[test]
fn a_write_that_stops_half_way_leaves_the_slot_empty() {
    let fake = Fake::new(formatted(0x8000));
    let place = fake.find().unwrap();
    for writes in 1..3 {
        fake.writes_left.set(usize::MAX);
        place.write(&fake, 2, b"old").unwrap();
        fake.writes_left.set(writes);
        assert_eq!(place.write(&fake, 2, b"new"), Err(StoreError::Firmware(-1)));
        assert_eq!(place.read(&fake, 2, &mut [0; 8]), Err(StoreError::Empty));
    }
}

#[test]
fn a_slot_that_makes_no_sense_is_foreign_and_can_be_cleared() {
    let fake = Fake::new(formatted(0x8000));
    let place = fake.find().unwrap();
    for word in [[1, 2, 0, 4], [0x4D, 0x59, 0, 0], [0x4D, 0x59, 0xFF, 0xFF], [0, 0, 0, 4]] {
        fake.store(place.at + SLOT, &word).unwrap();
        assert!(matches!(place.read(&fake, 1, &mut [0; 8]), Err(StoreError::Foreign(_))));
        assert_eq!(place.occupied(&fake, &mut []), Ok(1));
        place.clear(&fake, 1).unwrap();
        assert_eq!(place.occupied(&fake, &mut []), Ok(0));
    }
}

#[test]
fn no_content_makes_the_walk_panic_or_loop() {
    let good = formatted(0x2000);
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    for _ in 0..5_000 {
        let mut bad = good.clone();
        for _ in 0..3 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let place = [0, 0x800, 0xC00][state as usize % 3] + (state >> 8) as usize % 16;
            bad[place] = (state >> 32) as u8;
        }
        // Headers with a right checksum and a wrong length.
        for at in [0, 0x800, 0xC00] {
            let mut header: [u8; 16] = bad[at..at + 16].try_into().unwrap();
            header[1] = checksum(&header);
            bad[at..at + 16].copy_from_slice(&header);
        }
        let fake = Fake::new(bad.clone());
        if fake.find().is_err() {
            assert_eq!(*fake.bytes.borrow(), bad, "what is refused is left alone");
        }
    }
    let tiny: Vec<u8> = (0..300).flat_map(|_| header(0x70, 16, b"tiny\0\0\0\0\0\0\0\0")).collect();
    assert!(Fake::new(tiny).find().unwrap_err().contains("more partitions"));
}
