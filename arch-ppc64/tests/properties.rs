//! Trees and NVRAM come from outside: whatever is in them, the readers say what is wrong or give
//! something that fits the machine.

use std::cell::RefCell;

use arch_ppc64::devicetree::{self, Machine};
use arch_ppc64::flat::{self, Writer};
use arch_ppc64::nvram::{self, Memory, Place};
use hal::store::StoreError;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

const NAMES: [&str; 14] = [
    "device_type",
    "reg",
    "bootargs",
    "linux,initrd-start",
    "linux,initrd-end",
    "ibm,ppc-interrupt-server#s",
    "timebase-frequency",
    "ibm,processor-radix-AP-encodings",
    "linux,rtas-entry",
    "start-cpu",
    "#bytes",
    "compatible",
    "interrupts",
    "#address-cells",
];

type Property = (&'static str, Vec<u8>);

fn property() -> impl Strategy<Value = Property> {
    let value = prop_oneof![
        vec(any::<u8>(), 0..20),
        any::<u32>().prop_map(|cell| cell.to_be_bytes().to_vec()),
        select(vec!["cpu", "memory", "nvram", "vty", "hvterm1"])
            .prop_map(|text| [text.as_bytes(), b"\0"].concat()),
    ];
    (select(NAMES.to_vec()), value)
}

/// A tree of made-up nodes below the names that a kernel looks for.
fn tree(nodes: &[(&str, Vec<Property>)]) -> Vec<u8> {
    let (mut bytes, mut names) = (vec![0; 0x4000], vec![0; 0x800]);
    let mut writer = Writer::new(&mut bytes, &mut names);
    writer.begin_node(b"");
    for (name, properties) in nodes {
        writer.begin_node(name.as_bytes());
        for (name, value) in properties {
            writer.property(name.as_bytes(), value);
        }
        writer.end_node();
    }
    writer.end_node();
    let length = writer.finish(0).expect("room for it");
    bytes.truncate(length);
    bytes
}

fn node() -> impl Strategy<Value = (&'static str, Vec<Property>)> {
    let name = select(vec!["chosen", "memory@0", "cpus", "rtas", "vdevice", "options", "ibm,opal"]);
    (name, vec(property(), 0..6))
}

/// NVRAM, and how many writes it still takes.
struct Nvram(RefCell<(Vec<u8>, usize)>);

impl Memory for Nvram {
    fn fetch(&self, offset: u32, room: &mut [u8]) -> Result<(), StoreError> {
        let state = self.0.borrow();
        let from = offset as usize;
        room.copy_from_slice(state.0.get(from..from + room.len()).ok_or(StoreError::Firmware(-3))?);
        Ok(())
    }
    fn store(&self, offset: u32, bytes: &[u8]) -> Result<(), StoreError> {
        let mut state = self.0.borrow_mut();
        state.1 = state.1.checked_sub(1).ok_or(StoreError::Firmware(-1))?;
        let from = offset as usize;
        state.0.get_mut(from..from + bytes.len()).ok_or(StoreError::Firmware(-3))?.copy_from_slice(bytes);
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_tree_makes_the_reader_panic(
        nodes in vec(node(), 0..6),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
        odd in vec(any::<u8>(), 0..100),
    ) {
        let mut bytes = tree(&nodes);
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        for tree in [&bytes[..], &bytes[..cut.index(bytes.len())], &odd] {
            let _ = (flat::stated_length(tree), flat::boot_cpu(tree));
            if let Ok(machine) = Machine::read(tree) {
                prop_assert!(!machine.cpus().is_empty());
                let _ = (machine.memory_bytes(), machine.is_ram(0, 1), machine.command_line().len());
            }
            let (mut room, mut names) = (vec![0; 0x2000], vec![0; 0x400]);
            if let Ok((length, slot)) = devicetree::write_for_crash(tree, &mut room, &mut names) {
                prop_assert!(slot.end <= length && length <= room.len());
            }
        }
    }

    #[test]
    fn a_tree_that_is_written_reads_back(nodes in vec(("[a-z]{1,8}", "[a-z]{0,20}"), 1..6), cpu in any::<u32>()) {
        let (mut bytes, mut names) = (vec![0xff; 0x1000], vec![0xff; 0x400]);
        let mut writer = Writer::new(&mut bytes, &mut names);
        writer.begin_node(b"");
        for (number, (name, value)) in nodes.iter().enumerate() {
            writer.begin_node(format!("{name}@{number}").as_bytes());
            writer.property(name.as_bytes(), value.as_bytes());
            writer.end_node();
        }
        writer.end_node();
        let length = writer.finish(cpu).unwrap();
        prop_assert_eq!(flat::stated_length(&bytes), Some(length));
        prop_assert_eq!(flat::boot_cpu(&bytes), Some(cpu));
        let tree = fdt::Fdt::new_unaligned_fallible(&bytes[..length]).unwrap();
        for (number, (name, value)) in nodes.iter().enumerate() {
            let node = tree.find_node(&format!("/{name}@{number}")).unwrap().unwrap();
            prop_assert_eq!(node.raw_property(name).unwrap().unwrap().value, value.as_bytes());
        }
    }

    #[test]
    fn a_key_is_replaced_and_the_rest_stays(
        words in vec("[a-z.]{1,8}(=[a-z0-9]{0,6})?", 0..6), value in "[a-z0-9]{0,12}", room in 0..120usize,
    ) {
        let base = [words.join(" "), "the.key=old the.key".into()].join(" ");
        let mut all = words.clone();
        all.push(format!("the.key={value}"));
        let wanted = all.join(" ");
        let mut buffer = vec![0xAA; room];
        match devicetree::patch_command_line(&mut buffer, &base, "the.key", &value) {
            Some(()) => {
                prop_assert_eq!(&buffer[..wanted.len()], wanted.as_bytes());
                prop_assert!(buffer.len() > wanted.len() && buffer[wanted.len()..].iter().all(|byte| *byte == 0));
            }
            None => prop_assert!(room <= wanted.len()),
        }
    }

    /// Other people's partitions stay as they are, whatever the NVRAM holds and wherever power goes.
    #[test]
    fn nvram_is_only_written_where_it_was_free(
        theirs in vec((select(vec![0x51u8, 0x70, 0xA0]), 1..64u16), 0..4),
        free in 0..0x600u16,
        damage in prop_oneof![3 => Just(None), 1 => (0..0x400usize, any::<u8>()).prop_map(Some)],
        writes in prop_oneof![Just(usize::MAX), 0..8usize],
        slot in 0..20u32, text in vec(any::<u8>(), 0..1100),
    ) {
        let mut bytes = Vec::new();
        let mut partition = |signature: u8, blocks: u16, name: &[u8; 12]| {
            let mut head = [[signature, 0].as_slice(), &blocks.to_be_bytes(), name].concat();
            head[1] = head.iter().fold(0u8, |sum, byte| {
                let (sum, carry) = sum.overflowing_add(*byte);
                sum + u8::from(carry)
            });
            bytes.extend(head);
            bytes.resize(bytes.len() + usize::from(blocks) * 16 - 16, signature);
        };
        for (signature, blocks) in &theirs {
            partition(*signature, *blocks, b"somebody's\0\0");
        }
        let kept: usize = theirs.iter().map(|(_, blocks)| usize::from(*blocks) * 16).sum();
        if free != 0 {
            partition(0x7F, free, &[0x77; 12]);
        }
        if let Some((at, value)) = damage
            && let Some(byte) = bytes.get_mut(at)
        {
            *byte = value;
        }
        let size = bytes.len() as u32;
        let memory = Nvram(RefCell::new((bytes.clone(), writes)));
        let mut room = [0; nvram::SLOT_BYTES];
        if let Ok(place) = Place::find(&memory, size) {
            let capacity = place.capacity();
            let wrote = place.write(&memory, slot, &text);
            if wrote.is_ok() {
                prop_assert!(slot < capacity.slots && text.len() <= capacity.bytes);
                prop_assert_eq!(place.read(&memory, slot, &mut room), Ok(text.len()));
                prop_assert_eq!(&room[..text.len()], &text[..]);
                // Found again by whoever comes next.
                prop_assert_eq!(Place::find(&memory, size), Ok(place));
            }
        }
        if damage.is_none() {
            prop_assert_eq!(&memory.0.borrow().0[..kept], &bytes[..kept]);
        }
    }
}
