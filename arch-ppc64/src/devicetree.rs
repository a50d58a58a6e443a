//! What the device tree says about the machine (LoPAR, appendix "LoPAR Binding").

use crate::flat::{self, Writer};
use crate::rtas::Services;
use fdt::nodes::Node;
use fdt::parsing::NoPanic;
use fdt::parsing::unaligned::UnalignedParser;
use hal::MAX_CPUS;

type FallibleNode<'a> = Node<'a, (UnalignedParser<'a>, NoPanic)>;

/// Bytes of command line that are kept.
pub const COMMAND_LINE: usize = 1024;
/// Ranges of RAM that are kept.
const MEMORY_RANGES: usize = 8;
/// Levels of nodes that are copied.
const DEPTH: usize = 12;

/// The machine.
#[derive(Clone, Debug)]
pub struct Machine {
    command_line: [u8; COMMAND_LINE],
    command_line_len: usize,
    /// Whether the command line is longer than [`COMMAND_LINE`], so that its end is missing.
    pub command_line_cut: bool,
    /// RAM as (start, length) in bytes.
    memory: [(u64, u64); MEMORY_RANGES],
    memory_ranges: usize,
    /// Hardware ids of the CPUs, the booting one first.
    cpus: [u32; MAX_CPUS],
    cpu_count: usize,
    /// CPUs beyond [`MAX_CPUS`].
    pub cpus_ignored: usize,
    /// Ticks of the timebase per second.
    pub timebase_frequency: u64,
    /// Bits of the decrementer: 32, unless the tree says more (`ibm,dec-bits`).
    pub decrementer_bits: u32,
    /// Whether the CPUs have radix translation.
    pub radix: bool,
    /// Unit address of the console, if there is one.
    pub console_unit: Option<u64>,
    /// Its interrupt source.
    pub console_source: Option<u32>,
    /// Bytes of NVRAM, if there is any.
    pub nvram_bytes: Option<u32>,
    /// The crash module: real start and end address.
    pub initrd: Option<(u64, u64)>,
    /// Services of the firmware.
    pub rtas: Services,
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
            TreeError::NoCpu => "the device tree has no usable CPU",
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

    /// RAM as (start, length) in bytes.
    pub fn memory(&self) -> &[(u64, u64)] {
        self.memory.get(..self.memory_ranges).unwrap_or_default()
    }

    /// All RAM in bytes.
    pub fn memory_bytes(&self) -> u64 {
        self.memory().iter().fold(0, |sum, (_, len)| sum.saturating_add(*len))
    }

    /// Whether `[start, start + len)` is RAM as a whole. Adjacent ranges count as one.
    pub fn is_ram(&self, start: u64, len: u64) -> bool {
        let Some(end) = start.checked_add(len) else { return false };
        let mut at = start;
        while at < end {
            let holds = |(from, size): &&(u64, u64)| *from <= at && at < from.saturating_add(*size);
            let Some((from, size)) = self.memory().iter().find(holds) else { return false };
            at = from.saturating_add(*size);
        }
        true
    }

    /// Hardware ids of the CPUs by logical number.
    pub fn cpus(&self) -> &[u32] {
        self.cpus.get(..self.cpu_count).unwrap_or_default()
    }

    /// Reads a flattened tree.
    pub fn read(tree: &[u8]) -> Result<Machine, TreeError> {
        // The reader trusts sums of header fields, and that the structure block ends; both are checked first.
        if !flat::is_whole(tree) {
            return Err(TreeError::Malformed);
        }
        let boot_cpu = flat::boot_cpu(tree).ok_or(TreeError::Malformed)?;
        let tree = fdt::Fdt::new_unaligned_fallible(tree).map_err(|_| TreeError::Malformed)?;
        let root = find(&tree, "/").ok_or(TreeError::Malformed)?;
        let mut machine = Machine {
            command_line: [0; COMMAND_LINE],
            command_line_len: 0,
            command_line_cut: false,
            memory: [(0, 0); MEMORY_RANGES],
            memory_ranges: 0,
            cpus: [0; MAX_CPUS],
            cpu_count: 0,
            cpus_ignored: 0,
            timebase_frequency: crate::clock::ESTIMATED_FREQUENCY,
            decrementer_bits: 32,
            radix: false,
            console_unit: None,
            console_source: None,
            nvram_bytes: None,
            initrd: None,
            rtas: find(&tree, "/rtas").map(|node| services(&node)).unwrap_or_default(),
        };
        machine.read_memory(&root);
        if let Some(cpus) = find(&tree, "/cpus") {
            machine.read_cpus(&cpus, boot_cpu);
        }
        if let Some(chosen) = find(&tree, "/chosen") {
            machine.read_chosen(&chosen);
        }
        if let Some(devices) = find(&tree, "/vdevice") {
            machine.read_console(&devices);
            let nvram = children(&devices).find(|node| is_type(node, b"nvram\0"));
            let bytes = nvram.and_then(|node| number(&node, "#bytes"));
            machine.nvram_bytes = bytes.and_then(|bytes| u32::try_from(bytes).ok());
        }
        if machine.cpu_count == 0 {
            return Err(TreeError::NoCpu);
        }
        if machine.memory_ranges == 0 {
            return Err(TreeError::NoMemory);
        }
        Ok(machine)
    }

    fn read_memory(&mut self, root: &FallibleNode<'_>) {
        // Address and size have two cells each on every pseries machine.
        for node in children(root).filter(|node| is_type(node, b"memory\0")) {
            let Some(reg) = property(&node, "reg") else { continue };
            let (entries, _) = reg.as_chunks::<16>();
            for (slot, entry) in self.memory.iter_mut().skip(self.memory_ranges).zip(entries) {
                let value = u128::from_be_bytes(*entry);
                *slot = ((value >> 64) as u64, value as u64);
                self.memory_ranges += 1;
            }
        }
    }

    fn read_cpus(&mut self, cpus: &FallibleNode<'_>, boot_cpu: u32) {
        let mut add = |hardware_id: u32| match self.cpus.get_mut(self.cpu_count) {
            Some(slot) => {
                *slot = hardware_id;
                self.cpu_count += 1;
            }
            None => self.cpus_ignored += 1,
        };
        let nodes = || children(cpus).filter(|node| is_type(node, b"cpu\0"));
        let ids =
            || nodes().flat_map(|node| threads(&node).unwrap_or_default()).map(|id| u32::from_be_bytes(*id));
        ids().filter(|id| *id == boot_cpu).for_each(&mut add);
        ids().filter(|id| *id != boot_cpu).for_each(&mut add);
        if let Some(first) = nodes().next() {
            self.radix = property(&first, "ibm,processor-radix-AP-encodings").is_some();
            let frequency = number(&first, "ibm,extended-timebase-frequency")
                .or_else(|| number(&first, "timebase-frequency"))
                .filter(|frequency| *frequency != 0);
            self.timebase_frequency = frequency.unwrap_or(self.timebase_frequency);
            let bits = number(&first, "ibm,dec-bits").and_then(|bits| u32::try_from(bits).ok());
            self.decrementer_bits = bits.filter(|bits| (32..=64).contains(bits)).unwrap_or(32);
        }
    }

    fn read_chosen(&mut self, chosen: &FallibleNode<'_>) {
        let text = property(chosen, "bootargs").unwrap_or_default();
        let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
        for (slot, byte) in self.command_line.iter_mut().zip(text) {
            *slot = if (b' '..=b'~').contains(byte) { *byte } else { b'?' };
            self.command_line_len += 1;
        }
        self.command_line_cut = text.len() > COMMAND_LINE;
        let (start, end) = (number(chosen, "linux,initrd-start"), number(chosen, "linux,initrd-end"));
        self.initrd = start.zip(end).filter(|(start, end)| start < end);
    }

    fn read_console(&mut self, devices: &FallibleNode<'_>) {
        let is_terminal = |node: &FallibleNode<'_>| {
            property(node, "compatible").is_some_and(|value| value.starts_with(b"hvterm1"))
        };
        if let Some(node) = children(devices).find(is_terminal) {
            self.console_unit = number(&node, "reg");
            // Two cells: source, sense.
            let source = property(&node, "interrupts").and_then(|value| value.first_chunk::<4>());
            self.console_source = source.map(|source| u32::from_be_bytes(*source));
        }
    }
}

type Tree<'a> = fdt::Fdt<'a, (UnalignedParser<'a>, NoPanic)>;

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
    let value = property(node, name)?;
    match value.len() {
        4 => value.first_chunk::<4>().map(|bytes| u64::from(u32::from_be_bytes(*bytes))),
        8 => value.first_chunk::<8>().map(|bytes| u64::from_be_bytes(*bytes)),
        _ => None,
    }
}

/// Hardware ids of a CPU node's threads. Nodes without the property have one thread, named by `reg`.
fn threads<'a>(node: &FallibleNode<'a>) -> Option<&'a [[u8; 4]]> {
    let property = property(node, "ibm,ppc-interrupt-server#s").or_else(|| property(node, "reg"))?;
    Some(property.as_chunks::<4>().0)
}

fn is_type(node: &FallibleNode<'_>, name: &[u8]) -> bool {
    property(node, "device_type") == Some(name)
}

fn services(node: &FallibleNode<'_>) -> Services {
    let cell = |name| number(node, name).and_then(|value| u32::try_from(value).ok());
    Services {
        entry: cell("linux,rtas-entry").unwrap_or(0),
        base: cell("linux,rtas-base").unwrap_or(0),
        size: cell("rtas-size").unwrap_or(0),
        start_cpu: cell("start-cpu"),
        stop_self: cell("stop-self"),
        power_off: cell("power-off"),
        system_reboot: cell("system-reboot"),
        os_term: cell("ibm,os-term"),
        set_xive: cell("ibm,set-xive"),
        int_on: cell("ibm,int-on"),
        int_off: cell("ibm,int-off"),
        nvram_fetch: cell("nvram-fetch"),
        nvram_store: cell("nvram-store"),
        get_time_of_day: cell("get-time-of-day"),
        display_character: cell("display-character"),
    }
}

/// Writes the tree that a crash kernel gets: `source` without its command line and its crash module,
/// and with room for a new command line. Returns the length of the tree and where the command line
/// goes.
pub fn write_for_crash(
    source: &[u8],
    bytes: &mut [u8],
    names: &mut [u8],
) -> Result<(usize, flat::Slot), TreeError> {
    if !flat::is_whole(source) {
        return Err(TreeError::Malformed);
    }
    let boot_cpu = flat::boot_cpu(source).ok_or(TreeError::Malformed)?;
    let tree = fdt::Fdt::new_unaligned_fallible(source).map_err(|_| TreeError::Malformed)?;
    let root = find(&tree, "/").ok_or(TreeError::Malformed)?;
    let mut writer = Writer::new(bytes, names);
    let mut slot = None;
    copy(&root, &mut writer, &mut slot, 0)?;
    let length = writer.finish(boot_cpu).map_err(|_| TreeError::Malformed)?;
    slot.map(|slot| (length, slot)).ok_or(TreeError::Malformed)
}

fn copy(
    node: &FallibleNode<'_>,
    writer: &mut Writer<'_>,
    slot: &mut Option<flat::Slot>,
    depth: usize,
) -> Result<(), TreeError> {
    if depth >= DEPTH {
        return Err(TreeError::Malformed);
    }
    let name = node.name().map_err(|_| TreeError::Malformed)?;
    let is_chosen = depth == 1 && name.name == "chosen";
    let mut full = [0; 128];
    let full = full_name(&name, depth, &mut full).ok_or(TreeError::Malformed)?;
    writer.begin_node(full);
    for property in node.properties().map_err(|_| TreeError::Malformed)?.iter() {
        let property = property.map_err(|_| TreeError::Malformed)?;
        let replaced = ["bootargs", "linux,initrd-start", "linux,initrd-end"].contains(&property.name);
        if !(is_chosen && replaced) {
            writer.property(property.name.as_bytes(), property.value);
        }
    }
    if is_chosen {
        *slot = Some(writer.find_slot(b"bootargs", COMMAND_LINE));
    }
    for child in children(node) {
        copy(&child, writer, slot, depth + 1)?;
    }
    writer.end_node();
    Ok(())
}

fn full_name<'b>(name: &fdt::nodes::NodeName<'_>, depth: usize, room: &'b mut [u8]) -> Option<&'b [u8]> {
    if depth == 0 {
        return Some(b"");
    }
    let mut used = 0;
    let mut put = |text: &str| {
        let end = used + text.len();
        room.get_mut(used..end)?.copy_from_slice(text.as_bytes());
        used = end;
        Some(())
    };
    put(name.name)?;
    if let Some(address) = name.unit_address {
        put("@")?;
        put(address)?;
    }
    room.get(..used)
}

/// Puts `base` without any `key=…` and then `key=value` into `room`, NUL-padded. `None` if it does not
/// fit; then `room` holds nothing useful.
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn cell(value: u32) -> [u8; 4] {
        value.to_be_bytes()
    }

    /// A small pseries tree. CPUs have the hardware ids 0, 8, 16, ….
    fn tree(cpus: u32, boot_cpu: u32, command_line: &[u8]) -> Vec<u8> {
        let (mut bytes, mut names) = (std::vec![0; 0x1_0000], std::vec![0; 0x1000]);
        let mut writer = Writer::new(&mut bytes, &mut names);
        writer.begin_node(b"");
        writer.property(b"device_type", b"chrp\0");
        writer.begin_node(b"chosen");
        writer.property(b"bootargs", command_line);
        writer.property(b"linux,initrd-start", &cell(0x90_0000));
        writer.property(b"linux,initrd-end", &cell(0xa0_0000));
        writer.end_node();
        writer.begin_node(b"memory@0");
        writer.property(b"device_type", b"memory\0");
        writer.property(b"reg", &[[0; 8], 0x1000_0000_u64.to_be_bytes()].concat());
        writer.end_node();
        writer.begin_node(b"memory@10000000");
        writer.property(b"device_type", b"memory\0");
        writer.property(b"reg", &[0x1000_0000_u64.to_be_bytes(), 0x1000_0000_u64.to_be_bytes()].concat());
        writer.end_node();
        writer.begin_node(b"cpus");
        for number in 0..cpus {
            writer.begin_node(b"PowerPC,POWER9@x");
            writer.property(b"device_type", b"cpu\0");
            writer.property(b"ibm,ppc-interrupt-server#s", &cell(number * 8));
            writer.property(b"timebase-frequency", &cell(512_000_000));
            writer.property(b"ibm,dec-bits", &cell(56));
            writer.property(b"ibm,processor-radix-AP-encodings", &cell(12));
            writer.end_node();
        }
        writer.end_node();
        writer.begin_node(b"rtas");
        writer.property(b"linux,rtas-entry", &cell(0x123_0000));
        writer.property(b"start-cpu", &cell(0x2006));
        writer.property(b"nvram-store", &cell(0x2013));
        writer.end_node();
        writer.begin_node(b"vdevice");
        writer.begin_node(b"nvram@71000001");
        writer.property(b"device_type", b"nvram\0");
        writer.property(b"#bytes", &cell(0x1_0000));
        writer.end_node();
        writer.begin_node(b"vty@71000000");
        writer.property(b"compatible", b"hvterm1\0hvterm-protocol\0");
        writer.property(b"reg", &cell(0x7100_0000));
        writer.property(b"interrupts", &[cell(0x1101), cell(0)].concat());
        writer.end_node();
        writer.end_node();
        writer.end_node();
        let length = writer.finish(boot_cpu).unwrap();
        bytes.truncate(length);
        bytes
    }

    #[test]
    fn a_machine_is_read() {
        let machine = Machine::read(&tree(3, 8, b"run.nonce=1 x=\xc3\xa9\0")).unwrap();
        assert_eq!(machine.command_line(), "run.nonce=1 x=??");
        assert_eq!(machine.cpus(), [8, 0, 16]);
        assert_eq!(machine.cpus_ignored, 0);
        assert_eq!(machine.memory_bytes(), 0x2000_0000);
        assert!(machine.radix);
        assert_eq!((machine.timebase_frequency, machine.decrementer_bits), (512_000_000, 56));
        assert_eq!((machine.console_unit, machine.console_source), (Some(0x7100_0000), Some(0x1101)));
        assert_eq!(machine.initrd, Some((0x90_0000, 0xa0_0000)));
        assert_eq!((machine.rtas.entry, machine.rtas.start_cpu), (0x123_0000, Some(0x2006)));
        assert_eq!(machine.rtas.stop_self, None);
        assert_eq!((machine.nvram_bytes, machine.rtas.nvram_store), (Some(0x1_0000), Some(0x2013)));
    }

    #[test]
    fn ram_may_consist_of_pieces() {
        let machine = Machine::read(&tree(1, 0, b"\0")).unwrap();
        assert!(machine.is_ram(0x0f00_0000, 0x0200_0000));
        assert!(machine.is_ram(0, 0x2000_0000));
        assert!(!machine.is_ram(0, 0x2000_0001));
        assert!(!machine.is_ram(u64::MAX, 2));
    }

    #[test]
    fn surplus_cpus_are_counted() {
        let machine = Machine::read(&tree(MAX_CPUS as u32 + 2, 0, b"")).unwrap();
        assert_eq!((machine.cpus().len(), machine.cpus_ignored), (MAX_CPUS, 2));
    }

    #[test]
    fn bad_trees_are_refused() {
        let good = tree(1, 0, b"a\0");
        assert_eq!(Machine::read(&[]).unwrap_err(), TreeError::Malformed);
        assert_eq!(Machine::read(&good[..good.len() - 1]).unwrap_err(), TreeError::Malformed);
        assert_eq!(Machine::read(&tree(0, 0, b"")).unwrap_err(), TreeError::NoCpu);
        // Any single wrong byte: an error or a machine, never a panic.
        for index in 0..good.len() {
            for value in [0, 0xff, good[index] ^ 1] {
                let mut bad = good.clone();
                bad[index] = value;
                let _ = Machine::read(&bad);
            }
        }
    }

    #[test]
    fn a_crash_kernel_gets_the_same_machine_and_its_own_command_line() {
        let source = tree(2, 0, b"first kernel\0");
        let (mut bytes, mut names) = (std::vec![0; 0x1_0000], std::vec![0; 0x1000]);
        let (length, slot) = write_for_crash(&source, &mut bytes, &mut names).unwrap();
        assert_eq!(slot.len(), COMMAND_LINE);
        patch_command_line(&mut bytes[slot], "a=1 capture.record=9,9 b", "capture.record", "0x10,0x20")
            .unwrap();
        flat::set_boot_cpu(&mut bytes, 8);
        let machine = Machine::read(&bytes[..length]).unwrap();
        assert_eq!(machine.command_line(), "a=1 b capture.record=0x10,0x20");
        assert_eq!(machine.cpus(), [8, 0]);
        assert_eq!(machine.initrd, None);
        assert_eq!(machine.console_source, Some(0x1101));
        assert_eq!(machine.rtas.entry, 0x123_0000);
    }

    #[test]
    fn a_command_line_that_does_not_fit_is_refused() {
        let mut room = [0; 8];
        assert_eq!(patch_command_line(&mut room, "", "abc", "def"), Some(()));
        assert_eq!(&room, b"abc=def\0");
        assert_eq!(patch_command_line(&mut room, "", "abc", "defg"), None);
        assert_eq!(patch_command_line(&mut room, "more", "abc", "def"), None);
    }
}
