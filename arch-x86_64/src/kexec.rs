//! The crash image: loading it at boot, checking it at the panic, entering it.
//!
//! The crash region, first byte first (offsets from its base):
//!
//! | offset | what | digest |
//! |---|---|---|
//! | 0x0000 | control page: GDT, IDT, jump code, its stack | yes |
//! | 0x1000 | start info and memory map for the crash kernel | yes |
//! | 0x2000 | its command line as given at load | yes |
//! | 0x3000 | its command line with the handoff: written at the jump | **no** |
//! | 0x4000 | control tables: identity below 1 GiB, this kernel's upper half | yes |
//! | 0x200000 | the image: every PT_LOAD at its p_paddr + base | yes |
//!
//! The image is entered at its own PVH entry, so that a crash kernel boots as any other.

pub mod command_line;
pub mod control;

use crate::physical::{u32_at, u64_at};
use crash_image::abi::{EM_X86_64, ET_EXEC};
use crash_image::{Address, AnyEndian, Format, Plan};

/// Physical base of the crash region.
pub const REGION_BASE: u64 = 0x0400_0000;
/// Its length in bytes. A machine needs `REGION_BASE + REGION_LEN` of RAM, and room for the module.
pub const REGION_LEN: u64 = 32 << 20;

/// A static executable, placed by its physical addresses, as many bytes further on as the region's base says.
pub const FORMAT: Format = Format {
    endian: AnyEndian::Little,
    machine: EM_X86_64,
    kind: ET_EXEC,
    flags: (0, 0),
    address: Address::Physical,
};

/// Where the image is entered, in bytes from the region's base: what its PVH note says, which has four or eight bytes.
/// Checks that the image lies behind the control area, and within the region.
///
/// Source: Xen ELF note 18.
pub fn entry(elf: &[u8], plan: &Plan) -> Result<u64, &'static str> {
    if plan.base < control::AREA || plan.base.saturating_add(plan.memory_end as u64) > REGION_LEN {
        return Err("the crash module does not fit into the crash region");
    }
    let note = crash_image::note(elf, &FORMAT, "Xen", 18).ok_or("the crash module has no PVH entry note")?;
    let entry = u64_at(note, 0).or(u32_at(note, 0).map(u64::from));
    let inside = |entry: &u64| {
        let offset = entry.wrapping_sub(plan.base);
        let within = |at: u64, size: usize| at < size as u64;
        let mut segments = plan.segments().iter();
        segments.any(|s| offset.checked_sub(s.offset as u64).is_some_and(|at| within(at, s.file_size)))
    };
    entry.filter(inside).ok_or("the crash module's PVH entry lies outside of it")
}

const _: () = assert!(REGION_BASE + REGION_LEN <= 1 << 30, "the control tables map one GiB");

#[cfg(mayday_metal)]
pub use metal::*;

#[cfg(mayday_metal)]
mod metal {
    use super::{FORMAT, REGION_BASE, REGION_LEN, command_line, control};
    use crate::asm::{self, symbols};
    use crate::platform::{PORT, Port};
    use crate::{apic, boot, io_apic, mmu, pvh, timer, trap};
    use crash_image::Plan;
    use hal::clock::Clock;
    use hal::kexec::{Handoff, Image, Kexec, KexecError, Quiesced, Verified};
    use sha2::{Digest, Sha256};
    use spin::Once;

    struct Loaded {
        image: Image,
        /// The bytes that came from the file: where in the region, and how many.
        covered: (u64, u64),
        digest: [u8; 32],
    }

    static LOADED: Once<Result<Loaded, KexecError>> = Once::new();

    /// The physical range reserved for the crash image, whether or not the machine has RAM there.
    pub fn region() -> (u64, u64) {
        (REGION_BASE, REGION_LEN)
    }

    /// The module that the loader passed (`-initrd`), which holds the crash image's ELF.
    pub fn crash_module() -> Option<&'static [u8]> {
        let (start, len) = boot::machine()?.start.module?;
        mmu::map_physical(start, len)
    }

    /// Copies `image_elf` into the crash region and takes its digest. `region` must be [`region`]'s.
    ///
    /// Once, on the boot CPU, **before secondaries are started**: it makes the region writable and
    /// read-only again, on this CPU only.
    pub fn load(
        image_elf: &'static [u8],
        region: (u64, u64),
        command_line: &str,
    ) -> Result<Image, KexecError> {
        if LOADED.get().is_some() {
            return Err(KexecError::Failed("an image was loaded, or refused, before"));
        }
        match LOADED.call_once(|| place(image_elf, region, command_line)) {
            Ok(loaded) => Ok(loaded.image),
            Err(error) => Err(*error),
        }
    }

    fn place(image_elf: &[u8], region: (u64, u64), command_line: &str) -> Result<Loaded, KexecError> {
        let machine = boot::machine().ok_or(KexecError::NoImage("the machine's tables were not read"))?;
        if mmu::is_crash_kernel() {
            return Err(KexecError::NoImage("a crash kernel loads no image of its own"));
        }
        if region != self::region() {
            return Err(KexecError::NoImage("not the region that the page tables protect"));
        }
        if !machine.start.is_usable(REGION_BASE, REGION_LEN) {
            return Err(KexecError::NoImage("no RAM at 64..96 MiB for the crash region"));
        }
        let module = mmu::phys_of(image_elf.as_ptr());
        if module < REGION_BASE + REGION_LEN && module + image_elf.len() as u64 > REGION_BASE {
            return Err(KexecError::NoImage(
                "the image was loaded into the crash region: more RAM is needed",
            ));
        }
        let plan = crash_image::plan(image_elf, &FORMAT).map_err(KexecError::NoImage)?;
        let entry = REGION_BASE + super::entry(image_elf, &plan).map_err(KexecError::NoImage)?;
        let covered = (plan.base, plan.file_end as u64);
        // SAFETY: the boot CPU alone runs (contract of `load`).
        unsafe { mmu::set_region_writable(REGION_LEN, true) };
        let result = fill(image_elf, &plan, machine, command_line);
        // SAFETY: as above.
        unsafe { mmu::set_region_writable(REGION_LEN, false) };
        result?;
        let start = PORT.now_ns();
        let digest = digest(covered);
        let digest_ns = PORT.now_ns().saturating_sub(start);
        let image = Image { entry, base: REGION_BASE, len: REGION_LEN, build_id: plan.build_id, digest_ns };
        Ok(Loaded { image, covered, digest })
    }

    /// The crash region's bytes `[offset, offset + len)`, for writing.
    ///
    /// # Safety
    /// The region is writable, in RAM, and nothing else holds a reference into that part.
    unsafe fn part_mut<'a>(offset: u64, len: u64) -> &'a mut [u8] {
        // SAFETY: the caller's; offsets are constants or checked by the plan.
        unsafe {
            core::slice::from_raw_parts_mut(mmu::direct(REGION_BASE.wrapping_add(offset)), len as usize)
        }
    }

    /// The crash region's bytes `[offset, offset + len)`.
    fn part<'a>(offset: u64, len: u64) -> &'a [u8] {
        // SAFETY: in RAM (checked before any image counts as loaded) and in the direct map; written
        // only in `fill` and `jump`, when nothing else refers to it.
        unsafe { core::slice::from_raw_parts(mmu::direct(REGION_BASE.wrapping_add(offset)), len as usize) }
    }

    fn fill(
        image_elf: &[u8],
        plan: &Plan,
        machine: &boot::Machine,
        command_line: &str,
    ) -> Result<(), KexecError> {
        // SAFETY: writable now; the plan keeps the image inside the region (`entry`).
        let memory = unsafe { part_mut(plan.base, plan.file_end as u64) };
        plan.place(image_elf, memory).ok_or(KexecError::NoImage("segment outside the file"))?;
        // SAFETY: writable now; the control area does not overlap the image (`entry`).
        let area = unsafe { part_mut(0, control::AREA_USED) };
        area.fill(0);
        let too_small = KexecError::Failed("the control area is too small");
        let start = symbols::x86_control_start();
        // SAFETY: a constant that assembly defines, in .rodata.
        let code = unsafe {
            core::slice::from_raw_parts(start as *const u8, (symbols::x86_control_end() - start) as usize)
        };
        let nmi = control::NmiOffsets {
            protected: (symbols::x86_control_nmi_32() - start) as usize,
            long: (symbols::x86_control_nmi_64() - start) as usize,
        };
        let mut upper = [0u64; 256];
        for (slot, index) in upper.iter_mut().zip(256u64..) {
            // SAFETY: this kernel's root table lies in its image, which the direct map maps for reading.
            *slot = unsafe { mmu::direct::<u64>(mmu::root() + 8 * index).read_volatile() };
        }
        let mut pages = area.chunks_mut(4096);
        let mut page = || pages.next().ok_or(too_small);
        control::write_page(page()?, REGION_BASE, code, nmi).ok_or(too_small)?;
        pvh::write(
            page()?,
            REGION_BASE + control::START_INFO,
            REGION_BASE + control::COMMAND_LINE,
            machine.start.rsdp,
            machine.start.ranges(),
        )
        .ok_or(too_small)?;
        command_line::store(page()?, command_line)
            .ok_or(KexecError::NoImage("the crash kernel's command line is too long"))?;
        // SAFETY: as above; the earlier pages are not referred to any more.
        let tables = unsafe { part_mut(control::TABLES, control::AREA_USED - control::TABLES) };
        control::write_tables(tables, REGION_BASE + control::TABLES, &upper).ok_or(too_small)
    }

    /// Spoils the loaded image by one byte, as stray DMA may: for tests of [`Kexec::verify`]. On the boot CPU,
    /// before secondaries start.
    pub fn flip_byte() {
        let Ok(loaded) = loaded() else { return };
        let (start, len) = loaded.covered;
        let byte = mmu::direct::<u8>(REGION_BASE + start + len / 2);
        // SAFETY: the boot CPU alone runs; the byte is inside the image, in RAM that is writable then.
        unsafe {
            mmu::set_region_writable(REGION_LEN, true);
            byte.write_volatile(byte.read_volatile() ^ 1);
            mmu::set_region_writable(REGION_LEN, false);
        }
    }

    fn digest((start, len): (u64, u64)) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(part(0, control::COMMAND_LINE));
        hash.update(part(control::TABLES, control::AREA_USED - control::TABLES));
        hash.update(part(start, len));
        hash.finalize().into()
    }

    fn loaded() -> Result<&'static Loaded, KexecError> {
        match LOADED.get() {
            None => Err(KexecError::NoImage("none was loaded")),
            Some(Err(error)) => Err(*error),
            Some(Ok(loaded)) => Ok(loaded),
        }
    }

    impl Kexec for Port {
        fn image(&self) -> Result<&Image, KexecError> {
            loaded().map(|loaded| &loaded.image)
        }

        fn verify(&self) -> Result<Verified<'_>, KexecError> {
            let loaded = loaded()?;
            if digest(loaded.covered) != loaded.digest {
                return Err(KexecError::Digest);
            }
            Ok(Verified::attest(&loaded.image))
        }

        /// Masks every I/O APIC entry and this CPU's local vectors, LINT1 (the external NMI) included. The
        /// deadline timer's stays: it watches what is left to do, and whoever disarms it masks it. What has come
        /// already is taken.
        fn quiesce(&self) -> Result<Quiesced, KexecError> {
            let machine = boot::machine().ok_or(KexecError::Failed("the machine's tables were not read"))?;
            let (entries, refused) = io_apic::mask_all(&machine.madt, timer::interrupt());
            let sources = entries.saturating_add(apic::mask_local_vectors());
            let left = u32::from(!trap::take_latched());
            Ok(Quiesced { sources, refused: refused.saturating_add(left) })
        }

        fn jump(&self, image: Verified<'_>, handoff: &Handoff) -> KexecError {
            let image = image.image();
            // SAFETY: the others are parked or missing; no CPU changes tables. The image itself stays
            // read-only: what is written lies in the control area.
            unsafe { mmu::set_region_writable(control::AREA_USED, true) };
            // SAFETY: writable now; nothing refers to this page.
            let buffer = unsafe { part_mut(control::COMMAND_LINE, 4096) };
            let given = command_line::load(part(control::COMMAND_LINE_GIVEN, 4096));
            if command_line::with_record(given, handoff, buffer).is_none() {
                // SAFETY: as above; what another CPU may have cached is what it had before.
                unsafe { mmu::set_region_writable(control::AREA_USED, false) };
                return KexecError::Failed("the command line has no room for the handoff");
            }
            // SAFETY: the control page and tables were verified with the image; entry and start info lie
            // in the region, below 4 GiB. Nothing of this kernel is needed any more.
            unsafe {
                asm::x86_kexec_leave(
                    REGION_BASE + control::TABLES,
                    REGION_BASE,
                    image.entry,
                    REGION_BASE + control::START_INFO,
                )
            }
        }
    }
}

#[cfg(test)]
mod tests;
