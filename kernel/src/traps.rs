//! Where the port's trap entries arrive, and where Rust's own panics do.

use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use core_panic::Cause;
use core_panic::stop::Signal;
use crash_record::names::Rung;
use hal::Platform;
use hal::cpu::Cpu;
use hal::registers::Snapshot;
use hal::trap::{Fault, FaultKind, Handlers, Resume};

use crate::options::Trigger;
use crate::port::{self, PORT, Port};
use crate::state::{PANIC, options};
use crate::{bench, capture, contract, nmis};

type Registers = <Port as Platform>::Registers;

/// The handlers that the port calls.
pub static HANDLERS: Handlers<Registers> = Handlers { nmi, stop, interrupt, console_byte, resume, fault };

/// Set by the load just before it sends itself the NMI in whose handler the panic is to happen.
pub static NMI_PANICS: AtomicBool = AtomicBool::new(false);
/// The byte that came last in the console's receive interrupt; 0: none did.
pub static LAST_BYTE: AtomicU32 = AtomicU32::new(0);
/// Set when the bench may type its trigger.
pub static ARMED: AtomicBool = AtomicBool::new(false);

/// A panic that a scenario asks for.
#[inline(never)] // the image check ends here
#[track_caller]
fn ordered(message: &str) -> ! {
    panic!("{message}")
}

fn nmi(snapshot: &Snapshot<Registers>) {
    contract::nmi();
    if nmis::taken(snapshot) {
        return;
    }
    bench::in_handler(true);
    let signal = PANIC.on_signal(Rung::Nmi, snapshot);
    bench::in_handler(false);
    if signal != Signal::NotOurs {
        return;
    }
    if NMI_PANICS.swap(false, Ordering::AcqRel) {
        ordered("a panic inside an NMI handler");
    }
    if options().trigger == Trigger::Button {
        ordered("an NMI from outside");
    }
}

fn stop(snapshot: &Snapshot<Registers>) {
    contract::ipi();
    let _ = PANIC.on_signal(Rung::Ipi, snapshot);
}

fn resume() -> Resume {
    if port::lock::domain().pending(PORT.current()) { Resume::Masked } else { Resume::AsItWas }
}

/// Interrupts that CPUs took which finish a critical section because of a stop, and are to take none.
pub static DISTURBED: AtomicU32 = AtomicU32::new(0);

fn interrupt(_number: u32) {
    if port::lock::domain().pending(PORT.current()) {
        DISTURBED.fetch_add(1, Ordering::AcqRel);
    }
    if capture::is_capture() {
        capture::STRAYS.fetch_add(1, Ordering::AcqRel);
    }
}

fn console_byte(byte: u8, _snapshot: &Snapshot<Registers>) {
    LAST_BYTE.store(u32::from(byte), Ordering::Release);
    if byte == b'!' && options().trigger == Trigger::Console && ARMED.swap(false, Ordering::AcqRel) {
        ordered("a panic inside the console's receive interrupt");
    }
}

struct Described<'a>(&'a Fault);

impl fmt::Display for Described<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fault { kind, vector, address, syndrome } = self.0;
        write!(f, "{kind:?}, vector {vector:#x}, syndrome {syndrome:#x}")?;
        match address {
            Some(address) => write!(f, ", address {address:#018x}"),
            None => Ok(()),
        }
    }
}

fn fault(fault: &Fault, snapshot: &Snapshot<Registers>) -> ! {
    let reason = match fault.kind {
        FaultKind::DataAccess => "data-access",
        FaultKind::InstructionAccess => "instruction-access",
        FaultKind::Instruction => "instruction",
        FaultKind::Trap => "trap",
        FaultKind::StackOverflow => "stack-overflow",
        FaultKind::MachineCheck => "machine-check",
        FaultKind::LostContext => "lost-context",
        FaultKind::Other => "fault",
    };
    enter(&Cause { reason, message: &Described(fault) }, snapshot)
}

fn enter(cause: &Cause<'_>, snapshot: &Snapshot<Registers>) -> ! {
    if capture::is_capture() {
        capture::died(cause)
    }
    PANIC.enter(cause, snapshot)
}

#[panic_handler]
fn rust_panic(info: &core::panic::PanicInfo<'_>) -> ! {
    enter(&Cause { reason: "rust-panic", message: info }, &PORT.capture())
}
