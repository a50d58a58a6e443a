//! From firmware's or kexec's jump to `mayday_main`.

#![cfg(mayday_metal)]

use crate::asm::symbols;
use crate::cpu::{self, Msr};
use crate::devicetree::{COMMAND_LINE, Machine};
use crate::flat::{self, Writer};
use crate::openfirmware::OpenFirmware;
use crate::{clock, console, mmu, percpu, stack, trap, xics};
use core::cell::UnsafeCell;
use core::sync::atomic::Ordering;
use hal::CpuId;
use hal::boot::BootInfo;
use spin::Once;

unsafe extern "Rust" {
    /// Where the boot CPU enters the kernel.
    fn mayday_main(boot: &'static BootInfo) -> !;
}

/// Room for the flattened device tree: a machine with 16 CPUs needs 40 KiB.
const TREE: usize = 256 << 10;
/// Room for the names of properties while it is written.
const NAMES: usize = 8 << 10;

/// Memory that the boot CPU alone writes, before any other runs.
#[repr(C, align(16))]
struct BootMemory<const N: usize>(UnsafeCell<[u8; N]>);

// SAFETY: written only by the boot CPU before it starts others or enters the kernel, read only
// afterwards.
unsafe impl<const N: usize> Sync for BootMemory<N> {}

static TREE_BYTES: BootMemory<TREE> = BootMemory(UnsafeCell::new([0; TREE]));
static NAME_BYTES: BootMemory<NAMES> = BootMemory(UnsafeCell::new([0; NAMES]));
static MACHINE: Once<Machine> = Once::new();
static TREE_LENGTH: Once<usize> = Once::new();
static INFORMATION: Once<BootInfo> = Once::new();

/// The machine, once the device tree was read.
pub fn machine() -> Option<&'static Machine> {
    MACHINE.get()
}

/// The flattened device tree, once it was read.
pub fn tree() -> &'static [u8] {
    let length = TREE_LENGTH.get().copied().unwrap_or(0);
    // SAFETY: never written again once the length is set.
    let bytes = unsafe { &*TREE_BYTES.0.get() };
    bytes.get(..length).unwrap_or_default()
}

/// The first Rust code: on the boot CPU's main stack, translation and interrupts off, .bss zeroed,
/// image relocated.
///
/// `first`, `second`, `firmware`: r3, r4, r5 as the boot protocol left them. `base`: address of the
/// image. `strange_relocations`: relocation records that the entry code does not know.
#[unsafe(no_mangle)]
extern "C" fn ppc_boot(first: u64, _second: u64, firmware: u64, base: u64, strange_relocations: u64) -> ! {
    percpu::prepare(CpuId::BOOT, 0, Msr::REAL);
    // SAFETY: the boot CPU runs this, and its area was just prepared.
    unsafe { percpu::install(CpuId::BOOT) };
    if strange_relocations != 0 {
        console::stop_with("the image has relocations other than R_PPC64_RELATIVE");
    }
    if symbols::stacks_end() - symbols::stacks_start() != stack::SLOT * stack::COUNT as u64 {
        console::stop_with("the linker script reserves another number of stacks");
    }
    // SAFETY: only this CPU runs, and nothing else refers to the two buffers yet.
    let (tree, names) = unsafe { (&mut *TREE_BYTES.0.get(), &mut *NAME_BYTES.0.get()) };
    let length = if firmware == 0 { copy_tree(first, tree) } else { flatten(firmware, tree, names) };
    TREE_LENGTH.call_once(|| length);
    let machine = match Machine::read(self::tree()) {
        Ok(machine) => MACHINE.call_once(|| machine),
        Err(error) => console::stop_with(error.reason()),
    };
    if machine.command_line_cut {
        const { assert!(COMMAND_LINE == 1024, "as the text says") };
        console::print(&[b"mayday ppc64: the command line is longer than 1024 bytes; the rest is ignored\n"]);
    }
    clock::calibrate(machine.timebase_frequency);
    if let Some(unit) = machine.console_unit {
        console::select(unit);
    }
    let own = percpu::own();
    let hardware_id = machine.cpus().first().copied().unwrap_or(0);
    own.hardware_id.store(u64::from(hardware_id), Ordering::Relaxed);
    if !machine.radix {
        console::stop_with("this CPU has no radix translation (POWER9 or later is needed)");
    }
    cpu::set_decrementer_bits(machine.decrementer_bits);
    // SAFETY: translation is off, firmware was called for the last time, the area is installed.
    unsafe { trap::install_vectors() };
    // SAFETY: once, on the boot CPU, in real mode, with vectors.
    if let Err(reason) = unsafe { mmu::start(machine) } {
        console::stop_with(reason);
    }
    own.handler_msr.store(Msr::TRANSLATED.bits(), Ordering::Release);
    xics::open();
    own.online.store(1, Ordering::Release);
    let information = INFORMATION.call_once(|| BootInfo {
        command_line: machine.command_line(),
        memory: machine.memory_bytes(),
        image_base: base,
        build_id: build_id(),
        cpus: machine.cpus().len() + machine.cpus_ignored,
        cpus_ignored: machine.cpus_ignored,
    });
    // SAFETY: the kernel defines it with this signature (hal::boot).
    unsafe { mayday_main(information) }
}

/// Copies the tree that kexec passed.
fn copy_tree(address: u64, room: &mut [u8]) -> usize {
    if address == 0 || !address.is_multiple_of(4) {
        console::stop_with("kexec passed no device tree");
    }
    // SAFETY: kexec's protocol: r3 is the real address of a flattened device tree, which has a 40-byte
    // header.
    let header = unsafe { core::slice::from_raw_parts(address as *const u8, 40) };
    let Some(length) = flat::stated_length(header) else { console::stop_with("kexec passed no device tree") };
    let Some(room) = room.get_mut(..length) else { console::stop_with("the device tree is too large") };
    // SAFETY: the header says that the tree has this many bytes.
    room.copy_from_slice(unsafe { core::slice::from_raw_parts(address as *const u8, length) });
    length
}

/// Gets the tree from Open Firmware.
fn flatten(entry: u64, room: &mut [u8], names: &mut [u8]) -> usize {
    // SAFETY: what firmware passed, before anything was written to memory that is not the image's.
    let firmware = unsafe { OpenFirmware::new(entry) };
    let rtas = firmware.instantiate_rtas();
    match firmware.flatten(Writer::new(room, names), rtas) {
        Ok(length) => length,
        Err(_) => console::stop_with("the device tree does not fit into 256 KiB"),
    }
}

/// First eight bytes of the build-id in the note that the linker wrote: name size, descriptor size,
/// type, "GNU", descriptor.
fn build_id() -> u64 {
    let (start, end) = (symbols::build_id_start(), symbols::build_id_end());
    if end < start || end - start < 24 {
        return 0;
    }
    // SAFETY: between the two symbols lies the note.
    unsafe { ((start + 16) as *const u64).read_unaligned() }
}
