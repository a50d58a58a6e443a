//! Maskable inter-processor interrupts, through SBI ("IPI Extension"): the supervisor software interrupt, which one word
//! per CPU tells to be a stop or a nudge.

use bitflags::bitflags;

bitflags! {
    /// Why a CPU gets an IPI.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Reason: u32 {
        /// Stop.
        const STOP = 1;
        /// Nothing: work for a test load.
        const NUDGE = 2;
    }
}

#[cfg(mayday_metal)]
mod metal {
    use super::Reason;
    use crate::sbi::{self, Extension};
    use crate::{Port, boot, cpu, percpu};
    use core::arch::asm;
    use core::sync::atomic::{AtomicBool, Ordering};
    use hal::CpuId;
    use hal::cpu::Cpu;
    use hal::ipi::Ipi;
    use hal::nmi::{SignalError, Strength};

    /// SBI's IPIs.
    #[derive(Clone, Copy, Debug)]
    pub struct SbiIpi;

    static PRESENT: AtomicBool = AtomicBool::new(false);

    /// Whether firmware can send them.
    pub fn present() -> bool {
        PRESENT.load(Ordering::Acquire)
    }

    /// Asks firmware. At boot.
    pub fn find() {
        PRESENT.store(sbi::has(Extension::IPI), Ordering::Release);
    }

    /// Ends the IPI that this CPU has taken, and says what it was for.
    pub fn take() -> Reason {
        // First, so that one which comes now is taken after this one.
        // SAFETY: clears the software interrupt's pending bit.
        unsafe { asm!("csrci sip, 2", options(nostack)) };
        // The write to a CSR counts as output to a device, and must not be passed by the read of the reasons: one that
        // is added between them would lose its interrupt.
        cpu::fence_all();
        Reason::from_bits_truncate(percpu::area(Port.current()).ipi_reasons.swap(0, Ordering::AcqRel))
    }

    /// Takes back an IPI that the executing CPU has not taken and will not take: the next kernel would.
    pub fn drop_pending() {
        // SAFETY: clears the software interrupt's pending bit.
        unsafe { asm!("csrci sip, 2", options(nostack)) };
    }

    fn send(target: CpuId, reason: Reason) -> Result<Strength, SignalError> {
        let harts = boot::machine().map(|machine| machine.harts()).unwrap_or_default();
        let hart = *harts.get(target.index()).ok_or(SignalError::NoSuchCpu)?;
        percpu::area(target).ipi_reasons.fetch_or(reason.bits(), Ordering::AcqRel);
        // The reason is there before the interrupt is, which is a device's work.
        cpu::fence_all();
        // SAFETY: an interrupt for a hart, and every hart of this kernel takes them. One bit, counted from the hart's
        // own id.
        let answer = unsafe { sbi::call(Extension::IPI, 0, [1, hart, 0]) };
        match answer.error {
            0 => Ok(Strength::Maskable),
            error => Err(SignalError::Refused(error)),
        }
    }

    impl Ipi for SbiIpi {
        fn send_stop(&self, target: CpuId) -> Result<Strength, SignalError> {
            send(target, Reason::STOP)
        }

        fn send_nudge(&self, target: CpuId) -> Result<Strength, SignalError> {
            send(target, Reason::NUDGE)
        }
    }
}

#[cfg(mayday_metal)]
pub use metal::{SbiIpi, drop_pending, find, present, take};
