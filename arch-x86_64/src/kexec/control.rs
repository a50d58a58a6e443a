//! The control page and tables of the jump. kexec.S has the code that goes in and its contract.

/// Bytes of the crash region that come before the image.
pub const AREA: u64 = 0x20_0000;
/// Bytes of that area in use.
pub const AREA_USED: u64 = 0x7000;
/// Offset of the start info page.
pub const START_INFO: u64 = 0x1000;
/// Offset of the command line as given.
pub const COMMAND_LINE_GIVEN: u64 = 0x2000;
/// Offset of the command line that the crash kernel gets.
pub const COMMAND_LINE: u64 = 0x3000;
/// Offset of the tables: a root, one table below it, one directory.
pub const TABLES: u64 = 0x4000;

/// Offsets in the control page; kexec.S has the same.
const GDT_POINTER: usize = 0x20;
const IDT_POINTER: usize = 0x30;
const IDT: usize = 0x40;
const CODE: usize = 0x80;
/// The code may not reach into the stack at the page's end.
const CODE_END: usize = 0xC00;

/// Flat segments at the selectors that entry.S uses too.
const GDT: [u64; 4] = [0, 0x00AF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF, 0x00CF_9B00_0000_FFFF];
const LONG_CODE: u16 = 0x08;
const PROTECTED_CODE: u16 = 0x18;
/// Present, interrupt gate.
const GATE: u8 = 0x8E;

/// Where the two NMI handlers lie in the code.
#[derive(Clone, Copy, Debug)]
pub struct NmiOffsets {
    /// For 32-bit protected mode.
    pub protected: usize,
    /// For long mode.
    pub long: usize,
}

fn put(page: &mut [u8], at: usize, bytes: &[u8]) -> Option<()> {
    page.get_mut(at..at.checked_add(bytes.len())?)?.copy_from_slice(bytes);
    Some(())
}

/// Writes the control page, which lies at physical `base`. `None` if the code does not fit or the page
/// is not below 4 GiB.
///
/// One IDT serves both modes: the NMI is vector 2, whose gate is at byte 16 with the 8-byte gates of
/// protected mode and at byte 32 with the 16-byte gates of long mode.
pub fn write_page(page: &mut [u8], base: u64, code: &[u8], nmi: NmiOffsets) -> Option<()> {
    let base32 = u32::try_from(base).ok()?;
    if CODE + code.len() > CODE_END {
        return None;
    }
    for (index, descriptor) in GDT.iter().enumerate() {
        put(page, 8 * index, &descriptor.to_le_bytes())?;
    }
    put(page, GDT_POINTER, &(size_of_val(&GDT) as u16 - 1).to_le_bytes())?;
    put(page, GDT_POINTER + 2, &base.to_le_bytes())?;
    put(page, IDT_POINTER, &(3 * 16u16 - 1).to_le_bytes())?;
    put(page, IDT_POINTER + 2, &(base + IDT as u64).to_le_bytes())?;

    let gate = |selector: u16, offset: usize| -> Option<[u8; 8]> {
        let [o0, o1, o2, o3] = base32.checked_add(u32::try_from(CODE + offset).ok()?)?.to_le_bytes();
        let [s0, s1] = selector.to_le_bytes();
        Some([o0, o1, s0, s1, 0, GATE, o2, o3])
    };
    put(page, IDT + 16, &gate(PROTECTED_CODE, nmi.protected)?)?;
    put(page, IDT + 32, &gate(LONG_CODE, nmi.long)?)?;
    put(page, CODE, code)
}

/// Writes the control tables into `tables`, which lie at physical `base`: the first GiB, where
/// the crash region lies, at its own addresses in 2 MiB pages, writable and executable, and `upper` as
/// the upper half. `None` if there are fewer than three pages.
pub fn write_tables(tables: &mut [u8], base: u64, upper: &[u64; 256]) -> Option<()> {
    const ALLOW: u64 = 3; // present, writable
    const LARGE: u64 = 0x80;
    put(tables, 0, &((base + 0x1000) | ALLOW).to_le_bytes())?;
    for (index, entry) in upper.iter().enumerate() {
        put(tables, 8 * (256 + index), &entry.to_le_bytes())?;
    }
    put(tables, 0x1000, &((base + 0x2000) | ALLOW).to_le_bytes())?;
    for index in 0..512u64 {
        put(tables, 0x2000 + 8 * index as usize, &(index << 21 | ALLOW | LARGE).to_le_bytes())?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::physical::{u16_at, u64_at};

    const BASE: u64 = 0x1234_5000;

    #[test]
    fn both_nmi_gates_point_at_their_handlers() {
        let mut page = vec![0; 4096];
        write_page(&mut page, BASE, &[0x90; 100], NmiOffsets { protected: 0x21, long: 0x42 }).expect("fits");
        let gate = |at: usize| {
            let offset = u64::from(u16_at(&page, at).expect("in"))
                | u64::from(u16_at(&page, at + 6).expect("in")) << 16;
            (offset, u16_at(&page, at + 2).expect("in"), page[at + 5])
        };
        assert_eq!(gate(IDT + 16), (BASE + 0x80 + 0x21, 0x18, 0x8E));
        assert_eq!(gate(IDT + 32), (BASE + 0x80 + 0x42, 0x08, 0x8E));
        assert_eq!(u64_at(&page, IDT + 40), Some(0), "upper half of the long gate");
        assert_eq!((u16_at(&page, 0x30), u64_at(&page, 0x32)), (Some(47), Some(BASE + 0x40)));
        assert_eq!((u16_at(&page, 0x20), u64_at(&page, 0x22)), (Some(31), Some(BASE)));
        assert_eq!(&page[0x80..0x84], &[0x90; 4]);
    }

    #[test]
    fn what_cannot_work_is_refused() {
        let nmi = NmiOffsets { protected: 0, long: 0 };
        let mut page = vec![0; 4096];
        assert!(write_page(&mut page, 1 << 32, &[], nmi).is_none());
        assert!(write_page(&mut page, BASE, &[0; 0xC00], nmi).is_none());
        assert!(write_page(&mut [0; 64], BASE, &[], nmi).is_none());
        assert!(write_tables(&mut [0; 4096], BASE, &[0; 256]).is_none());
    }

    #[test]
    fn the_tables_map_one_gigabyte_and_the_upper_half() {
        let mut tables = vec![0; 3 * 4096];
        let mut upper = [0; 256];
        upper[255] = 0xABC0_0003;
        write_tables(&mut tables, BASE, &upper).expect("fits");
        assert_eq!(u64_at(&tables, 0), Some(BASE + 0x1003));
        assert_eq!(u64_at(&tables, 511 * 8), Some(0xABC0_0003));
        assert_eq!(u64_at(&tables, 0x1000), Some(BASE + 0x2003));
        assert_eq!(u64_at(&tables, 0x1008), Some(0));
        assert_eq!(u64_at(&tables, 0x2000), Some(0x83));
        assert_eq!(u64_at(&tables, 0x2000 + 8 * 511), Some(0x3FE0_0083));
    }
}
