use super::*;
use crate::physical::fake::Pieces;

fn table(signature: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let mut table = signature.to_vec();
    table.extend(((TABLE_HEADER_LEN + body.len()) as u32).to_le_bytes());
    table.extend([0; TABLE_HEADER_LEN - 8]);
    table.extend(body);
    seal(&mut table, 9);
    table
}

fn seal(table: &mut [u8], at: usize) {
    table[at] = 0;
    table[at] = 0u8.wrapping_sub(sum(table));
}

fn cpu(id: u8, enabled: bool) -> Vec<u8> {
    vec![0, 8, id, id, enabled.into(), 0, 0, 0]
}

fn madt(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut body = vec![0, 0, 0xE0, 0xFE, 1, 0, 0, 0];
    body.extend(entries.concat());
    table(b"APIC", &body)
}

fn fadt() -> Vec<u8> {
    let mut body = vec![0; 148 - TABLE_HEADER_LEN];
    let mut put = |offset: usize, bytes: &[u8]| {
        body[offset - TABLE_HEADER_LEN..offset - TABLE_HEADER_LEN + bytes.len()].copy_from_slice(bytes)
    };
    put(40, &0x6000u32.to_le_bytes());
    put(64, &0x604u32.to_le_bytes());
    put(112, &(1u32 << 10).to_le_bytes());
    put(116, &[1, 8, 0, 1]);
    put(120, &0xCF9u64.to_le_bytes());
    put(128, &[0xF]);
    table(b"FACP", &body)
}

fn dsdt() -> Vec<u8> {
    let mut body = b"junk\x08_S5_".to_vec();
    body.extend([0x12, 0x06, 0x04, 0x0A, 0x05, 0x00, 0x00, 0x00]);
    table(b"DSDT", &body)
}

fn rsdp(revision: u8) -> Vec<u8> {
    let mut pointer = b"RSD PTR ".to_vec();
    pointer.extend([0; 7]);
    pointer.push(revision);
    pointer.extend(0x2000u32.to_le_bytes());
    pointer.extend(36u32.to_le_bytes());
    pointer.extend(0x3000u64.to_le_bytes());
    pointer.extend([0; 4]);
    seal(&mut pointer[..20], 8);
    seal(&mut pointer, 32);
    pointer
}

fn machine(revision: u8, madt: Vec<u8>) -> Pieces {
    let narrow = [0x5000u32.to_le_bytes(), 0x4000u32.to_le_bytes()].concat();
    let wide = [0x5000u64.to_le_bytes(), 0x4000u64.to_le_bytes()].concat();
    Pieces(vec![
        (0x1000, rsdp(revision)),
        (0x2000, table(b"RSDT", &narrow)),
        (0x3000, table(b"XSDT", &wide)),
        (0x4000, madt),
        (0x5000, fadt()),
        (0x6000, dsdt()),
    ])
}

fn read_madt(bytes: Vec<u8>) -> Result<Madt, AcpiError> {
    Acpi::read(&machine(0, bytes), 0x1000, 0).madt
}

#[test]
fn good_tables_are_read_from_either_root() {
    for revision in [0, 2] {
        let entries = [
            cpu(0, true),
            cpu(1, true),
            cpu(7, false),
            vec![1, 12, 0, 0, 0, 0, 0xC0, 0xFE, 0, 0, 0, 0],
            vec![2, 10, 0, 4, 9, 0, 0, 0, 0x0F, 0],
            vec![9, 16, 0, 0, 0x23, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0],
        ];
        let acpi = Acpi::read(&machine(revision, madt(&entries)), 0x1000, 1);
        let madt = acpi.madt.expect("valid");
        assert_eq!(madt.apic_ids(), &[1, 0, 0x123], "the boot CPU comes first");
        assert_eq!(madt.io_apics(), &[IoApic { address: 0xFEC0_0000, first_gsi: 0 }]);
        assert_eq!(madt.serial, IsaRoute { gsi: 9, active_low: true, level: true });
        let fadt = acpi.fadt.expect("valid");
        assert_eq!(fadt.reset, Some(ResetRegister { port: 0xCF9, value: 0xF }));
        assert_eq!(fadt.pm1a_control, Some(0x604));
        assert_eq!(acpi.soft_off, Ok(5));
    }
}

#[test]
fn cpus_beyond_the_maximum_are_counted() {
    let entries: Vec<_> = (0..MAX_CPUS as u8 + 3).map(|id| cpu(id, true)).collect();
    let madt = read_madt(madt(&entries)).expect("valid");
    assert_eq!(madt.apic_ids().len(), MAX_CPUS);
    assert_eq!(madt.cpus_ignored, 3);
}

#[test]
fn bad_entries_are_named_with_their_offset() {
    let error = |entries: &[Vec<u8>]| read_madt(madt(entries)).expect_err("refused");
    let e = error(&[cpu(0, true), vec![0, 0]]);
    assert_eq!((e.table, e.offset), (*b"APIC", 52));
    assert_eq!(e.to_string(), "ACPI table APIC, offset 52: entry shorter than its kind needs");
    assert_eq!(error(&[cpu(0, true), vec![0, 8, 1]]).problem, "entry runs past the table's end");
    assert_eq!(error(&[cpu(0, true), vec![0]]).problem, "entry cut off");
    assert_eq!(error(&[cpu(0, true), vec![9, 8, 0, 0, 0, 0, 0, 0]]).offset, 52);
    assert_eq!(error(&[cpu(0, true), cpu(2, true), cpu(2, true)]).problem, "an APIC id occurs twice");
    assert_eq!(error(&[cpu(3, true)]).problem, "does not list the CPU that booted");
}

#[test]
fn damage_in_any_table_is_found() {
    let read = |damage: &dyn Fn(&mut Pieces)| {
        let mut memory = machine(0, madt(&[cpu(0, true)]));
        damage(&mut memory);
        Acpi::read(&memory, 0x1000, 0)
    };
    assert_eq!(read(&|m| m.0[0].1[0] = 0).madt.expect_err("refused").problem, "wrong signature");
    assert_eq!(read(&|m| m.0[0].1[9] ^= 1).madt.expect_err("refused").problem, "wrong checksum");
    assert_eq!(read(&|m| m.0[1].1[4] = 3).madt.expect_err("refused").problem, "impossible length");
    assert_eq!(read(&|m| m.0[3].1[7] = 0x7F).madt.expect_err("refused").problem, "impossible length");
    assert_eq!(read(&|m| m.0[3].1[5] = 1).madt.expect_err("refused").problem, "runs out of readable memory");
    assert_eq!(read(&|m| m.0[3].1[40] ^= 1).madt.expect_err("refused").problem, "wrong checksum");
    let lost = read(&|m| m.0[4].0 = 0x9000).madt.expect_err("refused");
    assert_eq!((lost.table, lost.offset), (*b"RSDT", 36));
    assert_eq!(Acpi::read(&Pieces::default(), 0, 0).madt.expect_err("refused").table, *b"RSDP");

    let no_dsdt = read(&|m| m.0[5].0 = 0x9000);
    assert!(no_dsdt.madt.is_ok() && no_dsdt.fadt.is_ok());
    assert_eq!(no_dsdt.soft_off.expect_err("refused").table, *b"DSDT");
}

#[test]
fn missing_tables_are_named() {
    let mut memory = machine(0, madt(&[cpu(0, true)]));
    memory.0[3].1[0] = b'Q';
    let e = Acpi::read(&memory, 0x1000, 0).madt.expect_err("refused");
    assert_eq!((e.table, e.problem), (*b"APIC", "does not exist"));
}

#[test]
fn odd_soft_off_packages_are_refused() {
    let s5 = |bytes: &[u8]| soft_off_type(&[b"_S5_".as_slice(), bytes].concat());
    assert_eq!(s5(&[0x12, 0x04, 0x01, 0x00]), Ok(0));
    assert_eq!(s5(&[0x12, 0x44, 0x00, 0x01, 0x01]), Ok(1));
    assert_eq!(s5(&[0x12, 0x06, 0x04, 0x0A, 0x09]).expect_err("refused").offset, 7);
    assert!(s5(&[0x11]).is_err());
    assert!(s5(&[0x12]).is_err());
    assert!(soft_off_type(b"nothing").is_err());
}

#[test]
fn no_byte_string_makes_the_parsers_panic() {
    // A small xorshift instead of a fuzzing crate: every prefix and thousands of damaged tables.
    let good = madt(&[cpu(0, true), vec![1, 12, 0, 0, 0, 0, 0xC0, 0xFE, 0, 0, 0, 0]]);
    for end in 0..good.len() {
        let _ = Madt::parse(&good[..end], 0);
        let _ = Fadt::parse(&fadt()[..end]);
        let _ = soft_off_type(&dsdt()[..end.min(dsdt().len())]);
    }
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    for _ in 0..20_000 {
        let mut bad = good.clone();
        for _ in 0..3 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let at = state as usize % bad.len();
            bad[at] = (state >> 32) as u8;
        }
        let _ = Madt::parse(&bad, 0);
        seal(&mut bad, 9);
        let _ = read_madt(bad);
    }
}
