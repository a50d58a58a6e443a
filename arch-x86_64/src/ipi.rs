//! Maskable inter-processor interrupts by the local APIC.

use crate::apic::{self, Command};
use crate::boot;
use crate::platform::Port;
use crate::trap;
use hal::CpuId;
use hal::ipi::Ipi;
use hal::nmi::{SignalError, Strength};

pub(crate) fn send(target: CpuId, command: Command) -> Result<(), SignalError> {
    let machine = boot::machine().ok_or(SignalError::NoSuchCpu)?;
    let apic_id = machine.madt.apic_ids().get(target.index()).ok_or(SignalError::NoSuchCpu)?;
    apic::send(*apic_id, command)
}

impl Ipi for Port {
    fn send_stop(&self, target: CpuId) -> Result<Strength, SignalError> {
        send(target, Command::fixed(trap::VECTOR_STOP)).map(|()| Strength::Maskable)
    }

    fn send_nudge(&self, target: CpuId) -> Result<Strength, SignalError> {
        send(target, Command::fixed(trap::VECTOR_NUDGE)).map(|()| Strength::Maskable)
    }
}
