//! From firmware's jump to `mayday_main`.

#![cfg(mayday_metal)]

use crate::asm::{self, symbols};
use crate::devicetree::{self, COMMAND_LINE, Machine};
use crate::{clock, console, cpu, ipi, mmu, percpu, stack};
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

/// The machine, once the device tree was read.
pub fn machine() -> Option<&'static Machine> {
    MACHINE.get()
}

/// The first Rust code: on the boot CPU's main stack, translation and interrupts off, .bss zeroed. `hart` and `tree`:
/// a0 and a1 as firmware left them.
#[unsafe(no_mangle)]
extern "C" fn riscv_boot(hart: u64, tree: u64) -> ! {
    percpu::prepare(CpuId::BOOT);
    // SAFETY: the boot CPU runs this, and its area was just prepared.
    unsafe { percpu::install(CpuId::BOOT) };
    if symbols::stacks_end() - symbols::stacks_start() != stack::SLOT * stack::COUNT as u64 {
        console::stop_with("the linker script reserves another number of stacks");
    }
    let machine =
        match read_tree(tree).and_then(|bytes| Machine::read(bytes, hart).map_err(|error| error.reason())) {
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

/// Firmware may boot any hart; the one with the lowest id shall, so that numbers here and outside are the same. Where
/// that one cannot be started it is not: by a second kernel, for instance, to which it is somebody else's.
fn hand_over(machine: &Machine, hart: u64, tree: u64) {
    let lowest = machine.harts().iter().copied().min().unwrap_or(hart);
    if lowest != hart {
        // SAFETY: the other hart begins as this one did, with the same contract, and this one touches no memory any
        // more. If it is not started, nothing has changed.
        unsafe { asm::riscv_hand_over(lowest, symbols::entry(), tree) };
    }
}

/// The tree as bytes. Nothing but `Machine::read` looks at them: they are not mapped later on.
fn read_tree(address: u64) -> Result<&'static [u8], &'static str> {
    const NONE: &str = "firmware passed no device tree";
    if address == 0 || !address.is_multiple_of(8) {
        return Err(NONE);
    }
    // SAFETY: the boot contract: a1 is the address of a flattened device tree, which has a 40-byte header.
    let header = unsafe { core::slice::from_raw_parts(address as *const u8, devicetree::HEADER) };
    let length = devicetree::stated_length(header).ok_or(NONE)?;
    // SAFETY: the header says that the tree has this many bytes; translation is off, and nobody else runs.
    Ok(unsafe { core::slice::from_raw_parts(address as *const u8, length) })
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
