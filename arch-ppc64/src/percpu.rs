//! What each CPU has of its own. SPRG0 points to it; the exception entry code knows its layout by
//! offsets (`asm/mod.rs`).
//!
//! A capture kernel's vector page serves CPUs that are still parked in the first kernel, through the
//! first kernel's per-CPU areas: the fields up to [`PerCpu::trap_save`] and [`SaveArea`] must not move between
//! kernels that kexec each other.

use core::sync::atomic::Ordering::Relaxed;
use core::sync::atomic::{AtomicU32, AtomicU64};

/// System resets that may be nested in one another before one is dropped.
pub const NMI_LEVELS: usize = 3;
/// Save areas beyond the last level, for system resets that hit the code which drops one.
const NMI_SPARE: usize = 5;

/// What the first instructions of a vector save.
#[repr(C)]
#[derive(Debug)]
#[allow(missing_docs)] // register names
pub struct SaveArea {
    pub r10: AtomicU64,
    pub r11: AtomicU64,
    pub r12: AtomicU64,
    pub r13: AtomicU64,
    pub srr0: AtomicU64,
    pub srr1: AtomicU64,
    pub cr: AtomicU64,
    pub ctr: AtomicU64,
    pub cfar: AtomicU64,
    pub vector: AtomicU64,
    /// Top of the stack for this kind and level of exception; unused for ordinary vectors.
    pub stack: AtomicU64,
}

impl SaveArea {
    const fn new() -> Self {
        SaveArea {
            r10: AtomicU64::new(0),
            r11: AtomicU64::new(0),
            r12: AtomicU64::new(0),
            r13: AtomicU64::new(0),
            srr0: AtomicU64::new(0),
            srr1: AtomicU64::new(0),
            cr: AtomicU64::new(0),
            ctr: AtomicU64::new(0),
            cfar: AtomicU64::new(0),
            vector: AtomicU64::new(0),
            stack: AtomicU64::new(0),
        }
    }
}

/// One CPU's area.
#[repr(C, align(128))]
#[derive(Debug)]
pub struct PerCpu {
    /// Hardware id: `ibm,ppc-interrupt-server#s`.
    pub hardware_id: AtomicU64,
    /// 1 once the CPU runs Rust code on its own stack.
    pub online: AtomicU64,
    /// Address of the save area for the next system reset.
    pub nmi_next: AtomicU64,
    /// Address of the save area from which on system resets are dropped.
    pub nmi_limit: AtomicU64,
    /// Where a system reset goes on after the vector page.
    pub nmi_entry: AtomicU64,
    /// Address of the save area for a machine check.
    pub machine_check_save: AtomicU64,
    /// Where a machine check goes on after the vector page.
    pub machine_check_entry: AtomicU64,
    /// Where any other exception goes on after the vector page.
    pub trap_entry: AtomicU64,
    /// Save area of ordinary vectors. Up to here the area is known to the next kernel.
    pub trap_save: SaveArea,
    /// MSR that handlers run with: translation is on in it once the page tables are.
    pub handler_msr: AtomicU64,
    /// Tops of the stacks.
    pub main_stack: AtomicU64,
    /// …of maskable interrupts.
    pub interrupt_stack: AtomicU64,
    /// …of the next fault.
    pub fault_stack: AtomicU64,
    /// …of the fault after that.
    pub fault_stack_next: AtomicU64,
    /// 1 while a maskable interrupt is handled.
    pub interrupt_active: AtomicU64,
    /// What it interrupted: program counter,
    pub interrupt_pc: AtomicU64,
    /// and r30.
    pub interrupt_r30: AtomicU64,
    /// Stack pointer while firmware runs.
    pub firmware_r1: AtomicU64,
    /// System resets dropped because too many were nested.
    pub nmi_dropped: AtomicU64,
    /// Device tree of the crash image, once this CPU is on its way into it.
    pub jump_tree: AtomicU64,
    /// Base of the crash image, once this CPU is on its way into it; 0 before.
    pub jump_base: AtomicU64,
    /// State of the firmware that stands in front of RTAS in a test (`asm/shim.S`); 0: there is none.
    pub shim: AtomicU64,
    /// Why the next IPI is sent: bits of `ipi::Reason`.
    pub ipi_reasons: AtomicU32,
    /// Save area of a machine check.
    pub machine_check_area: SaveArea,
    /// Save areas of system resets, one per nesting level.
    pub nmi_areas: [SaveArea; NMI_LEVELS + NMI_SPARE],
}

impl PerCpu {
    /// An area of a CPU that was never started.
    pub const fn new() -> Self {
        PerCpu {
            hardware_id: AtomicU64::new(0),
            online: AtomicU64::new(0),
            nmi_next: AtomicU64::new(0),
            nmi_limit: AtomicU64::new(0),
            nmi_entry: AtomicU64::new(0),
            machine_check_save: AtomicU64::new(0),
            machine_check_entry: AtomicU64::new(0),
            trap_entry: AtomicU64::new(0),
            handler_msr: AtomicU64::new(0),
            main_stack: AtomicU64::new(0),
            interrupt_stack: AtomicU64::new(0),
            fault_stack: AtomicU64::new(0),
            fault_stack_next: AtomicU64::new(0),
            interrupt_active: AtomicU64::new(0),
            interrupt_pc: AtomicU64::new(0),
            interrupt_r30: AtomicU64::new(0),
            firmware_r1: AtomicU64::new(0),
            nmi_dropped: AtomicU64::new(0),
            jump_tree: AtomicU64::new(0),
            jump_base: AtomicU64::new(0),
            shim: AtomicU64::new(0),
            ipi_reasons: AtomicU32::new(0),
            trap_save: SaveArea::new(),
            machine_check_area: SaveArea::new(),
            nmi_areas: [const { SaveArea::new() }; NMI_LEVELS + NMI_SPARE],
        }
    }
}

impl PerCpu {
    /// The save areas of the system resets that this CPU is handling, the outermost first. One that was never
    /// returned from counts, until [`hal::nmi::Nmi::unblock`] gives all levels back, which it does when none is left.
    pub fn resets(&self) -> &[SaveArea] {
        let first = (&raw const self.nmi_areas) as u64;
        let taken = self.nmi_next.load(Relaxed).saturating_sub(first) as usize / size_of::<SaveArea>();
        self.nmi_areas.get(..taken.min(NMI_LEVELS)).unwrap_or(&[])
    }
}

impl Default for PerCpu {
    fn default() -> Self {
        PerCpu::new()
    }
}

#[cfg(mayday_metal)]
mod metal {
    use super::{NMI_LEVELS, PerCpu};
    use crate::asm::symbols;
    use crate::cpu::Msr;
    use crate::stack::{Kind, top};
    use core::arch::asm;
    use core::sync::atomic::Ordering::{Relaxed, Release};
    use hal::{CpuId, MAX_CPUS};

    static AREAS: [PerCpu; MAX_CPUS] = [const { PerCpu::new() }; MAX_CPUS];

    /// The area of one CPU.
    pub fn area(cpu: CpuId) -> &'static PerCpu {
        &AREAS[cpu.index()]
    }

    /// The executing CPU's number, from the address in SPRG0: no memory takes part. [`CpuId::BOOT`] as
    /// long as SPRG0 is 0.
    #[inline]
    pub fn current() -> CpuId {
        let pointer: u64;
        // SAFETY: reads a register.
        unsafe { asm!("mfsprg {}, 0", out(reg) pointer, options(nomem, nostack, preserves_flags)) };
        let offset = pointer.wrapping_sub((&raw const AREAS) as u64) as usize;
        CpuId::new(offset / size_of::<PerCpu>()).unwrap_or(CpuId::BOOT)
    }

    /// The executing CPU's area.
    pub fn own() -> &'static PerCpu {
        area(current())
    }

    /// Fills in the area of `cpu`, before it takes its first exception.
    pub fn prepare(cpu: CpuId, hardware_id: u32, handler_msr: Msr) -> &'static PerCpu {
        let area = area(cpu);
        area.hardware_id.store(u64::from(hardware_id), Relaxed);
        area.main_stack.store(top(cpu, Kind::Main), Relaxed);
        area.interrupt_stack.store(top(cpu, Kind::Interrupt), Relaxed);
        area.fault_stack.store(top(cpu, Kind::FaultA), Relaxed);
        area.fault_stack_next.store(top(cpu, Kind::FaultB), Relaxed);
        area.machine_check_area.stack.store(top(cpu, Kind::MachineCheck), Relaxed);
        let levels = [Kind::NmiA, Kind::NmiB, Kind::NmiC];
        const { assert!(NMI_LEVELS == 3) };
        for (save, kind) in area.nmi_areas.iter().zip(levels) {
            save.stack.store(top(cpu, kind), Relaxed);
        }
        let first = (&raw const area.nmi_areas) as u64;
        area.nmi_next.store(first, Relaxed);
        area.nmi_limit.store(first + (NMI_LEVELS * size_of::<super::SaveArea>()) as u64, Relaxed);
        area.nmi_entry.store(symbols::nmi_entry(), Relaxed);
        area.machine_check_save.store((&raw const area.machine_check_area) as u64, Relaxed);
        area.machine_check_entry.store(symbols::machine_check_entry(), Relaxed);
        area.trap_entry.store(symbols::trap_entry(), Relaxed);
        area.handler_msr.store(handler_msr.bits(), Release);
        area
    }

    /// Makes `cpu`'s area the executing CPU's.
    ///
    /// # Safety
    /// The executing CPU is `cpu`, and the area was prepared.
    pub unsafe fn install(cpu: CpuId) {
        let pointer = (&raw const *area(cpu)) as u64;
        // SAFETY: only this port uses SPRG0, and this is what it is for.
        unsafe { asm!("mtsprg 0, {}", in(reg) pointer, options(nostack, preserves_flags)) };
    }
}

#[cfg(mayday_metal)]
pub use metal::{area, current, install, own, prepare};
