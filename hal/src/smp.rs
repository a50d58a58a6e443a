//! The set of CPUs.

use crate::CpuId;

/// Why a secondary did not come up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StartError {
    /// No CPU with this number was found by firmware.
    NoSuchCpu,
    /// Firmware or hardware refused; the value is the port's own status code.
    Refused(i64),
    /// It was started and did not publish itself in time.
    Silent,
}

/// Bringing secondaries up. Not part of the panic path; here because the tests of the panic path
/// need it on every port.
pub trait Secondaries {
    /// CPUs that firmware reports as usable, the boot CPU included: `1..=MAX_CPUS`. More than
    /// [`crate::MAX_CPUS`] in the machine are not counted; the port says so on the console.
    fn count(&self) -> usize;

    /// Starts one secondary and returns when it runs Rust code on its own stack with its own
    /// per-CPU area, or with the reason it does not.
    ///
    /// # Before
    /// Called by the boot CPU, once per CPU, not after a panic was claimed.
    ///
    /// # After
    /// On `Ok` the CPU is inside the kernel's secondary entry point ([`crate::boot`]) with
    /// interrupts masked.
    fn start(&self, cpu: CpuId) -> Result<(), StartError>;
}
