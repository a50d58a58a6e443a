//! What a port supplies so that the panic path can be tested on it: a load for every CPU, and ways
//! to fault.

use crate::sync::{AtomicU32, AtomicU64};

/// The load that one CPU runs. The loop itself is the port's assembly in the section
/// `.text.workload`, so that an observer can say from a saved program counter and one saved register
/// whether a stopped CPU's registers are really its own.
///
/// Layout is part of the contract with that assembly.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Workload {
    /// Offset 0. Held in the port's witness register for the whole run
    /// ([`crate::registers::Registers::witness`]).
    pub witness: u64,
    /// Offset 8. Bumped by this CPU only.
    pub heartbeat: &'static AtomicU64,
    /// Offset 16. A spin lock shared by all CPUs: 0 free, 1 held.
    pub lock: &'static AtomicU32,
    /// Offset 24. Bumped under the lock.
    pub shared: &'static AtomicU64,
    /// Offset 32. 1 while the CPU is in [`Workload::nudge`], that is outside the loop's own section.
    pub outside: &'static AtomicU32,
    /// Offset 40. Called now and then with interrupts enabled; the argument is [`Workload::cpu`].
    pub nudge: extern "C" fn(usize),
    /// Offset 48. Logical CPU number.
    pub cpu: usize,
    /// Offset 56. 0: the normal mix. 1: bump the heartbeat for ever with interrupts off.
    pub mode: u32,
}

/// Ways to fault, each one instruction that the port executes on request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Provoke {
    /// Read address 0.
    NullRead,
    /// Write to an address that no page table maps.
    WildWrite,
    /// Execute an undefined instruction.
    Undefined,
    /// Execute the machine's trap or breakpoint instruction.
    TrapInstruction,
    /// Recurse until the stack meets its guard page.
    StackOverflow,
    /// Write to kernel text.
    WriteText,
    /// Jump into a data page.
    ExecuteData,
    /// Enter the machine check's handler without one: by its gate, or by its vector in the state that the
    /// processor would be in.
    MachineCheck,
}

/// A service of a machine's firmware, by what it is for. What it bears beside itself, the port says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FirmwareService {
    /// The time of day.
    Clock,
    /// Masks an interrupt source.
    Mask,
    /// Routes one.
    Route,
}

/// A firmware to be put in front of the machine's own, which takes its time over a service and knows who is inside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FirmwareTest {
    /// The service that takes its time; `None`: no service does.
    pub slow: Option<FirmwareService>,
    /// How long, µs; `None`: it never comes back.
    pub us: Option<u64>,
    /// On which CPUs, a bit for each.
    pub cpus: u64,
}
