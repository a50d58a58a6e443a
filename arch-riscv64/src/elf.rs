//! What of an ELF file goes where in the crash region.

/// Loadable segments that a crash image may have.
const SEGMENTS: usize = 8;
/// ELF header bytes.
const HEADER: usize = 64;
/// Program header bytes.
const PROGRAM_HEADER: usize = 56;
const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;
const NT_GNU_BUILD_ID: u32 = 3;
/// ELF's number for RISC-V.
const MACHINE: u16 = 243;
/// A file that may be loaded anywhere.
const DYNAMIC: u16 = 3;

/// One loadable segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Segment {
    /// Where its bytes are in the file.
    pub file_offset: usize,
    /// How many there are.
    pub file_size: usize,
    /// Where they go, from the base of the region.
    pub offset: usize,
}

/// How to load an image.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plan {
    segments: [Segment; SEGMENTS],
    count: usize,
    /// The entry point, from the base of the region.
    pub entry: usize,
    /// Bytes from the base that come from the file.
    pub file_end: usize,
    /// Bytes from the base that the image occupies when it runs.
    pub memory_end: usize,
    /// First eight bytes of the build-id, big-endian; 0 without one.
    pub build_id: u64,
}

impl Plan {
    /// The segments.
    pub fn segments(&self) -> &[Segment] {
        self.segments.get(..self.count).unwrap_or_default()
    }
}

fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    bytes.get(offset..)?.first_chunk().map(|chunk| u16::from_le_bytes(*chunk))
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes.get(offset..)?.first_chunk().map(|chunk| u32::from_le_bytes(*chunk))
}

fn size_at(bytes: &[u8], offset: usize) -> Option<usize> {
    let value = bytes.get(offset..)?.first_chunk().map(|chunk| u64::from_le_bytes(*chunk))?;
    usize::try_from(value).ok()
}

/// Plans loading `elf` into `room` bytes, the lowest segment at their beginning. An error names what is wrong, for the
/// reason of a missing crash image.
pub fn plan(elf: &[u8], room: usize) -> Result<Plan, &'static str> {
    const TRUNCATED: &str = "the crash module's ELF headers are truncated";
    let header = elf.get(..HEADER).ok_or("the crash module is too short for an ELF file")?;
    if !header.starts_with(b"\x7fELF") {
        return Err("the crash module is not an ELF file");
    }
    // 64-bit, little-endian.
    if header.get(4..6) != Some(&[2, 1]) || u16_at(header, 18) != Some(MACHINE) {
        return Err("the crash module is not for riscv64");
    }
    if u16_at(header, 16) != Some(DYNAMIC) {
        return Err("the crash module cannot run at another address");
    }
    let table = size_at(header, 32).ok_or(TRUNCATED)?;
    let count = usize::from(u16_at(header, 56).ok_or(TRUNCATED)?);
    if u16_at(header, 54) != Some(PROGRAM_HEADER as u16) {
        return Err("the crash module has program headers of unknown size");
    }
    let table = table
        .checked_add(count * PROGRAM_HEADER)
        .and_then(|end| elf.get(table..end))
        .ok_or("the crash module's program headers lie outside the file")?;
    let (headers, _) = table.as_chunks::<PROGRAM_HEADER>();
    let loads = || headers.iter().filter(|header| u32_at(*header, 0) == Some(PT_LOAD));
    let lowest = loads()
        .filter_map(|header| size_at(header, 16))
        .min()
        .ok_or("the crash module has nothing to load")?;

    let mut plan = Plan {
        segments: [Segment::default(); SEGMENTS],
        count: 0,
        entry: size_at(header, 24).ok_or(TRUNCATED)?.wrapping_sub(lowest),
        file_end: 0,
        memory_end: 0,
        build_id: 0,
    };
    for header in loads() {
        let field = |offset| size_at(header, offset).ok_or(TRUNCATED);
        let (file_offset, address, file_size, memory_size) = (field(8)?, field(16)?, field(32)?, field(40)?);
        if file_size > memory_size {
            return Err("a segment of the crash module is larger in the file than in memory");
        }
        if file_offset.checked_add(file_size).is_none_or(|end| end > elf.len()) {
            return Err("a segment of the crash module lies outside the file");
        }
        let offset = address - lowest;
        let end = offset.checked_add(memory_size).filter(|end| *end <= room);
        let end = end.ok_or("the crash module does not fit into the crash region")?;
        let slot = plan.segments.get_mut(plan.count).ok_or("the crash module has too many segments")?;
        *slot = Segment { file_offset, file_size, offset };
        plan.count += 1;
        plan.file_end = plan.file_end.max(offset + file_size);
        plan.memory_end = plan.memory_end.max(end);
    }
    if plan.entry >= plan.file_end {
        return Err("the crash module's entry point lies outside of it");
    }
    let notes = headers.iter().filter(|header| u32_at(*header, 0) == Some(PT_NOTE));
    plan.build_id = notes.filter_map(|header| build_id(elf, header)).next().unwrap_or(0);
    Ok(plan)
}

/// The build-id in the segment of notes that `header` describes. Looks at its first note only: the linker script puts
/// nothing else there.
fn build_id(elf: &[u8], header: &[u8]) -> Option<u64> {
    let offset = size_at(header, 8)?;
    let note = elf.get(offset..offset.checked_add(size_at(header, 32)?)?)?;
    let is_build_id =
        u32_at(note, 0)? == 4 && u32_at(note, 8)? == NT_GNU_BUILD_ID && note.get(12..16)? == b"GNU\0";
    let id = note.get(16..)?.first_chunk().map(|chunk| u64::from_be_bytes(*chunk));
    id.filter(|_| is_build_id && u32_at(note, 4).is_some_and(|size| size >= 8))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    const BASE: u64 = 0x8020_0000;

    fn header(kind: u32, offset: u64, address: u64, file: u64, memory: u64) -> Vec<u8> {
        let mut bytes = [kind.to_le_bytes(), 5_u32.to_le_bytes()].concat();
        for word in [offset, address, address, file, memory, 0x1000] {
            bytes.extend(word.to_le_bytes());
        }
        bytes
    }

    fn file(headers: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = Vec::from(*b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\xf3\0");
        bytes.resize(HEADER, 0);
        bytes[24..32].copy_from_slice(&(BASE + 0x10).to_le_bytes());
        bytes[32..40].copy_from_slice(&64_u64.to_le_bytes());
        bytes[54..56].copy_from_slice(&56_u16.to_le_bytes());
        bytes[56..58].copy_from_slice(&(headers.len() as u16).to_le_bytes());
        headers.iter().for_each(|header| bytes.extend(header));
        bytes.resize(0x3000, 0xaa);
        bytes
    }

    fn good() -> Vec<u8> {
        let mut bytes = file(&[
            header(PT_LOAD, 0x1000, BASE, 0x1000, 0x1000),
            header(PT_LOAD, 0x2000, BASE + 0x1000, 0x800, 0x9000),
            header(PT_NOTE, 0x1800, BASE + 0x800, 36, 36),
        ]);
        let note = [4_u32.to_le_bytes(), 20_u32.to_le_bytes(), 3_u32.to_le_bytes(), *b"GNU\0"].concat();
        bytes[0x1800..0x1810].copy_from_slice(&note);
        bytes[0x1810..0x1818].copy_from_slice(&0x0123_4567_89ab_cdef_u64.to_be_bytes());
        bytes
    }

    #[test]
    fn a_good_file() {
        let plan = plan(&good(), 0xa000).unwrap();
        let expected = [
            Segment { file_offset: 0x1000, file_size: 0x1000, offset: 0 },
            Segment { file_offset: 0x2000, file_size: 0x800, offset: 0x1000 },
        ];
        assert_eq!(plan.segments(), expected);
        assert_eq!((plan.entry, plan.file_end, plan.memory_end), (0x10, 0x1800, 0xa000));
        assert_eq!(plan.build_id, 0x0123_4567_89ab_cdef);
    }

    #[test]
    fn every_defect_is_named() {
        let good = good();
        let changed = |offset: usize, value: u8| {
            let mut bytes = good.clone();
            bytes[offset] = value;
            plan(&bytes, 0xa000).unwrap_err()
        };
        assert!(plan(&good[..63], 0xa000).unwrap_err().contains("too short"));
        assert!(changed(0, 0).contains("not an ELF"));
        assert!(changed(5, 2).contains("riscv64"));
        assert!(changed(18, 62).contains("riscv64"));
        assert!(changed(16, 2).contains("another address"));
        assert!(changed(54, 32).contains("unknown size"));
        assert!(changed(39, 0xff).contains("outside the file"));
        assert!(changed(56, 0).contains("nothing to load"));
        assert!(changed(27, 0).contains("entry point"));
        assert!(plan(&good, 0x9fff).unwrap_err().contains("does not fit"));
        assert!(plan(&good[..0x2000], 0xa000).unwrap_err().contains("outside the file"));
        let swollen = file(&[header(PT_LOAD, 0, BASE, 0x1000, 0x800)]);
        assert!(plan(&swollen, 0xa000).unwrap_err().contains("larger in the file"));
        let wrapping = file(&[header(PT_LOAD, 0, BASE, 0, 0), header(PT_LOAD, 0, u64::MAX, 0, 0x1000)]);
        assert!(plan(&wrapping, 0xa000).unwrap_err().contains("does not fit"));
        let many = file(&std::vec![header(PT_LOAD, 0, BASE, 0, 0); 9]);
        assert!(plan(&many, 0xa000).unwrap_err().contains("too many"));
    }

    #[test]
    fn no_build_id_is_no_error() {
        for notes in [std::vec![], std::vec![header(PT_NOTE, 0, 0, 64, 64)]] {
            let headers = [std::vec![header(PT_LOAD, 0, BASE, 0x20, 0x20)], notes].concat();
            assert_eq!(plan(&file(&headers), 0x1000).unwrap().build_id, 0);
        }
    }
}
