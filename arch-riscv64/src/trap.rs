//! Traps, and the handlers they report to.
//!
//! Source: privileged architecture, "Supervisor Cause Register" and "Supervisor Trap Value Register".

use crate::registers::RegisterSet;
use hal::registers::Registers;
use hal::trap::{Fault, FaultKind};

/// The bit of scause that tells interrupts from exceptions.
pub const INTERRUPT: u64 = 1 << 63;
/// A software interrupt: an IPI.
pub const SOFTWARE_INTERRUPT: u64 = 1;
/// The supervisor timer: the deadline timer's shot.
pub const TIMER_INTERRUPT: u64 = 5;
/// An external interrupt: a device's.
pub const EXTERNAL_INTERRUPT: u64 = 9;
/// An illegal instruction, or one that is not for supervisors; stval has its bits.
pub const ILLEGAL_INSTRUCTION: u64 = 2;
/// `ebreak`.
pub const BREAKPOINT: u64 = 3;
/// A fetch that translation refused.
pub const FETCH_PAGE_FAULT: u64 = 12;
/// A load that translation refused.
pub const LOAD_PAGE_FAULT: u64 = 13;
/// A store that translation refused.
pub const STORE_PAGE_FAULT: u64 = 15;
/// A hardware error: corrupted data that could not be corrected.
pub const HARDWARE_ERROR: u64 = 19;

/// What an exception means. `is_guard` tells guard pages by address.
pub fn classify(cause: u64, value: u64, is_guard: impl Fn(u64) -> bool) -> Fault {
    let (kind, address, syndrome) = match cause {
        LOAD_PAGE_FAULT | STORE_PAGE_FAULT if is_guard(value) => (FaultKind::StackOverflow, Some(value), 0),
        LOAD_PAGE_FAULT | STORE_PAGE_FAULT => (FaultKind::DataAccess, Some(value), 0),
        FETCH_PAGE_FAULT => (FaultKind::InstructionAccess, Some(value), 0),
        ILLEGAL_INSTRUCTION => (FaultKind::Instruction, None, value),
        BREAKPOINT => (FaultKind::Trap, None, 0),
        HARDWARE_ERROR => (FaultKind::MachineCheck, Some(value).filter(|value| *value != 0), 0),
        // Access faults (1, 5, 7) among them: it was not a page table that refused.
        _ => (FaultKind::Other, Some(value).filter(|value| *value != 0), 0),
    };
    Fault { kind, vector: cause as u32, address, syndrome }
}

/// What the interrupt handler had interrupted that runs with stack pointer `sp`: pc and witness. `None` if no
/// interrupt handler runs there.
///
/// Interrupts do not nest and always start at the top of their stack, so the frame that the entry left is at a fixed
/// place. The entry and exit code itself is never trapped out of: its memory is mapped, and interrupts are off.
///
/// `stack` is the slot of the interrupt stack, guard page included; `frame` reads the frame at its top.
pub fn interrupted(
    sp: u64,
    stack: core::ops::Range<u64>,
    frame: impl FnOnce() -> RegisterSet,
) -> Option<(u64, u64)> {
    if !stack.contains(&sp) {
        return None;
    }
    let outer = frame();
    Some((outer.pc(), outer.witness()))
}

#[cfg(mayday_metal)]
mod metal {
    use super::*;
    use crate::asm::{self, symbols};
    use crate::cpu::Status;
    use crate::ipi::{self, Reason};
    use crate::registers::Frame;
    use crate::stack::{self, Kind, SLOT};
    use crate::{Port, console, plic, timer};
    use core::arch::asm;
    use core::sync::atomic::AtomicU32;
    use hal::console::EmergencyConsole;
    use hal::cpu::Cpu;
    use hal::registers::Snapshot;
    use hal::testload::Provoke;
    use hal::trap::{Handlers, Resume};
    use spin::Once;

    static HANDLERS: Once<&'static Handlers<RegisterSet>> = Once::new();

    /// Registers the handlers that traps call, once. Later calls change nothing. Before the first one, a trap prints
    /// a line on the emergency console and ends the run.
    pub fn set_handlers(handlers: &'static Handlers<RegisterSet>) {
        HANDLERS.call_once(|| handlers);
    }

    /// `registers`, and what they interrupted.
    pub(crate) fn snapshot(registers: RegisterSet) -> Snapshot<RegisterSet> {
        let top = stack::top(Port.current(), Kind::Interrupt);
        let place = top.wrapping_sub(size_of::<Frame>() as u64) as *const Frame;
        // SAFETY: read only if an interrupt handler runs on this CPU, and then the entry has put a frame there.
        let frame = || unsafe { (*place).registers };
        Snapshot { registers, interrupted: interrupted(registers.sp(), top.wrapping_sub(SLOT)..top, frame) }
    }

    /// Every trap comes here, with interrupts masked, on the stack of its kind. Returning resumes what was
    /// interrupted.
    #[unsafe(no_mangle)]
    extern "C" fn riscv_trap(frame: &mut Frame) {
        if frame.cause & INTERRUPT == 0 {
            fault(frame);
        }
        let number = frame.cause & !INTERRUPT;
        if number != TIMER_INTERRUPT
            && let Some(handlers) = HANDLERS.get()
        {
            (handlers.interrupt)(number as u32);
        }
        match number {
            TIMER_INTERRUPT => shot(frame),
            SOFTWARE_INTERRUPT => software(frame),
            EXTERNAL_INTERRUPT => external(frame),
            // Nothing here asks for it, so it is nobody's: without this it would come again at once, for ever.
            // SAFETY: takes away an interrupt's right to interrupt.
            _ => unsafe { asm!("csrc sie, {}", in(reg) 1_u64.wrapping_shl(number as u32), options(nostack)) },
        }
        if HANDLERS.get().is_some_and(|handlers| (handlers.resume)() == Resume::Masked) {
            frame.status &= !Status::SPIE.bits();
        }
    }

    /// An IPI. It is ended before its handler runs: the handler may never return.
    fn software(frame: &Frame) {
        if ipi::take().contains(Reason::STOP)
            && let Some(handlers) = HANDLERS.get()
        {
            (handlers.stop)(&snapshot(frame.registers));
        }
    }

    /// The deadline timer's shot: it is what this machine has for an NMI, and is reported as one.
    fn shot(frame: &Frame) {
        timer::silence();
        if let Some(handlers) = HANDLERS.get() {
            (handlers.nmi)(&snapshot(frame.registers));
        }
    }

    fn external(frame: &Frame) {
        let Some(source) = plic::claim() else { return };
        // Fetched first, so that the device has nothing more to say when its interrupt is ended; and that comes before
        // the handler, which may never return. What is typed faster comes with the next interrupt.
        let mut bytes = [None; console::FIFO];
        if plic::is_enabled(source) {
            for slot in &mut bytes {
                *slot = Port.read();
            }
        }
        plic::complete(source);
        for byte in bytes.into_iter().flatten() {
            if let Some(handlers) = HANDLERS.get() {
                (handlers.console_byte)(byte, &snapshot(frame.registers));
            }
        }
    }

    fn fault(frame: &Frame) -> ! {
        if let Some(handlers) = HANDLERS.get() {
            let fault = classify(frame.cause, frame.value, stack::is_guard);
            (handlers.fault)(&fault, &snapshot(frame.registers));
        }
        let hexadecimal = |value: u64| -> [u8; 16] {
            core::array::from_fn(|digit| {
                let nibble = (value >> (60 - 4 * digit) & 0xf) as u8;
                if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 }
            })
        };
        console::print(&[
            b"\nmayday riscv64: exception ",
            &hexadecimal(frame.cause),
            b" pc ",
            &hexadecimal(frame.registers.pc()),
            b" value ",
            &hexadecimal(frame.value),
        ]);
        console::stop_with("exception before handlers were registered")
    }

    /// An address that no page table of this kernel maps and that Sv39 can have.
    const WILD: u64 = 0x2e_adbe_ef00;

    /// Bytes that are data: `ret`, twice.
    static DATA: AtomicU32 = AtomicU32::new(0x8082_8082);

    /// Executes an instruction that faults as asked.
    pub fn provoke(fault: Provoke) -> ! {
        match fault {
            Provoke::NullRead => asm::riscv_provoke_read(0),
            Provoke::WildWrite => asm::riscv_provoke_write(WILD),
            Provoke::Undefined => asm::riscv_provoke_undefined(),
            Provoke::TrapInstruction => asm::riscv_provoke_trap(),
            Provoke::StackOverflow => asm::riscv_provoke_stack_overflow(),
            Provoke::MachineCheck => asm::riscv_provoke_machine_check(),
            Provoke::WriteText => asm::riscv_provoke_write(symbols::text_start()),
            Provoke::ExecuteData => asm::riscv_provoke_execute((&raw const DATA) as u64),
        }
    }
}

#[cfg(mayday_metal)]
pub(crate) use metal::snapshot;
#[cfg(mayday_metal)]
pub use metal::{provoke, set_handlers};

#[cfg(test)]
mod tests {
    use super::*;

    const GUARD: u64 = 0x66_0000;

    fn fault(cause: u64, value: u64) -> Fault {
        classify(cause, value, |address| address == GUARD)
    }

    #[test]
    fn causes_map_to_kinds() {
        let null = fault(13, 0);
        assert_eq!(null, Fault { kind: FaultKind::DataAccess, vector: 13, address: Some(0), syndrome: 0 });
        let illegal = fault(2, 0x1234);
        assert_eq!(
            illegal,
            Fault { kind: FaultKind::Instruction, vector: 2, address: None, syndrome: 0x1234 }
        );
        let fetch = fault(12, 0x5678);
        assert_eq!((fetch.kind, fetch.address), (FaultKind::InstructionAccess, Some(0x5678)));
        for (cause, value, kind) in [
            (15, 8, FaultKind::DataAccess),
            (13, GUARD, FaultKind::StackOverflow),
            (15, GUARD, FaultKind::StackOverflow),
            (12, GUARD, FaultKind::InstructionAccess),
            (3, 0, FaultKind::Trap),
            (19, 0, FaultKind::MachineCheck),
            (1, 0, FaultKind::Other),
            (7, GUARD, FaultKind::Other),
            (24, 0, FaultKind::Other),
        ] {
            assert_eq!(fault(cause, value).kind, kind, "cause {cause}");
        }
    }

    #[test]
    fn a_handler_is_known_by_its_stack() {
        let outer = || RegisterSet::from_words(core::array::from_fn(|number| number as u64));
        let stack = 0x8000..0x1_0000;
        assert_eq!(interrupted(0xff00, stack.clone(), outer), Some((0, 27)));
        assert_eq!(interrupted(0x8010, stack.clone(), outer), Some((0, 27)), "in its guard page");
        for sp in [0, 0x7ff0, 0x1_0000, u64::MAX] {
            assert_eq!(interrupted(sp, stack.clone(), || unreachable!()), None);
        }
    }
}
