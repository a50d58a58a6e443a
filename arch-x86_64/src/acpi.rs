//! The few ACPI tables that this port needs: MADT (CPUs, I/O APICs), FADT (reset, power), the
//! `\_S5_` package of the DSDT, HPET, and ERST, which has a module of its own.
//!
//! Source: ACPI 6.5 §5.2.5 to §5.2.12, §4.8.3. Nothing here panics or follows a length that was not
//! checked: a bad table is an [`AcpiError`] that names the table and the offset in it.

use crate::erst::Erst;
use crate::physical::{PhysicalMemory, u8_at, u16_at, u32_at, u64_at};
use hal::MAX_CPUS;

/// Most I/O APICs kept.
pub const IO_APICS_MAX: usize = 4;

/// Length of the header that all system description tables share.
pub(crate) const TABLE_HEADER_LEN: usize = 36;
/// Longer tables are taken for damage; the largest seen DSDTs have a few hundred KiB.
const TABLE_MAX: u32 = 16 << 20;

/// What is wrong, and where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AcpiError {
    /// Signature of the table, for instance `APIC`.
    pub table: [u8; 4],
    /// Byte offset in the table.
    pub offset: usize,
    /// What is wrong there.
    pub problem: &'static str,
}

/// What is wrong with a table that is not there.
const MISSING: &str = "does not exist";

impl AcpiError {
    /// Whether there is no such table at all.
    pub fn is_missing(&self) -> bool {
        self.problem == MISSING
    }
}

impl core::fmt::Display for AcpiError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let name = core::str::from_utf8(&self.table).unwrap_or("????");
        write!(f, "ACPI table {name}, offset {}: {}", self.offset, self.problem)
    }
}

fn error(table: [u8; 4], offset: usize, problem: &'static str) -> AcpiError {
    AcpiError { table, offset, problem }
}

/// An I/O APIC.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct IoApic {
    /// Physical address of its registers.
    pub address: u32,
    /// First global system interrupt that it serves.
    pub first_gsi: u32,
}

/// How an ISA interrupt reaches the I/O APICs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IsaRoute {
    /// Global system interrupt.
    pub gsi: u32,
    /// The line is active low.
    pub active_low: bool,
    /// The line is level triggered.
    pub level: bool,
}

/// What the MADT says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Madt {
    apic_ids: [u32; MAX_CPUS],
    cpu_count: usize,
    /// Enabled CPUs beyond [`MAX_CPUS`].
    pub cpus_ignored: usize,
    io_apics: [IoApic; IO_APICS_MAX],
    io_apic_count: usize,
    /// Where the first serial port's interrupt (ISA 4) goes.
    pub serial: IsaRoute,
}

impl Madt {
    /// What is assumed when there is no MADT: one CPU, no I/O APIC.
    pub const fn single(boot_apic_id: u32) -> Madt {
        let mut apic_ids = [0; MAX_CPUS];
        apic_ids[0] = boot_apic_id;
        Madt {
            apic_ids,
            cpu_count: 1,
            cpus_ignored: 0,
            io_apics: [IoApic { address: 0, first_gsi: 0 }; IO_APICS_MAX],
            io_apic_count: 0,
            serial: IsaRoute { gsi: 4, active_low: false, level: false },
        }
    }

    /// APIC ids by logical CPU number; the boot CPU comes first, the others in the table's order.
    pub fn apic_ids(&self) -> &[u32] {
        self.apic_ids.get(..self.cpu_count).unwrap_or(&[])
    }

    /// The I/O APICs.
    pub fn io_apics(&self) -> &[IoApic] {
        self.io_apics.get(..self.io_apic_count).unwrap_or(&[])
    }

    fn add_cpu(&mut self, apic_id: u32, flags: u32, offset: usize) -> Result<(), AcpiError> {
        if flags & 1 == 0 || Some(&apic_id) == self.apic_ids().first() {
            return Ok(());
        }
        if self.apic_ids().contains(&apic_id) {
            return Err(error(*b"APIC", offset, "an APIC id occurs twice"));
        }
        match self.apic_ids.get_mut(self.cpu_count) {
            Some(slot) => {
                *slot = apic_id;
                self.cpu_count += 1;
            }
            None => self.cpus_ignored += 1,
        }
        Ok(())
    }

    /// Parses a MADT whose header was checked.
    fn parse(table: &[u8], boot_apic_id: u32) -> Result<Madt, AcpiError> {
        let mut madt = Madt::single(boot_apic_id);
        let mut boot_cpu_seen = false;
        let mut offset = 44;
        if table.len() < offset {
            return Err(error(*b"APIC", table.len(), "shorter than its fixed part"));
        }
        while offset < table.len() {
            let fail = |problem| error(*b"APIC", offset, problem);
            let (Some(kind), Some(len)) = (u8_at(table, offset), u8_at(table, offset + 1)) else {
                return Err(fail("entry cut off"));
            };
            let len = usize::from(len);
            let needed = match kind {
                0 => 8,
                1 => 12,
                2 => 10,
                9 => 16,
                _ => 2,
            };
            if len < needed {
                return Err(fail("entry shorter than its kind needs"));
            }
            let entry = table.get(offset..offset + len).ok_or(fail("entry runs past the table's end"))?;
            let long = |at| u32_at(entry, at).unwrap_or(0);
            match kind {
                0 => {
                    let id = u32::from(u8_at(entry, 3).unwrap_or(0));
                    boot_cpu_seen |= id == boot_apic_id && long(4) & 1 != 0;
                    madt.add_cpu(id, long(4), offset)?;
                }
                9 => {
                    boot_cpu_seen |= long(4) == boot_apic_id && long(8) & 1 != 0;
                    madt.add_cpu(long(4), long(8), offset)?;
                }
                1 => {
                    if let Some(slot) = madt.io_apics.get_mut(madt.io_apic_count) {
                        *slot = IoApic { address: long(4), first_gsi: long(8) };
                        madt.io_apic_count += 1;
                    }
                }
                2 if u8_at(entry, 3) == Some(4) => {
                    // Polarity in bits 0-1, trigger in bits 2-3; 3 = active low, level.
                    let flags = u16_at(entry, 8).unwrap_or(0);
                    madt.serial =
                        IsaRoute { gsi: long(4), active_low: flags & 3 == 3, level: flags >> 2 & 3 == 3 };
                }
                _ => {}
            }
            offset += len;
        }
        if !boot_cpu_seen {
            return Err(error(*b"APIC", 44, "does not list the CPU that booted"));
        }
        Ok(madt)
    }
}

/// A register in I/O or memory space, and a value for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ResetRegister {
    /// I/O port.
    pub port: u16,
    /// Value that resets the machine.
    pub value: u8,
}

/// What the FADT says about reset and power.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fadt {
    /// The reset register, if there is one in I/O space.
    pub reset: Option<ResetRegister>,
    /// I/O port of the PM1a control block; `None` if the table has none.
    pub pm1a_control: Option<u16>,
    /// Physical address of the DSDT.
    pub dsdt: u64,
}

impl Fadt {
    fn parse(table: &[u8]) -> Result<Fadt, AcpiError> {
        let fail = |offset, problem| error(*b"FACP", offset, problem);
        let long = |offset| u32_at(table, offset).ok_or(fail(offset, "cut off"));
        let flags = long(112)?;
        let pm1a = long(64)?;
        let pm1a_control = match u16::try_from(pm1a) {
            Ok(0) => None,
            Ok(port) => Some(port),
            Err(_) => return Err(fail(64, "PM1a control block is not an I/O port")),
        };
        // RESET_REG_SUP is bit 10; the register is a generic address: space 1 is I/O.
        let mut reset = None;
        if flags & 1 << 10 != 0 && u8_at(table, 116) == Some(1) {
            let address = u64_at(table, 120).ok_or(fail(120, "cut off"))?;
            let port = u16::try_from(address).map_err(|_| fail(120, "reset register is not an I/O port"))?;
            reset = Some(ResetRegister { port, value: u8_at(table, 128).ok_or(fail(128, "cut off"))? });
        }
        let extended = u64_at(table, 140).unwrap_or(0);
        let dsdt = if extended != 0 { extended } else { u64::from(long(40)?) };
        Ok(Fadt { reset, pm1a_control, dsdt })
    }
}

/// Finds SLP_TYPa of `\_S5_` in AML, without an interpreter: the name, a package operator, and a
/// first element that is a plain byte. Everything that firmware is known to do; anything else is an
/// error.
fn soft_off_type(dsdt: &[u8]) -> Result<u8, AcpiError> {
    let fail = |offset, problem| error(*b"DSDT", offset, problem);
    let name =
        dsdt.windows(4).position(|w| w == b"_S5_").ok_or(fail(TABLE_HEADER_LEN, "has no _S5_ package"))?;
    let package = name + 4;
    if u8_at(dsdt, package) != Some(0x12) {
        return Err(fail(package, "_S5_ is not a plain package"));
    }
    // The length's lead byte says in bits 6-7 how many bytes follow it; then the element count.
    let lead = u8_at(dsdt, package + 1).ok_or(fail(package + 1, "_S5_ cut off"))?;
    let element = package + 3 + usize::from(lead >> 6);
    match (u8_at(dsdt, element), u8_at(dsdt, element + 1)) {
        (Some(0x00), _) => Ok(0),
        (Some(0x01), _) => Ok(1),
        (Some(0x0A), Some(value)) if value < 8 => Ok(value),
        _ => Err(fail(element, "_S5_ does not begin with a small number")),
    }
}

/// The tables, each with its own outcome: a damaged DSDT does not cost the CPUs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Acpi {
    /// CPUs and interrupt controllers.
    pub madt: Result<Madt, AcpiError>,
    /// Reset and power.
    pub fadt: Result<Fadt, AcpiError>,
    /// SLP_TYPa for soft-off.
    pub soft_off: Result<u8, AcpiError>,
    /// Physical address of the first HPET's registers.
    pub hpet: Result<u64, AcpiError>,
    /// The error record store.
    pub erst: Result<Erst, AcpiError>,
}

/// The register block of an `HPET` table (HPET specification 1.0a, 3.2.4): a generic address at
/// offset 40, which has to be in memory space (0) and page-aligned.
fn hpet_address(table: &[u8]) -> Result<u64, AcpiError> {
    let fail = |offset, problem| error(*b"HPET", offset, problem);
    if u8_at(table, 40) != Some(0) {
        return Err(fail(40, "registers are not in memory"));
    }
    let address = u64_at(table, 44).ok_or(fail(44, "cut off"))?;
    if address == 0 || !address.is_multiple_of(0x1000) {
        return Err(fail(44, "no page of registers"));
    }
    Ok(address)
}

impl Acpi {
    /// Reads the tables below the root pointer at `rsdp`. `boot_apic_id` is that of the executing CPU,
    /// which becomes logical CPU 0.
    pub fn read(memory: &impl PhysicalMemory, rsdp: u64, boot_apic_id: u32) -> Acpi {
        let root = match Root::find(memory, rsdp) {
            Ok(root) => root,
            Err(e) => {
                return Acpi { madt: Err(e), fadt: Err(e), soft_off: Err(e), hpet: Err(e), erst: Err(e) };
            }
        };
        let madt = root.table(memory, *b"APIC").and_then(|table| Madt::parse(table, boot_apic_id));
        let fadt = root.table(memory, *b"FACP").and_then(Fadt::parse);
        let soft_off = fadt
            .and_then(|fadt| checked_table(memory, fadt.dsdt, Some(*b"DSDT"), *b"DSDT"))
            .and_then(soft_off_type);
        let hpet = root.table(memory, *b"HPET").and_then(hpet_address);
        let erst = root.table(memory, *b"ERST").and_then(Erst::parse);
        Acpi { madt, fadt, soft_off, hpet, erst }
    }
}

/// The RSDT or XSDT.
struct Root<'a> {
    table: &'a [u8],
    name: [u8; 4],
    wide: bool,
}

impl<'a> Root<'a> {
    fn find(memory: &'a impl PhysicalMemory, rsdp: u64) -> Result<Self, AcpiError> {
        let fail = |offset, problem| error(*b"RSDP", offset, problem);
        if rsdp == 0 {
            return Err(fail(0, "firmware gave no root pointer"));
        }
        let pointer = memory.bytes(rsdp, 20).ok_or(fail(0, "lies outside readable memory"))?;
        if pointer.get(..8) != Some(b"RSD PTR ".as_slice()) {
            return Err(fail(0, "wrong signature"));
        }
        if sum(pointer) != 0 {
            return Err(fail(8, "wrong checksum"));
        }
        let rsdt = u64::from(u32_at(pointer, 16).unwrap_or(0));
        let mut xsdt = 0;
        if u8_at(pointer, 15).unwrap_or(0) >= 2 {
            let long = memory.bytes(rsdp, 36).ok_or(fail(20, "extended part outside readable memory"))?;
            if sum(long) != 0 {
                return Err(fail(32, "wrong extended checksum"));
            }
            xsdt = u64_at(long, 24).unwrap_or(0);
        }
        let (address, name, wide) = if xsdt != 0 { (xsdt, *b"XSDT", true) } else { (rsdt, *b"RSDT", false) };
        Ok(Root { table: checked_table(memory, address, Some(name), name)?, name, wide })
    }

    /// The first table with this signature.
    fn table(&self, memory: &'a impl PhysicalMemory, wanted: [u8; 4]) -> Result<&'a [u8], AcpiError> {
        let step = if self.wide { 8 } else { 4 };
        let mut offset = TABLE_HEADER_LEN;
        while offset + step <= self.table.len() {
            let address = if self.wide {
                u64_at(self.table, offset).unwrap_or(0)
            } else {
                u64::from(u32_at(self.table, offset).unwrap_or(0))
            };
            let signature =
                memory.bytes(address, 4).ok_or(error(self.name, offset, "points outside readable memory"))?;
            if signature == wanted {
                return checked_table(memory, address, Some(wanted), wanted);
            }
            offset += step;
        }
        Err(error(wanted, 0, MISSING))
    }
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

/// A whole table at `address`, its signature, length and checksum checked.
fn checked_table(
    memory: &impl PhysicalMemory,
    address: u64,
    signature: Option<[u8; 4]>,
    name: [u8; 4],
) -> Result<&[u8], AcpiError> {
    let fail = |offset, problem| error(name, offset, problem);
    let header =
        memory.bytes(address, TABLE_HEADER_LEN as u64).ok_or(fail(0, "lies outside readable memory"))?;
    if signature.is_some_and(|wanted| header.get(..4) != Some(wanted.as_slice())) {
        return Err(fail(0, "wrong signature"));
    }
    let len = u32_at(header, 4).unwrap_or(0);
    if !(TABLE_HEADER_LEN as u32..=TABLE_MAX).contains(&len) {
        return Err(fail(4, "impossible length"));
    }
    let table = memory.bytes(address, u64::from(len)).ok_or(fail(4, "runs out of readable memory"))?;
    if sum(table) != 0 {
        return Err(fail(9, "wrong checksum"));
    }
    Ok(table)
}

#[cfg(test)]
mod tests;
