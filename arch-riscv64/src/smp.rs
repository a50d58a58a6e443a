//! Secondaries, by SBI's hart state management ("Hart State Management Extension").

#![cfg(mayday_metal)]

use crate::asm::symbols;
use crate::sbi::{self, Extension};
use crate::{Port, boot, clock, console, cpu, mmu, percpu};
use core::cell::Cell;
use core::sync::atomic::Ordering;
use hal::CpuId;
use hal::smp::{Secondaries, StartError};

/// How long a started CPU may take to report: 20 s of guest time, because a host that runs several guests may not
/// schedule it for seconds.
const ANSWER_NS: u64 = 20_000_000_000;

unsafe extern "Rust" {
    /// Where secondaries enter the kernel.
    fn mayday_secondary(cpu: CpuId) -> !;
}

impl Secondaries for Port {
    fn count(&self) -> usize {
        boot::machine().map_or(1, |machine| machine.harts().len())
    }

    /// `Refused(0)`: it runs already. Other values are SBI's errors.
    fn start(&self, cpu: CpuId) -> Result<(), StartError> {
        let harts = boot::machine().map(|machine| machine.harts()).unwrap_or_default();
        let hart = *harts.get(cpu.index()).ok_or(StartError::NoSuchCpu)?;
        let area = percpu::area(cpu);
        if cpu == CpuId::BOOT || area.online.load(Ordering::Acquire) != 0 {
            return Err(StartError::Refused(0));
        }
        percpu::prepare(cpu);
        let arguments = [hart, symbols::secondary_entry(), cpu.index() as u64];
        let refused = Cell::new(0);
        // Asked for until it is there. The hart that firmware booted has handed over (boot.rs), and may not have come to
        // its stop yet; one that firmware let go late arrives where kernels boot, and stops there (entry.S). Firmware says
        // of a hart that runs that it does, which changes nothing.
        let online = || area.online.load(Ordering::Acquire) != 0;
        let over = clock::wait_asleep(ANSWER_NS, || {
            if online() {
                return true;
            }
            // SAFETY: the hart starts at code that expects this: on a stack of its own, with its number in a1.
            let answer = unsafe { sbi::call(Extension::HART_STATE, 0, arguments) };
            if matches!(answer.error, 0 | sbi::ALREADY_AVAILABLE | sbi::INVALID_PARAMETER) {
                return false;
            }
            refused.set(answer.error);
            true
        });
        match refused.get() {
            0 if over => Ok(()),
            0 => Err(StartError::Silent),
            error => Err(StartError::Refused(error)),
        }
    }
}

/// The first Rust code on a secondary: on its main stack, translation and interrupts off. `number`: its logical number.
#[unsafe(no_mangle)]
extern "C" fn riscv_secondary_start(number: usize) -> ! {
    let Some(cpu) = CpuId::new(number) else { cpu::stop_for_ever() };
    // SAFETY: this is that CPU, and `start` has prepared its area and comes after the boot CPU completed the tables,
    // by which it runs too.
    let translated = unsafe {
        percpu::install(cpu);
        mmu::enable()
    };
    if let Err(reason) = translated {
        console::print(&[b"\nmayday riscv64: a CPU does not come up: ", reason.as_bytes(), b"\n"]);
        cpu::stop_for_ever()
    }
    cpu::listen();
    percpu::area(cpu).online.store(1, Ordering::Release);
    // SAFETY: the kernel defines it with this signature (hal::boot).
    unsafe { mayday_secondary(cpu) }
}
