//! GDT, TSS and IDT, one set per CPU (the IDT is shared).

use crate::asm::symbols;
use crate::stack::{self, Kind};
use core::cell::UnsafeCell;
use hal::{CpuId, MAX_CPUS};
use x86_64::VirtAddr;
use x86_64::instructions::tables::load_tss;
use x86_64::registers::segmentation::{CS, DS, ES, SS, Segment};
use x86_64::structures::gdt::{Descriptor, GlobalDescriptorTable, SegmentSelector};
use x86_64::structures::idt::{Entry, InterruptDescriptorTable};
use x86_64::structures::tss::TaskStateSegment;

/// The interrupt stack table, from slot 0; the gates below name the slots.
const IST: [Kind; 4] = [Kind::Nmi(0), Kind::DoubleFault, Kind::MachineCheck(0), Kind::Interrupt];

struct PerCpu {
    gdt: GlobalDescriptorTable,
    tss: TaskStateSegment,
}

struct Table<T>(UnsafeCell<T>);
// SAFETY: each element is written once, by its own CPU or before that CPU runs, and afterwards read by
// the hardware only.
unsafe impl<T> Sync for Table<T> {}

static PER_CPU: Table<[PerCpu; MAX_CPUS]> = Table(UnsafeCell::new(
    [const { PerCpu { gdt: GlobalDescriptorTable::new(), tss: TaskStateSegment::new() } }; MAX_CPUS],
));
static IDT: Table<InterruptDescriptorTable> = Table(UnsafeCell::new(InterruptDescriptorTable::new()));

fn stub(vector: u8) -> VirtAddr {
    VirtAddr::new_truncate(symbols::x86_trap_stubs() + 16 * u64::from(vector))
}

fn set<F>(entry: &mut Entry<F>, vector: u8, ist: Option<u16>) {
    // SAFETY: the stub of this vector expects exactly what the CPU pushes for it, on a stack of its
    // own where `ist` names one.
    unsafe {
        let options = entry.set_handler_addr(stub(vector));
        if let Some(index) = ist {
            options.set_stack_index(index);
        }
    }
}

/// Builds the IDT.
///
/// # Safety
/// Once, on the boot CPU, after its GDT is loaded (the gates take over CS).
pub unsafe fn init_idt() {
    // SAFETY: the only reference, and no CPU uses the table yet.
    let idt = unsafe { &mut *IDT.0.get() };
    set(&mut idt.divide_error, 0, None);
    set(&mut idt.debug, 1, None);
    set(&mut idt.non_maskable_interrupt, 2, Some(0));
    set(&mut idt.breakpoint, 3, None);
    set(&mut idt.overflow, 4, None);
    set(&mut idt.bound_range_exceeded, 5, None);
    set(&mut idt.invalid_opcode, 6, None);
    set(&mut idt.device_not_available, 7, None);
    set(&mut idt.double_fault, 8, Some(1));
    set(&mut idt.invalid_tss, 10, None);
    set(&mut idt.segment_not_present, 11, None);
    set(&mut idt.stack_segment_fault, 12, None);
    set(&mut idt.general_protection_fault, 13, None);
    set(&mut idt.page_fault, 14, None);
    set(&mut idt.x87_floating_point, 16, None);
    set(&mut idt.alignment_check, 17, None);
    set(&mut idt.machine_check, 18, Some(2));
    set(&mut idt.simd_floating_point, 19, None);
    set(&mut idt.virtualization, 20, None);
    set(&mut idt.cp_protection_exception, 21, None);
    set(&mut idt.hv_injection_exception, 28, None);
    set(&mut idt.vmm_communication_exception, 29, None);
    set(&mut idt.security_exception, 30, None);
    for vector in 32..=255u8 {
        set(&mut idt[vector], vector, Some(3));
    }
}

/// Loads this CPU's GDT and TSS.
///
/// # Safety
/// Once per CPU, by the CPU that `cpu` names.
pub unsafe fn load_gdt(cpu: CpuId) {
    // SAFETY: `cpu` is below MAX_CPUS; the element belongs to the executing CPU alone.
    let this = unsafe { &mut *PER_CPU.0.get().cast::<PerCpu>().add(cpu.index()) };
    // The TSS is packed: its table is written as a whole.
    let mut tops = [VirtAddr::zero(); 7];
    for (slot, kind) in tops.iter_mut().zip(IST) {
        *slot = VirtAddr::new_truncate(stack::top(cpu, kind));
    }
    this.tss.interrupt_stack_table = tops;
    // 0x08 and 0x10 as in entry.S; kexec relies on it too.
    let code = this.gdt.append(Descriptor::kernel_code_segment());
    let data = this.gdt.append(Descriptor::kernel_data_segment());
    // SAFETY: the TSS is static and not written again.
    let task = unsafe { this.gdt.append(Descriptor::tss_segment_unchecked(&raw const this.tss)) };
    // SAFETY: the table is static; its code and data segments equal those in use.
    unsafe {
        this.gdt.load_unsafe();
        CS::set_reg(code);
        SS::set_reg(data);
        DS::set_reg(SegmentSelector::NULL);
        ES::set_reg(SegmentSelector::NULL);
        load_tss(task);
    }
}

/// From here on the next NMI and the next machine check of this CPU start on the stack that the last
/// ones did not use.
pub fn alternate_stacks(cpu: CpuId) {
    // SAFETY: `cpu` is below MAX_CPUS; no reference is made, only the place is computed.
    let table = unsafe {
        let tss = &raw mut (*PER_CPU.0.get().cast::<PerCpu>().add(cpu.index())).tss;
        &raw mut (*tss).interrupt_stack_table
    };
    let slots = table.cast::<VirtAddr>();
    for (slot, pair) in
        [(0, [Kind::Nmi(0), Kind::Nmi(1)]), (2, [Kind::MachineCheck(0), Kind::MachineCheck(1)])]
    {
        let [first, second] = pair.map(|kind| VirtAddr::new_truncate(stack::top(cpu, kind)));
        // SAFETY: a slot of this CPU's own table, which only its own hardware reads; the TSS is packed,
        // so the access is unaligned. A trap that comes in between finds one top or the other, both
        // valid.
        unsafe {
            let place = slots.add(slot);
            let next = if place.read_unaligned() == first { second } else { first };
            place.write_unaligned(next);
        }
    }
}

/// Loads the IDT on this CPU.
///
/// # Safety
/// After [`init_idt`], and after [`load_gdt`] on this CPU.
pub unsafe fn load_idt() {
    // SAFETY: complete by the caller's word, and static.
    unsafe { (*IDT.0.get()).load_unsafe() };
}
