//! What each CPU has of its own. sscratch points to it; the trap entry knows its layout by offsets (`asm/mod.rs`).

use core::sync::atomic::{AtomicU32, AtomicU64};

/// One CPU's area.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct PerCpu {
    /// What the trap entry needs registers for: t0,
    pub t0: AtomicU64,
    /// t1
    pub t1: AtomicU64,
    /// and the stack pointer of what was interrupted, until they are in the frame.
    pub sp: AtomicU64,
    /// Top of the stack of interrupts.
    pub interrupt_stack: AtomicU64,
    /// Top of the stack of the next fault.
    pub fault_stack: AtomicU64,
    /// …of the fault after that.
    pub fault_stack_next: AtomicU64,
    /// Top of the stack of the deadline timer's next shot.
    pub timer_stack: AtomicU64,
    /// …of the shot after that.
    pub timer_stack_next: AtomicU64,
    /// Why the next IPI is sent: bits of `ipi::Reason`.
    pub ipi_reasons: AtomicU32,
    /// 1 once the CPU runs Rust code with translation on.
    pub online: AtomicU32,
}

impl PerCpu {
    /// An area of a CPU that was never started.
    pub const fn new() -> Self {
        PerCpu {
            t0: AtomicU64::new(0),
            t1: AtomicU64::new(0),
            sp: AtomicU64::new(0),
            interrupt_stack: AtomicU64::new(0),
            fault_stack: AtomicU64::new(0),
            fault_stack_next: AtomicU64::new(0),
            timer_stack: AtomicU64::new(0),
            timer_stack_next: AtomicU64::new(0),
            ipi_reasons: AtomicU32::new(0),
            online: AtomicU32::new(0),
        }
    }
}

impl Default for PerCpu {
    fn default() -> Self {
        PerCpu::new()
    }
}

#[cfg(mayday_metal)]
mod metal {
    use super::PerCpu;
    use crate::asm::symbols;
    use crate::stack::{Kind, top};
    use core::arch::asm;
    use core::sync::atomic::Ordering::Relaxed;
    use hal::{CpuId, MAX_CPUS};

    static AREAS: [PerCpu; MAX_CPUS] = [const { PerCpu::new() }; MAX_CPUS];

    /// The area of one CPU.
    pub fn area(cpu: CpuId) -> &'static PerCpu {
        &AREAS[cpu.index()]
    }

    /// Fills in the area of `cpu`, before it takes its first trap.
    pub fn prepare(cpu: CpuId) -> &'static PerCpu {
        let area = area(cpu);
        area.interrupt_stack.store(top(cpu, Kind::Interrupt), Relaxed);
        area.fault_stack.store(top(cpu, Kind::FaultA), Relaxed);
        area.fault_stack_next.store(top(cpu, Kind::FaultB), Relaxed);
        area.timer_stack.store(top(cpu, Kind::TimerA), Relaxed);
        area.timer_stack_next.store(top(cpu, Kind::TimerB), Relaxed);
        area
    }

    /// Makes `cpu`'s area the executing CPU's, and has its traps arrive.
    ///
    /// # Safety
    /// The executing CPU is `cpu`, and the area was prepared.
    pub unsafe fn install(cpu: CpuId) {
        let pointer = (&raw const *area(cpu)) as u64;
        // SAFETY: only this port uses sscratch, and this is what it is for; the entry is aligned to 4, so the mode
        // bits of stvec say that all traps go to it. It finds the prepared area (contract).
        unsafe {
            asm!("csrw sscratch, {}", "csrw stvec, {}", in(reg) pointer, in(reg) symbols::trap_entry(),
                options(nostack, preserves_flags));
        }
    }
}

#[cfg(mayday_metal)]
pub use metal::{area, install, prepare};
