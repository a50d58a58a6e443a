//! Exceptions, and the handlers they report to.

use crate::registers::{RegisterSet, index};
use hal::trap::{Fault, FaultKind};

/// System reset.
pub const SYSTEM_RESET: u64 = 0x100;
/// Machine check.
pub const MACHINE_CHECK: u64 = 0x200;
/// A data access that translation refused.
pub const DATA_STORAGE: u64 = 0x300;
/// A data access to an address that translation cannot have.
pub const DATA_SEGMENT: u64 = 0x380;
/// An instruction fetch that translation refused.
pub const INSTRUCTION_STORAGE: u64 = 0x400;
/// An instruction fetch from an address that translation cannot have.
pub const INSTRUCTION_SEGMENT: u64 = 0x480;
/// External interrupt.
pub const EXTERNAL: u64 = 0x500;
/// Illegal, privileged and trap instructions.
pub const PROGRAM: u64 = 0x700;
/// Decrementer.
pub const DECREMENTER: u64 = 0x900;

/// SRR1 of a program interrupt: the cause was a trap instruction (Power ISA 3.0B, Book III, "Program
/// Interrupt").
const PROGRAM_TRAP: u64 = 0x2_0000;

/// What an exception means. `is_guard` tells guard pages by address.
pub fn classify(vector: u64, registers: &RegisterSet, is_guard: impl Fn(u64) -> bool) -> Fault {
    let (dar, dsisr) = (registers.word(index::DAR), registers.word(index::DSISR));
    let (pc, srr1) = (registers.word(index::NIP), registers.msr());
    let (kind, address, syndrome) = match vector {
        MACHINE_CHECK => (FaultKind::MachineCheck, Some(dar), srr1),
        DATA_STORAGE if is_guard(dar) => (FaultKind::StackOverflow, Some(dar), dsisr),
        DATA_STORAGE | DATA_SEGMENT => (FaultKind::DataAccess, Some(dar), dsisr),
        INSTRUCTION_STORAGE | INSTRUCTION_SEGMENT => (FaultKind::InstructionAccess, Some(pc), srr1),
        PROGRAM if srr1 & PROGRAM_TRAP != 0 => (FaultKind::Trap, None, srr1),
        PROGRAM => (FaultKind::Instruction, None, srr1),
        // A system reset is a fault only where there is nothing to return to.
        SYSTEM_RESET => (FaultKind::LostContext, None, srr1),
        _ => (FaultKind::Other, None, srr1),
    };
    Fault { kind, vector: vector as u32, address, syndrome }
}

#[cfg(mayday_metal)]
mod metal {
    use super::*;
    use crate::asm::{self, symbols};
    use crate::cpu::Msr;
    use crate::ipi::{self, Reason};
    use crate::percpu::SaveArea;
    use crate::recovery::{self, Places, Recovery, SavedPc, saved_pc};
    use crate::{Port, console, cpu, kexec, percpu, rtas, stack, xics};
    use core::arch::asm;
    use core::sync::atomic::Ordering::Relaxed;
    use hal::console::EmergencyConsole;
    use hal::registers::{Registers, Snapshot};
    use hal::testload::Provoke;
    use hal::trap::{Handlers, Resume};
    use spin::Once;

    static HANDLERS: Once<&'static Handlers<RegisterSet>> = Once::new();

    /// Registers the handlers that exceptions call, once. Later calls change nothing.
    pub fn set_handlers(handlers: &'static Handlers<RegisterSet>) {
        HANDLERS.call_once(|| handlers);
    }

    /// Copies the vector page to real address 0 and tells it how to send stray CPUs back to stop.
    ///
    /// # Safety
    /// Translation is off; firmware's own code there is needed no more; the executing CPU's per-CPU
    /// area is installed.
    pub unsafe fn install_vectors() {
        let template = symbols::vectors() as *const u8;
        // The first bytes of memory: rustc would take a copy to a null pointer for undefined behaviour,
        // so it is assembly.
        let mut offset = 0;
        while offset < asm::LOW_END as u64 {
            // SAFETY: the template has LOW_END bytes; real 0..LOW_END is ours (contract).
            unsafe {
                asm!(
                    "ldx {word}, {template}, {offset}",
                    "stdx {word}, 0, {offset}",
                    word = out(reg) _,
                    template = in(reg_nonzero) template,
                    offset = in(reg_nonzero) offset,
                    options(nostack, preserves_flags),
                );
            }
            offset += 8;
        }
        for (number, word) in rtas::stop_words().into_iter().enumerate() {
            let address = (asm::LOW_STOP_BLOCK + number * 8) as u64;
            // SAFETY: inside the vector page.
            unsafe {
                asm!("stdx {}, 0, {}", in(reg) word, in(reg) address, options(nostack, preserves_flags));
            }
        }
        cpu::synchronize_instructions(0, asm::LOW_END as u64);
    }

    /// What the context in `registers` had interrupted, if it is interrupt code: the outermost context.
    ///
    /// `resets`: save areas of the system resets that are being handled there, the innermost last.
    fn interrupted(registers: &RegisterSet, resets: &[SaveArea]) -> Option<(u64, u64)> {
        let own = percpu::own();
        if own.interrupt_active.load(Relaxed) != 0 {
            return Some((own.interrupt_pc.load(Relaxed), own.interrupt_r30.load(Relaxed)));
        }
        if registers.resumable() {
            // Handlers run with RI = 1, from the moment that their frame is complete: this is the context
            // they interrupted.
            let (reset, outer) = resets.split_last()?;
            let frame = frame_of(reset.stack.load(Relaxed).checked_sub(asm::FRAME_SIZE as u64)?)?;
            return interrupted(frame, outer).or_else(|| Some((frame.pc(), frame.witness())));
        }
        // In exception entry or exit code: r30 is still, or again, what it was.
        let save_area = (&raw const own.trap_save) as u64;
        let pc = match saved_pc(registers.pc(), &places())? {
            SavedPc::SaveAreaOfR12 if registers.word(index::R12) != save_area => {
                let reset = resets.last()?;
                if core::ptr::from_ref(reset) as u64 != registers.word(index::R12) {
                    return None;
                }
                reset.srr0.load(Relaxed)
            }
            SavedPc::SaveArea | SavedPc::SaveAreaOfR12 => own.trap_save.srr0.load(Relaxed),
            SavedPc::Frame => frame_of(registers.sp())?.pc(),
            SavedPc::Lost => registers.word(index::ORIG_GPR3),
        };
        Some((pc, registers.witness()))
    }

    /// The registers in the trap frame at `frame`, if a frame can be there.
    fn frame_of(frame: u64) -> Option<&'static RegisterSet> {
        if !frame.is_multiple_of(16) || !stack::same(frame, frame.checked_add(asm::FRAME_SIZE as u64 - 1)?) {
            return None;
        }
        // SAFETY: in the usable part of one stack as a whole, and aligned.
        Some(unsafe { &*(frame.wrapping_add(asm::FRAME_REGS as u64) as *const RegisterSet) })
    }

    /// Where the code is that runs with `MSR[RI]` = 0.
    fn places() -> Places {
        Places {
            reset: symbols::nmi_entry(),
            reset_end: symbols::nmi_too_deep(),
            ordinary: symbols::trap_entry(),
            save: symbols::trap_save(),
            exit: symbols::trap_exit(),
            exit_restore: symbols::trap_exit_restore(),
            exit_end: symbols::trap_exit_end(),
            toc: (symbols::load_toc(), symbols::load_toc_end()),
            leaving: [
                symbols::trap_save_leave(),
                symbols::call_32_leave(),
                symbols::call_32_return(),
                symbols::park_leave(),
                symbols::kexec_leave(),
            ],
        }
    }

    /// Every exception comes here, with interrupts masked, on the stack of its kind. Returning resumes
    /// what was interrupted.
    #[unsafe(no_mangle)]
    extern "C" fn ppc_trap(registers: &mut RegisterSet, vector: u64) {
        match vector {
            EXTERNAL => external(registers),
            DECREMENTER => cpu::defer_decrementer(),
            SYSTEM_RESET => system_reset(registers),
            _ => fault(registers, vector),
        }
        if HANDLERS.get().is_some_and(|handlers| (handlers.resume)() == Resume::Masked) {
            registers.set_word(index::MSR, registers.msr() & !Msr::EE.bits());
        }
    }

    fn external(registers: &RegisterSet) {
        let own = percpu::own();
        let Some(xirr) = xics::accept() else { return };
        let source = xics::source_of(xirr);
        if let Some(handlers) = HANDLERS.get() {
            (handlers.interrupt)(source);
        }
        let snapshot = || Snapshot { registers: *registers, interrupted: None };
        // Every interrupt is ended before its handler runs: the handler may never return.
        if source == xics::IPI_SOURCE {
            xics::clear_ipi(own.hardware_id.load(Relaxed) as u32);
            xics::end(xirr);
            if ipi::take_reasons().contains(Reason::STOP)
                && let Some(handlers) = HANDLERS.get()
            {
                (handlers.stop)(&snapshot());
            }
            return;
        }
        if console::is_source(source) {
            // Fetched first: an interrupt ended with bytes waiting would be gone, the hypervisor
            // signals only the first.
            let mut byte = Port.read();
            xics::end(xirr);
            // Bounded: what is typed faster than it is handled waits for the next interrupt, or for the
            // next one who reads.
            for _ in 0..console::BURST {
                let Some(value) = byte else { return };
                if let Some(handlers) = HANDLERS.get() {
                    (handlers.console_byte)(value, &snapshot());
                }
                byte = Port.read();
            }
            return;
        }
        xics::end(xirr);
    }

    fn system_reset(registers: &mut RegisterSet) {
        // The last one is this reset's own.
        let resets = percpu::own().resets();
        let outer = interrupted(registers, resets.split_last().map_or(&[], |(_, below)| below));
        let mut recovery = Recovery::Resume;
        if !registers.resumable() {
            let interrupt_frame =
                stack::same(registers.sp(), percpu::own().interrupt_stack.load(Relaxed).wrapping_sub(1));
            recovery = recovery::recovery(registers.pc(), &places(), interrupt_frame);
        }
        let mut shown = *registers;
        if recovery == Recovery::Lost {
            // On the way into the crash image nothing of it is needed, and nothing may keep this CPU from
            // going on.
            kexec::resume_jump();
        } else {
            // Readers take the bit for "there is a way back", and there is.
            shown.set_word(index::MSR, registers.msr() | Msr::RI.bits());
        }
        if let Some(handlers) = HANDLERS.get() {
            (handlers.nmi)(&Snapshot { registers: shown, interrupted: outer });
        }
        match recovery {
            Recovery::Resume => {}
            Recovery::Restart(address) => registers.set_word(index::NIP, address),
            Recovery::Lost => fault(registers, SYSTEM_RESET),
        }
    }

    fn fault(registers: &RegisterSet, vector: u64) -> ! {
        let fault = classify(vector, registers, stack::is_guard);
        if let Some(handlers) = HANDLERS.get() {
            (handlers.fault)(
                &fault,
                &Snapshot { registers: *registers, interrupted: interrupted(registers, &[]) },
            );
        }
        let hexadecimal = |value: u64| -> [u8; 16] {
            core::array::from_fn(|digit| {
                let nibble = (value >> (60 - 4 * digit) & 0xf) as u8;
                if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 }
            })
        };
        console::print(&[
            b"\nmayday ppc64: exception ",
            &hexadecimal(vector),
            b" pc ",
            &hexadecimal(registers.pc()),
            b" dar ",
            &hexadecimal(registers.word(index::DAR)),
            b" dsisr ",
            &hexadecimal(registers.word(index::DSISR)),
            b" msr ",
            &hexadecimal(registers.msr()),
        ]);
        console::stop_with("exception before handlers were registered")
    }

    /// An address that no page table of this kernel maps and that radix translation can have.
    const WILD: u64 = 0x000d_ead0_0000_0000;

    /// Bytes that are data.
    static DATA: spin::Mutex<[u32; 2]> = spin::Mutex::new([0x4e80_0020, 0x4e80_0020]); // blr

    /// Executes an instruction that faults as asked.
    pub fn provoke(fault: Provoke) -> ! {
        match fault {
            Provoke::NullRead => asm::ppc_provoke_read(0),
            Provoke::WildWrite => asm::ppc_provoke_write(WILD),
            Provoke::Undefined => asm::ppc_provoke_undefined(),
            Provoke::TrapInstruction => asm::ppc_provoke_trap(),
            Provoke::StackOverflow => asm::ppc_provoke_stack_overflow(),
            Provoke::MachineCheck => asm::ppc_provoke_machine_check(),
            Provoke::WriteText => asm::ppc_provoke_write(symbols::text_start()),
            Provoke::ExecuteData => asm::ppc_provoke_execute((&raw const *DATA.lock()) as u64),
        }
    }
}

#[cfg(mayday_metal)]
pub use metal::{install_vectors, provoke, set_handlers};

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(vector: u64, words: &[(usize, u64)]) -> Fault {
        let mut registers = RegisterSet::default();
        for (index, value) in words {
            registers.set_word(*index, *value);
        }
        classify(vector, &registers, |address| address == 0x66_0000)
    }

    #[test]
    fn vectors_map_to_kinds() {
        let null = fault(0x300, &[(index::DAR, 0), (index::DSISR, 0x4000_0000)]);
        assert_eq!(
            null,
            Fault { kind: FaultKind::DataAccess, vector: 0x300, address: Some(0), syndrome: 0x4000_0000 }
        );
        assert_eq!(fault(0x300, &[(index::DAR, 0x66_0000)]).kind, FaultKind::StackOverflow);
        assert_eq!(fault(0x380, &[(index::DAR, 0x66_0000)]).kind, FaultKind::DataAccess);
        let fetch = fault(0x400, &[(index::NIP, 0x1234), (index::MSR, 0x1000_1032)]);
        assert_eq!((fetch.kind, fetch.address), (FaultKind::InstructionAccess, Some(0x1234)));
        assert_eq!(fault(0x700, &[(index::MSR, 0x2_1032)]).kind, FaultKind::Trap);
        assert_eq!(fault(0x700, &[(index::MSR, 0x8_1032)]).kind, FaultKind::Instruction);
        assert_eq!(fault(0x200, &[]).kind, FaultKind::MachineCheck);
        assert_eq!(fault(0x100, &[]).kind, FaultKind::LostContext);
        assert_eq!(fault(0xf60, &[]).kind, FaultKind::Other);
    }
}
