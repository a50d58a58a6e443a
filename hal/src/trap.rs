//! Where a port's trap entries report to.
//!
//! A port does not know `core-panic`. It is given one [`Handlers`] value before the first trap can
//! happen, and calls it from its trap entries with the registers it saved.

use crate::registers::Snapshot;

/// What kind of fault brought a CPU here. The port maps its vectors to these.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FaultKind {
    /// A data access that the page tables do not allow.
    DataAccess,
    /// An instruction fetch that the page tables do not allow.
    InstructionAccess,
    /// An undefined or privileged instruction.
    Instruction,
    /// A trap instruction (`int3`, `ud2`, `trap`).
    Trap,
    /// A stack ran into its guard page.
    StackOverflow,
    /// A machine check.
    MachineCheck,
    /// A non-maskable signal that destroyed what it interrupted, so that nothing can go on from there
    /// ([`crate::registers::Registers::resumable`] is false).
    LostContext,
    /// Anything else; the vector number is in [`Fault::vector`].
    Other,
}

/// A fault that cannot be repaired.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    /// The kind.
    pub kind: FaultKind,
    /// The machine's own vector number or offset (x86 vector, ppc64 offset such as 0x300).
    pub vector: u32,
    /// The faulting data or instruction address, where the machine reports one.
    pub address: Option<u64>,
    /// The machine's error code or syndrome (x86 error code, ppc64 DSISR or SRR1), else 0.
    pub syndrome: u64,
}

/// How an interrupted context is resumed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resume {
    /// As it was.
    AsItWas,
    /// With maskable interrupts off: the CPU is to stop when its critical section is over, and runs nothing else
    /// until then (P6).
    Masked,
}

/// The handlers that the kernel registers.
///
/// All are called with interrupts masked, on the interrupted CPU, on the stack that the port gives
/// to that kind of trap (NMI, machine check and stack faults have stacks of their own).
pub struct Handlers<R: 'static> {
    /// A non-maskable signal arrived. May return: the port then resumes the interrupted context.
    pub nmi: fn(&Snapshot<R>),
    /// The stop IPI arrived. Returning resumes the interrupted context.
    pub stop: fn(&Snapshot<R>),
    /// A maskable interrupt was taken, from an IPI or a device; the argument is the machine's own number for it (x86
    /// vector, ppc64 source). Before anything else is done about it.
    pub interrupt: fn(u32),
    /// A byte arrived on the console, in its receive interrupt.
    pub console_byte: fn(u8, &Snapshot<R>),
    /// Asked before every return from an NMI or an interrupt: how it returns. An interrupt handler that a
    /// non-maskable signal hit returns to its own context with what this says, too.
    pub resume: fn() -> Resume,
    /// A fault that nothing can repair. Never returns.
    pub fault: fn(&Fault, &Snapshot<R>) -> !,
}
