//! Secondaries, by INIT-SIPI-SIPI.
//!
//! Source: SDM volume 3, 9.4.4 (MP initialization).

use crate::apic::{self, Command};
use crate::asm::symbols;
use crate::boot::{self, Machine};
use crate::platform::{PORT, Port};
use crate::stack::{self, Kind};
use crate::{cpu, descriptors, mmu};
use core::sync::atomic::{
    AtomicBool,
    Ordering::{Acquire, Release},
};
use hal::clock::Clock;
use hal::smp::{Secondaries, StartError};
use hal::{CpuId, MAX_CPUS};

/// Where the trampoline runs; start-up vector 8.
const TRAMPOLINE: u64 = 0x8000;
/// Between INIT and the first SIPI, on a processor that is slow to reset ([`resets_at_once`]).
const INIT_NS: u64 = 10_000_000;
/// Before the SIPI is repeated.
const SIPI_NS: u64 = 10_000_000;
/// Until a CPU counts as silent: emulated CPUs on a loaded host can need seconds.
const ARRIVAL_NS: u64 = 10_000_000_000;

/// The end of trampoline.S.
#[repr(C)]
struct Mailbox {
    boot_cr3: u64,
    cr3: u64,
    stack: u64,
    entry: u64,
    cpu: u64,
}

/// A CPU did not come up in its time. It may yet, with whatever is written for the next one: an INIT that finds a SIPI
/// waiting need not take it back.
static ONE_IS_LATE: AtomicBool = AtomicBool::new(false);

static ARRIVED: [AtomicBool; MAX_CPUS] = [const { AtomicBool::new(false) }; MAX_CPUS];

fn arrived(cpu: CpuId) -> bool {
    ARRIVED.get(cpu.index()).is_some_and(|flag| flag.load(Acquire))
}

fn wait_for_arrival(cpu: CpuId, ns: u64) -> bool {
    let end = PORT.now_ns().saturating_add(ns);
    while PORT.now_ns() < end {
        if arrived(cpu) {
            return true;
        }
        core::hint::spin_loop();
    }
    arrived(cpu)
}

/// Whether the processor accepts a SIPI right behind INIT. The 10 ms between them are the MP specification's (B.4), for the
/// processors of its time. Linux waits for none of it on Intel's from family 6 on, AMD's from 15 on and Hygon's; nor does
/// this, by the base number: Intel's 6, AMD's and Hygon's 15. One that loses the first SIPI all the same hears the second.
fn resets_at_once() -> bool {
    let leaf0 = core::arch::x86_64::__cpuid(0);
    let (vendor, family) = ([leaf0.ebx, leaf0.edx, leaf0.ecx], core::arch::x86_64::__cpuid(1).eax >> 8 & 0xF);
    ready_at_once(vendor, family)
}

/// `vendor` is EBX, EDX, ECX of CPUID leaf 0, `family` without its extension, which only 15 has.
fn ready_at_once(vendor: [u32; 3], family: u32) -> bool {
    let is =
        |name: &[u8; 12]| name.chunks_exact(4).zip(vendor).all(|(four, word)| four == word.to_le_bytes());
    is(b"GenuineIntel") && family == 6 || (is(b"AuthenticAMD") || is(b"HygonGenuine")) && family == 15
}

fn write_trampoline(machine: &Machine, cpu: CpuId) -> Result<(), StartError> {
    let start = symbols::x86_trampoline_start();
    let len = symbols::x86_trampoline_end() - start;
    let mailbox = TRAMPOLINE + (symbols::x86_trampoline_mailbox() - start);
    if len > 4096 || !machine.start.is_usable(TRAMPOLINE, 4096) {
        return Err(StartError::Refused(-1));
    }
    // SAFETY: a page of usable RAM that this kernel uses for nothing else; no CPU is executing it.
    unsafe {
        mmu::direct::<u8>(TRAMPOLINE).copy_from_nonoverlapping(start as *const u8, len as usize);
        mmu::direct::<Mailbox>(mailbox).write_volatile(Mailbox {
            boot_cr3: mmu::image_physical(symbols::x86_boot_pml4()),
            cr3: mmu::root(),
            stack: stack::top(cpu, Kind::Main),
            entry: symbols::x86_secondary_entry(),
            cpu: cpu.index() as u64,
        });
    }
    Ok(())
}

impl Secondaries for Port {
    fn count(&self) -> usize {
        boot::machine().map_or(1, |machine| machine.madt.apic_ids().len())
    }

    /// `Refused(-1)`: no usable RAM at 0x8000. `Refused(-2)`: this is a crash kernel, whose other CPUs
    /// are the first kernel's, one of them perhaps its boot CPU, which INIT would restart at the reset
    /// vector. `Refused(-3)`: the APIC did not take the command. `Refused(-4)`: a CPU that was started before has not
    /// come up, and might come up as this one.
    fn start(&self, cpu: CpuId) -> Result<(), StartError> {
        let machine = boot::machine().ok_or(StartError::NoSuchCpu)?;
        let apic_id = *machine.madt.apic_ids().get(cpu.index()).ok_or(StartError::NoSuchCpu)?;
        if cpu == CpuId::BOOT {
            return Err(StartError::NoSuchCpu);
        }
        if mmu::is_crash_kernel() {
            return Err(StartError::Refused(-2));
        }
        if ONE_IS_LATE.load(Acquire) {
            return Err(StartError::Refused(-4));
        }
        write_trampoline(machine, cpu)?;
        let send = |command| apic::send(apic_id, command).map_err(|_| StartError::Refused(-3));
        send(Command::init())?;
        if !resets_at_once() {
            wait_for_arrival(cpu, INIT_NS);
        }
        let start_up = Command::start_up((TRAMPOLINE >> 12) as u8);
        send(start_up)?;
        if wait_for_arrival(cpu, SIPI_NS) {
            return Ok(());
        }
        // A CPU that is on its way ignores the second one.
        send(start_up)?;
        if wait_for_arrival(cpu, ARRIVAL_NS) {
            return Ok(());
        }
        ONE_IS_LATE.store(true, Release);
        send(Command::init())?;
        Err(StartError::Silent)
    }
}

unsafe extern "Rust" {
    /// Provided by the kernel.
    fn mayday_secondary(cpu: CpuId) -> !;
}

/// First Rust code of a secondary, on its own stack and this kernel's tables; called by entry.S.
#[unsafe(no_mangle)]
extern "C" fn x86_secondary(index: u64) -> ! {
    let Some(this) = CpuId::new(index as usize) else { cpu::stop_for_ever() };
    // SAFETY: once, by this CPU; the boot CPU built the IDT before it started anyone.
    unsafe {
        descriptors::load_gdt(this);
        descriptors::load_idt();
    }
    apic::init_this_cpu();
    cpu::enable_machine_checks();
    if let Some(flag) = ARRIVED.get(this.index()) {
        flag.store(true, Release);
    }
    // SAFETY: the kernel defines it with this signature (hal::boot); all that it promises holds now.
    unsafe { mayday_secondary(this) }
}

#[cfg(test)]
mod tests {
    use super::ready_at_once;

    #[test]
    fn processors_of_today_get_their_sipi_at_once() {
        let vendor = |name: &[u8; 12]| {
            let word = |at: usize| u32::from_le_bytes(*name[at..].first_chunk().unwrap());
            [word(0), word(4), word(8)]
        };
        let (intel, amd) = (vendor(b"GenuineIntel"), vendor(b"AuthenticAMD"));
        assert!(
            ready_at_once(intel, 6) && ready_at_once(amd, 15) && ready_at_once(vendor(b"HygonGenuine"), 15)
        );
        assert!(!ready_at_once(intel, 5) && !ready_at_once(intel, 15) && !ready_at_once(amd, 6));
        assert!(!ready_at_once(vendor(b"CentaurHauls"), 6));
    }
}
