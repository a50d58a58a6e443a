//! Trees come from outside: whatever is in them, the readers say what is wrong or give something that fits the
//! machine. And what is computed from numbers keeps its promises for all of them.

use arch_riscv64::console::{FIFO, next_burst};
use arch_riscv64::devicetree::{COMMAND_LINE, HEADER, Machine, patch_command_line, write_for_crash};
use arch_riscv64::sv39::{Access, LIMIT, PAGE, Tables, leaf};
use arch_riscv64::{backtrace, clock, trap};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// Names of nodes that a kernel looks for, and of properties.
const NODES: [&str; 10] = [
    "chosen",
    "memory@80000000",
    "reserved-memory",
    "cpus",
    "cpu@0",
    "interrupt-controller",
    "soc",
    "serial@10000000",
    "plic@c000000",
    "test@100000",
];
const NAMES: [&str; 16] = [
    "#address-cells",
    "#size-cells",
    "bootargs",
    "compatible",
    "device_type",
    "interrupts",
    "interrupts-extended",
    "linux,initrd-end",
    "linux,initrd-start",
    "phandle",
    "reg",
    "reg-io-width",
    "reg-shift",
    "riscv,ndev",
    "status",
    "timebase-frequency",
];

type Property = (&'static str, Vec<u8>);

fn property() -> impl Strategy<Value = Property> {
    let words = ["cpu", "memory", "okay", "ns16550a", "riscv,plic0", "riscv,cpu-intc", "sifive,test0"];
    let value = prop_oneof![
        vec(any::<u8>(), 0..20),
        vec(0..16_u32, 1..8).prop_map(|cells| cells.iter().flat_map(|cell| cell.to_be_bytes()).collect()),
        any::<u64>().prop_map(|value| value.to_be_bytes().to_vec()),
        select(words.to_vec()).prop_map(|text| [text.as_bytes(), b"\0"].concat()),
    ];
    (select(NAMES.to_vec()), value)
}

/// A node: how deep below the root, its name, its properties.
fn node() -> impl Strategy<Value = (usize, &'static str, Vec<Property>)> {
    (1..4_usize, select(NODES.to_vec()), vec(property(), 0..8))
}

/// A flattened tree of such nodes, each below the last one that is less deep.
fn tree(nodes: &[(usize, &str, Vec<Property>)]) -> Vec<u8> {
    let (mut body, mut strings) = (Vec::new(), Vec::new());
    let word = |body: &mut Vec<u8>, word: usize| body.extend((word as u32).to_be_bytes());
    let bytes = |body: &mut Vec<u8>, bytes: &[u8]| {
        body.extend(bytes);
        body.resize(body.len().next_multiple_of(4), 0);
    };
    let mut depth = 1;
    word(&mut body, 1);
    bytes(&mut body, b"\0");
    for (wanted, name, properties) in nodes {
        let wanted = (*wanted).min(depth);
        for _ in wanted..depth {
            word(&mut body, 2);
        }
        depth = wanted + 1;
        word(&mut body, 1);
        bytes(&mut body, &[name.as_bytes(), b"\0"].concat());
        for (name, value) in properties {
            for number in [3, value.len(), strings.len()] {
                word(&mut body, number);
            }
            bytes(&mut body, value);
            strings.extend([name.as_bytes(), b"\0"].concat());
        }
    }
    for _ in 0..depth {
        word(&mut body, 2);
    }
    word(&mut body, 9);
    let start = HEADER + 16;
    let behind = start + body.len();
    let header =
        [0xd00d_feed, behind + strings.len(), start, behind, HEADER, 17, 16, 0, strings.len(), body.len()];
    let mut tree: Vec<u8> = header.iter().flat_map(|word| (*word as u32).to_be_bytes()).collect();
    tree.extend([0; 16]);
    tree.extend(body);
    tree.extend(strings);
    tree
}

/// Whatever a tree says, what is made of it fits together.
fn reads(tree: &[u8], hart: u64) -> Result<(), TestCaseError> {
    if let Ok(machine) = Machine::read(tree, hart) {
        prop_assert_eq!(machine.harts().first(), Some(&hart));
        prop_assert!(machine.command_line().is_ascii());
        prop_assert!(machine.initrd.is_none_or(|(start, end)| start < end));
        machine.usable_bytes();
        machine.is_ram(0x8400_0000, 0x400_0000);
    }
    let mut room = vec![0; tree.len() + COMMAND_LINE];
    if let Ok((length, slot)) = write_for_crash(tree, &mut room) {
        prop_assert!(slot.end <= length && length <= room.len());
        let harts = |tree: &[u8]| Machine::read(tree, hart).map(|machine| machine.harts().to_vec());
        let before = harts(tree);
        prop_assert_eq!(harts(&room[..length]), before.clone());
        let after = Machine::read(&room[..length], hart);
        prop_assert!(after.is_ok_and(|machine| machine.command_line().is_empty()) || before.is_err());
    }
    Ok(())
}

proptest! {
    #[test]
    fn whatever_a_tree_says_a_machine_comes_out_or_an_error(nodes in vec(node(), 0..12), hart in 0..4_u64) {
        reads(&tree(&nodes), hart)?;
    }

    #[test]
    fn and_a_machine_where_the_least_is_said(nodes in vec(node(), 0..12), hart in 0..4_u32, line in "[ -~]{0,40}") {
        let least = [
            (1, "memory@80000000", vec![("device_type", b"memory\0".to_vec()), ("reg", vec![1; 12])]),
            (1, "cpus", vec![]),
            (2, "cpu@0", vec![("device_type", b"cpu\0".to_vec()), ("reg", hart.to_be_bytes().to_vec())]),
            (1, "chosen", vec![("bootargs", [line.as_bytes(), b"\0"].concat())]),
        ];
        // The root states no cells: an address has two, a length one.
        let tree = tree(&[least.to_vec(), nodes].concat());
        let machine = Machine::read(&tree, hart.into());
        prop_assert!(machine.is_ok(), "{:?}", machine.err());
        reads(&tree, hart.into())?;
    }

    #[test]
    fn a_damaged_tree_too(nodes in vec(node(), 0..12), place in any::<prop::sample::Index>(), value in any::<u8>(), hart in 0..4_u64) {
        let mut tree = tree(&nodes);
        let place = place.index(tree.len());
        tree[place] = value;
        if let Ok(machine) = Machine::read(&tree, hart) {
            machine.usable_bytes();
        }
        let _ = write_for_crash(&tree, &mut vec![0; tree.len() + COMMAND_LINE]);
    }

    #[test]
    fn noise_is_no_tree(bytes in vec(any::<u8>(), 0..200)) {
        prop_assert!(Machine::read(&bytes, 0).is_err());
    }

    #[test]
    fn bursts_are_the_text_with_line_ends(text in vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..100)) {
        let (mut sent, mut at) = (Vec::<u8>::new(), 0);
        while at < text.len() {
            let mut burst = [0; FIFO];
            let (taken, filled) = next_burst(&text[at..], &mut burst);
            prop_assert!(taken > 0 && filled <= FIFO);
            sent.extend(&burst[..filled]);
            at += taken;
        }
        let line_end = |byte: &u8| if *byte == b'\n' { vec![b'\r', b'\n'] } else { vec![*byte] };
        prop_assert_eq!(sent, text.iter().flat_map(line_end).collect::<Vec<u8>>());
    }

    #[test]
    fn a_walk_ends(memory in vec((0..64_u64, any::<bool>()), 64), frame in 0..520_u64, room in 0..20_usize) {
        // A stack of 64 words at 0; text is below 8, so that words are often both.
        let word = |(word, address): &(u64, bool)| if *address { word * 8 } else { *word };
        let read = |at: u64| memory.get((at / 8) as usize).filter(|_| at.is_multiple_of(8)).map(word);
        let mut out = vec![u64::MAX; room];
        let same = |one, other| one < 512 && other < 512;
        let count = backtrace::walk(frame, None, read, same, |at| at < 8, &mut out);
        prop_assert!(count <= room && out[..count].iter().all(|at| *at < 8));
        prop_assert!(out[count..].iter().all(|untouched| *untouched == u64::MAX));
    }

    #[test]
    fn time_never_turns_back(ticks in any::<u64>(), more in 0..1_000_000_000_u64, frequency in any::<u64>()) {
        let before = clock::nanoseconds(ticks, frequency);
        let after = clock::nanoseconds(ticks.saturating_add(more), frequency);
        // It goes round after 584 years.
        prop_assert!(after >= before || before - after > u64::MAX / 2);
        prop_assert!(clock::ticks_in(1, frequency) >= u64::from(frequency != 0));
    }

    #[test]
    fn a_fault_has_its_cause_as_vector(cause in 0..64_u64, value in any::<u64>(), guard in any::<bool>()) {
        let fault = trap::classify(cause, value, |_| guard);
        prop_assert_eq!(u64::from(fault.vector), cause);
        prop_assert!(fault.address.is_none_or(|address| address == value));
    }

    #[test]
    fn mapped_is_what_was_mapped(pages in vec((0..2000_u64, 1..600_u64), 1..6), asked in 0..2600_u64) {
        let tables = Box::leak(Box::new(Tables::new()));
        for (start, count) in &pages {
            tables.map(start * PAGE, (start + count) * PAGE, Access::READ).expect("there are tables enough");
        }
        let inside = pages.iter().any(|(start, count)| (*start..start + count).contains(&asked));
        prop_assert_eq!(tables.access(asked * PAGE + 5), inside.then_some(Access::READ));
        prop_assert_eq!(tables.access(LIMIT + asked * PAGE), None);
        prop_assert_eq!(leaf(asked * PAGE, Access::READ) >> 10, asked);
    }

    #[test]
    fn a_patched_command_line_has_its_key_once(words in vec("[a-k]{1,3}(=[!-~]{0,5})?", 0..12), value in "[!-~]{0,20}", room in 0..120_usize) {
        let mut room = vec![0xff; room];
        if patch_command_line(&mut room, &words.join(" "), "k", &value).is_some() {
            let end = room.iter().position(|byte| *byte == 0).expect("it ends");
            let line = std::str::from_utf8(&room[..end]).expect("as it was given");
            let keys = line.split(' ').filter(|word| word.split('=').next() == Some("k")).count();
            prop_assert_eq!(keys, 1, "{}", line);
            let added = format!("k={value}");
            prop_assert!(line.ends_with(&added));
        }
    }
}
