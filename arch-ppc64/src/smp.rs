//! Secondaries, by RTAS `start-cpu`.

#![cfg(mayday_metal)]

use crate::asm::symbols;
use crate::cpu::Msr;
use crate::percpu::{self, PerCpu};
use crate::rtas::service::StartCpu;
use crate::rtas::{self, RtasError};
use crate::{Port, boot, clock, cpu, kexec, xics};
use core::sync::atomic::Ordering;
use hal::CpuId;
use hal::smp::{Secondaries, StartError};

/// How long a started CPU may take to report: 20 s of guest time, because a host that runs several
/// guests may not schedule it for seconds.
const ANSWER_NS: u64 = 20_000_000_000;

unsafe extern "Rust" {
    /// Where secondaries enter the kernel.
    fn mayday_secondary(cpu: CpuId) -> !;
}

impl Secondaries for Port {
    fn count(&self) -> usize {
        boot::machine().map_or(1, |machine| machine.cpus().len())
    }

    /// `Refused(0)`: it runs already. `Refused(-2)`: this is a crash kernel, whose other CPUs are the first
    /// kernel's: parked, not stopped, and not to be started. Other values are RTAS `start-cpu`'s status.
    fn start(&self, cpu: CpuId) -> Result<(), StartError> {
        let machine = boot::machine().ok_or(StartError::NoSuchCpu)?;
        let hardware_id = *machine.cpus().get(cpu.index()).ok_or(StartError::NoSuchCpu)?;
        let area = percpu::area(cpu);
        if cpu == CpuId::BOOT || area.online.load(Ordering::Acquire) != 0 {
            return Err(StartError::Refused(0));
        }
        if kexec::is_crash_kernel() {
            return Err(StartError::Refused(-2));
        }
        percpu::prepare(cpu, hardware_id, Msr::TRANSLATED);
        let arguments = [hardware_id, symbols::secondary_entry() as u32, (&raw const *area) as u64 as u32];
        match rtas::call::<StartCpu>(&arguments, &mut []) {
            Ok(()) => {}
            Err(RtasError::NotAvailable | RtasError::Forbidden(_)) => return Err(StartError::NoSuchCpu),
            Err(RtasError::Status(status)) => return Err(StartError::Refused(i64::from(status))),
        }
        let online = clock::wait(ANSWER_NS, || area.online.load(Ordering::Acquire) != 0);
        if online { Ok(()) } else { Err(StartError::Silent) }
    }
}

/// The first Rust code on a secondary: on its main stack, translation on, interrupts off.
#[unsafe(no_mangle)]
extern "C" fn ppc_secondary_start(area: &'static PerCpu) -> ! {
    cpu::defer_decrementer();
    xics::open();
    area.online.store(1, Ordering::Release);
    // SAFETY: the kernel defines it with this signature (hal::boot).
    unsafe { mayday_secondary(percpu::current()) }
}
