//! Non-maskable inter-processor interrupts: the system reset, by `H_SIGNAL_SYS_RESET` (PAPR).
//!
//! It overwrites SRR0 and SRR1 whatever they hold. Most code that runs with `MSR[RI]` = 0 can be resumed
//! all the same ([`crate::recovery`]). Where it arrives together with a maskable interrupt or another system
//! reset, after that was taken and before its vector's sixth instruction ran, the interrupted program
//! counter is gone: the saved one is the vector's, [`hal::registers::Registers::resumable`] says no, and
//! the target cannot go on ([`hal::trap::FaultKind::LostContext`]). An emulator on a loaded host does this
//! often, since it delivers both when it gets to run again. What is left is CFAR, the place of the last
//! branch that the interrupted code took: [`hal::registers::Snapshot::interrupted`] names that.
//!
//! Always to one CPU that is known to run: the "all" forms also wake CPUs that were never started or
//! have stopped.

#![cfg(mayday_metal)]

use crate::hcall::{self, H_PARAMETER, H_SIGNAL_SYS_RESET, H_SUCCESS};
use crate::percpu;
use core::sync::atomic::Ordering;
use hal::CpuId;
use hal::nmi::{Nmi, SignalError, Strength};

/// The system reset as the NMI of this machine.
#[derive(Clone, Copy, Debug)]
pub struct SystemReset;

impl Nmi for SystemReset {
    fn send(&self, target: CpuId) -> Result<Strength, SignalError> {
        let area = percpu::area(target);
        if area.online.load(Ordering::Acquire) == 0 {
            return Err(SignalError::NoSuchCpu);
        }
        let server = area.hardware_id.load(Ordering::Relaxed);
        // SAFETY: a system reset enters the vector that this port installed, which returns where it can.
        match unsafe { hcall::call(H_SIGNAL_SYS_RESET, [server, 0, 0, 0]) }.status {
            H_SUCCESS => Ok(Strength::NonMaskableNesting),
            H_PARAMETER => Err(SignalError::NoSuchCpu),
            status => Err(SignalError::Refused(status)),
        }
    }

    /// Nothing is held off, but handlers that are never returned to still occupy their nesting levels:
    /// when the last one is taken, the next system reset starts at the first again.
    fn unblock(&self) {
        let area = percpu::own();
        if area.nmi_next.load(Ordering::Relaxed) >= area.nmi_limit.load(Ordering::Relaxed) {
            let first = (&raw const area.nmi_areas) as u64;
            area.nmi_next.store(first, Ordering::Relaxed);
        }
    }
}

/// Sends a system reset to the executing CPU; it arrives before the next instruction.
pub fn self_nmi() -> Result<Strength, SignalError> {
    SystemReset.send(percpu::current())
}
