//! The assembly of this port, and what Rust calls in it.

use core::arch::global_asm;

use crate::registers::Frame;
use hal::testload::Workload;

global_asm!(include_str!("entry.S"), options(att_syntax, raw));
global_asm!(include_str!("trap.S"), options(att_syntax, raw));
global_asm!(include_str!("trampoline.S"), options(att_syntax, raw));
global_asm!(include_str!("park.S"), options(att_syntax, raw));
global_asm!(include_str!("workload.S"), options(att_syntax, raw));
global_asm!(include_str!("provoke.S"), options(att_syntax, raw));
global_asm!(include_str!("kexec.S"), options(att_syntax, raw));

unsafe extern "C" {
    /// `cli; hlt` once, inside `.text.park`.
    pub safe fn x86_park_wait();
    /// Saves the caller's registers as a trap at the return address would.
    pub safe fn x86_capture(frame: &mut Frame);
    /// One IRET to the next instruction: from here on NMIs are taken again.
    pub safe fn x86_unblock_nmi();
    /// The workload loop. Unmasks interrupts, never returns.
    pub safe fn x86_workload_run(workload: &'static Workload) -> !;
    /// Executes an undefined instruction.
    pub safe fn x86_provoke_undefined() -> !;
    /// Recurses into the guard page.
    pub safe fn x86_provoke_stack_overflow() -> !;
    /// Leaves this kernel; kexec.S has the contract.
    pub fn x86_kexec_leave(control_cr3: u64, control_page: u64, entry: u64, start_info: u64) -> !;
}

/// Virtual addresses of what assembly and the linker script define. Nothing is read through them here.
pub mod symbols {
    macro_rules! address_of {
        ($($name:ident: $what:literal),* $(,)?) => { $(
            #[doc = $what]
            pub fn $name() -> u64 {
                unsafe extern "C" {
                    static $name: u8;
                }
                (&raw const $name) as u64
            }
        )* };
    }

    address_of! {
        __image_start: "First byte of the image.",
        __image_end: "End of the image.",
        __text_start: "First byte of kernel text.",
        __text_end: "End of kernel text, page-aligned.",
        __rodata_start: "First byte of constants and notes.",
        __rodata_end: "End of constants, page-aligned.",
        __data_start: "First byte of writable data.",
        __data_end: "End of writable data, page-aligned.",
        __build_id_start: "The GNU build-id note.",
        __build_id_end: "End of the build-id note.",
        x86_pvh_entry: "The 32-bit entry.",
        x86_boot_pml4: "Root of the boot tables.",
        x86_trap_stubs: "256 trap stubs of 16 bytes.",
        x86_trampoline_start: "The secondaries' trampoline.",
        x86_trampoline_mailbox: "Its mailbox.",
        x86_trampoline_end: "End of the trampoline.",
        x86_secondary_entry: "Where a secondary leaves the trampoline.",
        x86_control_start: "Code of the kexec control page.",
        x86_control_nmi_32: "Its 32-bit NMI handler.",
        x86_control_nmi_64: "Its 64-bit NMI handler.",
        x86_control_end: "End of that code.",
    }
}
