//! The assembly of this port, and what Rust calls in it.

use core::arch::global_asm;
use core::mem::offset_of;

use crate::cpu::Status;
use crate::percpu::PerCpu;
use crate::registers::{Frame, RegisterSet};
use crate::sbi::Extension;
use crate::{mmu, stack, trap};

// The files count on these: a register is the word of its number, pc is word 0.
const _: () = assert!(size_of::<RegisterSet>() == 32 * 8 && offset_of!(Frame, registers) == 0);
const _: () = assert!(size_of::<Frame>().is_multiple_of(16));

// One block, so that the files see the same operands.
global_asm!(
    include_str!("entry.S"),
    include_str!("trap.S"),
    include_str!("context.S"),
    include_str!("park.S"),
    include_str!("workload.S"),
    include_str!("provoke.S"),
    include_str!("kexec.S"),
    LINK_BASE = const mmu::LINK_BASE,
    STACK_SLOT = const stack::SLOT,
    STACKS_PER_CPU = const stack::SLOT * stack::PER_CPU as u64,
    STATUS_SIE = const Status::SIE.bits(),
    STATUS_SPIE = const Status::SPIE.bits(),
    STATUS_SPP = const Status::SPP.bits(),
    HART_STATE = const Extension::HART_STATE.0,
    HARDWARE_ERROR = const trap::HARDWARE_ERROR,
    FRAME_SIZE = const size_of::<Frame>(),
    FRAME_STATUS = const offset_of!(Frame, status),
    FRAME_CAUSE = const offset_of!(Frame, cause),
    FRAME_VALUE = const offset_of!(Frame, value),
    AREA_T0 = const offset_of!(PerCpu, t0),
    AREA_T1 = const offset_of!(PerCpu, t1),
    AREA_SP = const offset_of!(PerCpu, sp),
    AREA_INTERRUPT_STACK = const offset_of!(PerCpu, interrupt_stack),
    AREA_FAULT_STACK = const offset_of!(PerCpu, fault_stack),
    AREA_FAULT_STACK_NEXT = const offset_of!(PerCpu, fault_stack_next),
    AREA_TIMER_STACK = const offset_of!(PerCpu, timer_stack),
    AREA_TIMER_STACK_NEXT = const offset_of!(PerCpu, timer_stack_next),
    TIMER_INTERRUPT = const trap::TIMER_INTERRUPT,
);

unsafe extern "C" {
    /// Leaves the caller's stack for good and calls `entry(job)` on the stack that ends at `stack_top`.
    pub fn riscv_switch_stack(job: *const (), entry: extern "C" fn(*const ()) -> !, stack_top: u64) -> !;
    /// Starts hart `hart` at `entry`, with `opaque` in a1, and stops this one. Returns SBI's error if the other one
    /// was not started.
    pub fn riscv_hand_over(hart: u64, entry: u64, opaque: u64) -> i64;
    /// Stores the caller's registers.
    pub safe fn riscv_capture(registers: &mut RegisterSet);
    /// One `wfi` inside `.text.park`, with interrupts off.
    pub safe fn riscv_park_wait();
    /// The workload loop. Unmasks interrupts, never returns.
    pub safe fn riscv_workload_run(workload: &'static hal::testload::Workload) -> !;
    /// Leaves this kernel (kexec.S): translation off, to `entry` with the other two in a0 and a1.
    pub fn riscv_kexec_jump(hart: u64, tree: u64, entry: u64) -> !;
    /// Executes an undefined instruction.
    pub safe fn riscv_provoke_undefined() -> !;
    /// Executes a breakpoint.
    pub safe fn riscv_provoke_trap() -> !;
    /// Reads the doubleword at `address`, which must fault.
    pub safe fn riscv_provoke_read(address: u64) -> !;
    /// Writes the doubleword at `address`, which must fault.
    pub safe fn riscv_provoke_write(address: u64) -> !;
    /// Calls `address`, which must fault.
    pub safe fn riscv_provoke_execute(address: u64) -> !;
    /// Recurses into the guard page.
    pub safe fn riscv_provoke_stack_overflow() -> !;
    /// Enters the trap entry as a hardware error does.
    pub safe fn riscv_provoke_machine_check() -> !;
}

/// Addresses that linker script and assembly define. Only ever used as addresses.
pub mod symbols {
    /// The labels themselves. Nothing may read or write through them.
    mod labels {
        unsafe extern "C" {
            pub static __image_start: u8;
            pub static __image_end: u8;
            pub static __text_start: u8;
            pub static __text_end: u8;
            pub static __rodata_start: u8;
            pub static __rodata_end: u8;
            pub static __data_start: u8;
            pub static __data_end: u8;
            pub static __stacks_start: u8;
            pub static __stacks_end: u8;
            pub static __build_id_start: u8;
            pub static __build_id_end: u8;
            pub static riscv_trap_entry: u8;
            pub static riscv_secondary_entry: u8;
            pub static riscv64_entry: u8;
        }
    }

    macro_rules! address_of {
        ($($function:ident = $label:ident;)*) => {$(
            #[doc = concat!("Address of `", stringify!($label), "`.")]
            pub fn $function() -> u64 {
                (&raw const labels::$label) as u64
            }
        )*};
    }

    address_of! {
        image_start = __image_start;
        image_end = __image_end;
        text_start = __text_start;
        text_end = __text_end;
        rodata_start = __rodata_start;
        rodata_end = __rodata_end;
        data_start = __data_start;
        data_end = __data_end;
        stacks_start = __stacks_start;
        stacks_end = __stacks_end;
        build_id_start = __build_id_start;
        build_id_end = __build_id_end;
        trap_entry = riscv_trap_entry;
        secondary_entry = riscv_secondary_entry;
        entry = riscv64_entry;
    }
}
