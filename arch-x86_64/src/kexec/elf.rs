//! Reading the crash image's ELF: a plan of what to copy where, or a reason why not.
//!
//! Source: System V ABI, chapters 4 and 5; Xen ELF note 18 for the entry.

use crate::physical::{u16_at, u32_at, u64_at};

/// Most loadable segments.
pub const SEGMENTS_MAX: usize = 8;

/// One PT_LOAD.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Segment {
    /// Where it goes: p_paddr plus the load delta.
    pub physical: u64,
    /// Where it lies in the file.
    pub offset: usize,
    /// Bytes in the file.
    pub file_len: usize,
    /// Bytes in memory; the image's own entry code zeroes what must be zero of the rest.
    pub memory_len: u64,
}

/// What to copy where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plan {
    segments: [Segment; SEGMENTS_MAX],
    count: usize,
    /// Physical address of the 32-bit entry, the load delta added.
    pub entry: u64,
    /// First eight bytes of the build-id, big-endian; 0 without one.
    pub build_id: u64,
}

impl Plan {
    /// The segments by rising address.
    pub fn segments(&self) -> &[Segment] {
        self.segments.get(..self.count).unwrap_or(&[])
    }
}

/// Calls `found(name, kind, descriptor)` for each note; stops at the first that is cut off.
fn each_note(mut notes: &[u8], mut found: impl FnMut(&[u8], u32, &[u8])) {
    while let (Some(name_len), Some(len), Some(kind)) = (u32_at(notes, 0), u32_at(notes, 4), u32_at(notes, 8))
    {
        let (name_len, len) = (name_len as usize, len as usize);
        let start = 12usize.saturating_add(name_len.saturating_add(3) & !3);
        let (Some(name), Some(descriptor)) =
            (notes.get(12..12usize.saturating_add(name_len)), notes.get(start..start.saturating_add(len)))
        else {
            return;
        };
        found(name, kind, descriptor);
        notes = notes.get(start.saturating_add(len.saturating_add(3) & !3)..).unwrap_or(&[]);
    }
}

/// First eight bytes, big-endian, of the GNU build-id among `notes`.
pub fn build_id(notes: &[u8]) -> Option<u64> {
    let mut id = None;
    each_note(notes, |name, kind, descriptor| {
        if name == b"GNU\0"
            && kind == 3
            && let Some(first) = descriptor.first_chunk()
        {
            id = Some(u64::from_be_bytes(*first));
        }
    });
    id
}

/// The PVH entry among `notes`: four or eight bytes.
fn pvh_entry(notes: &[u8]) -> Option<u64> {
    let mut entry = None;
    each_note(notes, |name, kind, descriptor| {
        if name == b"Xen\0" && kind == 18 {
            entry = u64_at(descriptor, 0).or(u32_at(descriptor, 0).map(u64::from));
        }
    });
    entry
}

/// Checks `elf` and plans its load at its physical addresses plus `delta`, inside `room`.
pub fn plan(elf: &[u8], delta: u64, room: core::ops::Range<u64>) -> Result<Plan, &'static str> {
    if elf.get(..4) != Some(b"\x7FELF".as_slice()) {
        return Err("not an ELF file");
    }
    if elf.get(4..6) != Some([2, 1].as_slice()) || u16_at(elf, 18) != Some(62) {
        return Err("not an ELF file for x86_64");
    }
    if u16_at(elf, 16) != Some(2) {
        return Err("ELF file is not a static executable");
    }
    let table = u64_at(elf, 32).and_then(|at| usize::try_from(at).ok()).ok_or("ELF header cut off")?;
    let (Some(56), Some(count)) = (u16_at(elf, 54), u16_at(elf, 56)) else {
        return Err("ELF program headers have an unknown size");
    };
    let headers = usize::from(count)
        .checked_mul(56)
        .and_then(|len| elf.get(table..table.checked_add(len)?))
        .ok_or("ELF program headers lie outside the file")?;
    let mut plan = Plan { segments: [Segment::default(); SEGMENTS_MAX], count: 0, entry: 0, build_id: 0 };
    let mut entry = None;
    let mut free_from = room.start;
    for header in headers.chunks_exact(56) {
        let word = |at| u64_at(header, at).unwrap_or(0);
        let kind = u32_at(header, 0).unwrap_or(0);
        if kind != 1 && kind != 4 {
            continue;
        }
        let bytes = usize::try_from(word(8))
            .ok()
            .zip(usize::try_from(word(32)).ok())
            .and_then(|(at, len)| elf.get(at..at.checked_add(len)?))
            .ok_or("ELF segment lies outside the file")?;
        if kind == 4 {
            entry = pvh_entry(bytes).or(entry);
            plan.build_id = build_id(bytes).unwrap_or(plan.build_id);
            continue;
        }
        let memory_len = word(40);
        let physical = word(24).checked_add(delta).ok_or("ELF segment wraps around")?;
        let end = physical.checked_add(memory_len).ok_or("ELF segment wraps around")?;
        if bytes.len() as u64 > memory_len {
            return Err("ELF segment is longer in the file than in memory");
        }
        if physical < free_from {
            return Err("ELF segments overlap or lie below the crash region");
        }
        if end > room.end {
            return Err("image does not fit the crash region");
        }
        free_from = end;
        let slot = plan.segments.get_mut(plan.count).ok_or("ELF file has too many segments")?;
        *slot = Segment { physical, offset: word(8) as usize, file_len: bytes.len(), memory_len };
        plan.count += 1;
    }
    let entry = entry.ok_or("ELF file has no PVH entry note")?;
    plan.entry = entry.checked_add(delta).ok_or("PVH entry wraps around")?;
    let inside = |s: &Segment| (s.physical..s.physical + s.file_len as u64).contains(&plan.entry);
    if !plan.segments().iter().any(inside) {
        return Err("PVH entry lies outside the image");
    }
    Ok(plan)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELTA: u64 = 0x400_0000;
    const ROOM: core::ops::Range<u64> = 0x420_0000..0x600_0000;

    fn note(name: &[u8; 4], kind: u32, descriptor: &[u8]) -> Vec<u8> {
        let mut note = 4u32.to_le_bytes().to_vec();
        note.extend((descriptor.len() as u32).to_le_bytes());
        note.extend(kind.to_le_bytes());
        note.extend(name);
        note.extend(descriptor);
        note.resize(note.len().next_multiple_of(4), 0);
        note
    }

    fn header(kind: u32, offset: u64, physical: u64, file: u64, memory: u64) -> Vec<u8> {
        let mut header = kind.to_le_bytes().to_vec();
        header.extend(5u32.to_le_bytes());
        for word in [offset, physical | 0xFFFF_FFFF_8000_0000, physical, file, memory, 4096] {
            header.extend(word.to_le_bytes());
        }
        header
    }

    fn image() -> Vec<u8> {
        let notes = [
            note(b"Xen\0", 18, &0x20_0010u64.to_le_bytes()),
            note(b"GNU\0", 3, &[1, 2, 3, 4, 5, 6, 7, 8, 9]),
        ]
        .concat();
        let mut elf = b"\x7FELF\x02\x01\x01".to_vec();
        elf.resize(16, 0);
        elf.extend(2u16.to_le_bytes());
        elf.extend(62u16.to_le_bytes());
        elf.extend([0; 12]);
        elf.extend(64u64.to_le_bytes());
        elf.extend([0; 14]);
        elf.extend(56u16.to_le_bytes());
        elf.extend(3u16.to_le_bytes());
        elf.resize(64, 0);
        elf.extend(header(1, 0x200, 0x20_0000, 0x100, 0x100));
        elf.extend(header(1, 0x300, 0x20_1000, 0x80, 0x8000));
        elf.extend(header(4, 0x180, 0x20_0080, notes.len() as u64, notes.len() as u64));
        assert!(elf.len() <= 0x180 + 0x80);
        elf.resize(0x180, 0);
        // The header table ends before the notes only by luck of the numbers above.
        elf.truncate(64 + 3 * 56);
        elf.resize(0x400, 0);
        let at = 64 + 3 * 56;
        elf[at..at + notes.len()].copy_from_slice(&notes);
        elf[64 + 2 * 56 + 8..64 + 2 * 56 + 16].copy_from_slice(&(at as u64).to_le_bytes());
        elf
    }

    fn refused(damage: impl Fn(&mut Vec<u8>)) -> &'static str {
        let mut elf = image();
        damage(&mut elf);
        plan(&elf, DELTA, ROOM).expect_err("refused")
    }

    #[test]
    fn a_good_image_is_planned() {
        let plan = plan(&image(), DELTA, ROOM).expect("valid");
        assert_eq!(plan.entry, 0x420_0010);
        assert_eq!(plan.build_id, 0x0102_0304_0506_0708);
        assert_eq!(plan.segments().len(), 2);
        assert_eq!(
            plan.segments()[1],
            Segment { physical: 0x420_1000, offset: 0x300, file_len: 0x80, memory_len: 0x8000 }
        );
    }

    #[test]
    fn bad_images_are_named() {
        let set = |elf: &mut Vec<u8>, header: usize, at: usize, value: u64| {
            let start = 64 + header * 56 + at;
            elf[start..start + 8].copy_from_slice(&value.to_le_bytes());
        };
        assert_eq!(refused(|e| e.clear()), "not an ELF file");
        assert_eq!(refused(|e| e[18] = 21), "not an ELF file for x86_64");
        assert_eq!(refused(|e| e[16] = 3), "ELF file is not a static executable");
        assert_eq!(refused(|e| e[56] = 200), "ELF program headers lie outside the file");
        assert_eq!(refused(|e| e[39] = 0x7F), "ELF program headers lie outside the file");
        assert_eq!(refused(|e| e[54] = 0), "ELF program headers have an unknown size");
        assert_eq!(refused(|e| set(e, 0, 8, 0x7FFF_FFFF)), "ELF segment lies outside the file");
        assert_eq!(refused(|e| set(e, 0, 24, u64::MAX)), "ELF segment wraps around");
        assert_eq!(refused(|e| set(e, 0, 40, 1)), "ELF segment is longer in the file than in memory");
        assert_eq!(refused(|e| set(e, 0, 24, 0)), "ELF segments overlap or lie below the crash region");
        assert_eq!(
            refused(|e| set(e, 1, 24, 0x20_0000)),
            "ELF segments overlap or lie below the crash region"
        );
        assert_eq!(refused(|e| set(e, 1, 40, 64 << 20)), "image does not fit the crash region");
        assert_eq!(refused(|e| set(e, 2, 0, 0)), "ELF file has no PVH entry note");
        assert_eq!(refused(|e| e[64 + 3 * 56 + 16 + 2] = 0x70), "PVH entry lies outside the image");
    }

    #[test]
    fn no_damage_makes_it_panic() {
        let good = image();
        for end in 0..good.len() {
            let _ = plan(&good[..end], DELTA, ROOM);
        }
        for at in 0..good.len() {
            for value in [0, 0x7F, 0x80, 0xFF] {
                let mut bad = good.clone();
                bad[at] = value;
                let _ = plan(&bad, DELTA, ROOM);
            }
        }
    }
}
