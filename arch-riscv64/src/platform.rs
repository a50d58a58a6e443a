//! The composite: what the panic path gets to see of this machine.

#![cfg(mayday_metal)]

use crate::firmware::SbiFirmware;
use crate::ipi::SbiIpi;
use crate::kexec::DeviceTreeKexec;
use crate::registers::RegisterSet;
use crate::timer::{self, SupervisorTimer};
use crate::{Absent, asm, ipi, trap};
use hal::registers::Snapshot;
use hal::{Platform, Unsupported};

/// This port. A handle without state: the same on every CPU.
#[derive(Clone, Copy, Debug, Default)]
pub struct Port;

/// The one value of [`Port`].
pub static PORT: Port = Port;

/// What this machine lacks. A reason that the record would cut off does not compile.
const fn absent(reason: &'static str) -> Unsupported {
    assert!(reason.len() <= Unsupported::MOST_BYTES && reason.is_ascii());
    Unsupported::new(reason)
}

const IPI: Unsupported = absent("firmware has no IPI extension");
const NMI: Unsupported = absent("supervisor mode has no NMI, and SBI has no call for one");
const TIMER: Unsupported = absent("firmware has no timer extension");
const STORE: Unsupported = absent("SBI keeps nothing over a reset");

impl Platform for Port {
    type Registers = RegisterSet;
    type Ipi = SbiIpi;
    type Nmi = Absent;
    type Kexec = DeviceTreeKexec;
    type Firmware = SbiFirmware;
    type Timer = SupervisorTimer;
    type Store = Absent;

    fn name(&self) -> &'static str {
        "riscv64"
    }

    #[inline(always)]
    fn capture(&self) -> Snapshot<RegisterSet> {
        let mut registers = RegisterSet::default();
        asm::riscv_capture(&mut registers);
        trap::snapshot(registers)
    }

    fn ipi(&self) -> Result<&SbiIpi, Unsupported> {
        if ipi::present() { Ok(&SbiIpi) } else { Err(IPI) }
    }

    fn nmi(&self) -> Result<&Absent, Unsupported> {
        Err(NMI)
    }

    fn kexec(&self) -> Result<&DeviceTreeKexec, Unsupported> {
        Ok(&DeviceTreeKexec)
    }

    fn timer(&self) -> Result<&SupervisorTimer, Unsupported> {
        if timer::present() { Ok(&SupervisorTimer) } else { Err(TIMER) }
    }

    fn firmware(&self) -> Result<&SbiFirmware, Unsupported> {
        Ok(&SbiFirmware)
    }

    fn store(&self) -> Result<&Absent, Unsupported> {
        Err(STORE)
    }
}
