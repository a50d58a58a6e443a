//! The port as one value.

use hal::registers::Snapshot;
use hal::{Platform, Unsupported};

/// The x86_64 machine. A handle without state: everything it stands for is static.
#[derive(Clone, Copy, Debug)]
pub struct Port;

/// The one value of [`Port`].
pub static PORT: Port = Port;

impl Platform for Port {
    type Registers = crate::Registers;
    type Ipi = Port;
    type Nmi = Port;
    type Kexec = Port;
    type Firmware = Port;
    type Timer = Port;
    type Store = crate::store::ErrorRecords;

    fn name(&self) -> &'static str {
        "x86_64"
    }

    #[inline(always)]
    fn capture(&self) -> Snapshot<crate::Registers> {
        crate::trap::capture()
    }

    fn ipi(&self) -> Result<&Port, Unsupported> {
        Ok(&PORT)
    }

    fn nmi(&self) -> Result<&Port, Unsupported> {
        Ok(&PORT)
    }

    fn kexec(&self) -> Result<&Port, Unsupported> {
        Ok(&PORT)
    }

    fn timer(&self) -> Result<&Port, Unsupported> {
        crate::timer::present().map(|()| &PORT)
    }

    fn firmware(&self) -> Result<&Port, Unsupported> {
        Ok(&PORT)
    }

    fn store(&self) -> Result<&crate::store::ErrorRecords, Unsupported> {
        crate::store::present()
    }
}
