//! Maskable inter-processor interrupts: XICS has one per CPU, so a per-CPU word says what it means.

#![cfg(mayday_metal)]

use crate::hcall::{H_PARAMETER, H_SUCCESS};
use crate::{percpu, xics};
use bitflags::bitflags;
use core::sync::atomic::Ordering;
use hal::CpuId;
use hal::ipi::Ipi;
use hal::nmi::{SignalError, Strength};

bitflags! {
    /// Why an interrupt was sent; several reasons may meet in one interrupt.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Reason: u32 {
        /// Stop.
        const STOP = 1;
        /// Nothing: a test load's traffic.
        const NUDGE = 2;
    }
}

/// XICS as the way to send interrupts between CPUs.
#[derive(Clone, Copy, Debug)]
pub struct XicsIpi;

fn send(target: CpuId, reason: Reason) -> Result<Strength, SignalError> {
    let area = percpu::area(target);
    if area.online.load(Ordering::Acquire) == 0 {
        return Err(SignalError::NoSuchCpu);
    }
    area.ipi_reasons.fetch_or(reason.bits(), Ordering::AcqRel);
    match xics::send_ipi(area.hardware_id.load(Ordering::Relaxed) as u32) {
        H_SUCCESS => Ok(Strength::Maskable),
        H_PARAMETER => Err(SignalError::NoSuchCpu),
        status => Err(SignalError::Refused(status)),
    }
}

impl Ipi for XicsIpi {
    fn send_stop(&self, target: CpuId) -> Result<Strength, SignalError> {
        send(target, Reason::STOP)
    }

    fn send_nudge(&self, target: CpuId) -> Result<Strength, SignalError> {
        send(target, Reason::NUDGE)
    }
}

/// Takes the reasons of the interrupt that just arrived.
pub fn take_reasons() -> Reason {
    Reason::from_bits_truncate(percpu::own().ipi_reasons.swap(0, Ordering::AcqRel))
}
