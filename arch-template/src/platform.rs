//! The composite: what the panic path gets to see of this machine.
//!
//! Answers:
//! * `arch-x86_64/src/platform.rs`: `name`, `capture`, `ipi`, `nmi`, `kexec`, `timer`
//! * `arch-ppc64/src/platform.rs`: `name`, `capture`, `ipi`, `nmi`, `kexec`, `timer`

use crate::Absent;
use crate::registers::RegisterSet;
use hal::registers::Snapshot;
use hal::{Platform, Unsupported};

/// This port. A handle without state: the same on every CPU.
#[derive(Clone, Copy, Debug, Default)]
pub struct Port;

/// The one value of [`Port`].
pub static PORT: Port = Port;

impl Platform for Port {
    type Registers = RegisterSet;
    type Ipi = Absent;
    type Nmi = Absent;
    type Kexec = Absent;
    type Firmware = Absent;
    type Timer = Absent;
    type Store = Absent;

    fn name(&self) -> &'static str {
        "template"
    }

    /// All zero, which is no address of any kernel: reading a register takes a line of assembly.
    fn capture(&self) -> Snapshot<RegisterSet> {
        Snapshot { registers: RegisterSet::default(), interrupted: None }
    }

    fn ipi(&self) -> Result<&Absent, Unsupported> {
        Err(Unsupported::new("this port has no interrupt controller"))
    }

    fn nmi(&self) -> Result<&Absent, Unsupported> {
        Err(Unsupported::new("this port has no non-maskable signal"))
    }

    fn kexec(&self) -> Result<&Absent, Unsupported> {
        Err(Unsupported::new("this port cannot enter a second kernel"))
    }

    fn timer(&self) -> Result<&Absent, Unsupported> {
        Err(Unsupported::new("this port has no timer that arrives as an NMI"))
    }

    fn firmware(&self) -> Result<&Absent, Unsupported> {
        Err(Unsupported::new("this port knows no firmware"))
    }

    fn store(&self) -> Result<&Absent, Unsupported> {
        Err(Unsupported::new("this port knows no firmware that keeps anything"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hal::CpuId;
    use hal::smp::{Secondaries, StartError};

    #[test]
    fn every_absence_has_a_reason_that_fits_the_record() {
        let answers = [
            PORT.ipi().err(),
            PORT.nmi().err(),
            PORT.kexec().err(),
            PORT.firmware().err(),
            PORT.timer().err(),
            PORT.store().err(),
        ];
        for answer in answers {
            let reason = answer.expect("a skeleton has none of these").reason;
            let short = reason.len() <= Unsupported::MOST_BYTES;
            assert!(!reason.is_empty() && short && reason.is_ascii(), "{reason}");
        }
    }

    #[test]
    fn the_name_fits_the_record() {
        assert!(PORT.name().len() <= 16 && PORT.name().is_ascii());
    }

    #[test]
    fn there_is_one_cpu_and_no_other_starts() {
        assert_eq!(PORT.count(), 1);
        let other = CpuId::new(1).expect("1 is below MAX_CPUS");
        assert_eq!(PORT.start(other), Err(StartError::NoSuchCpu));
    }
}
