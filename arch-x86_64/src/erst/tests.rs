use super::record::{self, SECTION};
use super::*;
use hal::store::MOST_BYTES;
use std::cell::{Cell, RefCell};

const ACTION: u64 = 0xFEBF_3000;
const VALUE: u64 = 0xFEBF_3008;
const BUFFER: u64 = 0xFEBF_0000;

fn entry(action: u8, instruction: u8, address: u64, bits: u8, value: u64, mask: u64) -> Vec<u8> {
    let mut entry = vec![action, instruction, 0, 0, 0, bits, 0, 0];
    entry.extend([address, value, mask].iter().flat_map(|word| word.to_le_bytes()));
    entry
}

/// The table as QEMU's `acpi-erst` has it.
fn entries() -> Vec<Vec<u8>> {
    let act = |number: u8| entry(number, 3, ACTION, 32, number.into(), 0xFF);
    let set = |number, bits, mask| vec![entry(number, 2, VALUE, bits, 0, mask), act(number)];
    let get = |number, bits, mask| vec![act(number), entry(number, 0, VALUE, bits, 0, mask)];
    [
        vec![act(0), act(1), act(2), act(3)],
        set(4, 32, 0xFFFF_FFFF),
        vec![entry(5, 3, VALUE, 32, 0x9C, 0xFF), act(5)],
        vec![act(6), entry(6, 1, VALUE, 32, 1, 1)],
        get(7, 32, 0xFF),
        get(8, 64, u64::MAX),
        set(9, 64, u64::MAX),
        get(10, 32, 0xFFFF_FFFF),
        vec![act(11)],
        get(13, 64, u64::MAX),
        get(14, 64, u64::MAX),
        get(15, 32, 0xFFFF_FFFF),
        get(16, 64, u64::MAX),
    ]
    .concat()
}

fn table(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut table = vec![0; TABLE_HEADER_LEN];
    table.extend(48u32.to_le_bytes());
    table.extend([0; 4]);
    table.extend((entries.len() as u32).to_le_bytes());
    table.extend(entries.concat());
    table
}

fn problem(entries: &[Vec<u8>]) -> &'static str {
    Erst::parse(&table(entries)).expect_err("refused").problem
}

/// The device, as far as its registers show it: seven records of 8 KiB.
struct Device {
    value: Cell<u64>,
    offset: Cell<u64>,
    id: Cell<u64>,
    operation: Cell<u8>,
    status: Cell<u64>,
    buffer: RefCell<Vec<u8>>,
    records: RefCell<Vec<(u64, Vec<u8>)>>,
    next: Cell<usize>,
    busy: bool,
    time: Cell<u64>,
}

impl Device {
    fn new() -> Self {
        Device {
            value: Cell::new(0),
            offset: Cell::new(0),
            id: Cell::new(0),
            operation: Cell::new(0xFF),
            status: Cell::new(0),
            buffer: RefCell::new(vec![0; 8192]),
            records: RefCell::new(Vec::new()),
            next: Cell::new(0),
            busy: false,
            time: Cell::new(0),
        }
    }

    fn execute(&self) -> u64 {
        let mut records = self.records.borrow_mut();
        let found = |records: &[(u64, Vec<u8>)], id| records.iter().position(|record| record.0 == id);
        assert_eq!(self.offset.get(), 0);
        match self.operation.get() {
            action::BEGIN_WRITE => {
                let record = self.buffer.borrow().clone();
                assert_eq!(&record[..4], b"CPER");
                let id = u64::from_le_bytes(record[96..104].try_into().unwrap());
                if let Some(place) = found(&records, id) {
                    records[place].1 = record;
                } else if records.len() == 7 {
                    return 1;
                } else {
                    records.push((id, record));
                }
                0
            }
            action::BEGIN_READ => match found(&records, self.id.get()) {
                Some(place) => {
                    self.buffer.borrow_mut().clone_from(&records[place].1);
                    0
                }
                None if records.is_empty() => 4,
                None => 5,
            },
            action::BEGIN_CLEAR => match found(&records, self.id.get()) {
                Some(place) => {
                    records.remove(place);
                    0
                }
                None => 5,
            },
            _ => 3,
        }
    }

    fn act(&self, number: u8) {
        match number {
            0..=2 => self.operation.set(number),
            3 => self.operation.set(0xFF),
            4 => self.offset.set(self.value.get()),
            5 if self.value.get() == 0x9C => self.status.set(self.execute()),
            6 => self.value.set(self.busy.into()),
            7 => self.value.set(self.status.get()),
            8 => {
                let id = self.records.borrow().get(self.next.get()).map(|record| record.0);
                self.next.set(if id.is_some() { self.next.get() + 1 } else { 0 });
                self.value.set(id.unwrap_or(u64::MAX));
            }
            9 => self.id.set(self.value.get()),
            10 => self.value.set(self.records.borrow().len() as u64),
            13 => self.value.set(BUFFER),
            14 => self.value.set(8192),
            _ => {}
        }
    }
}

impl Bus for Device {
    fn read(&self, register: Register) -> u64 {
        assert_eq!(register.address, VALUE);
        self.value.get()
    }
    fn write(&self, register: Register, value: u64) {
        match register.address {
            ACTION => self.act(value as u8),
            VALUE => self.value.set(value),
            other => panic!("no register at {other:#x}"),
        }
    }
    fn copy_out(&self, at: usize, room: &mut [u8]) {
        room.copy_from_slice(&self.buffer.borrow()[at..at + room.len()]);
    }
    fn copy_in(&self, at: usize, bytes: &[u8]) {
        self.buffer.borrow_mut()[at..at + bytes.len()].copy_from_slice(bytes);
    }
    fn now_ns(&self) -> u64 {
        self.time.set(self.time.get() + 1_000_000);
        self.time.get()
    }
}

const MOST: usize = 8192 - SECTION;

fn machine() -> (Erst, Device) {
    (Erst::parse(&table(&entries())).expect("valid"), Device::new())
}

#[test]
fn what_is_written_is_read_back_and_cleared() {
    let (erst, device) = machine();
    assert_eq!(erst.exchange_buffer(&device), (BUFFER, 8192));
    let (long, mut room) = (vec![0xA5; MOST], [0; MOST_BYTES]);
    record::write(&erst, &device, MOST, 3, b"three").unwrap();
    record::write(&erst, &device, MOST, 4, &long).unwrap();
    record::write(&erst, &device, MOST, 3, b"three again").unwrap();
    assert_eq!(record::read(&erst, &device, MOST, 3, &mut room), Ok(11));
    assert_eq!(&room[..11], b"three again");
    assert_eq!(record::read(&erst, &device, MOST, 4, &mut room), Ok(MOST));
    assert_eq!(room[..MOST], long);
    assert_eq!(record::read(&erst, &device, MOST, 4, &mut room[..10]), Err(StoreError::Room(MOST)));
    record::clear(&erst, &device, 3).unwrap();
    assert_eq!(record::read(&erst, &device, MOST, 3, &mut room), Err(StoreError::Empty));
    assert_eq!(record::clear(&erst, &device, 3), Err(StoreError::Empty));
    assert_eq!(device.operation.get(), 0xFF, "every operation was ended");
}

#[test]
fn what_cannot_be_is_refused_before_firmware_is_asked() {
    let (erst, device) = machine();
    for slot in [record::SLOTS, u32::MAX] {
        assert_eq!(record::write(&erst, &device, MOST, slot, b"x"), Err(StoreError::NoSuchSlot));
        assert_eq!(record::read(&erst, &device, MOST, slot, &mut []), Err(StoreError::NoSuchSlot));
        assert_eq!(record::clear(&erst, &device, slot), Err(StoreError::NoSuchSlot));
    }
    assert_eq!(record::write(&erst, &device, MOST, 0, &[]), Err(StoreError::Length));
    assert_eq!(record::write(&erst, &device, MOST, 0, &[0; MOST_BYTES]), Err(StoreError::Length));
    assert_eq!(device.operation.get(), 0xFF);
}

#[test]
fn a_full_store_and_a_busy_one_are_named() {
    let (erst, mut device) = machine();
    for slot in 0..7 {
        record::write(&erst, &device, MOST, slot, b"x").unwrap();
    }
    assert_eq!(record::write(&erst, &device, MOST, 7, b"x"), Err(StoreError::Full));
    record::write(&erst, &device, MOST, 6, b"in its place").unwrap();
    device.busy = true;
    assert_eq!(record::write(&erst, &device, MOST, 0, b"x"), Err(StoreError::TimedOut));
    assert!(device.time.get() < 300_000_000);
    assert_eq!(device.operation.get(), 0xFF, "also an operation that timed out is ended");
}

#[test]
fn records_of_others_are_neither_listed_nor_taken_for_ours() {
    let (erst, device) = machine();
    for slot in [9, 2] {
        record::write(&erst, &device, MOST, slot, b"x").unwrap();
    }
    let ours = device.records.borrow()[0].clone();
    device.records.borrow_mut().insert(0, (77, vec![0; 8192]));
    device.next.set(2);
    let mut numbers = [0; 4];
    assert_eq!(record::occupied(&erst, &device, &mut numbers), 2, "an abandoned listing does not matter");
    assert_eq!(numbers, [9, 2, 0, 0]);
    assert_eq!(record::occupied(&erst, &device, &mut numbers[..1]), 2);
    for (at, what) in [
        (0, "no error record with one section"),
        (64, "a record of another creator"),
        (20, "a record with impossible lengths"),
        (96, "a record with another id than was asked for"),
    ] {
        let mut bad = ours.clone();
        bad.1[at] ^= 1;
        device.records.borrow_mut()[1] = bad;
        assert_eq!(record::read(&erst, &device, MOST, 9, &mut [0; 9]), Err(StoreError::Foreign(what)));
    }
}

#[test]
fn either_reading_of_the_header_length_is_taken() {
    let mut short = table(&entries());
    short[36] = 12;
    assert!(Erst::parse(&short).is_ok());
    short[36] = 13;
    assert_eq!(Erst::parse(&short).expect_err("refused").offset, 36);
}

#[test]
fn what_is_not_supported_is_named() {
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut all = entries();
        change(&mut all[2]);
        problem(&all)
    };
    assert!(with(&|entry| entry[1] = 5).contains("instruction that this port does not know"));
    assert!(with(&|entry| entry[2] = 1).contains("flag"));
    assert!(with(&|entry| entry[4] = 1).contains("not in memory"));
    assert!(with(&|entry| entry[5] = 24).contains("width"));
    assert!(with(&|entry| entry[6] = 8).contains("width"));
    assert!(with(&|entry| entry[8..16].fill(0xFF)).contains("no address"));
    assert!(with(&|entry| entry[8..16].fill(0)).contains("lies at 0"));
    assert!(with(&|entry| entry[12] = 1).contains("above 4 GiB"));
    assert!(with(&|entry| entry[8] = 2).contains("not aligned"));
    assert!(problem(&entries()[1..]).contains("lacks an action"));
    assert!(problem(&vec![entry(0, 4, 0, 0, 0, 0); STEPS_MAX + 1]).contains("more instructions"));
    let mut all = entries();
    all[20] = entry(11, 4, u64::MAX, 0, 0, 0);
    assert!(Erst::parse(&table(&all)).is_ok(), "a NOOP accesses nothing");
}

#[test]
fn every_reason_fits_the_record() {
    let mut all = entries();
    for at in 0..32 {
        for value in [0, 1, 4, 5, 0x7F, 0xFF] {
            all[3][at] = value;
            if let Err(error) = Erst::parse(&table(&all)) {
                assert!(error.problem.len() <= 80 && error.problem.is_ascii(), "{}", error.problem);
            }
        }
        all = entries();
    }
}

#[test]
fn another_length_than_stated_is_refused() {
    let good = table(&entries());
    for end in 0..good.len() {
        assert!(Erst::parse(&good[..end]).is_err(), "cut at {end}");
    }
    let mut long = good.clone();
    long.push(0);
    assert!(Erst::parse(&long).is_err());
}

#[test]
fn no_byte_string_makes_the_decoder_panic() {
    let good = table(&entries());
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let mut decoded = 0;
    for _ in 0..20_000 {
        let mut bad = good.clone();
        for _ in 0..3 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let at = TABLE_HEADER_LEN + state as usize % (bad.len() - TABLE_HEADER_LEN);
            bad[at] = (state >> 32) as u8;
        }
        // What is decoded can also be run, on registers that answer nonsense.
        if let Ok(erst) = Erst::parse(&bad) {
            decoded += 1;
            let bus = Nonsense(Cell::new(state));
            let _ = record::write(&erst, &bus, MOST, 1, b"x");
            let _ = record::read(&erst, &bus, MOST, 1, &mut [0; 64]);
            let _ = record::clear(&erst, &bus, 1);
        }
    }
    assert!(decoded > 1000, "{decoded}");
}

struct Nonsense(Cell<u64>);

impl Bus for Nonsense {
    fn read(&self, _: Register) -> u64 {
        self.0.set(self.0.get().wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1));
        self.0.get()
    }
    fn write(&self, _: Register, _: u64) {}
    fn copy_out(&self, _: usize, room: &mut [u8]) {
        room.fill(self.0.get() as u8);
    }
    fn copy_in(&self, _: usize, _: &[u8]) {}
    fn now_ns(&self) -> u64 {
        self.0.set(self.0.get().wrapping_add(10_000_000));
        self.0.get()
    }
}

#[test]
fn what_fits_depends_on_the_exchange_buffer() {
    assert_eq!(record::capacity(8192).map(|capacity| capacity.bytes), Some(MOST));
    assert_eq!(record::capacity(u64::MAX).map(|capacity| capacity.bytes), Some(MOST_BYTES - SECTION));
    assert_eq!(record::capacity(SECTION as u64 + 255), None);
    assert_eq!(record::capacity(0), None);
}
