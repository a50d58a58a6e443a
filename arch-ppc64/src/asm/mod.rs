//! The assembly of this port, and what Rust calls in it.

use core::arch::global_asm;
use core::mem::{offset_of, size_of};

use crate::percpu::{PerCpu, SaveArea};
use crate::registers::{RegisterSet, index};
use crate::rtas::shim::Shim;
use crate::stack;
use crate::{cpu, hcall, mmu};

/// Bytes of a trap frame: the ABI's frame header, then the registers.
pub const FRAME_SIZE: usize = FRAME_REGS + size_of::<RegisterSet>();
/// Offset of the registers in a trap frame (ELFv2 frame header and parameter save area, rounded up).
pub const FRAME_REGS: usize = 112;
const _: () = assert!(FRAME_SIZE.is_multiple_of(16));
const _: () = assert!(size_of::<RegisterSet>() == 48 * 8);

/// Real address of the save area that CPUs without a per-CPU area share, inside the vector page.
const LOW_SAVE: usize = 0x1800;
/// Real address of the three words argument block, RTAS entry, RTAS base for `stop-self`.
pub const LOW_STOP_BLOCK: usize = 0xa0;
/// Real address behind the vector page.
pub const LOW_END: usize = 0x2000;
const _: () = assert!(offset_of!(PerCpu, nmi_next) < offset_of!(PerCpu, machine_check_save));
// SPRG0 is 0 on a CPU that nobody started: what its vectors save lies before the block.
const _: () = assert!(
    offset_of!(PerCpu, trap_save) + size_of::<SaveArea>() <= LOW_STOP_BLOCK && LOW_STOP_BLOCK + 24 <= 0x100
);

// One block, so that the files see the same operands.
global_asm!(
    include_str!("entry.S"),
    include_str!("vectors.S"),
    include_str!("trap.S"),
    include_str!("firmware.S"),
    include_str!("shim.S"),
    include_str!("context.S"),
    include_str!("park.S"),
    include_str!("workload.S"),
    include_str!("provoke.S"),
    include_str!("kexec.S"),
    LINK_BASE_HIGH = const mmu::LINK_BASE >> 16,
    STACK_SLOT = const stack::SLOT,
    SPR_PID = const 48,
    MSR_RI = const cpu::Msr::RI.bits(),
    MSR_EE = const cpu::Msr::EE.bits(),
    MSR_IR = const cpu::Msr::IR.bits(),
    MSR_DR = const cpu::Msr::DR.bits(),
    H_CPPR = const hcall::H_CPPR,
    H_JOIN = const hcall::H_JOIN,
    FRAME_SIZE = const FRAME_SIZE,
    FRAME_REGS = const FRAME_REGS,
    NIP = const index::NIP,
    MSR = const index::MSR,
    ORIG_GPR3 = const index::ORIG_GPR3,
    CTR = const index::CTR,
    LINK = const index::LINK,
    XER = const index::XER,
    CCR = const index::CCR,
    SOFTE = const index::SOFTE,
    TRAP = const index::TRAP,
    DAR = const index::DAR,
    DSISR = const index::DSISR,
    RESULT = const index::RESULT,
    LOW_SAVE = const LOW_SAVE,
    LOW_STOP_BLOCK = const LOW_STOP_BLOCK,
    LOW_END = const LOW_END,
    SAVE_SIZE = const size_of::<SaveArea>(),
    SAVE_R10 = const offset_of!(SaveArea, r10),
    SAVE_R11 = const offset_of!(SaveArea, r11),
    SAVE_R12 = const offset_of!(SaveArea, r12),
    SAVE_R13 = const offset_of!(SaveArea, r13),
    SAVE_SRR0 = const offset_of!(SaveArea, srr0),
    SAVE_SRR1 = const offset_of!(SaveArea, srr1),
    SAVE_CR = const offset_of!(SaveArea, cr),
    SAVE_CTR = const offset_of!(SaveArea, ctr),
    SAVE_CFAR = const offset_of!(SaveArea, cfar),
    SPR_CFAR = const 28,
    SAVE_VECTOR = const offset_of!(SaveArea, vector),
    SAVE_STACK = const offset_of!(SaveArea, stack),
    PERCPU_NMI_NEXT = const offset_of!(PerCpu, nmi_next),
    PERCPU_NMI_LIMIT = const offset_of!(PerCpu, nmi_limit),
    PERCPU_NMI_ENTRY = const offset_of!(PerCpu, nmi_entry),
    PERCPU_NMI_DROPPED = const offset_of!(PerCpu, nmi_dropped),
    PERCPU_MC_SAVE = const offset_of!(PerCpu, machine_check_save),
    PERCPU_MC_ENTRY = const offset_of!(PerCpu, machine_check_entry),
    PERCPU_TRAP_ENTRY = const offset_of!(PerCpu, trap_entry),
    PERCPU_TRAP_SAVE = const offset_of!(PerCpu, trap_save),
    PERCPU_HANDLER_MSR = const offset_of!(PerCpu, handler_msr),
    PERCPU_MAIN_STACK = const offset_of!(PerCpu, main_stack),
    PERCPU_IRQ_STACK = const offset_of!(PerCpu, interrupt_stack),
    PERCPU_FAULT_STACK = const offset_of!(PerCpu, fault_stack),
    PERCPU_FAULT_STACK_NEXT = const offset_of!(PerCpu, fault_stack_next),
    PERCPU_IRQ_ACTIVE = const offset_of!(PerCpu, interrupt_active),
    PERCPU_IRQ_PC = const offset_of!(PerCpu, interrupt_pc),
    PERCPU_IRQ_R30 = const offset_of!(PerCpu, interrupt_r30),
    PERCPU_FIRMWARE_R1 = const offset_of!(PerCpu, firmware_r1),
    PERCPU_JUMP_TREE = const offset_of!(PerCpu, jump_tree),
    PERCPU_HARDWARE_ID = const offset_of!(PerCpu, hardware_id),
    PERCPU_SHIM = const offset_of!(PerCpu, shim),
    SHIM_ENTRY = const offset_of!(Shim, entry),
    SHIM_TOKEN = const offset_of!(Shim, token),
    SHIM_TICKS = const offset_of!(Shim, ticks),
    SHIM_CPUS = const offset_of!(Shim, cpus),
    SHIM_VIOLATIONS = const offset_of!(Shim, violations),
    SHIM_LAST = const offset_of!(Shim, last_violation),
    SHIM_DISTURBED = const offset_of!(Shim, disturbed),
    SHIM_UNDISTURBED = const offset_of!(Shim, undisturbed),
    SHIM_BEGAN = const offset_of!(Shim, began),
    SHIM_INSIDE = const offset_of!(Shim, inside),
    SHIM_CLASSES = const offset_of!(Shim, classes),
    SHIM_MOST_CLASSES = const crate::rtas::shim::MOST_CLASSES,
    PERCPU_JUMP_BASE = const offset_of!(PerCpu, jump_base),
);

unsafe extern "C" {
    /// Calls Open Firmware or RTAS at real address `entry` in 32-bit real mode. `first` and `second`
    /// must be what that service expects in r3 and r4. Needs SPRG0 to point to a per-CPU area.
    pub fn ppc_call_32(entry: u64, first: u64, second: u64) -> u64;
    /// Leaves the caller's stack for good and calls `entry(job)` on the stack that ends at `stack_top`.
    pub fn ppc_switch_stack(job: *const (), entry: extern "C" fn(*const ()) -> !, stack_top: u64) -> !;
    /// Stores the caller's registers.
    pub fn ppc_capture(words: *mut RegisterSet);
    /// Waits for ever (park.S).
    pub safe fn ppc_park_wait() -> !;
    /// The workload loop. What the argument points to must stay valid for ever.
    pub fn ppc_workload_run(workload: *const hal::testload::Workload) -> !;
    /// Executes an undefined instruction.
    pub safe fn ppc_provoke_undefined() -> !;
    /// Executes a trap instruction.
    pub safe fn ppc_provoke_trap() -> !;
    /// Reads the doubleword at `address`, which must fault.
    pub safe fn ppc_provoke_read(address: u64) -> !;
    /// Writes the doubleword at `address`, which must fault.
    pub safe fn ppc_provoke_write(address: u64) -> !;
    /// Calls `address`, which must fault.
    pub safe fn ppc_provoke_execute(address: u64) -> !;
    /// Recurses into the guard page.
    pub safe fn ppc_provoke_stack_overflow() -> !;
    /// Enters the machine check's vector as the processor does.
    pub safe fn ppc_provoke_machine_check() -> !;
    /// Leaves this kernel (kexec.S).
    pub fn ppc_kexec_jump(tree: u64, base: u64) -> !;
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
            pub static ppc_vectors: u8;
            pub static ppc_secondary_entry: u8;
            pub static ppc_nmi_entry: u8;
            pub static ppc_nmi_resume: u8;
            pub static ppc_mc_entry: u8;
            pub static ppc_mc_resume: u8;
            pub static ppc_trap_entry: u8;
            pub static ppc_nmi_too_deep: u8;
            pub static ppc_save: u8;
            pub static ppc_save_leave: u8;
            pub static ppc_exit: u8;
            pub static ppc_exit_restore: u8;
            pub static ppc_exit_end: u8;
            pub static ppc_load_toc: u8;
            pub static ppc_load_toc_end: u8;
            pub static ppc_call_32_leave: u8;
            pub static ppc_call_32_return: u8;
            pub static ppc_park_leave: u8;
            pub static ppc_kexec_leave: u8;
            pub static ppc_shim: u8;
        }
    }

    macro_rules! address_of {
        ($($function:ident = $label:ident;)*) => {$(
            #[doc = concat!("Run-time address of `", stringify!($label), "`.")]
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
        vectors = ppc_vectors;
        secondary_entry = ppc_secondary_entry;
        nmi_entry = ppc_nmi_entry;
        nmi_resume = ppc_nmi_resume;
        machine_check_entry = ppc_mc_entry;
        machine_check_resume = ppc_mc_resume;
        trap_entry = ppc_trap_entry;
        nmi_too_deep = ppc_nmi_too_deep;
        trap_save = ppc_save;
        trap_save_leave = ppc_save_leave;
        trap_exit = ppc_exit;
        trap_exit_restore = ppc_exit_restore;
        trap_exit_end = ppc_exit_end;
        load_toc = ppc_load_toc;
        load_toc_end = ppc_load_toc_end;
        call_32_leave = ppc_call_32_leave;
        call_32_return = ppc_call_32_return;
        park_leave = ppc_park_leave;
        kexec_leave = ppc_kexec_leave;
        shim = ppc_shim;
    }
}
