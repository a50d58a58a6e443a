//! From firmware's jump to `mayday_main`.

#![cfg(mayday_metal)]

use crate::asm::{self, symbols};
use crate::devicetree::{self, COMMAND_LINE, Machine};
use crate::{clock, console, cpu, ipi, kexec, mmu, percpu, stack, timer};
use core::cell::UnsafeCell;
use core::sync::atomic::Ordering;
use hal::CpuId;
use hal::boot::BootInfo;
use spin::Once;

unsafe extern "Rust" {
    /// Where the boot CPU enters the kernel.
    fn mayday_main(boot: &'static BootInfo) -> !;
}

static MACHINE: Once<Machine> = Once::new();
static INFORMATION: Once<BootInfo> = Once::new();

/// The most that a device tree may have: one of a machine with 16 CPUs has 20 KiB.
pub const TREE: usize = 64 << 10;

/// The device tree, which is copied because firmware's may lie anywhere.
#[repr(C, align(8))]
struct TreeBytes(UnsafeCell<[u8; TREE]>);

// SAFETY: written only by the boot CPU before it starts others or enters the kernel, read only afterwards.
unsafe impl Sync for TreeBytes {}

static TREE_BYTES: TreeBytes = TreeBytes(UnsafeCell::new([0; TREE]));
static TREE_LENGTH: Once<usize> = Once::new();

/// The flattened device tree, once it was copied.
pub fn tree() -> &'static [u8] {
    let length = TREE_LENGTH.get().copied().unwrap_or(0);
    // SAFETY: never written again once the length is set.
    let bytes = unsafe { &*TREE_BYTES.0.get() };
    bytes.get(..length).unwrap_or_default()
}

/// The machine, once the device tree was read.
pub fn machine() -> Option<&'static Machine> {
    MACHINE.get()
}

/// The first Rust code: on the boot CPU's main stack, translation and interrupts off, .bss zeroed, image relocated.
/// `hart` and `tree`: a0 and a1 as firmware left them. `strange_relocations`: records that the entry code does not know.
#[unsafe(no_mangle)]
extern "C" fn riscv_boot(hart: u64, tree: u64, strange_relocations: u64) -> ! {
    percpu::prepare(CpuId::BOOT);
    // SAFETY: the boot CPU runs this, and its area was just prepared.
    unsafe { percpu::install(CpuId::BOOT) };
    if strange_relocations != 0 {
        console::stop_with("the image has relocations other than R_RISCV_RELATIVE");
    }
    if symbols::stacks_end() - symbols::stacks_start() != stack::SLOT * stack::COUNT as u64 {
        console::stop_with("the linker script reserves another number of stacks");
    }
    let machine =
        match copy_tree(tree).and_then(|bytes| Machine::read(bytes, hart).map_err(|error| error.reason())) {
            Ok(machine) => MACHINE.call_once(|| machine),
            Err(reason) => console::stop_with(reason),
        };
    hand_over(machine, hart, tree);
    clock::calibrate(machine.timebase_frequency);
    if let Some(uart) = machine.uart {
        // SAFETY: the device tree says that it is there; translation is off, and `mmu::start` maps it.
        unsafe { console::select(uart) };
    }
    if machine.command_line_cut {
        const { assert!(COMMAND_LINE == 2048, "as the text says") };
        console::print(&[
            b"mayday riscv64: the command line is longer than 2048 bytes; the rest is ignored\n",
        ]);
    }
    // SAFETY: once, on the boot CPU, with the trap entry installed; what the tree names is there.
    if let Err(reason) = unsafe { mmu::start(machine) } {
        console::stop_with(reason);
    }
    ipi::find();
    timer::find();
    cpu::listen();
    percpu::area(CpuId::BOOT).online.store(1, Ordering::Release);
    let information = INFORMATION.call_once(|| BootInfo {
        command_line: machine.command_line(),
        memory: machine.usable_bytes(),
        image_base: symbols::image_start(),
        build_id: build_id(),
        cpus: machine.harts().len() + machine.harts_ignored,
        cpus_ignored: machine.harts_ignored,
    });
    // SAFETY: the kernel defines it with this signature (hal::boot).
    unsafe { mayday_main(information) }
}

/// Firmware may boot any hart; the one with the lowest id shall, so that numbers here and outside are the same. It
/// begins anew with all that this one has written, which is zeroed or relocated again. Not in a crash kernel, whose other
/// CPUs are the first kernel's.
fn hand_over(machine: &Machine, hart: u64, tree: u64) {
    if kexec::is_crash_kernel() {
        return;
    }
    let lowest = machine.harts().iter().copied().min().unwrap_or(hart);
    if lowest != hart {
        // SAFETY: the other hart begins as this one did, with the same contract, and this one touches no memory any
        // more. If it is not started, nothing has changed.
        unsafe { asm::riscv_hand_over(lowest, symbols::entry(), tree) };
    }
}

/// Copies the tree, and returns the copy.
fn copy_tree(address: u64) -> Result<&'static [u8], &'static str> {
    const NONE: &str = "firmware passed no device tree";
    if address == 0 || !address.is_multiple_of(8) {
        return Err(NONE);
    }
    // SAFETY: the boot contract: a1 is the address of a flattened device tree, which has a 40-byte header.
    let header = unsafe { core::slice::from_raw_parts(address as *const u8, devicetree::HEADER) };
    let length = devicetree::stated_length(header).ok_or(NONE)?;
    // SAFETY: only this CPU runs, and nothing else refers to the copy yet.
    let room = unsafe { &mut *TREE_BYTES.0.get() };
    let room = room.get_mut(..length).ok_or("the device tree is larger than 64 KiB")?;
    // SAFETY: the header says that the tree has this many bytes; translation is off.
    room.copy_from_slice(unsafe { core::slice::from_raw_parts(address as *const u8, length) });
    TREE_LENGTH.call_once(|| length);
    Ok(tree())
}

/// First eight bytes of the build-id in the note that the linker wrote, big-endian: name size, descriptor size, type,
/// "GNU", descriptor.
fn build_id() -> u64 {
    let (start, end) = (symbols::build_id_start(), symbols::build_id_end());
    if end < start || end - start < 24 {
        return 0;
    }
    // SAFETY: between the two symbols lies the note.
    u64::from_be(unsafe { ((start + 16) as *const u64).read_unaligned() })
}
