//! The composite: what the panic path gets to see of this machine.

#![cfg(mayday_metal)]

use crate::asm;
use crate::firmware::RtasFirmware;
use crate::ipi::XicsIpi;
use crate::kexec::DeviceTreeKexec;
use crate::nmi::SystemReset;
use crate::registers::RegisterSet;
use crate::rtas;
use crate::store::{self, NvramStore};
use crate::timer::Watchdog;
use hal::registers::Snapshot;
use hal::{Platform, Unsupported};

/// This port. A handle without state: the same on every CPU.
#[derive(Clone, Copy, Debug, Default)]
pub struct Port;

/// The one value of [`Port`].
pub static PORT: Port = Port;

static KEXEC: DeviceTreeKexec = DeviceTreeKexec;

impl Platform for Port {
    type Registers = RegisterSet;
    type Ipi = XicsIpi;
    type Nmi = SystemReset;
    type Kexec = DeviceTreeKexec;
    type Firmware = RtasFirmware;
    type Timer = Watchdog;
    type Store = NvramStore;

    fn name(&self) -> &'static str {
        "ppc64"
    }

    #[inline(always)]
    fn capture(&self) -> Snapshot<RegisterSet> {
        let mut registers = RegisterSet::default();
        // SAFETY: writes 48 words to a value that has as many.
        unsafe { asm::ppc_capture(&raw mut registers) };
        Snapshot { registers, interrupted: None }
    }

    fn ipi(&self) -> Result<&XicsIpi, Unsupported> {
        Ok(&XicsIpi)
    }

    fn nmi(&self) -> Result<&SystemReset, Unsupported> {
        Ok(&SystemReset)
    }

    fn kexec(&self) -> Result<&DeviceTreeKexec, Unsupported> {
        Ok(&KEXEC)
    }

    fn timer(&self) -> Result<&Watchdog, Unsupported> {
        Ok(&Watchdog)
    }

    fn firmware(&self) -> Result<&RtasFirmware, Unsupported> {
        match rtas::services() {
            Some(_) => Ok(&RtasFirmware),
            None => Err(Unsupported::new("firmware has no RTAS, or it was not found yet")),
        }
    }

    fn store(&self) -> Result<&NvramStore, Unsupported> {
        store::present()
    }
}
