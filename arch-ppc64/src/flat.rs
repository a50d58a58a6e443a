//! Writing flattened device trees (Devicetree Specification 0.4, chapter 5).
//!
//! Streaming, into memory of the caller's: one buffer for the tree, one for the names of properties
//! until [`Writer::finish`] appends them. An overflow is remembered and reported at the end, so that
//! writers need not check each call.

/// Bytes of the header (version 17).
const HEADER: usize = 40;
/// Bytes of the empty memory reservation map that follows it.
const RESERVATIONS: usize = 16;
const MAGIC: u32 = 0xd00d_feed;
const BEGIN_NODE: u32 = 1;
const END_NODE: u32 = 2;
const PROPERTY: u32 = 3;
const END: u32 = 9;
/// Where the header keeps `boot_cpuid_phys`.
const BOOT_CPU_OFFSET: usize = 28;

/// Why a tree was not written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WriteError {
    /// A buffer is too small.
    Full,
    /// Nodes were begun and not ended, or ended and not begun.
    Unbalanced,
}

/// Where a property's value went: see [`Writer::find_slot`].
pub type Slot = core::ops::Range<usize>;

/// A tree being written.
#[derive(Debug)]
pub struct Writer<'a> {
    bytes: &'a mut [u8],
    used: usize,
    names: &'a mut [u8],
    names_used: usize,
    depth: i32,
    failed: bool,
}

impl<'a> Writer<'a> {
    /// Starts a tree in `bytes`; `names` holds property names until the end (4 KiB are plenty).
    pub fn new(bytes: &'a mut [u8], names: &'a mut [u8]) -> Self {
        let mut writer = Writer { bytes, used: 0, names, names_used: 0, depth: 0, failed: false };
        writer.zeroes(HEADER + RESERVATIONS);
        writer
    }

    fn take(&mut self, len: usize) -> Option<&mut [u8]> {
        let end = self.used.checked_add(len)?;
        let taken = self.bytes.get_mut(self.used..end);
        match taken {
            Some(taken) => {
                self.used = end;
                Some(taken)
            }
            None => {
                self.failed = true;
                None
            }
        }
    }

    fn put(&mut self, bytes: &[u8]) {
        if let Some(room) = self.take(bytes.len()) {
            room.copy_from_slice(bytes);
        }
    }

    fn zeroes(&mut self, len: usize) {
        if let Some(room) = self.take(len) {
            room.fill(0);
        }
    }

    fn word(&mut self, word: u32) {
        self.put(&word.to_be_bytes());
    }

    fn align(&mut self) {
        self.zeroes(self.used.wrapping_neg() % 4);
    }

    /// Begins a node. The root's name is empty.
    pub fn begin_node(&mut self, name: &[u8]) {
        self.depth = self.depth.saturating_add(1);
        self.word(BEGIN_NODE);
        self.put(name);
        self.zeroes(1);
        self.align();
    }

    /// Ends the innermost node.
    pub fn end_node(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        self.word(END_NODE);
    }

    /// Offset of a property name among the names, where it is put if it is new.
    fn name_offset(&mut self, name: &[u8]) -> u32 {
        let known = self.names.get(..self.names_used).unwrap_or_default();
        let mut offset = 0;
        for candidate in known.split(|byte| *byte == 0) {
            if candidate == name && !name.is_empty() {
                return offset as u32;
            }
            offset += candidate.len() + 1;
        }
        let start = self.names_used;
        let room = start.checked_add(name.len() + 1).and_then(|end| self.names.get_mut(start..end));
        match room {
            Some(room) => {
                let (text, zero) = room.split_at_mut(name.len());
                text.copy_from_slice(name);
                zero.fill(0);
                self.names_used = start + name.len() + 1;
            }
            None => self.failed = true,
        }
        start as u32
    }

    /// Adds a property of `len` bytes, zeroed, and returns them for filling. `None` when there is no
    /// room.
    pub fn reserve(&mut self, name: &[u8], len: usize) -> Option<&mut [u8]> {
        let offset = self.name_offset(name);
        self.word(PROPERTY);
        self.word(len as u32);
        self.word(offset);
        let start = self.used;
        self.zeroes(len);
        self.align();
        if self.failed {
            return None;
        }
        self.bytes.get_mut(start..start.checked_add(len)?)
    }

    /// Adds a property.
    pub fn property(&mut self, name: &[u8], value: &[u8]) {
        if let Some(room) = self.reserve(name, value.len()) {
            room.copy_from_slice(value);
        }
    }

    /// Adds a property of zeroes and returns where in the finished tree its value lies, to be filled
    /// later.
    pub fn find_slot(&mut self, name: &[u8], len: usize) -> Slot {
        self.reserve(name, len);
        let end = self.used - (len.wrapping_neg() % 4);
        end.saturating_sub(len)..end
    }

    /// Completes the tree and returns its length in bytes.
    pub fn finish(mut self, boot_cpu: u32) -> Result<usize, WriteError> {
        self.word(END);
        let structure = HEADER + RESERVATIONS;
        let strings = self.used;
        let names_used = self.names_used;
        if let Some(end) = strings.checked_add(names_used)
            && let (Some(room), Some(names)) =
                (self.bytes.get_mut(strings..end), self.names.get(..names_used))
        {
            room.copy_from_slice(names);
            self.used = end;
        } else {
            self.failed = true;
        }
        if self.failed {
            return Err(WriteError::Full);
        }
        if self.depth != 0 {
            return Err(WriteError::Unbalanced);
        }
        let total = self.used;
        let header = [
            MAGIC,
            total as u32,
            structure as u32,
            strings as u32,
            HEADER as u32,
            17,
            16,
            boot_cpu,
            names_used as u32,
            (strings - structure) as u32,
        ];
        for (slot, word) in self.bytes.chunks_exact_mut(4).zip(header) {
            slot.copy_from_slice(&word.to_be_bytes());
        }
        Ok(total)
    }
}

fn header_word(tree: &[u8], index: usize) -> Option<u32> {
    let bytes = tree.get(index * 4..index * 4 + 4)?;
    Some(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

/// Length in bytes that the header of a tree states, if the header is one and its parts lie inside that
/// length. Forty bytes are enough to ask.
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
/// has to (Devicetree Specification, 5.4.1). The reader takes that for granted when it looks at what comes after the
/// root's first token.
pub fn is_whole(tree: &[u8]) -> bool {
    let last = || {
        let end = header_word(tree, 2)?.checked_add(header_word(tree, 9)?)? as usize;
        tree.get(end.checked_sub(4)?..end)
    };
    stated_length(tree).is_some_and(|length| length <= tree.len()) && last() == Some(&END.to_be_bytes())
}

/// Hardware id of the CPU that booted (`boot_cpuid_phys`).
pub fn boot_cpu(tree: &[u8]) -> Option<u32> {
    header_word(tree, BOOT_CPU_OFFSET / 4)
}

/// Changes the hardware id of the CPU that boots. A tree without a header stays as it is.
pub fn set_boot_cpu(tree: &mut [u8], hardware_id: u32) {
    if let Some(slot) = tree.get_mut(BOOT_CPU_OFFSET..BOOT_CPU_OFFSET + 4) {
        slot.copy_from_slice(&hardware_id.to_be_bytes());
    }
}

/// The parts of a tree of `length` bytes that stay as they are from the load to the jump: all but the
/// hardware id of the CPU that boots and the value at `slot`. `None` if they are not inside `tree`.
pub fn fixed_parts<'a>(tree: &'a [u8], length: usize, slot: &Slot) -> Option<[&'a [u8]; 3]> {
    let tree = tree.get(..length)?;
    Some([tree.get(..BOOT_CPU_OFFSET)?, tree.get(BOOT_CPU_OFFSET + 4..slot.start)?, tree.get(slot.end..)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_structure_block_without_its_end_is_refused() {
        let (mut bytes, mut names) = ([0; 200], [0; 20]);
        let mut writer = Writer::new(&mut bytes, &mut names);
        writer.begin_node(b"");
        writer.end_node();
        let length = writer.finish(0).unwrap();
        assert!(is_whole(&bytes[..length]) && !is_whole(&bytes[..length - 1]));
        // The size of the structure block: only what ends with the token.
        let size = header_word(&bytes, 9).unwrap();
        for less in 0..size {
            bytes[36..40].copy_from_slice(&less.to_be_bytes());
            assert!(!is_whole(&bytes[..length]), "{less}");
            assert!(crate::devicetree::Machine::read(&bytes[..length]).is_err());
        }
    }

    #[test]
    fn what_changes_at_the_jump_is_not_among_the_fixed_parts() {
        let before = [7; 100];
        let mut after = before;
        set_boot_cpu(&mut after, 3);
        after[60..70].fill(1);
        let parts =
            |tree: &[u8; 100]| fixed_parts(tree, 90, &(60..70)).map(|parts| parts.map(<[u8]>::to_vec));
        assert_eq!(parts(&before), parts(&after));
        assert_eq!(parts(&before).unwrap().map(|part| part.len()), [28, 28, 20]);
        for position in (0..28).chain(32..60).chain(70..90) {
            let mut changed = before;
            changed[position] ^= 1;
            assert_ne!(parts(&before), parts(&changed), "byte {position}");
        }
        assert!(fixed_parts(&before, 101, &(60..70)).is_none());
        assert!(fixed_parts(&before, 90, &(60..91)).is_none());
        assert!(fixed_parts(&before, 90, &(20..30)).is_none());
    }

    #[test]
    fn a_tree_reads_back() {
        let (mut bytes, mut names) = ([0xff; 1024], [0xff; 256]);
        let mut writer = Writer::new(&mut bytes, &mut names);
        writer.begin_node(b"");
        writer.property(b"model", b"test\0");
        writer.begin_node(b"chosen");
        let slot = writer.find_slot(b"bootargs", 9);
        writer.property(b"model", b"again\0");
        writer.end_node();
        writer.begin_node(b"memory@0");
        writer.property(b"reg", &[0, 0, 0, 1]);
        writer.end_node();
        writer.end_node();
        let length = writer.finish(7).unwrap();
        bytes[slot][..3].copy_from_slice(b"abc");

        assert_eq!(stated_length(&bytes[..HEADER]), Some(length));
        assert_eq!(boot_cpu(&bytes), Some(7));
        set_boot_cpu(&mut bytes, 3);
        let tree = fdt::Fdt::new_unaligned_fallible(&bytes[..length]).unwrap();
        assert_eq!(tree.header().boot_cpuid, 3);
        let chosen = tree.find_node("/chosen").unwrap().unwrap();
        assert_eq!(chosen.raw_property("bootargs").unwrap().unwrap().value, b"abc\0\0\0\0\0\0");
        assert_eq!(chosen.raw_property("model").unwrap().unwrap().value, b"again\0");
        let root = tree.find_node("/").unwrap().unwrap();
        assert_eq!(root.raw_property("model").unwrap().unwrap().value, b"test\0");
        // "model" is stored once.
        assert_eq!(tree.strings().count(), 3);
    }

    #[test]
    fn errors_are_reported_at_the_end() {
        let (mut bytes, mut names) = ([0; 80], [0; 4]);
        let mut writer = Writer::new(&mut bytes, &mut names);
        writer.begin_node(b"");
        writer.property(b"too-long-a-name", b"");
        writer.end_node();
        assert_eq!(writer.finish(0), Err(WriteError::Full));

        let (mut bytes, mut names) = ([0; 80], [0; 4]);
        let mut writer = Writer::new(&mut bytes, &mut names);
        writer.begin_node(b"");
        assert_eq!(writer.finish(0), Err(WriteError::Unbalanced));

        let (mut bytes, mut names) = ([0; 10], [0; 4]);
        assert_eq!(Writer::new(&mut bytes, &mut names).finish(0), Err(WriteError::Full));
    }

    #[test]
    fn senseless_headers_have_no_length() {
        assert_eq!(stated_length(&[]), None);
        assert_eq!(stated_length(&[0; 40]), None);
        let mut header = [0; 40];
        header[..4].copy_from_slice(&MAGIC.to_be_bytes());
        header[4..8].copy_from_slice(&100_u32.to_be_bytes());
        assert_eq!(stated_length(&header), Some(100));
        header[8..12].copy_from_slice(&u32::MAX.to_be_bytes());
        header[36..40].copy_from_slice(&u32::MAX.to_be_bytes());
        assert_eq!(stated_length(&header), None);
    }
}
