use super::*;

/// A file with one segment, and a PVH note that says this.
fn file(address: u64, memory: u64, says: &[u8]) -> Vec<u8> {
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    file.extend([ET_EXEC, EM_X86_64].map(u16::to_le_bytes).concat());
    file.resize(32, 0);
    file.extend(64u64.to_le_bytes());
    file.resize(54, 0);
    file.extend([56u16, 2, 64, 0, 0].map(u16::to_le_bytes).concat());
    let note = 16 + says.len() as u64;
    for (kind, offset, address, size, memory) in
        [(1u32, 0x200, address, 0x100, memory), (4, 0x180, 0, note, note)]
    {
        file.extend([kind, 5].map(u32::to_le_bytes).concat());
        file.extend([offset, 0, address, size, memory, 4].map(u64::to_le_bytes).concat());
    }
    file.resize(0x180, 0);
    file.extend([4, says.len() as u32, 18].map(u32::to_le_bytes).concat());
    file.extend(b"Xen\0");
    file.extend(says);
    file.resize(0x300, 0);
    file
}

fn entered(address: u64, memory: u64, says: &[u8]) -> Result<u64, &'static str> {
    let file = file(address, memory, says);
    entry(&file, &crash_image::plan(&file, &FORMAT).expect("a good file"))
}

#[test]
fn it_is_entered_where_its_note_says() {
    assert_eq!(entered(0x20_0000, 0x100, &0x20_0010u64.to_le_bytes()), Ok(0x20_0010));
    assert_eq!(entered(0x20_0000, 0x100, &0x20_00ffu32.to_le_bytes()), Ok(0x20_00ff));
    for (says, wrong) in [(0x20_0100u64, "outside"), (0x1f_ffff, "outside"), (u64::MAX, "outside")] {
        assert!(entered(0x20_0000, 0x1000, &says.to_le_bytes()).unwrap_err().contains(wrong), "{says:#x}");
    }
    assert!(entered(0x20_0000, 0x100, &[1, 2, 3, 4][..3]).is_err());
    let mut none = file(0x20_0000, 0x100, &[0; 8]);
    none[0x188] = 17;
    let plan = crash_image::plan(&none, &FORMAT).unwrap();
    assert!(entry(&none, &plan).unwrap_err().contains("no PVH"));
}

#[test]
fn it_lies_behind_the_control_area_and_within_the_region() {
    let at = |address: u64, memory| entered(address, memory, &(address + 4).to_le_bytes());
    assert_eq!(at(REGION_LEN - 0x1000, 0x1000), Ok(REGION_LEN - 0xffc));
    assert!(at(REGION_LEN - 0x1000, 0x1001).unwrap_err().contains("fit"));
    assert!(at(control::AREA - 1, 0x100).unwrap_err().contains("fit"));
    assert!(at(u64::MAX - 0x100, 0x100).unwrap_err().contains("fit"));
}
