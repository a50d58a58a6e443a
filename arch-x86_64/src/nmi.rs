//! Non-maskable interrupts by the local APIC.
//!
//! An NMI is blocked inside an NMI handler, until IRET; exactly one is latched meanwhile.

use crate::apic::Command;
use crate::platform::{PORT, Port};
use crate::{asm, cpu, descriptors, ipi};
use hal::CpuId;
use hal::cpu::Cpu;
use hal::nmi::{Nmi, SignalError, Strength};

impl Nmi for Port {
    fn send(&self, target: CpuId) -> Result<Strength, SignalError> {
        ipi::send(target, Command::nmi()).map(|()| Strength::NonMaskable)
    }

    fn unblock(&self) {
        cpu::end_machine_check();
        descriptors::alternate_stacks(self.current());
        asm::x86_unblock_nmi();
    }
}

/// Sends an NMI to the executing CPU. It arrives within a few instructions.
pub fn self_nmi() -> Result<Strength, SignalError> {
    PORT.send(PORT.current())
}
