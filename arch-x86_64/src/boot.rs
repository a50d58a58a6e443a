//! From the entry assembly to the kernel.

use crate::acpi::{Acpi, AcpiError, Fadt, Madt};
use crate::asm::symbols;
use crate::console::{self, Text};
use crate::erst::Erst;
use crate::physical::IdentityMapped;
use crate::pvh::StartInfo;
use crate::{apic, clock, cpu, descriptors, mmu, pic, pvh, timer};
use core::fmt::Write;
use hal::CpuId;
use hal::boot::BootInfo;
use spin::Once;

/// What firmware said about the machine, copied at boot.
pub struct Machine {
    /// The loader's start info.
    pub start: StartInfo,
    /// CPUs and interrupt controllers; one CPU and none where the table is missing or damaged.
    pub madt: Madt,
    /// Reset and power.
    pub fadt: Result<Fadt, AcpiError>,
    /// SLP_TYPa for soft-off.
    pub soft_off: Result<u8, AcpiError>,
    /// Physical address of the HPET's registers.
    pub hpet: Result<u64, AcpiError>,
    /// The error record store.
    pub erst: Result<Erst, AcpiError>,
}

static MACHINE: Once<Machine> = Once::new();
static INFO: Once<BootInfo> = Once::new();

/// The machine, once it is known. Takes no lock.
pub fn machine() -> Option<&'static Machine> {
    MACHINE.get()
}

unsafe extern "Rust" {
    /// Provided by the kernel.
    fn mayday_main(info: &'static BootInfo) -> !;
}

fn give_up(problem: core::fmt::Arguments<'_>) -> ! {
    let _ = writeln!(Text, "x86_64: cannot boot: {problem}");
    cpu::end_run()
}

fn read_machine(start_info: u64) -> Machine {
    // SAFETY: the boot tables are in use until `mmu::init`, and everything is copied before.
    let memory = unsafe { IdentityMapped::new() };
    let start = match StartInfo::read(&memory, start_info) {
        Ok(start) => start,
        Err(problem) => give_up(format_args!("{problem}")),
    };
    if start.command_line_cut {
        let _ = writeln!(
            Text,
            "x86_64: the command line is longer than {} bytes; the rest is ignored",
            pvh::COMMAND_LINE_MAX
        );
    }
    if start.ranges_dropped > 0 {
        let _ = writeln!(Text, "x86_64: {} memory ranges too many, ignored", start.ranges_dropped);
    }
    let boot_apic_id = apic::id_by_cpuid();
    let acpi = Acpi::read(&memory, start.rsdp, boot_apic_id);
    let madt = acpi.madt.unwrap_or_else(|problem| {
        let _ = writeln!(Text, "x86_64: {problem}; going on with one CPU");
        Madt::single(boot_apic_id)
    });
    if madt.cpus_ignored > 0 {
        let _ = writeln!(Text, "x86_64: {} CPUs beyond {} are left alone", madt.cpus_ignored, hal::MAX_CPUS);
    }
    for problem in [acpi.fadt.err(), acpi.soft_off.err().filter(|_| acpi.fadt.is_ok())].into_iter().flatten()
    {
        let _ = writeln!(Text, "x86_64: {problem}; no reset register or power off by it");
    }
    Machine { start, madt, fadt: acpi.fadt, soft_off: acpi.soft_off, hpet: acpi.hpet, erst: acpi.erst }
}

/// This image's own build-id note.
fn build_id() -> u64 {
    let (start, end) = (symbols::__build_id_start(), symbols::__build_id_end());
    // SAFETY: the linker script bounds the note, which is never written.
    let note = unsafe { core::slice::from_raw_parts(start as *const u8, (end - start) as usize) };
    crash_image::own_build_id(note, crash_image::AnyEndian::Little)
}

/// First Rust code, on CPU 0's main stack and the boot tables; called by entry.S.
#[unsafe(no_mangle)]
extern "C" fn x86_boot(start_info: u64, delta: u64) -> ! {
    mmu::set_load_delta(delta);
    clock::start();
    console::init();
    // SAFETY: once, by the boot CPU, in this order.
    unsafe {
        descriptors::load_gdt(CpuId::BOOT);
        descriptors::init_idt();
        descriptors::load_idt();
    }
    let machine = MACHINE.call_once(|| read_machine(start_info));
    // SAFETY: once; nothing was read through the direct map yet.
    if unsafe { mmu::init(machine) }.is_err() {
        give_up(format_args!("the page table pool is too small for this machine"));
    }
    pic::mask();
    timer::find(machine);
    apic::init_this_cpu();
    cpu::enable_machine_checks();
    if let Err(problem) = clock::calibrate() {
        let _ = writeln!(Text, "x86_64: {problem}; times are estimates");
    }
    let info = INFO.call_once(|| BootInfo {
        command_line: machine.start.command_line(),
        memory: machine.start.usable(),
        image_base: mmu::image_physical(symbols::__image_start()),
        build_id: build_id(),
        cpus: machine.madt.apic_ids().len() + machine.madt.cpus_ignored,
        cpus_ignored: machine.madt.cpus_ignored,
    });
    // SAFETY: the kernel defines it with this signature (hal::boot); all that it promises holds now.
    unsafe { mayday_main(info) }
}
