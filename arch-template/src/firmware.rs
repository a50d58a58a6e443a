//! Reset and power.
//!
//! Questions for the porter:
//! * Which call resets, which powers off, how long may each take before it counts as failed?
//! * Can the emulator be told an exit status? May firmware be called while another CPU was stopped inside it?
//!
//! Answers:
//! * `arch-x86_64/src/firmware.rs`: `reboot`, `power_off`, `emulator_exit`, `arm`, `call`, `dwelling`
//! * `arch-ppc64/src/firmware.rs`: `reboot`, `power_off`, `emulator_exit`, `arm`, `call`, `dwelling`

use crate::Absent;
use hal::Unsupported;
use hal::firmware::{Firmware, FirmwareError};
use hal::testload::{FirmwareService, FirmwareTest};

impl Firmware for Absent {
    fn reboot(&self) -> FirmwareError {
        match *self {}
    }

    fn power_off(&self) -> FirmwareError {
        match *self {}
    }

    fn emulator_exit(&self, _success: bool) -> FirmwareError {
        match *self {}
    }
}

/// Puts a firmware in front of the machine's own that takes its time and knows who is inside, for tests.
pub fn arm(_test: &FirmwareTest) -> Result<(), Unsupported> {
    Err(NONE)
}

/// Calls a service, for tests: by the rules of the panic path on its owner. The reason, where it is not called.
pub fn call(_service: FirmwareService) -> Result<(), &'static str> {
    Err(NONE.reason)
}

/// Whether a CPU is in the middle of a service that takes its time.
pub fn dwelling() -> bool {
    false
}

/// Takes the lock in front of firmware and never gives it back, for tests.
pub fn hold() {}

const NONE: Unsupported = Unsupported::new("this port calls no firmware");
