//! The jump into the crash image.
//!
//! Protocol: firmware's (README.md): translation off, a0 = hart id, a1 = flattened device tree. The tree is firmware's
//! with another command line, whose value is filled in at the jump; all the rest of it is inside the digest.

#![cfg(mayday_metal)]

use crate::asm::{self, symbols};
use crate::devicetree::{self, COMMAND_LINE};
use crate::platform::Port;
use crate::{boot, ipi, mmu, plic};
use core::fmt::{self, Write};
use core::ops::Range;
use crash_image::abi::{EM_RISCV, ET_DYN};
use crash_image::{Address, AnyEndian, Format, Plan};
use hal::Unsupported;
use hal::clock::Clock;
use hal::cpu::Cpu;
use hal::kexec::{Handoff, Image, Kexec, KexecError, Quiesced, Verified};
use sha2::{Digest, Sha256};
use spin::Once;

/// The crash region: 64 MiB, 64 MiB into RAM. QEMU puts the crash module behind it.
const REGION: (u64, u64) = (0x8400_0000, 0x0400_0000);
/// What the end of the region is kept for: the device tree.
const TREE_ROOM: u64 = 128 << 10;
const _: () = assert!(boot::TREE + COMMAND_LINE <= TREE_ROOM as usize);
/// Loaded where the crash region is, and entered at its entry point there.
const FORMAT: Format = Format {
    endian: AnyEndian::Little,
    machine: EM_RISCV,
    kind: ET_DYN,
    flags: (0, 0),
    address: Address::Virtual,
};
/// The key that tells a capture kernel where the record is.
const RECORD_KEY: &str = "capture.record";

/// The crash image and everything needed to enter it.
struct Loaded {
    image: Image,
    /// Bytes from the base that the digest covers: all that came from the file.
    covered: usize,
    digest: [u8; 32],
    /// Address and length in bytes of the device tree, and where in it the command line goes.
    tree: u64,
    tree_len: usize,
    command_line_slot: Range<usize>,
    command_line: [u8; COMMAND_LINE],
    command_line_len: usize,
}

static LOADED: Once<Result<Loaded, KexecError>> = Once::new();

/// kexec by a flattened device tree.
#[derive(Clone, Copy, Debug)]
pub struct DeviceTreeKexec;

/// The crash region: physical base and length in bytes. Whether this kernel can have it is [`usable_region`]'s to say.
pub fn region() -> (u64, u64) {
    REGION
}

/// Whether this is a crash kernel: it runs in the crash region.
pub fn is_crash_kernel() -> bool {
    let (base, len) = REGION;
    (base..base + len).contains(&symbols::image_start())
}

/// The crash region, or why this kernel cannot have one.
pub fn usable_region() -> Result<(u64, u64), Unsupported> {
    let machine = boot::machine().ok_or(Unsupported::new("the device tree was not read yet"))?;
    let (base, len) = REGION;
    let overlaps = |start: u64, end: u64| start < base + len && base < end;
    if overlaps(symbols::image_start(), symbols::image_end()) {
        return Err(Unsupported::new("this kernel runs in the crash region"));
    }
    if !machine.is_ram(base, len) {
        return Err(Unsupported::new("no RAM for the crash region, or firmware has reserved it"));
    }
    if machine.initrd.is_some_and(|(start, end)| overlaps(start, end)) {
        return Err(Unsupported::new("firmware put the crash module into the crash region"));
    }
    Ok(REGION)
}

/// The crash image that the boot loader handed over (`-initrd`), as bytes.
pub fn crash_module() -> Option<&'static [u8]> {
    let (start, end) = boot::machine()?.initrd?;
    // SAFETY: the loader put it there and states its bounds; it is mapped read-only and nothing else refers to it.
    Some(unsafe { core::slice::from_raw_parts(start as *const u8, (end - start) as usize) })
}

/// Places the ELF image `elf` into the crash region (base, length in bytes), which must be [`region`]'s, with the command
/// line that it will get (`capture.record` is added at the jump). Once, at boot; later calls are refused and change
/// nothing.
pub fn load(elf: &'static [u8], region: (u64, u64), command_line: &str) -> Result<Image, KexecError> {
    if LOADED.get().is_some() {
        return Err(KexecError::Failed("an image was loaded, or refused, before"));
    }
    match LOADED.call_once(|| place(elf, region, command_line)) {
        Ok(loaded) => Ok(loaded.image),
        Err(error) => Err(*error),
    }
}

fn place(elf: &[u8], region: (u64, u64), command_line: &str) -> Result<Loaded, KexecError> {
    if usable_region().map_err(|unsupported| KexecError::NoImage(unsupported.reason))? != region {
        return Err(KexecError::NoImage("the region given is not the crash region"));
    }
    let (base, len) = region;
    let plan = crash_image::plan(elf, &FORMAT).map_err(KexecError::NoImage)?;
    if plan.memory_end as u64 > len - TREE_ROOM {
        return Err(KexecError::NoImage("the crash module does not fit into the crash region"));
    }
    let entry = plan.entry.wrapping_sub(plan.base);
    if entry >= plan.file_end as u64 {
        return Err(KexecError::NoImage("the crash module's entry point lies outside of it"));
    }
    let mut kept = [0; COMMAND_LINE];
    let room =
        kept.get_mut(..command_line.len()).ok_or(KexecError::NoImage("the command line is too long"))?;
    room.copy_from_slice(command_line.as_bytes());

    mmu::set_region_writable(region, true);
    // SAFETY: the region is RAM that nothing else uses, and writable now; no other reference to it exists.
    let memory = unsafe { core::slice::from_raw_parts_mut(base as *mut u8, len as usize) };
    let placed = fill(memory, elf, &plan);
    mmu::set_region_writable(region, false);
    let (tree_len, command_line_slot) = placed.map_err(KexecError::NoImage)?;
    let mut loaded = Loaded {
        image: Image { entry: base + entry, base, len, build_id: plan.build_id, digest_ns: 0 },
        covered: plan.file_end,
        digest: [0; 32],
        tree: base + len - TREE_ROOM,
        tree_len,
        command_line_slot,
        command_line: kept,
        command_line_len: command_line.len(),
    };
    let start = Port.now_ns();
    loaded.digest =
        digest(&loaded).ok_or(KexecError::NoImage("the device tree's parts are not inside it"))?;
    loaded.image.digest_ns = Port.now_ns().saturating_sub(start);
    Ok(loaded)
}

/// Spoils the loaded image by one byte, as stray DMA may: for tests of [`Kexec::verify`]. On the boot CPU, before
/// secondaries start.
pub fn flip_byte() {
    let Ok(loaded) = loaded() else { return };
    let region = (loaded.image.base, loaded.image.len);
    let byte = (loaded.image.base + loaded.covered as u64 / 2) as *mut u8;
    mmu::set_region_writable(region, true);
    // SAFETY: inside the image, in RAM that is writable now; nobody else refers to it at this time.
    unsafe { byte.write_volatile(byte.read_volatile() ^ 1) };
    mmu::set_region_writable(region, false);
}

/// Writes image and device tree; returns the tree's length in bytes and where the command line goes.
fn fill(memory: &mut [u8], elf: &[u8], plan: &Plan) -> Result<(usize, Range<usize>), &'static str> {
    const BOUNDS: &str = "the crash module does not fit into the crash region";
    let (image, tree) = memory.split_at_mut_checked(memory.len() - TREE_ROOM as usize).ok_or(BOUNDS)?;
    plan.place(elf, image).ok_or(BOUNDS)?;
    devicetree::write_for_crash(boot::tree(), tree)
        .map_err(|_| "the device tree could not be copied for the crash image")
}

/// SHA-256 over all that came from the file, and all of the device tree but the command line's value. `None` if the tree
/// has no such parts.
fn digest(loaded: &Loaded) -> Option<[u8; 32]> {
    // SAFETY: the region is RAM and mapped readable; it is written only in `fill`, before this is called, and in `jump`,
    // after it.
    let (image, tree) = unsafe {
        (
            core::slice::from_raw_parts(loaded.image.base as *const u8, loaded.covered),
            core::slice::from_raw_parts(loaded.tree as *const u8, loaded.tree_len),
        )
    };
    let mut hash = Sha256::new();
    hash.update(image);
    hash.update(tree.get(..loaded.command_line_slot.start)?);
    hash.update(tree.get(loaded.command_line_slot.end..)?);
    Some(hash.finalize().into())
}

fn loaded() -> Result<&'static Loaded, KexecError> {
    match LOADED.get() {
        Some(Ok(loaded)) => Ok(loaded),
        Some(Err(error)) => Err(*error),
        None => Err(KexecError::NoImage("none was loaded")),
    }
}

impl Kexec for DeviceTreeKexec {
    fn image(&self) -> Result<&Image, KexecError> {
        loaded().map(|loaded| &loaded.image)
    }

    fn verify(&self) -> Result<Verified<'_>, KexecError> {
        let loaded = loaded()?;
        if digest(loaded) == Some(loaded.digest) {
            Ok(Verified::attest(&loaded.image))
        } else {
            Err(KexecError::Digest)
        }
    }

    /// Sources are masked at the controller. An IPI has no source: one that came while interrupts were masked is taken
    /// back. On the CPU that jumps, which is the only one that the next kernel runs on.
    fn quiesce(&self) -> Result<Quiesced, KexecError> {
        let sources = plic::disable_all();
        ipi::drop_pending();
        Ok(Quiesced { sources, refused: 0 })
    }

    fn jump(&self, image: Verified<'_>, handoff: &Handoff) -> KexecError {
        let loaded = match loaded() {
            Ok(loaded) if loaded.image == *image.image() => loaded,
            Ok(_) => return KexecError::NoImage("another image was verified"),
            Err(error) => return error,
        };
        let harts = boot::machine().map(|machine| machine.harts()).unwrap_or_default();
        let Some(hart) = harts.get(Port.current().index()) else {
            return KexecError::Failed("this CPU has no hart id");
        };
        let region = (loaded.image.base, loaded.image.len);
        // For all CPUs: there is one set of tables. Parked ones write nothing; a missing one that looks again may write there
        // from now on, and nothing here can keep it out (README.md, "Known gaps").
        mmu::set_region_writable(region, true);
        if complete_tree(loaded, handoff).is_none() {
            mmu::set_region_writable(region, false);
            return KexecError::Failed("the command line of the crash image is too long");
        }
        // SAFETY: the image was verified and its tree is complete. Others are parked or go there, each by page tables of
        // this kernel, which the next one does not touch.
        unsafe { asm::riscv_kexec_jump(*hart, loaded.tree, loaded.image.entry) }
    }
}

/// Puts the command line into the crash image's device tree.
fn complete_tree(loaded: &Loaded, handoff: &Handoff) -> Option<()> {
    // SAFETY: the end of the crash region, writable now; this CPU owns the panic, so no other refers to it.
    let tree = unsafe { core::slice::from_raw_parts_mut(loaded.tree as *mut u8, TREE_ROOM as usize) };
    let mut value = Text { bytes: [0; 48], len: 0 };
    write!(value, "{:#x},{:#x}", handoff.record, handoff.record_len).ok()?;
    let value = value.bytes.get(..value.len).and_then(|bytes| str::from_utf8(bytes).ok())?;
    let base =
        loaded.command_line.get(..loaded.command_line_len).and_then(|bytes| str::from_utf8(bytes).ok())?;
    let room = tree.get_mut(loaded.command_line_slot.clone())?;
    devicetree::patch_command_line(room, base, RECORD_KEY, value)
}

/// A short text without allocation.
struct Text {
    bytes: [u8; 48],
    len: usize,
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.len.checked_add(text.len()).ok_or(fmt::Error)?;
        self.bytes.get_mut(self.len..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}
