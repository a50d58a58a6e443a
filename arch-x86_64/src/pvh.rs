//! The PVH boot protocol's start info: read at boot, and written for the crash kernel.
//!
//! Source: Xen `docs/misc/pvh.pandoc` and `xen/include/public/arch-x86/hvm/start_info.h`, version 1.
//! Everything it points to may lie in memory that the map calls free, so all of it is copied.

use crate::physical::{PhysicalMemory, u32_at, u64_at};

/// `XEN_HVM_START_MAGIC_VALUE`. The value in EAX is no help: loaders disagree on it.
pub const MAGIC: u32 = 0x336E_C578;
/// Longest command line kept, in bytes.
pub const COMMAND_LINE_MAX: usize = 2048;
/// Most memory ranges kept.
pub const RANGES_MAX: usize = 32;
/// Bytes of `hvm_start_info` version 1.
pub const START_INFO_LEN: usize = 56;
/// Bytes of one memory map entry.
pub const RANGE_LEN: usize = 24;

/// QEMU's loader has a buffer of 4,096 bytes for the command line, checks nothing, and keeps the start info
/// behind it.
const OVERWRITTEN: &str = "start info has text in place of its magic: not booted by PVH, or the command line \
    has 4096 bytes or more and QEMU's loader wrote it over the start info (this kernel keeps 2048)";
const _: () = assert!(COMMAND_LINE_MAX == 2048, "as that text says");

/// What kind of memory a range is (ACPI 6.5 table 15.4, address range types).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RangeKind {
    /// RAM that nobody uses.
    Usable,
    /// Holds ACPI tables.
    AcpiTables,
    /// Everything else.
    Reserved,
}

/// A range of physical addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Range {
    /// First byte.
    pub start: u64,
    /// Length in bytes.
    pub len: u64,
    /// Kind.
    pub kind: RangeKind,
}

impl Range {
    /// First byte after the range.
    pub const fn end(&self) -> u64 {
        self.start.saturating_add(self.len)
    }
}

/// What the start info says.
#[derive(Clone, Copy)]
pub struct StartInfo {
    command_line: [u8; COMMAND_LINE_MAX],
    command_line_len: usize,
    /// Whether the command line is longer than [`COMMAND_LINE_MAX`], so that its end is missing.
    pub command_line_cut: bool,
    ranges: [Range; RANGES_MAX],
    range_count: usize,
    /// Ranges that did not fit and were dropped.
    pub ranges_dropped: usize,
    /// The first module (`-initrd`), start and length.
    pub module: Option<(u64, u64)>,
    /// Physical address of the ACPI root pointer; 0 if there is none.
    pub rsdp: u64,
}

impl StartInfo {
    /// Reads the start info at `address`. The error says what is wrong with it.
    pub fn read(memory: &impl PhysicalMemory, address: u64) -> Result<StartInfo, &'static str> {
        let head = memory.bytes(address, START_INFO_LEN as u64).ok_or("start info lies outside memory")?;
        let magic = u32_at(head, 0).unwrap_or(0);
        if magic != MAGIC && magic.to_le_bytes().iter().all(|byte| matches!(byte, b' '..=b'~')) {
            return Err(OVERWRITTEN);
        }
        if magic != MAGIC {
            return Err("start info has the wrong magic: not booted by PVH");
        }
        if u32_at(head, 4).is_none_or(|version| version == 0) {
            return Err("start info version 0 has no memory map");
        }
        let word = |offset| u64_at(head, offset).unwrap_or(0);
        let mut info = StartInfo {
            command_line: [0; COMMAND_LINE_MAX],
            command_line_len: 0,
            command_line_cut: false,
            ranges: [Range { start: 0, len: 0, kind: RangeKind::Reserved }; RANGES_MAX],
            range_count: 0,
            ranges_dropped: 0,
            module: None,
            rsdp: word(32),
        };
        info.read_command_line(memory, word(24));
        if u32_at(head, 12).unwrap_or(0) > 0 {
            info.module =
                memory.bytes(word(16), 32).and_then(|entry| Some((u64_at(entry, 0)?, u64_at(entry, 8)?)));
        }
        let count = u64::from(u32_at(head, 48).unwrap_or(0));
        let map = memory
            .bytes(word(40), count.saturating_mul(RANGE_LEN as u64))
            .filter(|map| !map.is_empty())
            .ok_or("start info has no readable memory map")?;
        for entry in map.chunks_exact(RANGE_LEN) {
            info.add_range(entry);
        }
        Ok(info)
    }

    fn read_command_line(&mut self, memory: &impl PhysicalMemory, address: u64) {
        // Byte by byte: how far the string goes is known only when its end is found.
        let byte_at = |offset: u64| match address.checked_add(offset).and_then(|at| memory.bytes(at, 1)) {
            Some(&[byte]) if byte != 0 => Some(byte),
            _ => None,
        };
        for (offset, slot) in (0u64..).zip(self.command_line.iter_mut()) {
            let Some(byte) = byte_at(offset) else { return };
            *slot = if byte.is_ascii() { byte } else { b'?' };
            self.command_line_len += 1;
        }
        self.command_line_cut = byte_at(COMMAND_LINE_MAX as u64).is_some();
    }

    fn add_range(&mut self, entry: &[u8]) {
        let (Some(start), Some(len), Some(kind)) = (u64_at(entry, 0), u64_at(entry, 8), u32_at(entry, 16))
        else {
            return;
        };
        // One firmware ends its map with an entry of zeros.
        if len == 0 {
            return;
        }
        let kind = match kind {
            1 => RangeKind::Usable,
            3 => RangeKind::AcpiTables,
            _ => RangeKind::Reserved,
        };
        match self.ranges.get_mut(self.range_count) {
            Some(slot) => {
                *slot = Range { start, len, kind };
                self.range_count += 1;
            }
            None => self.ranges_dropped += 1,
        }
    }

    /// The command line, bytes beyond ASCII replaced by `?`.
    pub fn command_line(&self) -> &str {
        let bytes = self.command_line.get(..self.command_line_len).unwrap_or(&[]);
        core::str::from_utf8(bytes).unwrap_or("")
    }

    /// The memory map in firmware's order.
    pub fn ranges(&self) -> &[Range] {
        self.ranges.get(..self.range_count).unwrap_or(&[])
    }

    /// Usable RAM in bytes.
    pub fn usable(&self) -> u64 {
        self.ranges().iter().filter(|r| r.kind == RangeKind::Usable).map(|r| r.len).sum()
    }

    /// Whether `[start, start + len)` lies in one usable range.
    pub fn is_usable(&self, start: u64, len: u64) -> bool {
        let Some(end) = start.checked_add(len) else { return false };
        self.ranges().iter().any(|r| r.kind == RangeKind::Usable && r.start <= start && end <= r.end())
    }
}

/// Writes a start info with a memory map behind it into `page`, which lies at physical `base`, for a
/// kernel whose command line will be at `command_line`. `None` if the page is too small.
pub fn write(page: &mut [u8], base: u64, command_line: u64, rsdp: u64, ranges: &[Range]) -> Option<()> {
    let map_offset = START_INFO_LEN.next_multiple_of(8);
    let count = u32::try_from(ranges.len()).ok()?;
    page.get(..map_offset + ranges.len() * RANGE_LEN)?;
    let mut put = |offset: usize, bytes: &[u8]| -> Option<()> {
        page.get_mut(offset..offset + bytes.len())?.copy_from_slice(bytes);
        Some(())
    };
    put(0, &MAGIC.to_le_bytes())?;
    put(4, &1u32.to_le_bytes())?;
    put(8, &[0; 16])?;
    put(24, &command_line.to_le_bytes())?;
    put(32, &rsdp.to_le_bytes())?;
    put(40, &(base + map_offset as u64).to_le_bytes())?;
    put(48, &count.to_le_bytes())?;
    put(52, &[0; 4])?;
    for (index, range) in ranges.iter().enumerate() {
        let at = map_offset + index * RANGE_LEN;
        let kind: u32 = match range.kind {
            RangeKind::Usable => 1,
            RangeKind::AcpiTables => 3,
            RangeKind::Reserved => 2,
        };
        put(at, &range.start.to_le_bytes())?;
        put(at + 8, &range.len.to_le_bytes())?;
        put(at + 16, &kind.to_le_bytes())?;
        put(at + 20, &[0; 4])?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::physical::fake::Pieces;

    const RAM: Range = Range { start: 0x10_0000, len: 0x1000_0000, kind: RangeKind::Usable };
    const ACPI: Range = Range { start: 0x2000_0000, len: 0x1000, kind: RangeKind::AcpiTables };

    fn page(command_line: u64) -> Vec<u8> {
        let mut page = vec![0; 256];
        write(&mut page, 0x1000, command_line, 0xF_59E0, &[RAM, ACPI]).expect("fits");
        page
    }

    #[test]
    fn what_is_written_is_read_back() {
        let memory = Pieces(vec![(0x1000, page(0x3000)), (0x3000, b"run.nonce=1 caf\xE9\0junk".to_vec())]);
        let info = StartInfo::read(&memory, 0x1000).expect("valid");
        assert_eq!(info.command_line(), "run.nonce=1 caf?");
        assert_eq!(info.ranges(), &[RAM, ACPI]);
        assert_eq!(info.usable(), RAM.len);
        assert_eq!(info.rsdp, 0xF_59E0);
        assert_eq!(info.module, None);
        assert!(info.is_usable(RAM.start, RAM.len));
        assert!(!info.is_usable(RAM.start, RAM.len + 1));
        assert!(!info.is_usable(u64::MAX, 2));
    }

    #[test]
    fn a_module_is_found() {
        let mut start = page(0);
        start[12] = 1;
        start[16..24].copy_from_slice(&0x4000u64.to_le_bytes());
        let mut module = vec![0; 32];
        module[..8].copy_from_slice(&0x1F00_0000u64.to_le_bytes());
        module[8..16].copy_from_slice(&0x1234u64.to_le_bytes());
        let memory = Pieces(vec![(0x1000, start), (0x4000, module)]);
        assert_eq!(StartInfo::read(&memory, 0x1000).expect("valid").module, Some((0x1F00_0000, 0x1234)));
    }

    #[test]
    fn bad_start_infos_are_named() {
        let error = |memory: Pieces| StartInfo::read(&memory, 0x1000).err().expect("refused");
        assert!(error(Pieces::default()).contains("outside memory"));
        let mut wrong = page(0);
        wrong[0] ^= 1;
        assert!(error(Pieces(vec![(0x1000, wrong)])).contains("wrong magic"));
        let mut text = page(0);
        text[..8].copy_from_slice(b"hold=100");
        assert!(error(Pieces(vec![(0x1000, text)])).contains("command line"));
        let mut old = page(0);
        old[4] = 0;
        assert!(error(Pieces(vec![(0x1000, old)])).contains("version 0"));
        let mut endless = page(0);
        endless[48..52].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(error(Pieces(vec![(0x1000, endless)])).contains("memory map"));
    }

    #[test]
    fn an_endless_command_line_is_cut() {
        let memory = Pieces(vec![(0x1000, page(0x3000)), (0x3000, vec![b'x'; 5000])]);
        let info = StartInfo::read(&memory, 0x1000).expect("valid");
        assert_eq!(info.command_line().len(), COMMAND_LINE_MAX);
        assert!(info.command_line_cut);
        let mut longest = vec![b'x'; COMMAND_LINE_MAX];
        longest.push(0);
        let memory = Pieces(vec![(0x1000, page(0x3000)), (0x3000, longest)]);
        let info = StartInfo::read(&memory, 0x1000).expect("valid");
        assert_eq!((info.command_line().len(), info.command_line_cut), (COMMAND_LINE_MAX, false));
    }

    #[test]
    fn empty_ranges_are_dropped_and_too_many_counted() {
        let mut map = Vec::new();
        for _ in 0..RANGES_MAX + 2 {
            map.extend(1u64.to_le_bytes());
            map.extend(2u64.to_le_bytes());
            map.extend(1u64.to_le_bytes());
        }
        map.extend([0; RANGE_LEN]);
        let mut start = page(0);
        start[40..48].copy_from_slice(&0x8000u64.to_le_bytes());
        start[48..52].copy_from_slice(&(RANGES_MAX as u32 + 3).to_le_bytes());
        let info = StartInfo::read(&Pieces(vec![(0x1000, start), (0x8000, map)]), 0x1000).expect("valid");
        assert_eq!(info.ranges().len(), RANGES_MAX);
        assert_eq!(info.ranges_dropped, 2);
    }
}
