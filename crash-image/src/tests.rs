use elf::abi::{EM_PPC64, EM_X86_64, ET_DYN, ET_EXEC};
use proptest::prelude::*;

use super::*;

const BIG: Format = Format {
    endian: AnyEndian::Big,
    machine: EM_PPC64,
    kind: ET_DYN,
    flags: (3, 2),
    address: Address::Physical,
};
const LITTLE: Format = Format {
    endian: AnyEndian::Little,
    machine: EM_X86_64,
    kind: ET_EXEC,
    flags: (0, 0),
    address: Address::Virtual,
};

/// A file in the making.
struct Maker(Format);

impl Maker {
    fn word<const N: usize>(&self, value: u64) -> [u8; N] {
        let mut bytes = [0; N];
        match self.0.endian {
            AnyEndian::Big => bytes.copy_from_slice(&value.to_be_bytes()[8 - N..]),
            AnyEndian::Little => bytes.copy_from_slice(&value.to_le_bytes()[..N]),
        }
        bytes
    }

    /// A program header. The address that does not count is elsewhere.
    fn header(&self, kind: u32, offset: u64, address: u64, file: u64, memory: u64) -> Vec<u8> {
        let elsewhere = address ^ 0x7000_0000;
        let (physical, virtual_) = match self.0.address {
            Address::Physical => (address, elsewhere),
            Address::Virtual => (elsewhere, address),
        };
        let mut bytes = [self.word::<4>(kind.into()), self.word::<4>(5)].concat();
        for word in [offset, virtual_, physical, file, memory, 4] {
            bytes.extend(self.word::<8>(word));
        }
        bytes
    }

    fn note(&self, owner: &[u8; 4], kind: u32, says: &[u8]) -> Vec<u8> {
        let mut bytes = [4, says.len() as u64, kind.into()].map(|word| self.word::<4>(word)).concat();
        bytes.extend(owner);
        bytes.extend(says);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn file(&self, headers: &[Vec<u8>]) -> Vec<u8> {
        let order = if self.0.endian == AnyEndian::Big { 2 } else { 1 };
        let mut bytes = vec![0x7f, b'E', b'L', b'F', 2, order, 1];
        bytes.resize(16, 0);
        bytes.extend(self.word::<2>(self.0.kind.into()));
        bytes.extend(self.word::<2>(self.0.machine.into()));
        bytes.extend(self.word::<4>(1));
        for word in [0x8000_0010, 64, 0] {
            bytes.extend(self.word::<8>(word));
        }
        bytes.extend(self.word::<4>(self.0.flags.1.into()));
        for word in [64, 56, headers.len() as u64, 64, 0, 0] {
            bytes.extend(self.word::<2>(word));
        }
        bytes.extend(headers.concat());
        bytes.resize(0x4000, 0);
        bytes
    }

    fn good(&self) -> Vec<u8> {
        let notes = [self.note(b"Xen\0", 18, b"entry"), self.note(b"GNU\0", 3, &[1, 2, 3, 4, 5, 6, 7, 8, 9])]
            .concat();
        let mut file = self.file(&[
            self.header(PT_LOAD, 0x1000, 0x8000_0000, 0x1000, 0x1000),
            self.header(PT_LOAD, 0x2000, 0x8000_2000, 0x800, 0x9000),
            self.header(PT_NOTE, 0x1800, 0x8000_0800, notes.len() as u64, notes.len() as u64),
        ]);
        file[0x1000..0x1800].fill(1);
        file[0x1800..0x1800 + notes.len()].copy_from_slice(&notes);
        file[0x2000..0x2800].fill(2);
        file
    }
}

#[test]
fn a_good_file_has_a_plan_in_either_order() {
    for format in [BIG, LITTLE] {
        let file = Maker(format).good();
        let plan = plan(&file, &format).unwrap();
        let whole = (plan.base, plan.entry, plan.file_end, plan.memory_end);
        assert_eq!(whole, (0x8000_0000, 0x8000_0010, 0x2800, 0xb000));
        assert_eq!(plan.build_id, 0x0102_0304_0506_0708);
        let second = Segment { offset: 0x2000, file_offset: 0x2000, file_size: 0x800 };
        assert_eq!(plan.segments()[1..], [second]);
        assert_eq!(note(&file, &format, "Xen", 18), Some(b"entry".as_slice()));
        assert_eq!(note(&file, &format, "Xen", 17), None);
        assert_eq!(own_build_id(&file[0x1800..0x1900], format.endian), 0x0102_0304_0506_0708);
        assert_eq!(own_build_id(&file[0x1800..0x1810], format.endian), 0);
    }
}

#[test]
fn what_is_placed_is_the_file_and_zeros_between() {
    let file = Maker(LITTLE).good();
    let plan = plan(&file, &LITTLE).unwrap();
    let mut memory = vec![9; 0x3000];
    plan.place(&file, &mut memory).unwrap();
    assert_eq!((memory[0], memory[0x1000], memory[0x1fff], memory[0x2000], memory[0x27ff]), (1, 0, 0, 2, 2));
    assert!(memory[0x2800..].iter().all(|byte| *byte == 9), "what is not the image's was written");
    assert_eq!(plan.place(&file, &mut memory[..0x27ff]), None);
    assert_eq!(plan.place(&file[..0x2700], &mut memory), None);
}

#[test]
fn what_is_wrong_is_named() {
    for format in [BIG, LITTLE] {
        let make = Maker(format);
        let refused = |file: &[u8]| plan(file, &format).unwrap_err();
        let with = |headers: &[Vec<u8>]| refused(&make.file(headers));
        let changed = |at: usize, bytes: &[u8]| {
            let mut file = make.good();
            file[at..at + bytes.len()].copy_from_slice(bytes);
            refused(&file)
        };
        assert!(refused(b"").contains("not an ELF file"));
        assert!(changed(0, b"x").contains("not an ELF file"));
        assert!(refused(&make.good()[..63]).contains("cut off"));
        assert!(changed(54, &make.word::<2>(32)).contains("cut off"));
        assert!(changed(32, &make.word::<8>(0x4000)).contains("outside"));
        assert!(changed(4, &[1]).contains("another machine") || changed(4, &[1]).contains("cut off"));
        assert!(
            changed(18, &make.word::<2>(62 ^ 21 ^ u64::from(format.machine))).contains("another machine")
        );
        assert!(changed(16, &make.word::<2>(1)).contains("linked"));
        let load = |address, file, memory| make.header(PT_LOAD, 0x1000, address, file, memory);
        assert!(with(&[]).contains("nothing to load"));
        assert!(with(&[load(0, 0x1000, 0x800)]).contains("larger in the file"));
        assert!(with(&[load(0, 0x3001, 0x3001)]).contains("outside the file"));
        assert!(with(&[load(0, 0, 0x1000), load(0xfff, 0, 1)]).contains("overlap"));
        assert!(with(&[load(0x1000, 0, 0x1000), load(0, 0, 1)]).contains("not in order"));
        assert!(with(&[load(0, 0, 1), load(u64::MAX, 0, 0x1000)]).contains("any memory"));
        assert!(with(&[make.header(PT_LOAD, u64::MAX, 0, 2, 2)]).contains("outside the file"));
        let nine: Vec<_> = (0..9).map(|number| load(number, 0, 1)).collect();
        assert!(with(&nine).contains("too many"));
    }
    let mut old = Maker(BIG).good();
    old[51] = 1;
    assert!(plan(&old, &BIG).unwrap_err().contains("another ABI"));
}

#[test]
fn without_a_build_id_it_is_zero() {
    let make = Maker(BIG);
    let load = make.header(PT_LOAD, 0, 0, 8, 8);
    for notes in
        [vec![], vec![make.header(PT_NOTE, 0x2000, 0, 64, 64)], vec![make.header(PT_NOTE, 0, 0, 64, 64)]]
    {
        let headers: Vec<_> = std::iter::once(load.clone()).chain(notes).collect();
        assert_eq!(plan(&make.file(&headers), &BIG).unwrap().build_id, 0);
    }
}

proptest! {
    /// Whatever is done to a good file: no panic, and what a plan names lies in the file.
    #[test]
    fn no_damage_makes_it_panic(big: bool, damage in prop::collection::vec((0_usize..0x1900, any::<u8>()), 1..6), end in 0_usize..=0x4000) {
        let format = if big { BIG } else { LITTLE };
        let mut file = Maker(format).good();
        for (at, byte) in damage {
            file[at] = byte;
        }
        let file = &file[..end];
        let _ = note(file, &format, "Xen", 18);
        if let Ok(plan) = plan(file, &format) {
            prop_assert!(plan.file_end <= plan.memory_end);
            if plan.file_end < 1 << 20 {
                prop_assert!(plan.place(file, &mut vec![0; plan.file_end]).is_some());
            }
        }
    }

    /// Whatever headers there are: what is planned comes from the file, in order, and nothing overlaps.
    #[test]
    fn a_plan_stays_inside(big: bool, all in prop::collection::vec((prop::sample::select(vec![PT_LOAD, PT_LOAD, PT_NOTE, 2]), any::<[u64; 4]>()), 0..10)) {
        let format = if big { BIG } else { LITTLE };
        let make = Maker(format);
        // Most are small, so that some fit.
        let small = |value: u64| if value.is_multiple_of(8) { value } else { value % 0x1000 };
        let headers: Vec<_> = all
            .iter()
            .map(|(kind, words)| {
                let [offset, address, file, memory] = words.map(small);
                make.header(*kind, offset, address, file, memory)
            })
            .collect();
        let file = make.file(&headers);
        if let Ok(plan) = plan(&file, &format) {
            let mut free = 0;
            for Segment { offset, file_offset, file_size } in plan.segments() {
                prop_assert!(*offset >= free && offset + file_size <= plan.file_end);
                prop_assert!(file_offset + file_size <= file.len());
                free = offset + file_size;
            }
            prop_assert!(plan.file_end <= plan.memory_end);
        }
    }
}
