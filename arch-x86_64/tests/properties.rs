//! Tables, images and command lines come from outside: whatever is in them, the readers say what is wrong or
//! give something that fits the machine.

use arch_x86_64::acpi::Acpi;
use arch_x86_64::erst::Erst;
use arch_x86_64::kexec::{self, command_line};
use arch_x86_64::physical::PhysicalMemory;
use arch_x86_64::pvh::{self, StartInfo};
use hal::kexec::Handoff;
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use proptest::sample::select;

/// One piece of memory.
struct Piece(u64, Vec<u8>);

impl PhysicalMemory for Piece {
    fn bytes(&self, address: u64, length: u64) -> Option<&[u8]> {
        let start = usize::try_from(address.checked_sub(self.0)?).ok()?;
        self.1.get(start..start.checked_add(usize::try_from(length).ok()?)?)
    }
}

/// Sets byte `at` of a table so that all bytes add up to nothing.
fn seal(table: &mut [u8], at: usize) {
    if at < table.len() {
        table[at] = 0;
        table[at] = table.iter().fold(0u8, |sum, byte| sum.wrapping_sub(*byte));
    }
}

fn table(signature: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let mut table = signature.to_vec();
    table.extend((36 + body.len() as u32).to_le_bytes());
    table.resize(36, 0);
    table.extend(body);
    seal(&mut table, 9);
    table
}

/// Firmware's tables: RSDP at 0x1000, RSDT at 0x1100, then the tables of these bodies.
fn firmware(tables: &[([u8; 4], Vec<u8>)]) -> Piece {
    let mut bytes = vec![0; 0x4000];
    let mut at = 0x400;
    let mut pointers = Vec::new();
    for (signature, body) in tables {
        let table = table(signature, body);
        if at + table.len() > bytes.len() {
            break;
        }
        bytes[at..at + table.len()].copy_from_slice(&table);
        pointers.extend((0x1000 + at as u32).to_le_bytes());
        at += table.len().next_multiple_of(4);
    }
    let root = table(b"RSDT", &pointers);
    bytes[0x100..0x100 + root.len()].copy_from_slice(&root);
    let mut pointer = b"RSD PTR \0\0\0\0\0\0\0\0".to_vec();
    pointer.extend(0x1100u32.to_le_bytes());
    seal(&mut pointer, 8);
    bytes[..pointer.len()].copy_from_slice(&pointer);
    Piece(0x1000, bytes)
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..0x1000u64,
        (0x40_0000..0x80_0000u64),
        any::<u64>(),
        select(vec![0, 1, u64::MAX, u64::MAX - 1, 1 << 63])
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_tables_make_the_acpi_reader_panic(
        tables in vec((select(vec![*b"APIC", *b"FACP", *b"HPET", *b"ERST"]), vec(any::<u8>(), 0..300)), 0..5),
        damage in vec((0..0x4000usize, any::<u8>()), 0..4),
    ) {
        let mut memory = firmware(&tables);
        for (at, value) in damage {
            memory.1[at] = value;
        }
        let found = Acpi::read(&memory, 0x1000, 0);
        if let Ok(madt) = found.madt {
            prop_assert!(!madt.apic_ids().is_empty());
        }
    }

    #[test]
    fn entries_of_the_madt_that_are_whole_are_found(ids in btree_set(1..200u8, 0..8), rest in vec(any::<u8>(), 0..2)) {
        let mut body = vec![0, 0, 0xE0, 0xFE, 0, 0, 0, 0];
        for id in std::iter::once(&0).chain(&ids) {
            body.extend([0, 8, *id, *id, 1, 0, 0, 0]);
        }
        body.extend(&rest);
        let found = Acpi::read(&firmware(&[(*b"APIC", body)]), 0x1000, 0).madt;
        match found {
            Ok(madt) => for id in ids {
                prop_assert!(madt.apic_ids().contains(&id.into()));
            },
            Err(_) => prop_assert!(!rest.is_empty()),
        }
    }

    #[test]
    fn no_table_makes_the_erst_reader_panic(body in vec(any::<u8>(), 0..600), count in 0..20u32) {
        let mut bytes = table(b"ERST", &body);
        let _ = Erst::parse(&bytes);
        // And one that gets past its head.
        let wanted = 48 + count as usize * 32;
        bytes.resize(wanted, 1);
        bytes[36..40].copy_from_slice(&48u32.to_le_bytes());
        bytes[44..48].copy_from_slice(&count.to_le_bytes());
        if let Ok(erst) = Erst::parse(&bytes) {
            let _ = erst.registers().count();
        }
    }

    /// What is planned lies in the room, in order, and comes from inside the file.
    #[test]
    fn an_image_is_planned_into_its_room_or_refused(
        headers in vec((select(vec![1u32, 1, 1, 4, 2]), [number(), number(), number(), number()]), 0..12),
        count in prop_oneof![Just(None), any::<u16>().prop_map(Some)],
        size in 0..0x3000usize,
    ) {
        let mut image = b"\x7FELF\x02\x01\x01".to_vec();
        image.resize(16, 0);
        image.extend(2u16.to_le_bytes());
        image.extend(62u16.to_le_bytes());
        image.resize(32, 0);
        image.extend(64u64.to_le_bytes());
        image.resize(54, 0);
        image.extend(56u16.to_le_bytes());
        image.extend(count.unwrap_or(headers.len() as u16).to_le_bytes());
        image.resize(64, 0);
        for (kind, [offset, physical, file, memory]) in headers {
            image.extend(kind.to_le_bytes());
            image.extend(5u32.to_le_bytes());
            for word in [offset, physical, physical, file, memory, 4096] {
                image.extend(word.to_le_bytes());
            }
        }
        // An entry note for whoever points to it.
        image.extend(4u32.to_le_bytes());
        image.extend(8u32.to_le_bytes());
        image.extend(18u32.to_le_bytes());
        image.extend(b"Xen\0");
        image.extend(0x40_0000u64.to_le_bytes());
        image.resize(image.len().max(size), 0);
        if let Ok(plan) = crash_image::plan(&image, &kexec::FORMAT)
            && let Ok(entry) = kexec::entry(&image, &plan)
        {
            prop_assert!(plan.base + plan.memory_end as u64 <= kexec::REGION_LEN);
            prop_assert!((plan.base..plan.base + plan.file_end as u64).contains(&entry));
        }
    }

    #[test]
    fn the_handoff_replaces_what_was_said_before(
        words in vec("[a-z.]{1,8}(=[a-z0-9]{0,6})?", 0..6),
        (record, record_len) in (any::<u64>(), any::<u64>()),
        room in 0..200usize,
    ) {
        let wanted = format!("capture.record={record:#x},{record_len:#x}");
        let given = [words.join(" "), "capture.record=1,2".into()].join(" ");
        let mut buffer = vec![0xAA; room];
        let handoff = Handoff { record, record_len };
        match command_line::with_record(&given, &handoff, &mut buffer) {
            None => prop_assert!(room < words.iter().map(|word| word.len() + 1).sum::<usize>() + wanted.len() + 1),
            Some(length) => {
                let text = std::str::from_utf8(&buffer[..length]).unwrap();
                let mut all: Vec<_> = words.iter().map(String::as_str).collect();
                all.push(&wanted);
                prop_assert_eq!(text.split(' ').collect::<Vec<_>>(), all);
                prop_assert_eq!(buffer[length], 0);
            }
        }
    }

    #[test]
    fn a_stored_command_line_is_loaded(text in "\\PC{0,80}", room in 0..200usize, odd in vec(any::<u8>(), 0..40)) {
        let mut page = vec![0xAA; room];
        if command_line::store(&mut page, &text).is_some() {
            prop_assert_eq!(command_line::load(&page), text);
        } else {
            prop_assert!(room < 8 + text.len());
        }
        let _ = command_line::load(&odd);
    }

    #[test]
    fn no_bytes_make_the_start_info_reader_panic(
        bytes in vec(any::<u8>(), 0..512), address in number(), magic in any::<bool>(),
    ) {
        let mut memory = Piece(0x1000, bytes);
        if magic && memory.1.len() >= 8 {
            memory.1[4] = 1;
            memory.1[..4].copy_from_slice(&0x336E_C578u32.to_le_bytes());
        }
        for place in [0x1000, address] {
            if let Ok(info) = StartInfo::read(&memory, place) {
                let _ = (info.command_line().len(), info.usable(), info.is_usable(address, address));
            }
        }
    }

    #[test]
    fn start_info_that_is_written_reads_back(
        ranges in vec((1..0xFFFFu64, 1..0xFFFFu64, any::<bool>()), 1..20), rsdp in any::<u64>(),
    ) {
        let ranges: Vec<_> = ranges
            .into_iter()
            .map(|(start, len, usable)| pvh::Range {
                start: start << 12,
                len: len << 12,
                kind: if usable { pvh::RangeKind::Usable } else { pvh::RangeKind::Reserved },
            })
            .collect();
        let mut page = vec![0; 4096];
        if pvh::write(&mut page, 0x1000, 0x1F00, rsdp, &ranges).is_some() {
            let info = StartInfo::read(&Piece(0x1000, page), 0x1000).unwrap();
            prop_assert_eq!(info.rsdp, rsdp);
            prop_assert_eq!(info.ranges(), &ranges[..]);
        }
    }
}
