//! A crash image as its ELF file has it: what of the file goes where, for every port's kexec.
//!
//! A port says what it can enter ([`Format`]), asks for a [`Plan`], copies what the plan says, and takes its digest.
//! Nothing here touches memory but the file's bytes, and no file makes it panic: an error names what is wrong, as the
//! reason of a missing crash image.
//!
//! Source: System V ABI, chapters 4 (object files) and 5 (program loading).
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

use elf::ElfBytes;
/// ELF's numbers, for a [`Format`].
pub use elf::abi;
use elf::abi::{PT_LOAD, PT_NOTE};
pub use elf::endian::AnyEndian;
use elf::file::Class;
use elf::note::{Note, NoteIterator};
use elf::segment::ProgramHeader;

/// Most loadable segments.
pub const SEGMENTS_MAX: usize = 8;

/// By which of its addresses a segment is placed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Address {
    /// `p_paddr`.
    Physical,
    /// `p_vaddr`.
    Virtual,
}

/// What a port can enter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Format {
    /// Byte order.
    pub endian: AnyEndian,
    /// `e_machine`.
    pub machine: u16,
    /// `e_type`: whether it has to stay at its addresses, or may run anywhere.
    pub kind: u16,
    /// These bits of `e_flags` have this value.
    pub flags: (u32, u32),
    /// What segments are placed by.
    pub address: Address,
}

/// One loadable segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Segment {
    /// Bytes from [`Plan::base`] to where it goes.
    pub offset: usize,
    /// Where its bytes are in the file.
    pub file_offset: usize,
    /// How many there are.
    pub file_size: usize,
}

/// How to load an image.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plan {
    segments: [Segment; SEGMENTS_MAX],
    count: usize,
    /// The lowest address of a segment, as the file has it.
    pub base: u64,
    /// The entry point in the header, as the file has it.
    pub entry: u64,
    /// Bytes from the base that come from the file.
    pub file_end: usize,
    /// Bytes from the base that the image occupies when it runs. Its own first instructions zero what has to be zero.
    pub memory_end: usize,
    /// First eight bytes of the GNU build-id, big-endian; 0 without one.
    pub build_id: u64,
}

impl Plan {
    /// The segments by rising address. None overlaps another one.
    pub fn segments(&self) -> &[Segment] {
        self.segments.get(..self.count).unwrap_or_default()
    }

    /// Copies the image into memory, whose first byte is that of [`Plan::base`]: what comes from the file, and zeros
    /// between that. `None` if either is shorter than it was for the plan; then part of the memory may be written.
    pub fn place(&self, elf: &[u8], memory: &mut [u8]) -> Option<()> {
        let covered = memory.get_mut(..self.file_end)?;
        covered.fill(0);
        for Segment { offset, file_offset, file_size } in self.segments() {
            let source = elf.get(*file_offset..file_offset.checked_add(*file_size)?)?;
            covered.get_mut(*offset..offset.checked_add(*file_size)?)?.copy_from_slice(source);
        }
        Some(())
    }
}

/// The file, if it is one that a port with this format can enter.
fn read<'f>(elf: &'f [u8], format: &Format) -> Result<ElfBytes<'f, AnyEndian>, &'static str> {
    if !elf.starts_with(b"\x7fELF") {
        return Err("the crash module is not an ELF file");
    }
    let file = ElfBytes::<AnyEndian>::minimal_parse(elf)
        .map_err(|_| "the crash module's ELF headers are cut off, or lie outside of it")?;
    let header = &file.ehdr;
    if (header.class, header.endianness, header.e_machine) != (Class::ELF64, format.endian, format.machine) {
        return Err("the crash module is for another machine");
    }
    if header.e_type != format.kind {
        return Err("the crash module is not linked as this machine's kernels are");
    }
    if header.e_flags & format.flags.0 != format.flags.1 {
        return Err("the crash module uses another ABI");
    }
    Ok(file)
}

fn headers<'f>(file: &ElfBytes<'f, AnyEndian>, kind: u32) -> impl Iterator<Item = ProgramHeader> + use<'f> {
    file.segments().into_iter().flat_map(|table| table.iter()).filter(move |header| header.p_type == kind)
}

/// Plans loading `elf`. Segments have to stand there by rising address, as linkers write them.
pub fn plan(elf: &[u8], format: &Format) -> Result<Plan, &'static str> {
    const WRAPS: &str = "a segment of the crash module is larger than any memory";
    let file = read(elf, format)?;
    let mut plan = Plan {
        segments: [Segment::default(); SEGMENTS_MAX],
        count: 0,
        base: 0,
        entry: file.ehdr.e_entry,
        file_end: 0,
        memory_end: 0,
        build_id: build_id(notes(&file)),
    };
    for header in headers(&file, PT_LOAD) {
        let address = match format.address {
            Address::Physical => header.p_paddr,
            Address::Virtual => header.p_vaddr,
        };
        if plan.count == 0 {
            plan.base = address;
        }
        if header.p_filesz > header.p_memsz {
            return Err("a segment of the crash module is larger in the file than in memory");
        }
        file.segment_data(&header).map_err(|_| "a segment of the crash module lies outside the file")?;
        let offset = address.checked_sub(plan.base).and_then(|offset| usize::try_from(offset).ok());
        let offset = offset
            .filter(|offset| *offset >= plan.memory_end)
            .ok_or("segments of the crash module overlap, or are not in order")?;
        let end = usize::try_from(header.p_memsz).ok().and_then(|size| offset.checked_add(size));
        let (file_offset, file_size) = (header.p_offset as usize, header.p_filesz as usize);
        let slot = plan.segments.get_mut(plan.count).ok_or("the crash module has too many segments")?;
        *slot = Segment { offset, file_offset, file_size };
        plan.count += 1;
        plan.memory_end = end.ok_or(WRAPS)?;
        plan.file_end = plan.file_end.max(offset.checked_add(file_size).ok_or(WRAPS)?);
    }
    if plan.count == 0 {
        return Err("the crash module has nothing to load");
    }
    Ok(plan)
}

fn notes<'f>(file: &ElfBytes<'f, AnyEndian>) -> impl Iterator<Item = Note<'f>> {
    headers(file, PT_NOTE).filter_map(|header| file.segment_data_as_notes(&header).ok()).flatten()
}

fn build_id<'f>(mut notes: impl Iterator<Item = Note<'f>>) -> u64 {
    let id = notes.find_map(|note| match note {
        Note::GnuBuildId(id) => id.0.first_chunk().map(|first| u64::from_be_bytes(*first)),
        _ => None,
    });
    id.unwrap_or(0)
}

/// The build-id among a kernel's own notes, as [`Plan::build_id`]; 0 without one. `notes` are those of a 64-bit file.
pub fn own_build_id(notes: &[u8], endian: AnyEndian) -> u64 {
    build_id(NoteIterator::new(endian, Class::ELF64, 4, notes))
}

/// What a note of this owner and kind has to say, if the file has one.
pub fn note<'f>(elf: &'f [u8], format: &Format, owner: &str, kind: u64) -> Option<&'f [u8]> {
    let file = read(elf, format).ok()?;
    notes(&file).find_map(|note| match note {
        Note::Unknown(note) if note.n_type == kind && note.name_str().is_ok_and(|name| name == owner) => {
            Some(note.desc)
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests;
