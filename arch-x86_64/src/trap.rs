//! Traps: what each vector means, and the way from the assembly entry to the kernel's handlers.
//!
//! Source: SDM volume 3, chapter 6 (interrupts and exceptions), 4.7 (page-fault error code).

use crate::registers::{FRAME_WORDS, Frame, index};
use hal::trap::{Fault, FaultKind};
use x86_64::structures::idt::PageFaultErrorCode;

/// The first vector that is no exception.
pub const VECTOR_FIRST: u8 = 0x20;
/// The stop IPI.
pub const VECTOR_STOP: u8 = 0x40;
/// The nudge IPI.
pub const VECTOR_NUDGE: u8 = 0x41;
/// The serial port's receive interrupt.
pub const VECTOR_SERIAL: u8 = 0x50;
/// Where the masked legacy interrupt controllers' spurious interrupts go: 0xE0-0xEF.
pub const VECTOR_LEGACY: u8 = 0xE0;
/// The local APIC's spurious interrupt.
pub const VECTOR_SPURIOUS: u8 = 0xFF;

/// What a fault is, from its vector and error code. `address` is CR2 for vectors 8 and 14; `in_guard`
/// says whether an address lies in a stack's guard page; `opcode` are the two bytes at the faulting
/// instruction where they could be read.
pub fn classify(vector: u8, error_code: u64, address: u64, in_guard: bool, opcode: Option<[u8; 2]>) -> Fault {
    let fault = |kind, address| Fault { kind, vector: u32::from(vector), address, syndrome: error_code };
    match vector {
        // A push into the guard page faults, the page fault cannot push either: double fault.
        8 if in_guard => fault(FaultKind::StackOverflow, Some(address)),
        14 if in_guard => fault(FaultKind::StackOverflow, Some(address)),
        14 => {
            let fetch = PageFaultErrorCode::from_bits_truncate(error_code)
                .contains(PageFaultErrorCode::INSTRUCTION_FETCH);
            let kind = if fetch { FaultKind::InstructionAccess } else { FaultKind::DataAccess };
            fault(kind, Some(address))
        }
        3 => fault(FaultKind::Trap, None),
        // UD2 is how compilers write "trap".
        6 if opcode == Some([0x0F, 0x0B]) => fault(FaultKind::Trap, None),
        6 => fault(FaultKind::Instruction, None),
        13 => fault(FaultKind::Other, None),
        18 => fault(FaultKind::MachineCheck, None),
        _ => fault(FaultKind::Other, None),
    }
}

/// Distance from the top of the interrupt stack to the frame the trap entry left there: 21 words, r15
/// lowest.
const FRAME_BYTES: u64 = 8 * FRAME_WORDS as u64;

/// The context that a maskable-interrupt handler had interrupted, for a trap that hit that handler:
/// `(pc, r15)`.
///
/// Interrupts cannot nest and always start at the top of their stack, so the outer pc lies at a fixed
/// place there as soon as the first instruction of the entry runs. The outer r15 is still in the
/// register until the entry's last push, and again from the exit's first pop on; between them it is in
/// its slot. The stack pointer tells which, without a flag that a trap could catch half-set.
///
/// `stack` is the interrupt stack, bottom to top; `read` reads a word of it.
pub fn interrupted(
    frame: &Frame,
    stack: core::ops::Range<u64>,
    read: impl Fn(u64) -> u64,
) -> Option<(u64, u64)> {
    let sp = frame.sp();
    if sp < stack.start || sp >= stack.end {
        return None;
    }
    let slots = stack.end.wrapping_sub(FRAME_BYTES);
    let pc = read(slots.wrapping_add(8 * index::RIP as u64));
    let witness = if sp <= slots { read(slots.wrapping_add(8 * index::R15 as u64)) } else { frame.witness() };
    Some((pc, witness))
}

#[cfg(mayday_metal)]
pub use metal::*;

#[cfg(mayday_metal)]
mod metal {
    use super::*;
    use crate::asm;
    use crate::asm::symbols;
    use crate::console::Text;
    use crate::platform::PORT;
    use crate::registers::{Registers, Segments};
    use crate::stack::{self, Kind};
    use crate::{apic, console, cpu};
    use core::fmt::Write;
    use core::sync::atomic::{
        AtomicPtr, AtomicU32, AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
    };
    use hal::console::EmergencyConsole;
    use hal::cpu::Cpu;
    use hal::registers::Snapshot;
    use hal::testload::Provoke;
    use hal::trap::{Handlers, Resume};
    use x86_64::registers::control::Cr2;
    use x86_64::registers::model_specific::{FsBase, GsBase, Msr};
    use x86_64::registers::segmentation::{DS, ES, FS, GS, Segment};

    static HANDLERS: AtomicPtr<Handlers<Registers>> = AtomicPtr::new(core::ptr::null_mut());
    static EARLY_NMIS: AtomicU64 = AtomicU64::new(0);
    /// CPU + 1 that takes what its APIC has latched, and does nothing about it.
    static TAKING: AtomicU32 = AtomicU32::new(0);
    /// Times that it looks again, at most: more than there are vectors.
    const TAKES_MOST: u32 = 512;

    /// Registers the kernel's handlers for all CPUs. Before this, a trap prints a line on the emergency
    /// console and ends the run; an NMI is counted and returns.
    pub fn set_handlers(handlers: &'static Handlers<Registers>) {
        HANDLERS.store(core::ptr::from_ref(handlers).cast_mut(), Release);
    }

    /// NMIs that came before the handlers were registered.
    pub fn early_nmis() -> u64 {
        EARLY_NMIS.load(Relaxed)
    }

    fn handlers() -> Option<&'static Handlers<Registers>> {
        // SAFETY: null or a `&'static` that `set_handlers` was given.
        unsafe { HANDLERS.load(Acquire).as_ref() }
    }

    /// The caller's own registers; `Platform::capture`. Inlined, so that the pc is the caller's.
    #[inline(always)]
    pub(crate) fn capture() -> Snapshot<Registers> {
        let mut frame = Frame::from_words([0; FRAME_WORDS]);
        asm::x86_capture(&mut frame);
        snapshot(&frame)
    }

    fn snapshot(frame: &Frame) -> Snapshot<Registers> {
        // SAFETY: every x86-64 CPU has these; reading them has no effect.
        let base = |register: Msr| unsafe { register.read() };
        let selector = |s: x86_64::structures::gdt::SegmentSelector| u64::from(s.0);
        let segments = Segments {
            words: [
                base(FsBase::MSR),
                base(GsBase::MSR),
                selector(DS::get_reg()),
                selector(ES::get_reg()),
                selector(FS::get_reg()),
                selector(GS::get_reg()),
            ],
        };
        let top = stack::top(PORT.current(), Kind::Interrupt);
        let bottom = stack::place_of(top.wrapping_sub(1))
            .map_or(top, |place| stack::base().wrapping_add(place.bottom as u64));
        // SAFETY: `interrupted` reads only between bottom and top, which is mapped.
        let read = |at: u64| unsafe { (at as *const u64).read_volatile() };
        Snapshot {
            registers: Registers::new(frame, &segments),
            interrupted: interrupted(frame, bottom..top, read),
        }
    }

    /// The two bytes at `pc`, if it lies in kernel text.
    fn opcode(pc: u64) -> Option<[u8; 2]> {
        let text = symbols::__text_start()..symbols::__text_end() - 1;
        // SAFETY: text is mapped and readable, and both bytes lie in it.
        text.contains(&pc).then(|| unsafe { (pc as *const [u8; 2]).read_volatile() })
    }

    /// Called by trap.S on every trap.
    #[unsafe(no_mangle)]
    extern "C" fn x86_trap(vector: u32, frame: &mut Frame) {
        let vector = vector as u8;
        // Whatever it is, also one that nobody here has asked for: it is ended, and no handler runs.
        if (VECTOR_FIRST..VECTOR_LEGACY).contains(&vector)
            && TAKING.load(Relaxed) == PORT.current().index() as u32 + 1
        {
            apic::end_of_interrupt();
            return;
        }
        if matches!(vector, VECTOR_STOP | VECTOR_NUDGE | VECTOR_SERIAL)
            && let Some(handlers) = handlers()
        {
            (handlers.interrupt)(vector.into());
        }
        match vector {
            2 => match handlers() {
                Some(handlers) => (handlers.nmi)(&snapshot(frame)),
                None => {
                    EARLY_NMIS.fetch_add(1, Relaxed);
                }
            },
            // The interrupt is ended before its handler runs: handlers keep interrupts masked, and one
            // that never returns must not leave it in service for the next kernel.
            VECTOR_STOP => {
                apic::end_of_interrupt();
                if let Some(handlers) = handlers() {
                    (handlers.stop)(&snapshot(frame));
                }
            }
            VECTOR_NUDGE => apic::end_of_interrupt(),
            VECTOR_SERIAL => {
                apic::end_of_interrupt();
                serial(frame);
            }
            VECTOR_LEGACY..=VECTOR_SPURIOUS => {}
            _ => unfixable(vector, frame),
        }
        if handlers().is_some_and(|handlers| (handlers.resume)() == Resume::Masked) {
            frame.mask_interrupts();
        }
    }

    /// Takes the interrupts that this CPU's APIC has latched, ends them and does nothing else about them: masking
    /// their sources does not take them back, and the next kernel would get them. Bounded. False if something is still
    /// latched then.
    ///
    /// Call with interrupts masked, and every source too.
    pub(crate) fn take_latched() -> bool {
        TAKING.store(PORT.current().index() as u32 + 1, Relaxed);
        for _ in 0..TAKES_MOST {
            if !apic::latched() {
                break;
            }
            // SAFETY: what comes in here is ended by `x86_trap`, which looks at `TAKING` first, and comes back.
            unsafe { core::arch::asm!("sti", "nop", "nop", "cli") };
        }
        TAKING.store(0, Relaxed);
        !apic::latched()
    }

    fn serial(frame: &Frame) {
        // Twice the receive buffer: what keeps coming can come in the next interrupt.
        for _ in 0..2 * console::FIFO {
            let Some(byte) = PORT.read() else { return };
            if let Some(handlers) = handlers() {
                (handlers.console_byte)(byte, &snapshot(frame));
            }
        }
    }

    fn unfixable(vector: u8, frame: &Frame) -> ! {
        let address = if matches!(vector, 8 | 14) { Cr2::read_raw() } else { 0 };
        let in_guard = stack::place_of(address).is_some_and(|place| place.guard);
        let fault = classify(vector, frame.error_code(), address, in_guard, opcode(frame.pc()));
        if vector == 18 {
            // Before anything else, since whoever only parks here never says that its machine check is over, and
            // the next one on this CPU would reset the machine. One that comes from here on starts at the top of
            // this stack again, which is free then: no handler of a fault comes back.
            cpu::end_machine_check();
        }
        if let Some(handlers) = handlers() {
            (handlers.fault)(&fault, &snapshot(frame));
        }
        let _ = writeln!(
            Text,
            "x86_64: trap {vector} ({:?}) before the kernel took traps: pc {:#x} sp {:#x} address {address:#x} error {:#x}",
            fault.kind,
            frame.pc(),
            frame.sp(),
            frame.error_code(),
        );
        cpu::end_run()
    }

    /// A word to jump into: data, so executing it faults.
    static NOT_CODE: AtomicU64 = AtomicU64::new(0xC3C3_C3C3_C3C3_C3C3);

    /// Executes the faulting instruction. The fault is reported to [`Handlers::fault`], whose handler
    /// does not return.
    ///
    /// `TrapInstruction` is UD2, what compilers emit for traps: INT3 stops the guest under one KVM.
    pub fn provoke(what: Provoke) -> ! {
        // SAFETY: none of it is sound, that is its purpose: each accesses an address that the tables
        // forbid, by assembly, so that the compiler draws no conclusion from it.
        unsafe {
            match what {
                Provoke::NullRead => {
                    core::arch::asm!("mov {0}, qword ptr [{0}]", inout(reg) 0u64 => _, options(nostack))
                }
                Provoke::WildWrite => {
                    core::arch::asm!("mov qword ptr [{0}], {0}", in(reg) 0x0000_5EAD_BEEF_0000u64, options(nostack))
                }
                Provoke::WriteText => {
                    core::arch::asm!("mov byte ptr [{}], 0xCC", in(reg) symbols::x86_pvh_entry(), options(nostack))
                }
                Provoke::ExecuteData => {
                    core::arch::asm!("call {}", in(reg) &raw const NOT_CODE, clobber_abi("C"))
                }
                Provoke::TrapInstruction => core::arch::asm!("ud2"),
                Provoke::MachineCheck => core::arch::asm!("int 18"),
                Provoke::Undefined => asm::x86_provoke_undefined(),
                Provoke::StackOverflow => asm::x86_provoke_stack_overflow(),
            }
        }
        let _ = writeln!(Text, "x86_64: {what:?} did not fault");
        crate::cpu::stop_for_ever()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(vector: u8, error_code: u64, in_guard: bool, opcode: Option<[u8; 2]>) -> FaultKind {
        classify(vector, error_code, 0x1000, in_guard, opcode).kind
    }

    #[test]
    fn vectors_have_their_kinds() {
        assert_eq!(kind(14, 0, false, None), FaultKind::DataAccess);
        assert_eq!(kind(14, 3, false, None), FaultKind::DataAccess);
        assert_eq!(kind(14, 0x11, false, None), FaultKind::InstructionAccess);
        assert_eq!(kind(14, 2, true, None), FaultKind::StackOverflow);
        assert_eq!(kind(8, 0, true, None), FaultKind::StackOverflow);
        assert_eq!(kind(8, 0, false, None), FaultKind::Other);
        assert_eq!(kind(6, 0, false, Some([0x0F, 0x0B])), FaultKind::Trap);
        assert_eq!(kind(6, 0, false, Some([0xF0, 0x01])), FaultKind::Instruction);
        assert_eq!(kind(6, 0, false, None), FaultKind::Instruction);
        assert_eq!(kind(3, 0, false, None), FaultKind::Trap);
        assert_eq!(kind(18, 0, false, None), FaultKind::MachineCheck);
        assert_eq!(kind(13, 0, false, None), FaultKind::Other);
    }

    #[test]
    fn addresses_are_given_only_where_there_is_one() {
        assert_eq!(classify(14, 2, 0x1000, false, None).address, Some(0x1000));
        assert_eq!(
            classify(13, 8, 0x1000, false, None),
            Fault { kind: FaultKind::Other, vector: 13, address: None, syndrome: 8 }
        );
    }

    #[test]
    fn the_outer_context_is_found_at_every_instruction_of_an_interrupt() {
        const TOP: u64 = 0x2_0000;
        let stack = TOP - 0x4000..TOP;
        // The slots hold the outer pc from the first instruction on; r15's slot only later.
        let read = |r15_saved: bool| {
            move |at: u64| match at {
                at if at == TOP - 40 => 0xAAAA,
                at if at == TOP - 168 && r15_saved => 0xBBBB,
                _ => 0xDEAD,
            }
        };
        let trap = |sp: u64, live_r15: u64| {
            let mut words = [0; FRAME_WORDS];
            words[index::RSP] = sp;
            words[index::R15] = live_r15;
            Frame::from_words(words)
        };
        for sp in [TOP - 40, TOP - 48, TOP - 56, TOP - 160] {
            assert_eq!(interrupted(&trap(sp, 0xBBBB), stack.clone(), read(false)), Some((0xAAAA, 0xBBBB)));
        }
        for sp in [TOP - 168, TOP - 176, TOP - 0x3000] {
            assert_eq!(interrupted(&trap(sp, 0x1), stack.clone(), read(true)), Some((0xAAAA, 0xBBBB)));
        }
        assert_eq!(interrupted(&trap(TOP, 1), stack.clone(), read(true)), None, "the next stack's guard");
        assert_eq!(interrupted(&trap(TOP - 0x5000, 1), stack.clone(), read(true)), None);
        assert_eq!(interrupted(&trap(0, 1), stack, read(true)), None);
    }
}
