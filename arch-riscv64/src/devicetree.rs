//! What the device tree says about the machine (Devicetree Specification 0.4; the bindings of `cpus`, `ns16550a`,
//! `sifive,test0`).

use crate::plic::{self, Plic};
use fdt::nodes::Node;
use fdt::parsing::NoPanic;
use fdt::parsing::unaligned::UnalignedParser;
use hal::MAX_CPUS;

type FallibleNode<'a> = Node<'a, (UnalignedParser<'a>, NoPanic)>;
type Tree<'a> = fdt::Fdt<'a, (UnalignedParser<'a>, NoPanic)>;

/// Bytes of a tree's header (version 17).
pub const HEADER: usize = 40;
const MAGIC: u32 = 0xd00d_feed;
/// The token that ends the structure block.
const END: u32 = 9;

/// Bytes of command line that are kept.
pub const COMMAND_LINE: usize = 2048;
/// Ranges of RAM that are kept, and reserved ranges as many.
const RANGES: usize = 8;

/// A 16550.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Uart {
    /// Physical address of its registers.
    pub base: u64,
    /// log2 of the distance in bytes between two of them.
    pub shift: u32,
    /// Its interrupt source, if it has one.
    pub source: Option<u32>,
}

/// The machine.
#[derive(Clone, Debug)]
pub struct Machine {
    command_line: [u8; COMMAND_LINE],
    command_line_len: usize,
    /// Whether the command line is longer than [`COMMAND_LINE`], so that its end is missing.
    pub command_line_cut: bool,
    memory: Ranges,
    reserved: Ranges,
    harts: [u64; MAX_CPUS],
    hart_count: usize,
    /// Harts beyond [`MAX_CPUS`].
    pub harts_ignored: usize,
    /// Ticks of the `time` counter per second.
    pub timebase_frequency: u64,
    /// The console.
    pub uart: Option<Uart>,
    /// The interrupt controller, if it has a way to the CPU that boots.
    pub plic: Option<Plic>,
    /// Handle of the booting CPU's own interrupt controller.
    boot_interrupts: Option<u64>,
    /// The crash module: physical start and end address.
    pub initrd: Option<(u64, u64)>,
    /// Physical address of the register that ends an emulated run.
    pub exit_device: Option<u64>,
}

/// Physical memory, as (start, length) in bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Ranges {
    all: [(u64, u64); RANGES],
    count: usize,
}

impl Ranges {
    fn get(&self) -> &[(u64, u64)] {
        self.all.get(..self.count).unwrap_or_default()
    }

    fn add(&mut self, range: (u64, u64)) {
        if let Some(slot) = self.all.get_mut(self.count) {
            *slot = range;
            self.count += 1;
        }
    }
}

/// Why a tree was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TreeError {
    /// It is malformed.
    Malformed,
    /// It has no CPU that can be used.
    NoCpu,
    /// It has no memory.
    NoMemory,
}

impl TreeError {
    /// In words.
    pub const fn reason(self) -> &'static str {
        match self {
            TreeError::Malformed => "the device tree is malformed",
            TreeError::NoCpu => "the device tree has no usable CPU, or not the one that booted",
            TreeError::NoMemory => "the device tree has no memory",
        }
    }
}

impl Machine {
    /// The command line; bytes that are not printable ASCII were replaced by `?`.
    pub fn command_line(&self) -> &str {
        self.command_line
            .get(..self.command_line_len)
            .and_then(|text| str::from_utf8(text).ok())
            .unwrap_or("")
    }

    /// RAM in bytes that firmware has not reserved.
    pub fn usable_bytes(&self) -> u64 {
        let ram = self.memory.get().iter().fold(0_u64, |sum, (_, len)| sum.saturating_add(*len));
        let overlap = |&(start, len): &(u64, u64)| {
            self.memory.get().iter().fold(0_u64, |sum, &(from, size)| {
                let end = start.saturating_add(len).min(from.saturating_add(size));
                sum.saturating_add(end.saturating_sub(start.max(from)))
            })
        };
        self.reserved.get().iter().fold(ram, |ram, range| ram.saturating_sub(overlap(range)))
    }

    /// Whether `[start, start + len)` is RAM as a whole, and none of it reserved. Adjacent ranges count as one.
    pub fn is_ram(&self, start: u64, len: u64) -> bool {
        let Some(end) = start.checked_add(len) else { return false };
        let overlaps = |&(from, size): &(u64, u64)| start < from.saturating_add(size) && from < end;
        if self.reserved.get().iter().any(overlaps) {
            return false;
        }
        let mut at = start;
        while at < end {
            let holds = |(from, size): &&(u64, u64)| *from <= at && at < from.saturating_add(*size);
            let Some((from, size)) = self.memory.get().iter().find(holds) else { return false };
            at = from.saturating_add(*size);
        }
        true
    }

    /// Hart ids by logical number, the booting one first.
    pub fn harts(&self) -> &[u64] {
        self.harts.get(..self.hart_count).unwrap_or_default()
    }

    /// Reads a flattened tree. `boot_hart`: the id of the hart that firmware entered the kernel on.
    pub fn read(tree: &[u8], boot_hart: u64) -> Result<Machine, TreeError> {
        // The reader trusts sums of header fields, and that the structure block ends; both are checked first.
        if !is_whole(tree) {
            return Err(TreeError::Malformed);
        }
        let tree = fdt::Fdt::new_unaligned_fallible(tree).map_err(|_| TreeError::Malformed)?;
        let root = find(&tree, "/").ok_or(TreeError::Malformed)?;
        let mut machine = Machine {
            command_line: [0; COMMAND_LINE],
            command_line_len: 0,
            command_line_cut: false,
            memory: Ranges::default(),
            reserved: Ranges::default(),
            harts: [0; MAX_CPUS],
            hart_count: 0,
            harts_ignored: 0,
            timebase_frequency: crate::clock::ESTIMATED_FREQUENCY,
            uart: None,
            plic: None,
            boot_interrupts: None,
            initrd: None,
            exit_device: None,
        };
        for node in children(&root).filter(|node| is_type(node, b"memory\0")) {
            ranges(&root, &node).for_each(|range| machine.memory.add(range));
        }
        if let Some(reserved) = find(&tree, "/reserved-memory") {
            for node in children(&reserved) {
                ranges(&reserved, &node).for_each(|range| machine.reserved.add(range));
            }
        }
        if let Some(cpus) = find(&tree, "/cpus") {
            machine.read_cpus(&cpus, boot_hart);
        }
        if let Some(chosen) = find(&tree, "/chosen") {
            machine.read_command_line(&chosen);
        }
        if let Some(soc) = find(&tree, "/soc") {
            machine.read_devices(&soc);
        }
        if machine.hart_count == 0 {
            return Err(TreeError::NoCpu);
        }
        if machine.memory.count == 0 {
            return Err(TreeError::NoMemory);
        }
        Ok(machine)
    }

    fn read_cpus(&mut self, cpus: &FallibleNode<'_>, boot_hart: u64) {
        let nodes = || children(cpus).filter(|node| is_type(node, b"cpu\0") && is_enabled(node));
        let ids = || nodes().filter_map(|node| number(&node, "reg"));
        if ids().all(|id| id != boot_hart) {
            return;
        }
        for id in core::iter::once(boot_hart).chain(ids().filter(|id| *id != boot_hart)) {
            match self.harts.get_mut(self.hart_count) {
                Some(slot) => {
                    *slot = id;
                    self.hart_count += 1;
                }
                None => self.harts_ignored += 1,
            }
        }
        // Each has its own controller as a child, whose handle is what other controllers know it by.
        let boot_cpu = nodes().find(|node| number(node, "reg") == Some(boot_hart));
        self.boot_interrupts = boot_cpu.and_then(|cpu| {
            let mut inside = children(&cpu).filter(|node| is_compatible(node, b"riscv,cpu-intc"));
            inside.find_map(|node| number(&node, "phandle"))
        });
        let frequency = number(cpus, "timebase-frequency")
            .or_else(|| nodes().find_map(|node| number(&node, "timebase-frequency")));
        self.timebase_frequency =
            frequency.filter(|frequency| *frequency != 0).unwrap_or(self.timebase_frequency);
    }

    fn read_command_line(&mut self, chosen: &FallibleNode<'_>) {
        let text = property(chosen, "bootargs").unwrap_or_default();
        let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
        for (slot, byte) in self.command_line.iter_mut().zip(text) {
            *slot = if (b' '..=b'~').contains(byte) { *byte } else { b'?' };
            self.command_line_len += 1;
        }
        self.command_line_cut = text.len() > COMMAND_LINE;
        let (start, end) = (number(chosen, "linux,initrd-start"), number(chosen, "linux,initrd-end"));
        self.initrd = start.zip(end).filter(|(start, end)| start < end && *end <= u64::MAX / 2);
    }

    fn read_devices(&mut self, soc: &FallibleNode<'_>) {
        for node in children(soc).filter(is_enabled) {
            let Some((base, _)) = ranges(soc, &node).next() else { continue };
            // Registers of another width than a byte are another driver's.
            let width = number(&node, "reg-io-width").unwrap_or(1);
            let shift = number(&node, "reg-shift").unwrap_or(0);
            if self.uart.is_none() && is_compatible(&node, b"ns16550a") && width == 1 && shift <= 4 {
                let source = property(&node, "interrupts").and_then(|sources| sources.first_chunk::<4>());
                let source = source.map(|source| u32::from_be_bytes(*source));
                let source = source.filter(|source| (1..plic::SOURCES).contains(source));
                self.uart = Some(Uart { base, shift: shift as u32, source });
            }
            if self.plic.is_none() && is_compatible(&node, b"riscv,plic0") {
                let context = self.boot_context(&node);
                self.plic = context.map(|context| Plic { base, context });
            }
            if self.exit_device.is_none() && is_compatible(&node, b"sifive,test0") {
                self.exit_device = Some(base);
            }
        }
    }
}

impl Machine {
    /// The context of the interrupt controller `node` that is the booting CPU's, in supervisor mode: pairs of a
    /// CPU's controller and an interrupt of it, in the order of contexts.
    fn boot_context(&self, node: &FallibleNode<'_>) -> Option<u32> {
        const SUPERVISOR_EXTERNAL: u64 = 9;
        let own = self.boot_interrupts?;
        let (pairs, _) = property(node, "interrupts-extended")?.as_chunks::<8>();
        let wanted = own << 32 | SUPERVISOR_EXTERNAL;
        let context = pairs.iter().position(|pair| u64::from_be_bytes(*pair) == wanted)?;
        // As many as the controller has room for.
        u32::try_from(context).ok().filter(|context| *context < 15872)
    }
}

fn header_word(tree: &[u8], index: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*tree.get(index * 4..)?.first_chunk()?))
}

/// Length in bytes that the header of a tree states, if the header is one and its parts lie inside that length.
/// [`HEADER`] bytes are enough to ask.
pub fn stated_length(tree: &[u8]) -> Option<usize> {
    if header_word(tree, 0)? != MAGIC {
        return None;
    }
    let total = header_word(tree, 1)?;
    let inside = |offset: usize, size: usize| {
        let end = header_word(tree, offset)?.checked_add(header_word(tree, size)?)?;
        (end <= total).then_some(())
    };
    inside(2, 9)?;
    inside(3, 8)?;
    Some(total as usize)
}

/// Whether a tree is all there, as far as its header can tell, and its structure block ends with the end token, as it
/// has to (Devicetree Specification, 5.4.1).
fn is_whole(tree: &[u8]) -> bool {
    let last = || {
        let end = header_word(tree, 2)?.checked_add(header_word(tree, 9)?)? as usize;
        tree.get(end.checked_sub(4)?..end)
    };
    stated_length(tree).is_some_and(|length| length <= tree.len()) && last() == Some(&END.to_be_bytes())
}

/// Writes the tree that a crash kernel gets: `source` with room for a command line of [`COMMAND_LINE`] bytes in place of
/// its own, zeroed. Returns the length of the tree and where the command line goes.
pub fn write_for_crash(source: &[u8], out: &mut [u8]) -> Result<(usize, core::ops::Range<usize>), TreeError> {
    const BAD: TreeError = TreeError::Malformed;
    if !is_whole(source) {
        return Err(BAD);
    }
    let tree = fdt::Fdt::new_unaligned_fallible(source).map_err(|_| BAD)?;
    let value = find(&tree, "/chosen").and_then(|chosen| property(&chosen, "bootargs")).ok_or(BAD)?;
    // The value is a part of `source`: what is before it stays, what is behind it moves.
    let start = value.as_ptr().addr().checked_sub(source.as_ptr().addr()).ok_or(BAD)?;
    let behind = start.checked_add(value.len().next_multiple_of(4)).ok_or(BAD)?;
    let total = stated_length(source).ok_or(BAD)?;
    let slot = start..start.checked_add(COMMAND_LINE).ok_or(BAD)?;
    let rest = source.get(behind..total).ok_or(BAD)?;
    let length = slot.end.checked_add(rest.len()).ok_or(BAD)?;
    let out = out.get_mut(..length).ok_or(BAD)?;
    out.get_mut(..start).ok_or(BAD)?.copy_from_slice(source.get(..start).ok_or(BAD)?);
    out.get_mut(slot.clone()).ok_or(BAD)?.fill(0);
    out.get_mut(slot.end..).ok_or(BAD)?.copy_from_slice(rest);
    // The header's total length and structure size grow by as much, and so do the offsets of what is behind.
    let moved = (slot.end as u32).wrapping_sub(behind as u32);
    for word in [1, 2, 3, 4, 9] {
        let before = header_word(source, word).ok_or(BAD)?;
        if matches!(word, 1 | 9) || before as usize >= behind {
            let at = word * 4;
            out.get_mut(at..at + 4).ok_or(BAD)?.copy_from_slice(&before.wrapping_add(moved).to_be_bytes());
        }
    }
    // The property's length is two words before its value.
    let at = start.checked_sub(8).ok_or(BAD)?;
    out.get_mut(at..at + 4).ok_or(BAD)?.copy_from_slice(&(COMMAND_LINE as u32).to_be_bytes());
    Ok((length, slot))
}

/// Puts `base` without any `key=…` and then `key=value` into `room`, NUL-padded. `None` if it does not fit; then `room`
/// holds nothing useful.
pub fn patch_command_line(room: &mut [u8], base: &str, key: &str, value: &str) -> Option<()> {
    let mut used = 0_usize;
    let mut put = |text: &str| {
        let end = used.checked_add(text.len())?;
        room.get_mut(used..end)?.copy_from_slice(text.as_bytes());
        used = end;
        Some(())
    };
    let is_key = |word: &&str| word.split_once('=').map_or(*word, |(name, _)| name) == key;
    for word in base.split_ascii_whitespace().filter(|word| !is_key(word)) {
        put(word)?;
        put(" ")?;
    }
    put(key)?;
    put("=")?;
    put(value)?;
    // At least one NUL ends the string.
    let rest = room.get_mut(used..)?;
    if rest.is_empty() {
        return None;
    }
    rest.fill(0);
    Some(())
}

fn find<'a>(tree: &Tree<'a>, path: &str) -> Option<FallibleNode<'a>> {
    tree.find_node(path).ok().flatten()
}

fn children<'a>(node: &FallibleNode<'a>) -> impl Iterator<Item = FallibleNode<'a>> {
    // An error ends the iteration: what follows in the tree is unreadable too.
    node.children().ok().into_iter().flat_map(|children| children.iter().map_while(Result::ok))
}

fn property<'a>(node: &FallibleNode<'a>, name: &str) -> Option<&'a [u8]> {
    node.raw_property(name).ok().flatten().map(|property| property.value)
}

/// A property of one or two cells.
fn number(node: &FallibleNode<'_>, name: &str) -> Option<u64> {
    cells(property(node, name)?)
}

/// One or two cells as a number.
fn cells(value: &[u8]) -> Option<u64> {
    match value.len() {
        4 => value.first_chunk().map(|bytes| u64::from(u32::from_be_bytes(*bytes))),
        8 => value.first_chunk().map(|bytes| u64::from_be_bytes(*bytes)),
        _ => None,
    }
}

/// The (address, length) pairs of a node's `reg`, in the cells that its parent states.
fn ranges<'a>(parent: &FallibleNode<'a>, node: &FallibleNode<'a>) -> impl Iterator<Item = (u64, u64)> + 'a {
    let bytes = |name, default| (number(parent, name).unwrap_or(default).min(2) * 4) as usize;
    let (address, size) = (bytes("#address-cells", 2), bytes("#size-cells", 1));
    let reg = property(node, "reg").unwrap_or_default();
    // Of no cells at all, nothing is in it.
    reg.chunks_exact((address + size).max(4)).filter_map(move |entry| {
        let (start, length) = entry.split_at_checked(address)?;
        Some((cells(start)?, cells(length)?))
    })
}

fn is_type(node: &FallibleNode<'_>, name: &[u8]) -> bool {
    property(node, "device_type") == Some(name)
}

fn is_enabled(node: &FallibleNode<'_>) -> bool {
    property(node, "status").is_none_or(|status| status == b"okay\0" || status == b"ok\0")
}

fn is_compatible(node: &FallibleNode<'_>, name: &[u8]) -> bool {
    property(node, "compatible").is_some_and(|names| names.split(|byte| *byte == 0).any(|one| one == name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    /// Writes a tree, by the specification and not by the code above.
    #[derive(Default)]
    struct Writer {
        structure: Vec<u8>,
        strings: Vec<u8>,
    }

    impl Writer {
        fn word(&mut self, word: u32) {
            self.structure.extend(word.to_be_bytes());
        }

        fn bytes(&mut self, bytes: &[u8]) {
            self.structure.extend(bytes);
            self.structure.resize(self.structure.len().next_multiple_of(4), 0);
        }

        fn node(&mut self, name: &str, inside: impl FnOnce(&mut Writer)) {
            self.word(1);
            self.bytes(&[name.as_bytes(), b"\0"].concat());
            inside(self);
            self.word(2);
        }

        fn property(&mut self, name: &str, value: &[u8]) {
            self.word(3);
            self.word(value.len() as u32);
            self.word(self.strings.len() as u32);
            self.strings.extend([name.as_bytes(), b"\0"].concat());
            self.bytes(value);
        }

        fn cells(&mut self, name: &str, cells: &[u32]) {
            let bytes: Vec<u8> = cells.iter().flat_map(|cell| cell.to_be_bytes()).collect();
            self.property(name, &bytes);
        }

        fn finish(mut self) -> Vec<u8> {
            self.word(END);
            let (structure, strings) = (HEADER as u32 + 16, self.structure.len() as u32);
            let total = structure + strings + self.strings.len() as u32;
            let header = [MAGIC, total, structure, structure + strings, HEADER as u32, 17, 16, 0];
            let sizes = [self.strings.len() as u32, strings];
            let mut tree: Vec<u8> = header.iter().chain(&sizes).flat_map(|word| word.to_be_bytes()).collect();
            tree.extend([0; 16]);
            tree.extend(self.structure);
            tree.extend(self.strings);
            tree
        }
    }

    /// A tree like that of QEMU's `virt` after OpenSBI's changes. Harts have the ids 0, 1, ….
    fn tree(harts: u32, command_line: &[u8]) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.node("", |root| {
            root.cells("#address-cells", &[2]);
            root.cells("#size-cells", &[2]);
            root.node("chosen", |node| {
                node.cells("linux,initrd-start", &[0x8820_0000]);
                node.property("bootargs", command_line);
                node.cells("linux,initrd-end", &[0, 0x8840_0000]);
            });
            root.node("memory@80000000", |node| {
                node.property("device_type", b"memory\0");
                node.cells("reg", &[0, 0x8000_0000, 0, 0x2000_0000]);
            });
            root.node("reserved-memory", |node| {
                node.cells("#address-cells", &[2]);
                node.cells("#size-cells", &[2]);
                node.node("mmode_resv0@80000000", |node| node.cells("reg", &[0, 0x8000_0000, 0, 0x8_0000]));
            });
            root.node("cpus", |node| {
                node.cells("#address-cells", &[1]);
                node.cells("#size-cells", &[0]);
                node.cells("timebase-frequency", &[10_000_000]);
                for hart in 0..harts {
                    node.node("cpu@x", |node| {
                        node.property("device_type", b"cpu\0");
                        node.cells("reg", &[hart]);
                        node.property("status", b"okay\0");
                        node.node("interrupt-controller", |node| {
                            node.property("compatible", b"riscv,cpu-intc\0");
                            node.cells("phandle", &[10 + hart]);
                        });
                    });
                }
                node.node("cpu@99", |node| {
                    node.property("device_type", b"cpu\0");
                    node.cells("reg", &[99]);
                    node.property("status", b"disabled\0");
                });
            });
            root.node("soc", |node| {
                node.cells("#address-cells", &[2]);
                node.cells("#size-cells", &[2]);
                node.node("serial@10000000", |node| {
                    node.property("compatible", b"ns16550a\0");
                    node.cells("reg", &[0, 0x1000_0000, 0, 0x100]);
                    node.cells("interrupts", &[10]);
                });
                node.node("plic@c000000", |node| {
                    node.property("compatible", b"sifive,plic-1.0.0\0riscv,plic0\0");
                    node.cells("reg", &[0, 0xc00_0000, 0, 0x60_0000]);
                    let contexts: Vec<_> =
                        (0..harts).flat_map(|hart| [10 + hart, 11, 10 + hart, 9]).collect();
                    node.cells("interrupts-extended", &contexts);
                });
                node.node("test@100000", |node| {
                    node.property("compatible", b"sifive,test1\0sifive,test0\0syscon\0");
                    node.cells("reg", &[0, 0x10_0000, 0, 0x1000]);
                });
            });
        });
        writer.finish()
    }

    #[test]
    fn a_machine_is_read() {
        let machine = Machine::read(&tree(3, b"run.nonce=1 x=\xc3\xa9\0"), 1).unwrap();
        assert_eq!(machine.command_line(), "run.nonce=1 x=??");
        assert!(!machine.command_line_cut);
        assert_eq!(machine.harts(), [1, 0, 2], "the booting one first, and none that is disabled");
        assert_eq!(machine.harts_ignored, 0);
        assert_eq!(machine.usable_bytes(), 0x2000_0000 - 0x8_0000);
        assert_eq!(machine.timebase_frequency, 10_000_000);
        assert_eq!(machine.uart, Some(Uart { base: 0x1000_0000, shift: 0, source: Some(10) }));
        assert_eq!(machine.plic, Some(Plic { base: 0xc00_0000, context: 3 }));
        assert_eq!(machine.exit_device, Some(0x10_0000));
        assert_eq!(machine.initrd, Some((0x8820_0000, 0x8840_0000)));
    }

    #[test]
    fn ram_is_what_nobody_has_reserved() {
        let machine = Machine::read(&tree(1, b"\0"), 0).unwrap();
        assert!(machine.is_ram(0x8008_0000, 0x1ff8_0000));
        for (start, len) in
            [(0x8007_ffff, 2), (0x8000_0000, 1), (0x8008_0000, 0x1ff8_0001), (0x1000_0000, 1), (u64::MAX, 2)]
        {
            assert!(!machine.is_ram(start, len), "{start:#x}");
        }
    }

    #[test]
    fn a_crash_kernel_gets_the_same_machine_and_its_own_command_line() {
        for line in [&b"a first kernel\0"[..], b"\0", &[b'x'; COMMAND_LINE + 9]] {
            let source = tree(2, line);
            let mut out = std::vec![0xff; source.len() + COMMAND_LINE];
            let (length, slot) = write_for_crash(&source, &mut out).unwrap();
            assert_eq!(slot.len(), COMMAND_LINE);
            patch_command_line(&mut out[slot], "a=1 capture.record=9,9 b", "capture.record", "0x10,0x20")
                .unwrap();
            let machine = Machine::read(&out[..length], 1).unwrap();
            assert_eq!(machine.command_line(), "a=1 b capture.record=0x10,0x20");
            assert_eq!(machine.harts(), [1, 0]);
            assert_eq!(machine.usable_bytes(), 0x2000_0000 - 0x8_0000);
            assert_eq!(
                (machine.exit_device, machine.initrd),
                (Some(0x10_0000), Some((0x8820_0000, 0x8840_0000)))
            );
            assert_eq!(write_for_crash(&source, &mut out[..length - 1]).unwrap_err(), TreeError::Malformed);
        }
    }

    #[test]
    fn a_command_line_that_does_not_fit_is_refused() {
        let mut room = [0; 8];
        assert_eq!(patch_command_line(&mut room, "", "abc", "def"), Some(()));
        assert_eq!(&room, b"abc=def\0");
        assert_eq!(patch_command_line(&mut room, "", "abc", "defg"), None);
        assert_eq!(patch_command_line(&mut room, "more", "abc", "def"), None);
    }

    #[test]
    fn surplus_harts_are_counted_and_long_lines_are_cut() {
        let machine = Machine::read(&tree(MAX_CPUS as u32 + 2, &[b'a'; COMMAND_LINE + 1]), 0).unwrap();
        assert_eq!((machine.harts().len(), machine.harts_ignored), (MAX_CPUS, 2));
        assert!(machine.command_line_cut && machine.command_line().len() == COMMAND_LINE);
        let whole = Machine::read(&tree(1, &[&[b'a'; COMMAND_LINE][..], b"\0"].concat()), 0).unwrap();
        assert!(!whole.command_line_cut);
    }

    #[test]
    fn bad_trees_are_refused() {
        let good = tree(1, b"a\0");
        assert_eq!(Machine::read(&[], 0).unwrap_err(), TreeError::Malformed);
        assert_eq!(Machine::read(&good[..good.len() - 1], 0).unwrap_err(), TreeError::Malformed);
        assert_eq!(Machine::read(&tree(0, b""), 0).unwrap_err(), TreeError::NoCpu);
        assert_eq!(Machine::read(&good, 7).unwrap_err(), TreeError::NoCpu, "not the one that booted");
        // Any single wrong byte: an error or a machine, never a panic.
        for index in 0..good.len() {
            for value in [0, 0xff, good[index] ^ 1] {
                let mut bad = good.clone();
                bad[index] = value;
                let _ = write_for_crash(&bad, &mut [0; 8192]);
                if let Ok(machine) = Machine::read(&bad, 0) {
                    machine.usable_bytes();
                }
            }
        }
    }

    #[test]
    fn a_structure_block_without_its_end_is_refused() {
        let good = tree(1, b"a\0");
        let size = header_word(&good, 9).unwrap();
        for less in 0..size {
            let mut bad = good.clone();
            bad[36..40].copy_from_slice(&less.to_be_bytes());
            // Where another word is the same number there may be an end; what is read then does not matter.
            let end = HEADER + 16 + less as usize;
            let read = Machine::read(&bad, 0);
            assert!(read.is_err() || good[end - 4..end] == END.to_be_bytes(), "{less}");
        }
    }

    #[test]
    fn senseless_headers_have_no_length() {
        assert_eq!(stated_length(&[0; HEADER]), None);
        let mut header = [0; HEADER];
        header[..4].copy_from_slice(&MAGIC.to_be_bytes());
        header[4..8].copy_from_slice(&100_u32.to_be_bytes());
        assert_eq!(stated_length(&header), Some(100));
        header[8..12].copy_from_slice(&u32::MAX.to_be_bytes());
        header[36..40].copy_from_slice(&u32::MAX.to_be_bytes());
        assert_eq!(stated_length(&header), None);
    }
}
